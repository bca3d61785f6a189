"""The labels teach answers that stand beside the fused one, or in its place, by the losses that it is taught with."""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

import torch
from torch import Tensor, nn

from mer_bench.contracts import AuxLoss, FusionMethod
from mer_bench.losses.pairs import hidden, present
from mer_bench.losses.task import RegressionLoss, task_loss
from mer_bench.types import Batch, Features, Masked, Outputs, Tasks

#: by regression task: the loss that its shipped protocols train it with, the one of the metric that stands first
LOSS_OF_TASK: dict[str, RegressionLoss] = {"sentiment": "l1", "vad": "ccc", "va": "ccc"}


def answer_losses(tasks: Tasks, chosen: RegressionLoss | None = None) -> nn.ModuleDict:
    """The task loss of each task, for an answer beside the fused one.

    Args:
        tasks: by name.
        chosen: for all regressions; None: that of the task's shipped protocols, squared error for any other task.
    """
    losses = {n: chosen or LOSS_OF_TASK.get(n, "mse") for n in tasks}
    return nn.ModuleDict({n: task_loss(spec, regression=losses[n]) for n, spec in tasks.items()})


class UnimodalAnswers(AuxLoss):
    """Each modality answers by itself: the mean over modalities, or sum, of the task losses of ``logits/<m>/<task>``.

    The mean is that of MBT (Nagrani et al., NeurIPS 2021; github.com/google-research/scenic, projects/mbt/model.py at
    03c3032), which has no other loss; the sum, beside the loss of the fused answer, is that of AuxFormer (Goncalves &
    Busso, ICASSP 2022; github.com/ilucasgoncalves/AuxFormer, train.py at 4123da9), where every answer has the same
    share. Class weights as in the loss of the task itself; tasks are summed.

    Neither code knows an absent modality (ours): only items, or frames, that have it count in the loss of its answer,
    and the mean is over the modalities of which the batch has something to learn. One modality: its task loss.

    Args:
        weight: factor applied by the module.
        added: the sum in place of the mean.
        regression: loss of all regressions; give the one of model.regression_loss where that is given. By default the
            one that the shipped protocols use for the task (`LOSS_OF_TASK`), squared error for other tasks.
    """

    def __init__(self, weight: float = 1.0, *, added: bool = False, regression: RegressionLoss | None = None) -> None:
        super().__init__(weight)
        self.added, self.regression = added, regression

    def bind(self, features: Features, tasks: Tasks) -> None:
        """Make the loss of each task."""
        self.modalities = list(features)
        self.losses = answer_losses(tasks, self.regression)

    def forward(self, outputs: Outputs, batch: Batch, method: FusionMethod) -> Tensor:
        """The loss of one batch."""
        total = []
        for task, loss in cast("Iterable[tuple[str, nn.Module]]", self.losses.items()):
            found = [self._one(m, task, loss, outputs, batch) for m in self.modalities]
            values, there = (torch.stack(list(x)) for x in zip(*found, strict=True))
            total.append(values.sum() if self.added else values.sum() / there.sum().clamp(min=1))
        return torch.stack(total).sum()

    def _one(self, m: str, task: str, loss: nn.Module, outputs: Outputs, batch: Batch) -> tuple[Tensor, Tensor]:
        """The loss of one answer, zero where the batch has nothing for it, and whether it has something."""
        logits, target = hidden(outputs, f"logits/{m}/{task}", loss="UnimodalAnswers"), batch.targets[task]
        mask = present(batch, m, logits)
        mask = target.mask & mask.reshape(mask.shape + (1,) * (target.mask.dim() - mask.dim()))
        return loss(logits, Masked(target.values, mask)), mask.any()
