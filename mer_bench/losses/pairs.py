"""What losses on pairs of modalities share: which pairs, which labels, which hidden tensors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from mer_bench.errors import UserError, did_you_mean
from mer_bench.nn.masking import at_least_single
from mer_bench.types import Batch, Features, Masked, Outputs, Tasks

Pair = tuple[str, str]


def pairs_between(between: Sequence[Pair] | None, features: Features, *, loss: str) -> list[Pair]:
    """The pairs asked for, or every pair that the data offer.

    Args:
        between: pairs of modalities, or None for all.
        features: what is offered.
        loss: name for messages.

    Raises:
        UserError: a pair with a modality that is not offered, or no pair at all.
    """
    pairs = list(combinations(features, 2)) if between is None else [(a, b) for a, b in between]
    for m in (m for pair in pairs for m in pair):
        if m not in features:
            raise UserError(
                f"{loss}: `between` names the modality {m!r}, which is not offered; {did_you_mean(m, features)}"
            )
    if not pairs or any(a == b for a, b in pairs):
        raise UserError(f"{loss}: needs pairs of two different modalities; offered: {', '.join(features) or 'none'}")
    return pairs


class Relation(NamedTuple):
    """Which items of a batch belong together by their labels.

    Attributes:
        same: (batch, batch) True where two items are positives of each other; an item is one of itself.
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
    sets = torch.where(target.mask, target.values, 0.0)
    shared = (sets.unsqueeze(1) * sets.unsqueeze(0)).sum(-1)
    union = sets.sum(-1).unsqueeze(1) + sets.sum(-1).unsqueeze(0) - shared
    same = 2 * shared >= union
    return Relation(same, (shared == 0) & (union > 0), target.mask.all(-1))


_RELATIONS: dict[str, Relate] = {"multiclass": by_class, "multilabel": by_label_set}


def label_task(tasks: Tasks, *, loss: str) -> tuple[str, Relate]:
    """The task whose labels say which items belong together, and how they do.

    The first task with one class per item, or else the first with several labels per item.

    Raises:
        UserError: there is none.
    """
    for kind, relate in _RELATIONS.items():
        for name, spec in tasks.items():
            if spec.kind == kind and spec.level == "item":
                return name, relate
    found = ", ".join(f"{name} ({spec.kind}, {spec.level})" for name, spec in tasks.items())
    raise UserError(
        f"{loss}: needs a task with classes or labels per item to tell which items belong together; found {found}. "
        f"Remove this loss from model.auxiliary"
    )


def item_level(tasks: Tasks, *, loss: str) -> None:
    """Check that embeddings stand for whole items.

    Raises:
        UserError: frame-level tasks.
    """
    frames = [name for name, spec in tasks.items() if spec.level == "frame"]
    if frames:
        raise UserError(
            f"{loss}: compares whole items, but {', '.join(frames)} is labelled per frame; remove this loss"
        )


def hidden(outputs: Outputs, key: str, *, loss: str) -> Tensor:
    """A named intermediate of the method.

    Raises:
        UserError: the method does not provide it; the message lists what it does provide.
    """
    if key not in outputs.hidden:
        known = ", ".join(sorted(outputs.hidden)) or "nothing"
        raise UserError(
            f"{loss}: the method does not provide {key!r}; it provides {known}. "
            f"Choose a method whose card lists it, or remove this loss from model.auxiliary"
        )
    return outputs.hidden[key]


def have_both(batch: Batch, a: str, b: str) -> Tensor:
    """(batch,) True where an item has something of both modalities."""
    return batch.inputs[a].mask.any(1) & batch.inputs[b].mask.any(1)


def cosine(a: Tensor, b: Tensor) -> Tensor:
    """Cosine of every row of `a` with every row of `b`, in single precision even under autocast.

    Args:
        a: (batch, dim).
        b: (batch, dim).

    Returns:
        (batch, batch).
    """
    with torch.autocast(a.device.type, enabled=False):
        return F.normalize(at_least_single(a), dim=-1) @ F.normalize(at_least_single(b), dim=-1).T
