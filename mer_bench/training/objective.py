"""What is minimised: the task losses of every view of a step, and the auxiliary losses of its first view.

One plain module, so that the same objective trains one method under Lightning or many under `torch.func`.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from mer_bench.contracts import AuxLoss, FusionMethod, SubsetSchedule
from mer_bench.errors import UserError
from mer_bench.losses.task import task_loss
from mer_bench.types import Batch, Features, Tasks


class Objective(nn.Module):
    """Method, losses and subset schedule joined.

    Args:
        method: the network.
        features: what the datamodule offers.
        tasks: what is to be predicted.
        auxiliary: losses by name.
        subsets: which modalities each forward pass of a step sees.
        task_weights: factor on the loss of each task; 1 where not given.
    """

    def __init__(
        self,
        method: FusionMethod,
        features: Features,
        tasks: Tasks,
        auxiliary: Mapping[str, AuxLoss],
        subsets: SubsetSchedule,
        task_weights: Mapping[str, float],
    ) -> None:
        super().__init__()
        unknown = set(task_weights) - set(tasks)
        if unknown:
            raise UserError(f"--model.task_weights: no task {sorted(unknown)[0]!r}; tasks are {', '.join(tasks)}")
        self.method = method
        self.task_losses = nn.ModuleDict({name: task_loss(spec) for name, spec in tasks.items()})
        self.auxiliary = nn.ModuleDict(auxiliary)
        self.subsets = subsets
        self.task_weights = {name: float(task_weights.get(name, 1.0)) for name in tasks}
        subsets.bind(features, tasks)
        for loss in auxiliary.values():
            loss.bind(features, tasks)
        self.n_draws = subsets.n_draws + sum(loss.n_draws for loss in auxiliary.values())
        self.names = (*(f"task/{name}" for name in tasks), *(f"auxiliary/{name}" for name in auxiliary))

    def forward(self, batch: Batch, step: int) -> tuple[Tensor, Tensor]:
        """The total loss, and its unweighted parts in the order of `names`.

        Args:
            batch: with `n_draws` columns of draws.
            step: number of the optimiser step, from 0.
        """
        used = self.subsets.n_draws
        views = self.subsets.views(batch._replace(draws=batch.draws[:, :used]), step)
        total, parts = None, []
        for number, (_, weight, view) in enumerate(views):
            outputs = self.method(view)
            losses = [self.task_losses[name](outputs.logits[name], batch.targets[name]) for name in self.task_weights]
            weighted = weight * sum(w * x for w, x in zip(self.task_weights.values(), losses, strict=True))
            total = weighted if total is None else total + weighted
            if number == 0:
                parts = losses
                for loss in self.auxiliary.values():
                    columns = batch.draws[:, used : used + loss.n_draws]
                    value = loss(outputs, view._replace(draws=columns), self.method)
                    used += loss.n_draws
                    total = total + loss.weight * value
                    parts.append(value)
        return total, torch.stack([part.detach() for part in parts])
