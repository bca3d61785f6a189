"""What is minimised: the task losses of every view of a step, and auxiliary losses that look at what came out.

One plain module, so that the same objective trains one method under Lightning or many under `torch.func`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from mer_bench.contracts import AuxLoss, FusionMethod, SubsetSchedule
from mer_bench.errors import UserError, did_you_mean
from mer_bench.losses.task import RegressionLoss, task_loss
from mer_bench.training.weighting import FixedWeighting, TaskWeighting
from mer_bench.types import Batch, Features, Outputs, Tasks

#: the loss that goes with the metric by which a regression is judged; mean squared error goes with all others
LOSS_OF_METRIC: dict[str, RegressionLoss] = {"ccc": "ccc", "mae": "l1"}


class Objective(nn.Module):
    """Method, losses and subset schedule joined.

    Args:
        method: the network.
        features: what the datamodule offers.
        tasks: what is to be predicted.
        auxiliary: losses by name.
        subsets: which modalities each forward pass of a step sees.
        task_weights: factor on the loss of each task; 1 where not given.
        weighting: how the losses of the tasks become one; the sum by default.
        regression: loss by regression task; mean squared error where not given.
    """

    def __init__(
        self,
        method: FusionMethod,
        features: Features,
        tasks: Tasks,
        auxiliary: Mapping[str, AuxLoss],
        subsets: SubsetSchedule,
        task_weights: Mapping[str, float],
        *,
        weighting: TaskWeighting | None = None,
        regression: Mapping[str, RegressionLoss] | None = None,
    ) -> None:
        super().__init__()
        for name in task_weights:
            if name not in tasks:
                raise UserError(f"--model.task_weights: no task {name!r}; {did_you_mean(name, tasks)}")
        self.method = method
        chosen = regression or {}
        self.task_losses = nn.ModuleDict(
            {name: task_loss(spec, regression=chosen.get(name, "mse")) for name, spec in tasks.items()}
        )
        self.auxiliary = nn.ModuleDict(auxiliary)
        self.subsets = subsets
        self.weighting = weighting or FixedWeighting()
        self.task_weights = {name: float(task_weights.get(name, 1.0)) for name in tasks}
        subsets.bind(features, tasks)
        self.weighting.bind(tasks)
        for loss in auxiliary.values():
            loss.bind(features, tasks)
        self.n_draws = subsets.n_draws + sum(loss.n_draws for loss in auxiliary.values())
        self.names = (*(f"task/{name}" for name in tasks), *(f"auxiliary/{name}" for name in auxiliary))

    def forward(self, batch: Batch, step: int) -> tuple[Tensor, Tensor]:
        """The total loss, and the unweighted losses of the first view in the order of `names`.

        Args:
            batch: with `n_draws` columns of draws.
            step: number of the optimiser step, from 0.
        """
        total, parts, _, _ = self.evaluate(batch, step)
        return total, parts

    def evaluate(self, batch: Batch, step: int) -> tuple[Tensor, Tensor, Outputs, Batch]:
        """Like `forward`, and beside it the outputs of the first view and that view, for a `GradientHook`."""
        used = self.subsets.n_draws
        names, weights, views = zip(*self.subsets.views(batch._replace(draws=batch.draws[:, :used]), step), strict=True)
        outputs = [self.method(view) for view in views]
        losses = [self._task_losses(out, view) for out, view in zip(outputs, views, strict=True)]
        total = add_up(weights, [self._weighted(by_task) for by_task in losses])
        parts = list(losses[0].values())
        first = with_other_views(names, views, outputs)
        for loss in cast("Iterable[AuxLoss]", self.auxiliary.values()):
            columns = batch.draws[:, used : used + loss.n_draws]
            used += loss.n_draws
            value = loss(first, views[0]._replace(draws=columns), self.method)
            total = add_up((1.0, loss.weight), (total, value))
            parts.append(value)
        return total, torch.stack([part.detach() for part in parts]), first, views[0]

    def _task_losses(self, outputs: Outputs, view: Batch) -> dict[str, Tensor]:
        return {name: loss(outputs.logits[name], view.targets[name]) for name, loss in self.task_losses.items()}

    def _weighted(self, losses: Mapping[str, Tensor]) -> Tensor:
        return self.weighting({name: add_up((self.task_weights[name],), (loss,)) for name, loss in losses.items()})


def add_up(weights: Sequence[float], losses: Sequence[Tensor]) -> Tensor:
    """The weighted sum; a weight of 1 costs no operation, for a step of a small model is made of few."""
    terms = [loss if weight == 1.0 else weight * loss for weight, loss in zip(weights, losses, strict=True)]
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return total


def with_other_views(names: Sequence[str], views: Sequence[Batch], outputs: Sequence[Outputs]) -> Outputs:
    """The outputs of the first view, and beside its hidden tensors what the other views gave.

    Args:
        names: of the views of one step.
        views: what the method saw.
        outputs: what it said.

    Returns:
        Outputs with ``view/<v>/<task>`` and ``view/<v>/seen`` in `hidden`, see `contracts.py`.
    """
    hidden = dict(outputs[0].hidden)
    for name, view, out in zip(names[1:], views[1:], outputs[1:], strict=True):
        hidden |= {f"view/{name}/{task}": x for task, x in out.logits.items()}
        hidden[f"view/{name}/seen"] = torch.stack([x.mask.any(1) for x in view.inputs.values()]).any(0)
    return outputs[0]._replace(hidden=hidden)


def regression_losses(
    tasks: Tasks, metrics: Sequence[str], chosen: RegressionLoss | None = None
) -> dict[str, RegressionLoss]:
    """The loss of each regression task: the one chosen, or the one that goes with how the protocol judges the task.

    Args:
        tasks: by name.
        metrics: ``task/metric``, in the order of the protocol; the first one of a task counts.
        chosen: for all of them.

    Returns:
        By task: 1 - CCC where CCC stands first, absolute error for MAE, squared error for anything else.
    """
    first: dict[str, str] = {}
    for metric in metrics:
        task, name, *_ = metric.split("/")
        first.setdefault(task, name)
    regressions = [name for name, spec in tasks.items() if spec.kind == "regression"]
    return {name: chosen or LOSS_OF_METRIC.get(first.get(name, ""), "mse") for name in regressions}
