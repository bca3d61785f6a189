"""Answers and embeddings from a part of the modalities, trained on the labels, on the full answer or on each other."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mer_bench.contracts import AuxLoss, FusionMethod
from mer_bench.errors import UserError
from mer_bench.losses.mutual import DIVERGENCES
from mer_bench.losses.pairs import hidden, present
from mer_bench.losses.task import RegressionLoss, task_loss
from mer_bench.nn.masking import at_least_single
from mer_bench.types import Batch, Features, Masked, Outputs, Tasks


class UnimodalTask(AuxLoss):
    """Each modality answers by itself: the task losses of ``logits/<m>/<task>`` (AuxFormer: Goncalves & Busso, 2022).

    The mean over modalities, summed over tasks. Only items, or frames, that have the modality count. Class weights as
    in the loss of the task itself. The authors give the fused answer and those of each of two modalities a third each
    and predict with the mean of all three; here the fused answer predicts and the share is `weight`.

    Args:
        weight: factor applied by the module; 1 is ours.
        regression: loss of regression tasks; give the one of model.regression_loss.
    """

    def __init__(self, weight: float = 1.0, *, regression: RegressionLoss = "mse") -> None:
        super().__init__(weight)
        self.regression = regression

    def bind(self, features: Features, tasks: Tasks) -> None:
        """Make the loss of each task."""
        self.modalities = list(features)
        self.losses = nn.ModuleDict({n: task_loss(spec, regression=self.regression) for n, spec in tasks.items()})

    def forward(self, outputs: Outputs, batch: Batch, method: FusionMethod) -> Tensor:
        """The loss of one batch."""
        losses = []
        for task, loss in self.losses.items():
            target = batch.targets[task]
            for m in self.modalities:
                logits = hidden(outputs, f"logits/{m}/{task}", loss="UnimodalTask")
                mask = present(batch, m, logits)
                mask = mask.reshape(mask.shape + (1,) * (target.mask.dim() - mask.dim()))
                losses.append(loss(logits, Masked(target.values, target.mask & mask)))
        return torch.stack(losses).sum() / len(self.modalities)


class SelfDistillation(AuxLoss):
    """The full answer teaches those from one modality: divergence of ``logits/<m>/<task>`` from the logits.

    After Zhang et al. (ICCV 2019, arXiv:1905.08094), whose deepest classifier teaches the shallower ones, with
    modalities in place of depths (ours). Divergences as in `MutualKL`: Kullback-Leibler between class or Bernoulli
    distributions, half the mean squared difference for a regression. Mean over the items, or frames, that have the
    modality, and over modalities; summed over tasks. Between the views of a step: `MutualKL`.

    Args:
        weight: factor applied by the module; 1 is ours.
        both: teach in both directions, each side's teacher without gradient.
    """

    def __init__(self, weight: float = 1.0, *, both: bool = False) -> None:
        super().__init__(weight)
        self.both = both

    def bind(self, features: Features, tasks: Tasks) -> None:
        """Remember what kind of answer each task has."""
        self.modalities, self.kinds = list(features), {name: spec.kind for name, spec in tasks.items()}

    def forward(self, outputs: Outputs, batch: Batch, method: FusionMethod) -> Tensor:
        """The loss of one batch."""
        losses = []
        for task, kind in self.kinds.items():
            full = at_least_single(outputs.logits[task])
            for m in self.modalities:
                part = at_least_single(hidden(outputs, f"logits/{m}/{task}", loss="SelfDistillation"))
                value = DIVERGENCES[kind](full.detach(), part)
                if self.both:
                    value = value + DIVERGENCES[kind](part.detach(), full)
                losses.append(_mean(value, present(batch, m, part)))
        return torch.stack(losses).sum() / len(self.modalities)


class Imagination(AuxLoss):
    """Each modality is to be imagined from the others, and found again from there (MMIN: Zhao et al., ACL 2021).

    ``imagined/<m>``, which the method makes without looking at m, against the embedding ``<m>`` without gradient, and
    ``cycled/<m>``, which it makes from what was imagined of the others, against the same::

        L = mean_m MSE(imagined/m, sg m) + cycle · mean_m MSE(cycled/m, sg m)

    Only items, or frames, that have m and another modality count. Departures: the authors' targets come from a network
    trained before on all modalities, here from the encoders of the same network; they concatenate the modalities and
    remove one pattern per item, here each modality is left out once.

    Args:
        weight: factor applied by the module; 4 in the authors' script.
        cycle: of the second term within the loss; 0.5, so that the term's weight is the authors' 2. With 0 the method
            need not provide ``cycled/<m>``.
    """

    def __init__(self, weight: float = 4.0, *, cycle: float = 0.5) -> None:
        super().__init__(weight)
        self.cycle = cycle

    def bind(self, features: Features, tasks: Tasks) -> None:
        """Remember the modalities.

        Raises:
            UserError: one modality, of which nothing can be imagined.
        """
        self.modalities = list(features)
        if len(self.modalities) < 2:
            raise UserError(
                f"Imagination: needs two or more modalities; got {', '.join(features)}. Remove this loss from "
                f"model.auxiliary"
            )

    def forward(self, outputs: Outputs, batch: Batch, method: FusionMethod) -> Tensor:
        """The loss of one batch."""
        value = self._error("imagined", outputs, batch)
        return value + self.cycle * self._error("cycled", outputs, batch) if self.cycle else value

    def _error(self, kind: str, outputs: Outputs, batch: Batch) -> Tensor:
        """Mean over modalities of the squared error."""
        losses = []
        for m in self.modalities:
            found = at_least_single(hidden(outputs, f"{kind}/{m}", loss="Imagination"))
            truth = at_least_single(hidden(outputs, m, loss="Imagination")).detach()
            others = [present(batch, n, found) for n in self.modalities if n != m]
            losses.append(
                _mean((found - truth).square().mean(-1), present(batch, m, found) & torch.stack(others).any(0))
            )
        return torch.stack(losses).mean()


def _mean(x: Tensor, mask: Tensor) -> Tensor:
    return torch.where(mask, x, 0.0).sum() / mask.sum().clamp(min=1)
