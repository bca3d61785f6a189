"""One sequence looks at another: both in, one out, with a mask that says where the result means something."""

from __future__ import annotations

from torch import nn

from mer_bench.nn.attention import MultiHeadAttention, attend, divides
from mer_bench.nn.masking import zeroed
from mer_bench.types import Masked


class CrossAttention(nn.Module):
    """Queries of one sequence, keys and values of the other; nothing is added, normalised or passed on.

    Args:
        dim: features of both.
        heads: divides `dim`.
    """

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.attention = MultiHeadAttention(dim, heads)

    def forward(self, query: Masked, source: Masked) -> Masked:
        """Values (batch, queries, dim) and (batch, keys, dim), zero where masked, to (batch, queries, dim).

        A step of the result is observed where the query is and the source has anything at all.
        """
        found = self.attention(query.values, source.values, source.mask)
        mask = query.mask & source.mask.any(-1, keepdim=True)
        return Masked(zeroed(Masked(found, mask)), mask)


class KeyBasedAttention(nn.Module):
    """Attention read as softmax(K Qᵀ / √d) V with Q from one sequence, K and V from the other.

    Rows of the result follow the source and mix the source's own values; the queries only shape the weights. Both
    sequences must be equally long. Steps that either of them lacks get no weight. Queries and values have no bias,
    for the reason given in `MultiHeadAttention`.

    Args:
        dim: features of both.
        heads: divides `dim`.
    """

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = divides(heads, dim)
        self.query, self.value = nn.Linear(dim, dim, bias=False), nn.Linear(dim, dim, bias=False)
        self.key, self.out = nn.Linear(dim, dim), nn.Linear(dim, dim)

    def forward(self, query: Masked, source: Masked) -> Masked:
        """Values (batch, time, dim) of both, zero where masked, to (batch, time, dim).

        A step of the result is observed where the source is and both have a step in common.
        """
        both = query.mask & source.mask
        key, value = self.key(source.values), self.value(source.values)
        found, _ = attend(key, self.query(query.values), value, both, heads=self.heads)
        mask = source.mask & both.any(-1, keepdim=True)
        return Masked(zeroed(Masked(self.out(found), mask)), mask)
