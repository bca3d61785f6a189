"""Attention that stays finite when there is nothing to attend to."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mer_bench.errors import UserError


def attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor, *, heads: int) -> tuple[Tensor, Tensor]:
    """Scaled dot products, softmax and weighted sum by head, of what the linear layers before it gave.

    Args:
        query: (batch, queries, dim).
        key: (batch, keys, dim).
        value: (batch, keys, dim).
        mask: (batch, keys), or (batch, queries, keys) when queries may see different keys; True = may be seen.
        heads: divides dim.

    Returns:
        (batch, queries, dim), and (batch, queries or 1, 1) True where there was a key to see; elsewhere the result
        means nothing.
    """
    q, k, v = (x.unflatten(-1, (heads, -1)).transpose(1, 2) for x in (query, key, value))
    seen = mask.unsqueeze(1) if mask.dim() == 2 else mask  # (batch, queries or 1, keys)
    some = seen.any(-1, keepdim=True)
    # a row without keys sees all of them and is dropped afterwards: no kernel has to know about empty rows
    found = F.scaled_dot_product_attention(q, k, v, attn_mask=(seen | ~some).unsqueeze(1))
    return found.transpose(1, 2).flatten(-2), some


def divides(heads: int, dim: int) -> int:
    """The number of heads, when it divides the width.

    Raises:
        UserError: it does not.
    """
    if dim % heads:
        raise UserError(f"attention: {heads} heads do not divide a width of {dim}; choose a divisor of {dim}")
    return heads


class MultiHeadAttention(nn.Module):
    """Scaled dot-product attention with heads (Vaswani et al., NeurIPS 2017).

    Where no key is observed the result is zero, not NaN and not a bias, so that a residual around it is the identity.
    Keys and values have no bias: a bias of the keys shifts all scores of a query alike and cannot change the result
    (under Adam its rounding noise would still grow to full steps), a bias of the values is one of the output.

    Args:
        dim: features of queries and of the result.
        heads: divides `dim`.
        key_dim: features of what is attended to; `dim` by default.
    """

    def __init__(self, dim: int, heads: int, *, key_dim: int | None = None) -> None:
        super().__init__()
        self.heads = divides(heads, dim)
        self.query = nn.Linear(dim, dim)
        self.key_value = nn.Linear(dim if key_dim is None else key_dim, 2 * dim, bias=False)
        self.out = nn.Linear(dim, dim)

    def forward(self, query: Tensor, source: Tensor, mask: Tensor) -> Tensor:
        """Attend from `query` to `source`.

        Args:
            query: (batch, queries, dim).
            source: (batch, keys, key_dim), zero where masked.
            mask: (batch, keys), or (batch, queries, keys) when queries may see different keys; True = may be seen.

        Returns:
            (batch, queries, dim).
        """
        key, value = self.key_value(source).chunk(2, dim=-1)
        found, some = attend(self.query(query), key, value, mask, heads=self.heads)
        return torch.where(some, self.out(found), 0.0)


class TransformerLayer(nn.Module):
    """Self-attention and a feed-forward network, each normalised before and added after (pre-LN, Xiong et al., 2020).

    Args:
        dim: features.
        heads: divides `dim`.
        hidden: width of the feed-forward network; four times `dim` by default.
        dropout: on what each of the two adds.
    """

    def __init__(self, dim: int, heads: int, *, hidden: int | None = None, dropout: float = 0.1) -> None:
        super().__init__()
        hidden = 4 * dim if hidden is None else hidden
        self.norm_attention, self.norm_feed = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attention = MultiHeadAttention(dim, heads)
        self.feed = nn.Sequential(nn.Linear(dim, hidden), nn.GELU(), nn.Dropout(dropout), nn.Linear(hidden, dim))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Values (batch, time, dim) with mask (batch, time) or (batch, time, time); masked rows hold no meaning."""
        normed = self.norm_attention(x)
        x = x + self.dropout(self.attention(normed, normed, mask))
        return x + self.dropout(self.feed(self.norm_feed(x)))


class PostNormLayer(nn.Module):
    """Self-attention and a feed-forward network with ReLU, each added and then normalised (Vaswani et al., 2017).

    Args:
        dim: features.
        heads: divides `dim`.
        hidden: width of the feed-forward network.
        dropout: on what each of the two adds.
    """

    def __init__(self, dim: int, heads: int, *, hidden: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.attention = MultiHeadAttention(dim, heads)
        self.feed = nn.Sequential(nn.Linear(dim, hidden), nn.ReLU(), nn.Linear(hidden, dim))
        self.norm_attention, self.norm_feed = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Values (batch, time, dim), zero where masked, with mask (batch, time); masked rows hold no meaning."""
        x = self.norm_attention(x + self.dropout(self.attention(x, x, mask)))
        return self.norm_feed(x + self.dropout(self.feed(x)))


class TransformerStack(nn.Module):
    """Several `TransformerLayer`s and the closing normalisation that pre-LN needs; no layers: the identity.

    Args:
        dim: features.
        layers: how many.
        heads: divides `dim`.
        hidden: width of the feed-forward networks; four times `dim` by default.
        dropout: as in `TransformerLayer`.
    """

    def __init__(
        self, dim: int, layers: int, *, heads: int = 4, hidden: int | None = None, dropout: float = 0.1
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(TransformerLayer(dim, heads, hidden=hidden, dropout=dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(dim) if layers else nn.Identity()

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Values (batch, time, dim) with mask (batch, time) or (batch, time, time); masked rows hold no meaning."""
        for layer in self.layers:
            x = layer(x, mask)
        return self.norm(x)


class CrossAttentionStack(nn.Module):
    """Layers of cross-attention to a source that stays the same, without feed-forward network and positions.

    One layer: ``x = LayerNorm(x + Dropout(attention(x, source)))``. With an empty source the layers only normalise.

    Args:
        dim: features of the queries.
        key_dim: features of the source.
        layers: how many; only the queries change from one to the next.
        heads: divides `dim`.
        dropout: on what attention returns.
    """

    def __init__(self, dim: int, key_dim: int, *, layers: int = 2, heads: int = 4, dropout: float = 0.1) -> None:
        super().__init__()
        self.attentions = nn.ModuleList(MultiHeadAttention(dim, heads, key_dim=key_dim) for _ in range(layers))
        self.norms = nn.ModuleList(nn.LayerNorm(dim) for _ in range(layers))
        self.dropout = nn.Dropout(dropout)

    def forward(self, query: Tensor, source: Tensor, mask: Tensor) -> Tensor:
        """Query (batch, queries, dim), source (batch, keys, key_dim), mask (batch, keys) to (batch, queries, dim)."""
        for attention, norm in zip(self.attentions, self.norms, strict=True):
            query = norm(query + self.dropout(attention(query, source, mask)))
        return query


def sinusoidal_positions(time: int, like: Tensor) -> Tensor:
    """Sine and cosine codes of the positions 0 to `time` - 1 (Vaswani et al., 2017, section 3.5).

    Args:
        time: how many positions.
        like: a tensor whose last axis, device and dtype the codes take.

    Returns:
        (time, dim).
    """
    dim = like.shape[-1]
    half = (dim + 1) // 2
    index = torch.arange(half, device=like.device, dtype=torch.float32)
    angle = torch.arange(time, device=like.device).unsqueeze(-1) * torch.exp(index * (-math.log(10_000.0) / half))
    return torch.stack((angle.sin(), angle.cos()), dim=-1).flatten(-2)[:, :dim].to(like.dtype)
