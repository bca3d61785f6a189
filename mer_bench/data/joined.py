"""Several stores as one, so that runs on different folds gather their batches in one go.

Folds differ in their normalisation, and windows in where they start, so each fold keeps its own rows; views are
numbered through. One view more, the last, has no rows and no label: steps of members with less to do are filled up
with it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mer_bench.data.store import Flat, FrameTargets, Ragged, Store


@dataclass(frozen=True)
class Joined:
    """Stores end to end.

    Attributes:
        store: all of them.
        first: number of the first view of each.
        nothing: number of the view without content.
    """

    store: Store
    first: tuple[int, ...]
    nothing: int


def join(stores: Sequence[Store]) -> Joined:
    """The stores as one.

    Args:
        stores: of one feature file and the same modalities and tasks.
    """
    inputs = {m: _join_inputs([s.inputs[m] for s in stores]) for m in stores[0].inputs}
    targets: dict[str, Flat | FrameTargets] = {}
    for name, target in stores[0].targets.items():
        targets[name] = _JOIN[type(target)]([s.targets[name] for s in stores])
    counts = [len(next(iter(s.inputs.values())).lengths) for s in stores]
    first = tuple(sum(counts[:j]) for j in range(len(counts)))
    return Joined(Store(inputs, targets), first, sum(counts))


def _join_inputs(parts: Sequence[Ragged]) -> Ragged:
    values, observed = torch.cat([p.values for p in parts]), torch.cat([p.observed for p in parts])
    lengths = _numbered([p.lengths for p in parts], [0] * len(parts))
    if parts[0].rows is None:
        return Ragged(values, observed, _numbered([p.starts for p in parts], [len(p.observed) for p in parts]), lengths)
    rows = [p.rows for p in parts if p.rows is not None]
    starts = _numbered([p.starts for p in parts], [len(r) for r in rows])
    return Ragged(values, observed, starts, lengths, _shifted(rows, [len(p.observed) for p in parts]))


def _join_items(parts: Sequence[Flat]) -> Flat:
    values, mask = torch.cat([p.values for p in parts]), torch.cat([p.mask for p in parts])
    return Flat(torch.cat([values, torch.zeros_like(values[:1])]), torch.cat([mask, torch.zeros_like(mask[:1])]))


def _join_frames(parts: Sequence[FrameTargets]) -> FrameTargets:
    return FrameTargets(
        torch.cat([p.values for p in parts]),
        torch.cat([p.mask for p in parts]),
        _numbered([p.starts for p in parts], [len(p.values) for p in parts]),
        _numbered([p.lengths for p in parts], [0] * len(parts)),
    )


def _shifted(parts: Sequence[Tensor], sizes: Sequence[int]) -> Tensor:
    """End to end, each raised by the sizes of those before it."""
    return torch.cat([part + sum(sizes[:j]) for j, part in enumerate(parts)])


def _numbered(parts: Sequence[Tensor], sizes: Sequence[int]) -> Tensor:
    """The same, and a zero for the view without content."""
    joined = _shifted(parts, sizes)
    return torch.cat([joined, joined.new_zeros(1)])


_JOIN: dict[type, Callable[[Sequence], Flat | FrameTargets]] = {Flat: _join_items, FrameTargets: _join_frames}
