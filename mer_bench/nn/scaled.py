"""Self-attention layers that learn how much of what they were given they keep."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mer_bench.nn.attention import attend, divides
from mer_bench.nn.stacks import StackedLinear, StackedNorm


class StackedScaledLayer(nn.Module):
    """`n` pre-LN self-attention layers side by side, each with a learned α for residual and update.

    One layer: ``x = α x + (1 - α) Dropout(attention(norm(x)))``, ``x = α x + (1 - α) Dropout(feed(norm(x)))``, α drawn
    between 0 and 1 at the start and free afterwards. Source: the main network of AuxFormer (Goncalves & Busso, ICASSP
    2022), github.com/ilucasgoncalves/AuxFormer, modules/transformer.py at 35a7434. Otherwise as `StackedCrossLayer`:
    ReLU, no bias of keys and values.

    Args:
        n: how many.
        dim: features.
        heads: divides `dim`.
        hidden: width of the feed-forward networks.
        dropout: on each update, and inside the feed-forward network.
    """

    def __init__(self, n: int, dim: int, heads: int, *, hidden: int, dropout: float) -> None:
        super().__init__()
        self.heads = divides(heads, dim)
        self.alpha = nn.Parameter(torch.rand(n, 1, 1, 1))
        self.norm_attention, self.norm_feed = StackedNorm(n, dim), StackedNorm(n, dim)
        self.query, self.out = StackedLinear(n, dim, dim), StackedLinear(n, dim, dim)
        self.key_value = StackedLinear(n, dim, 2 * dim, bias=False)
        self.feed = nn.Sequential(
            StackedLinear(n, dim, hidden), nn.ReLU(), nn.Dropout(dropout), StackedLinear(n, hidden, dim)
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Attend and feed forward; where nothing is observed, attention adds nothing.

        Args:
            x: (n, batch, time, dim), finite where masked.
            mask: (n, batch, time), True = may be seen.

        Returns:
            (n, batch, time, dim).
        """
        normed = self.norm_attention(x)
        key, value = self.key_value(normed).flatten(0, 1).chunk(2, dim=-1)
        found, some = attend(self.query(normed).flatten(0, 1), key, value, mask.flatten(0, 1), heads=self.heads)
        shape = x.shape[:2]
        seen = torch.where(some.unflatten(0, shape), self.out(found.unflatten(0, shape)), 0.0)
        x = self._mixed(x, seen)
        return self._mixed(x, self.feed(self.norm_feed(x)))

    def _mixed(self, x: Tensor, update: Tensor) -> Tensor:
        return self.alpha * x + (1 - self.alpha) * self.dropout(update)
