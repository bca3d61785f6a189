"""Several networks of one shape computed at once: the same arithmetic as one after the other, in far fewer calls."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mer_bench.nn.attention import attend, divides
from mer_bench.types import Masked


class StackedLinear(nn.Module):
    """`n` linear layers side by side, each with its own input; weights by Xavier's uniform rule, biases zero.

    Args:
        n: how many.
        in_dim: width of the inputs.
        out_dim: width of the results.
        bias: whether they have one.
    """

    def __init__(self, n: int, in_dim: int, out_dim: int, *, bias: bool = True) -> None:
        super().__init__()
        bound = (6 / (in_dim + out_dim)) ** 0.5
        self.weight = nn.Parameter(torch.empty(n, in_dim, out_dim).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.zeros(n, out_dim)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        """(n, ..., in_dim) to (n, ..., out_dim)."""
        product = torch.bmm(x.flatten(1, -2), self.weight).unflatten(1, x.shape[1:-1])
        return product if self.bias is None else product + _spread(self.bias, product)


class StackedNorm(nn.Module):
    """`n` layer normalisations side by side.

    Args:
        n: how many.
        dim: width.
    """

    def __init__(self, n: int, dim: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(n, dim)), nn.Parameter(torch.zeros(n, dim))

    def forward(self, x: Tensor) -> Tensor:
        """(n, ..., dim) to the same shape."""
        normed = F.layer_norm(x, x.shape[-1:])
        return normed * _spread(self.weight, x) + _spread(self.bias, x)


class StackedCrossLayer(nn.Module):
    """`n` pre-LN transformer layers side by side, whose queries look at a source; self-attention where both are one.

    One layer: ``x = x + Dropout(attention(norm(x), norm(source)))``, ``x = x + Dropout(feed(norm(x)))``.
    Queries and source share their normalisation. Keys and values have no bias (see `MultiHeadAttention`).

    Args:
        n: how many.
        dim: features.
        heads: divides `dim`.
        hidden: width of the feed-forward networks.
        dropout: on what each of the two adds, and inside the feed-forward network.
        activation: in the feed-forward network.
    """

    def __init__(
        self, n: int, dim: int, heads: int, *, hidden: int, dropout: float, activation: type[nn.Module] = nn.ReLU
    ) -> None:
        super().__init__()
        self.heads = divides(heads, dim)
        self.norm_attention, self.norm_feed = StackedNorm(n, dim), StackedNorm(n, dim)
        self.query, self.out = StackedLinear(n, dim, dim), StackedLinear(n, dim, dim)
        self.key_value = StackedLinear(n, dim, 2 * dim, bias=False)
        self.feed = nn.Sequential(
            StackedLinear(n, dim, hidden), activation(), nn.Dropout(dropout), StackedLinear(n, hidden, dim)
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, source: Tensor, mask: Tensor) -> Tensor:
        """Attend and feed forward; where a source is empty, attention adds nothing.

        Args:
            x: (n, batch, queries, dim).
            source: (n, batch, keys, dim), finite where masked.
            mask: (n, batch, keys), True = may be seen.

        Returns:
            (n, batch, queries, dim).
        """
        query = self.query(self.norm_attention(x)).flatten(0, 1)
        key, value = self.key_value(self.norm_attention(source)).flatten(0, 1).chunk(2, dim=-1)
        found, some = attend(query, key, value, mask.flatten(0, 1), heads=self.heads)
        shape = x.shape[:2]
        seen = torch.where(some.unflatten(0, shape), self.out(found.unflatten(0, shape)), 0.0)
        x = x + self.dropout(seen)
        return x + self.dropout(self.feed(self.norm_feed(x)))


def padded_stack(sequences: Sequence[Masked]) -> Masked:
    """Sequences of one width, padded to the longest: values (n, batch, time, dim), mask (n, batch, time).

    Args:
        sequences: values (batch, time, dim) with mask (batch, time), each with a time of its own.
    """
    longest = max(x.mask.shape[1] for x in sequences)
    more = [longest - x.mask.shape[1] for x in sequences]
    values = [F.pad(x.values, (0, 0, 0, k)) for x, k in zip(sequences, more, strict=True)]
    masks = [F.pad(x.mask, (0, k), value=False) for x, k in zip(sequences, more, strict=True)]
    return Masked(torch.stack(values), torch.stack(masks))


def _spread(parameter: Tensor, like: Tensor) -> Tensor:
    """(n, dim) with axes of length 1 between, to stand beside (n, ..., dim)."""
    return parameter.view(parameter.shape[0], *[1] * (like.dim() - 2), parameter.shape[1])
