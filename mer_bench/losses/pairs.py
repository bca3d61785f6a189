"""What losses on pairs of modalities share: which pairs, which labels, which hidden tensors."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

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


def label_task(tasks: Tasks, *, loss: str) -> str:
    """The task whose labels say which items belong together: the first with one class per item.

    Raises:
        UserError: there is none.
    """
    for name, spec in tasks.items():
        if spec.kind == "multiclass" and spec.level == "item":
            return name
    found = ", ".join(f"{name} ({spec.kind}, {spec.level})" for name, spec in tasks.items())
    raise UserError(
        f"{loss}: needs a task with one class per item (multiclass, item) to tell which items belong together; "
        f"found {found}. Remove this loss from model.auxiliary"
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


def same_label(target: Masked) -> Tensor:
    """(batch, batch) True where two items carry the same class; masked labels mean nothing here."""
    return target.values.unsqueeze(1) == target.values.unsqueeze(0)


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
