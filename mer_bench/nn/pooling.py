"""From many observed vectors to one: over frames, or over modalities."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mer_bench.nn.masking import masked_softmax
from mer_bench.types import Masked


def masked_mean(x: Masked) -> Tensor:
    """Mean over the observed entries of the axis before the last; zero where nothing is observed.

    Args:
        x: values (..., n, dim) with mask (..., n).

    Returns:
        (..., dim).
    """
    total = torch.where(x.mask.unsqueeze(-1), x.values, 0.0).sum(-2)
    return total / x.mask.sum(-1, keepdim=True).clamp(min=1)


def masked_max(x: Masked) -> Tensor:
    """Largest observed entry by feature; zero where nothing is observed.

    Args:
        x: values (..., n, dim) with mask (..., n).

    Returns:
        (..., dim).
    """
    lowest = torch.finfo(x.values.dtype).min
    largest = torch.where(x.mask.unsqueeze(-1), x.values, lowest).amax(-2)
    return torch.where(x.mask.any(-1, keepdim=True), largest, 0.0)


def last_observed(x: Masked) -> Tensor:
    """The last observed entry of the axis before the last; zero where nothing is observed.

    Args:
        x: values (..., n, dim) with mask (..., n).

    Returns:
        (..., dim).
    """
    position = torch.where(x.mask, torch.arange(x.mask.shape[-1], device=x.mask.device), 0).amax(-1)
    found = x.values.take_along_dim(position[..., None, None], dim=-2).squeeze(-2)
    return torch.where(x.mask.any(-1, keepdim=True), found, 0.0)


class AttentionPool(nn.Module):
    """Mean weighted by learned scores, one set of weights per head (self-attentive pooling, Lin et al., ICLR 2017).

    Every head scores the entries by itself and averages its own slice of the features; zero where nothing is
    observed.

    Args:
        dim: features.
        heads: divides `dim`.
    """

    def __init__(self, dim: int, *, heads: int = 1) -> None:
        super().__init__()
        self.heads = heads
        # without bias: a constant added to all scores changes nothing
        self.score = nn.Linear(dim, heads, bias=False)

    def forward(self, x: Masked) -> Tensor:
        """Values (..., n, dim) with mask (..., n) to (..., dim)."""
        clean = torch.where(x.mask.unsqueeze(-1), x.values, 0.0)
        weights = masked_softmax(self.score(clean), x.mask.unsqueeze(-1), dim=-2)  # (..., n, heads)
        by_head = clean.unflatten(-1, (self.heads, -1))  # (..., n, heads, dim / heads)
        return (weights.unsqueeze(-1) * by_head).sum(-3).flatten(-2)
