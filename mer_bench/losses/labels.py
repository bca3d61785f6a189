"""Which items of a batch belong together by their labels: classes, label sets, or distances of a regression."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from mer_bench.errors import UserError
from mer_bench.types import Kind, Masked, Tasks, TaskSpec

LabelSets = Literal["half", "any", "jaccard"]


class Relation(NamedTuple):
    """Which items of a batch belong together by their labels.

    Attributes:
        same: (batch, batch) how much two items are positives of each other: bool, or a share from 0 to 1. An item is
            wholly one of itself.
        other: (batch, batch) True where they may serve as negatives.
        known: (batch,) True where the labels are known; elsewhere the other two mean nothing.
    """

    same: Tensor
    other: Tensor
    known: Tensor


Relate = Callable[[Masked], Relation]


def by_class(target: Masked) -> Relation:
    """One class per item: the same class or another one; target values (batch,)."""
    same = target.values.unsqueeze(1) == target.values.unsqueeze(0)
    return Relation(same, ~same, target.mask)


def by_label_set(target: Masked) -> Relation:
    """Several labels per item (ours): positives share half of their labels or more, negatives none.

    Share = Jaccard index of the two label sets; two items without any label are alike. Target values (batch, labels).
    """
    shared, union = _shared_and_union(target)
    return Relation(2 * shared >= union, (shared == 0) & (union > 0), target.mask.all(-1))


def by_any_label(target: Masked) -> Relation:
    """Several labels per item (ours): positives share a label, negatives none; target values (batch, labels)."""
    shared, union = _shared_and_union(target)
    other = (shared == 0) & (union > 0)
    return Relation(~other, other, target.mask.all(-1))


def by_jaccard(target: Masked) -> Relation:
    """Several labels per item (ours): positives as far as their sets agree (Jaccard index), negatives share none."""
    shared, union = _shared_and_union(target)
    index = torch.where(union > 0, shared / union.clamp(min=1), 1.0)
    return Relation(index, (shared == 0) & (union > 0), target.mask.all(-1))


def by_distance(target: Masked, *, spread: tuple[float, ...], bandwidth: float, apart: float) -> Relation:
    """A regression (ours): positives by a Gaussian kernel of their distance, negatives where it is large.

    d² = mean over dimensions of ((y_i - y_j) / spread)²; same = exp(-d² / (2 bandwidth²)), other = d > apart.

    Args:
        target: values (batch, dimensions).
        spread: standard deviation of each dimension; a dimension without any does not count.
        bandwidth: in standard deviations.
        apart: in standard deviations.
    """
    values = torch.where(target.mask, target.values, 0.0)
    scaled = torch.stack([values[:, k] / s for k, s in enumerate(spread) if s > 0], dim=-1)
    squared = (scaled.unsqueeze(1) - scaled.unsqueeze(0)).square().mean(-1)
    return Relation(torch.exp(-squared / (2 * bandwidth**2)), squared > apart**2, target.mask.all(-1))


def commonest_class(target: Masked, *, size: int) -> Masked:
    """The class of a window: that of most of its labelled frames, the first of several; (batch, time) to (batch,)."""
    votes = torch.stack([((target.values == k) & target.mask).sum(1) for k in range(size)], dim=-1)
    return Masked(votes.argmax(-1), target.mask.any(1))


def mean_over_time(target: Masked) -> Masked:
    """The mean of each dimension over its labelled frames; (batch, time, size) to (batch, size)."""
    total = torch.where(target.mask, target.values, 0.0).sum(1)
    return Masked(total / target.mask.sum(1).clamp(min=1), target.mask.any(1))


def commonest_labels(target: Masked) -> Masked:
    """The labels of a window: those of half of its labelled frames or more; (batch, time, size) to (batch, size)."""
    share = mean_over_time(target)
    return Masked((share.values >= 0.5).to(share.values.dtype), share.mask)


def per_item(spec: TaskSpec, target: Masked) -> Masked:
    """The target of each item; for frame-level tasks what its labelled frames say together (ours)."""
    return target if spec.level == "item" else _PER_WINDOW[spec.kind](target, spec)


def label_task(
    tasks: Tasks, *, loss: str, label_sets: LabelSets = "half", bandwidth: float = 0.5, apart: float = 1.0
) -> tuple[str, Relate]:
    """The task whose labels say which items belong together, and how they do.

    The first task with one class per item, or else the first with several labels per item, or else the first
    regression.

    Args:
        tasks: by name.
        loss: name for messages.
        label_sets: when items with several labels are alike.
        bandwidth: of the kernel of a regression, in standard deviations.
        apart: from which distance on two items may be negatives of each other, in standard deviations.

    Raises:
        UserError: a regression without the spread of its training part.
    """
    order: tuple[Kind, ...] = ("multiclass", "multilabel", "regression")
    name, spec = min(tasks.items(), key=lambda item: order.index(item[1].kind))
    relations: Mapping[Kind, Callable[[], Relate]] = {
        "multiclass": lambda: by_class,
        "multilabel": lambda: _LABEL_SETS[label_sets],
        "regression": lambda: partial(by_distance, spread=_spread(name, spec, loss), bandwidth=bandwidth, apart=apart),
    }
    return name, partial(_related, spec, relations[spec.kind]())


def _related(spec: TaskSpec, relate: Relate, target: Masked) -> Relation:
    """The relation of items, from the target as the batch has it."""
    return relate(per_item(spec, target))


def _spread(name: str, spec: TaskSpec, loss: str) -> tuple[float, ...]:
    if spec.spread is None or not any(s > 0 for s in spec.spread):
        raise UserError(
            f"{loss}: measures distances of {name} in standard deviations of the training part (TaskSpec.spread), "
            f"which are {spec.spread}; remove this loss from model.auxiliary"
        )
    return spec.spread


def _shared_and_union(target: Masked) -> tuple[Tensor, Tensor]:
    """Number of labels that two items share, and that either has; each (batch, batch)."""
    sets = torch.where(target.mask, target.values, 0.0)
    shared = (sets.unsqueeze(1) * sets.unsqueeze(0)).sum(-1)
    return shared, sets.sum(-1).unsqueeze(1) + sets.sum(-1).unsqueeze(0) - shared


_LABEL_SETS: dict[LabelSets, Relate] = {"half": by_label_set, "any": by_any_label, "jaccard": by_jaccard}
_PER_WINDOW: dict[Kind, Callable[[Masked, TaskSpec], Masked]] = {
    "multiclass": lambda target, spec: commonest_class(target, size=spec.size),
    "multilabel": lambda target, spec: commonest_labels(target),
    "regression": lambda target, spec: mean_over_time(target),
}
