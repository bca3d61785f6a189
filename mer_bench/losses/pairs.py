"""What losses on pairs of modalities share: which pairs, which hidden tensors, and who is there."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import torch
import torch.nn.functional as F
from torch import Tensor

from mer_bench.errors import UserError, did_you_mean
from mer_bench.nn.masking import at_least_single
from mer_bench.nn.pooling import masked_mean
from mer_bench.types import Batch, Features, Masked, Outputs

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


def present(batch: Batch, modality: str, like: Tensor) -> Tensor:
    """Where a hidden tensor of a modality stands for something observed: its shape without the last axis.

    Args:
        batch: what the method saw.
        modality: by name.
        like: (batch, dim), or (batch, time, dim) on the clock of the modality.
    """
    mask = batch.inputs[modality].mask
    return mask if like.dim() > 2 else mask.any(1)


def present_any(batch: Batch, like: Tensor) -> Tensor:
    """The same for a tensor made from all modalities: where any of them is observed."""
    return torch.stack([present(batch, m, like) for m in batch.inputs]).any(0)


def whole_items(x: Tensor, mask: Tensor) -> Tensor:
    """One vector per item: (batch, dim) as it is, (batch, time, dim) averaged over what is observed.

    Args:
        x: hidden tensor.
        mask: (batch,) or (batch, time), see `present`.
    """
    x = at_least_single(x)
    return masked_mean(Masked(x, mask)) if x.dim() > 2 else x


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
