"""Which modalities the method sees in a training step: all, some at random, or several subsets side by side."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor

from mer_bench.contracts import SubsetSchedule
from mer_bench.errors import UserError, did_you_mean
from mer_bench.nn.draws import hashed
from mer_bench.types import Batch, Features, Masked, Tasks

View = tuple[str, float, Batch]


def keep(batch: Batch, kept: Mapping[str, Tensor]) -> Batch:
    """The batch with modalities switched off, item by item or frame by frame.

    Targets of an item that had something and is left with nothing are masked too: there is nothing to predict from.

    Args:
        batch: any batch.
        kept: by modality, (batch,) or (batch, time) True where it stays; modalities that are not named stay.
    """
    inputs = dict(batch.inputs)
    for m, stays in kept.items():
        x, frames = inputs[m], stays if stays.dim() > 1 else stays.unsqueeze(1)
        inputs[m] = Masked(torch.where(frames.unsqueeze(-1), x.values, 0.0), x.mask & frames)
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
    """Each modality is switched off with a fixed probability (ModDrop: Neverova et al., TPAMI 2016).

    Args:
        rate: probability, the same for all modalities, or by modality; those that are not named always stay.
        per: what is lost together. item: a modality of an item. batch: a modality of the whole mini-batch (AV-HuBERT:
            Shi et al., ICLR 2022). frame: single frames of a modality (Parthasarathy & Sundaram, arXiv:2010.00734).
        keep_one: where an item would lose all that it has, one of its modalities stays whole, each with the same
            probability.
    """

    def __init__(
        self,
        rate: float | dict[str, float] = 0.2,
        *,
        per: Literal["item", "batch", "frame"] = "item",
        keep_one: bool = True,
    ) -> None:
        super().__init__()
        for value in rate.values() if isinstance(rate, dict) else [rate]:
            if not 0 <= value < 1:
                raise UserError(
                    f"ModalityDropout: rate is {rate}; expected a probability from 0 up to, not including, 1"
                )
        self.rate, self.per, self.keep_one = rate, per, keep_one

    def bind(self, features: Features, tasks: Tasks) -> None:
        """One random number per item and modality.

        Raises:
            UserError: a rate for a modality that is not offered.
        """
        given = self.rate if isinstance(self.rate, dict) else dict.fromkeys(features, self.rate)
        for m in given:
            if m not in features:
                raise UserError(f"ModalityDropout: `rate` names the modality {m!r}; {did_you_mean(m, features)}")
        self.rates = {m: given.get(m, 0.0) for m in features}
        self.n_draws = len(self.rates)

    def views(self, batch: Batch, step: int) -> list[View]:
        """One view, with some modalities off."""
        uniform = dict(zip(self.rates, batch.draws.unbind(1), strict=True))
        drawn = {m: _DRAWN_PER[self.per](u, batch.inputs[m].mask.shape[1]) for m, u in uniform.items()}
        stays = {m: u >= self.rates[m] for m, u in drawn.items()}
        if self.keep_one:
            lost = ~torch.stack([(batch.inputs[m].mask & s).any(1) for m, s in stays.items()]).any(0)
            there = torch.stack([batch.inputs[m].mask.any(1) for m in stays])
            luck = torch.stack([hashed(u, 0).squeeze(1) for u in uniform.values()])  # says nothing about `drawn`
            luckiest = torch.where(there, luck, -1.0).argmax(0)
            stays = {m: s | (lost & (luckiest == k)).unsqueeze(1) for k, (m, s) in enumerate(stays.items())}
        return [("dropped", 1.0, keep(batch, stays))]


_DRAWN_PER: dict[str, Callable[[Tensor, int], Tensor]] = {
    "item": lambda uniform, time: uniform.unsqueeze(1),
    "batch": lambda uniform, time: uniform[:1].expand_as(uniform).unsqueeze(1),
    "frame": lambda uniform, time: hashed(uniform, 1, time),
}


class JointSubsets(SubsetSchedule):
    """All modalities and each one alone, on the same mini-batch (Ma et al., CVPR 2022, arXiv:2204.05454).

    Args:
        full: weight of the pass with all modalities.
        single: weight of each pass with one modality; 1 is ours.
        weights: by modality, in place of `single`. Passes of weight 0 are left out.
    """

    def __init__(self, full: float = 1.0, *, single: float = 1.0, weights: dict[str, float] | None = None) -> None:
        super().__init__()
        self.full, self.single, self.given = full, single, weights or {}

    def bind(self, features: Features, tasks: Tasks) -> None:
        """Resolve the weights."""
        self.weights = weighted_subsets(features, self.full, self.single, self.given, schedule="JointSubsets")

    def views(self, batch: Batch, step: int) -> list[View]:
        """The full view, then ``only_<m>`` for each modality, if there is more than one."""
        return [(subset, weight, restrict(batch, subset)) for subset, weight in self.weights.items()]


class AlternatingSubsets(SubsetSchedule):
    """One subset per step, in turn: all modalities, then each one alone."""

    by_step = True

    def bind(self, features: Features, tasks: Tasks) -> None:
        """List the subsets."""
        self.subsets = list(weighted_subsets(features, schedule="AlternatingSubsets"))

    def views(self, batch: Batch, step: int) -> list[View]:
        """One view, ``full`` or ``only_<m>``."""
        subset = self.subsets[step % len(self.subsets)]
        return [(subset, 1.0, restrict(batch, subset))]


class StochasticSubsets(SubsetSchedule):
    """One subset per mini-batch, drawn: all modalities, or one alone.

    Args:
        full: chance of all modalities, in proportion to the others.
        single: the same for each modality alone; equal chances are ours.
        weights: by modality, in place of `single`.
    """

    def __init__(self, full: float = 1.0, *, single: float = 1.0, weights: dict[str, float] | None = None) -> None:
        super().__init__()
        self.full, self.single, self.given = full, single, weights or {}

    def bind(self, features: Features, tasks: Tasks) -> None:
        """Turn the chances into stretches of the unit interval; the draw of the first item decides for the batch."""
        self.n_draws = 1
        chances = weighted_subsets(features, self.full, self.single, self.given, schedule="StochasticSubsets")
        ends = [sum(list(chances.values())[: k + 1]) / sum(chances.values()) for k in range(len(chances) - 1)]
        self.stretches = dict(zip(chances, pairwise([0.0, *ends, 1.0]), strict=True))

    def views(self, batch: Batch, step: int) -> list[View]:
        """One view, ``drawn``."""
        draw = batch.draws[:1, 0]
        drawn = {subset: (draw >= low) & (draw < high) for subset, (low, high) in self.stretches.items()}
        stays = {}
        for m in batch.inputs:
            having = torch.stack([hit for subset, hit in drawn.items() if subset in ("full", f"only_{m}")])
            stays[m] = having.any(0).expand(batch.rows.shape)
        return [("drawn", 1.0, keep(batch, stays))]


def weighted_subsets(
    features: Features,
    full: float = 1.0,
    single: float = 1.0,
    weights: Mapping[str, float] | None = None,
    *,
    schedule: str,
) -> dict[str, float]:
    """All modalities (``full``) and each alone (``only_<m>``), with their weights; one modality is only ``full``.

    Args:
        features: the modalities.
        full: weight of all together.
        single: weight of each alone.
        weights: by modality, in place of `single`.
        schedule: name for messages.

    Returns:
        Those whose weight is not 0.

    Raises:
        UserError: a modality that is not offered, a negative weight, or nothing left.
    """
    given = weights or {}
    for m in given:
        if m not in features:
            raise UserError(f"{schedule}: `weights` names the modality {m!r}; {did_you_mean(m, features)}")
    several = list(features) if len(features) > 1 else []
    found = {"full": full, **{f"only_{m}": given.get(m, single) for m in several}}
    if min(found.values()) < 0 or not any(found.values()):
        raise UserError(f"{schedule}: weights must not be negative, and not all 0; got {found}")
    return {subset: float(weight) for subset, weight in found.items() if weight}


def restrict(batch: Batch, subset: str) -> Batch:
    """The batch itself for ``full``; for ``only_<m>`` with every other modality switched off."""
    if subset == "full":
        return batch
    nothing = torch.zeros_like(batch.rows, dtype=torch.bool)
    return keep(batch, {m: nothing for m in batch.inputs if subset != f"only_{m}"})


def _anything(inputs: Mapping[str, Masked]) -> Tensor:
    return torch.stack([x.mask.any(1) for x in inputs.values()], dim=1).any(1)


def _trailing(items: Tensor, like: Tensor) -> Tensor:
    """(batch,) with as many trailing axes of length 1 as `like` has more."""
    return items.reshape(items.shape + (1,) * (like.dim() - 1))
