"""Which modalities the method sees in a training step: all, some at random, or several subsets side by side."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from mer_bench.contracts import SubsetSchedule
from mer_bench.errors import UserError
from mer_bench.types import Batch, Features, Masked, Tasks

View = tuple[str, float, Batch]


def keep(batch: Batch, kept: Mapping[str, Tensor]) -> Batch:
    """The batch with modalities switched off, item by item.

    Targets of an item that had something and is left with nothing are masked too: there is nothing to predict from.

    Args:
        batch: any batch.
        kept: by modality, (batch,) True where it stays; modalities that are not named stay.
    """
    inputs = dict(batch.inputs)
    for m, stays in kept.items():
        x = inputs[m]
        inputs[m] = Masked(torch.where(stays[:, None, None], x.values, 0.0), x.mask & stays.unsqueeze(1))
    before, after = _anything(batch.inputs), _anything(inputs)
    answerable = after | ~before
    targets = {task: Masked(t.values, t.mask & _trailing(answerable, t.mask)) for task, t in batch.targets.items()}
    return batch._replace(inputs=inputs, targets=targets)


class AllModalities(SubsetSchedule):
    """Everything that is there, in one pass."""

    def views(self, batch: Batch, step: int) -> list[View]:
        """One view, the batch itself."""
        return [("full", 1.0, batch)]


class ModalityDropout(SubsetSchedule):
    """Each modality of each item is switched off with a fixed probability (ModDrop: Neverova et al., TPAMI 2016).

    Args:
        rate: probability, the same for all modalities.
        keep_one: where all present modalities of an item would go, one of them stays, each with the same probability.
    """

    def __init__(self, rate: float = 0.2, *, keep_one: bool = True) -> None:
        super().__init__()
        if not 0 <= rate < 1:
            raise UserError(f"ModalityDropout: rate is {rate}; expected a probability from 0 up to, not including, 1")
        self.rate, self.keep_one = rate, keep_one

    def bind(self, features: Features, tasks: Tasks) -> None:
        """One random number per item and modality."""
        self.modalities = list(features)
        self.n_draws = len(self.modalities)

    def views(self, batch: Batch, step: int) -> list[View]:
        """One view, with some modalities off."""
        present = torch.stack([batch.inputs[m].mask.any(1) for m in self.modalities], dim=1)
        stays = batch.draws >= self.rate
        if self.keep_one:
            # of those that all fell below the rate, the largest draw is each one's with the same probability
            luckiest = torch.where(present, batch.draws, -1.0).argmax(1, keepdim=True)
            lost = ~(stays & present).any(1, keepdim=True)
            stays = stays | (lost & (luckiest == torch.arange(len(self.modalities), device=stays.device)))
        return [("dropped", 1.0, keep(batch, dict(zip(self.modalities, stays.unbind(1), strict=True))))]


class JointSubsets(SubsetSchedule):
    """All modalities and each one alone, on the same mini-batch (Ma et al., CVPR 2022, arXiv:2204.05454).

    Args:
        full: weight of the pass with all modalities.
        single: weight of each pass with one modality; 1 is ours.
    """

    def __init__(self, full: float = 1.0, *, single: float = 1.0) -> None:
        super().__init__()
        self.full, self.single = full, single

    def bind(self, features: Features, tasks: Tasks) -> None:
        """Remember the modalities."""
        self.modalities = list(features)

    def views(self, batch: Batch, step: int) -> list[View]:
        """The full view, then ``only_<m>`` for each modality, if there is more than one."""
        nothing = torch.zeros_like(batch.rows, dtype=torch.bool)
        alone = self.modalities if len(self.modalities) > 1 else []
        only = [(f"only_{m}", keep(batch, {b: nothing for b in self.modalities if b != m})) for m in alone]
        return [("full", self.full, batch), *((name, self.single, view) for name, view in only)]


def _anything(inputs: Mapping[str, Masked]) -> Tensor:
    return torch.stack([x.mask.any(1) for x in inputs.values()], dim=1).any(1)


def _trailing(items: Tensor, like: Tensor) -> Tensor:
    """(batch,) with as many trailing axes of length 1 as `like` has more."""
    return items.reshape(items.shape + (1,) * (like.dim() - 1))
