"""Training by auxiliary losses alone."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from mer_bench.training.weighting import TaskWeighting


class AuxiliaryOnly(TaskWeighting):
    """The loss of the fused answer does not count, for methods that are trained on other answers, as MBT.

    One of the auxiliary losses has to read the labels; without any auxiliary loss the backward pass fails.
    """

    def forward(self, losses: Mapping[str, Tensor]) -> Tensor:
        """Zero, whatever the losses are."""
        return next(iter(losses.values())).new_zeros(())
