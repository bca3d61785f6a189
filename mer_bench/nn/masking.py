"""The arithmetic of absence: what is masked must never reach a result, not even as NaN."""

from __future__ import annotations

import torch
from torch import Tensor

from mer_bench.types import Masked


def zeroed(x: Masked) -> Tensor:
    """The values with zeros wherever nothing was observed, whatever stood there before.

    `torch.where` and not a product: zero times NaN is NaN.

    Args:
        x: values (..., dim) with mask (...).
    """
    return torch.where(x.mask.unsqueeze(-1), x.values, 0.0)


def masked_softmax(scores: Tensor, mask: Tensor, dim: int = -1) -> Tensor:
    """Softmax over the observed entries; zero elsewhere, and zero everywhere when nothing is observed.

    Args:
        scores: any shape.
        mask: broadcasts against `scores`, True = observed.
        dim: the axis that sums to one.
    """
    filled = torch.where(mask, scores, torch.finfo(scores.dtype).min)
    return torch.where(mask, filled.softmax(dim), 0.0)


def at_least_single(x: Tensor) -> Tensor:
    """The tensor in single precision if it came in a shorter one (autocast), else as it is."""
    return x.to(torch.promote_types(x.dtype, torch.float32))
