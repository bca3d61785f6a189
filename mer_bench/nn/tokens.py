"""Modalities as a few tokens each, and fusion in which one of them leads: the parts that ALMT and LNLN share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mer_bench.nn.attention import TransformerLayer, attend, divides, sinusoidal_positions
from mer_bench.nn.masking import zeroed
from mer_bench.nn.stacks import StackedCrossLayer, StackedLinear, StackedNorm, padded_stack
from mer_bench.types import Features, Masked


class TokenEncoder(nn.Module):
    """Learned tokens of each modality look at its frames; what becomes of them stands for the modality.

    The transformers of all modalities have one shape and are one stack. The last layer is computed for the tokens only.

    Args:
        features: the modalities.
        dim: width of the tokens.
        tokens: how many for each modality.
        layers: pre-LN layers over tokens and frames, one or more.
        heads: divides `dim`.
        hidden: width of the feed-forward networks.
        dropout: in the layers.
    """

    def __init__(
        self, features: Features, dim: int, *, tokens: int, layers: int, heads: int, hidden: int, dropout: float
    ) -> None:
        super().__init__()
        self.encoders = nn.ModuleDict({m: nn.Linear(spec.dim, dim) for m, spec in features.items()})
        self.tokens = nn.Parameter(torch.randn(len(features), 1, tokens, dim))
        self.layers = nn.ModuleList(
            StackedCrossLayer(len(features), dim, heads, hidden=hidden, dropout=dropout, activation=nn.GELU)
            for _ in range(layers)
        )

    def forward(self, inputs: Mapping[str, Masked]) -> Masked:
        """Values (modalities, batch, tokens, dim), and a mask (modalities, batch): which modality was there at all.

        Tokens of a modality that is absent know nothing; they are the same for every item.
        """
        frames = padded_stack([self._placed(m, inputs[m]) for m in self.encoders])
        tokens = self.tokens.expand(-1, frames.mask.shape[1], -1, -1)
        x = torch.cat([tokens, frames.values], dim=2)
        mask = F.pad(frames.mask, (tokens.shape[2], 0), value=True)
        *first, last = self.layers
        for layer in first:
            x = layer(x, x, mask)
        return Masked(last(x[:, :, : tokens.shape[2]], x, mask), frames.mask.any(-1))

    def _placed(self, m: str, x: Masked) -> Masked:
        frames = self.encoders[m](zeroed(x))
        placed = Masked(frames + sinusoidal_positions(frames.shape[1], like=frames), x.mask)
        return Masked(zeroed(placed), x.mask)


def leader(preferred: Sequence[str] | None, features: Features) -> str:
    """The first of the preferred modalities that is offered, or else the first that is offered."""
    return next((m for m in preferred or () if m in features), next(iter(features)))


class HyperLayer(nn.Module):
    """What one modality finds when it looks at each of the others, added up, is added to a representation of its own.

    ``h + Dropout(W Σ_m attention(norm(leader), norm(other_m)))``, with keys and values of its own for every other one.

    Args:
        others: how many.
        dim: features.
        heads: divides `dim`.
        dropout: on what is added.
    """

    def __init__(self, others: int, dim: int, heads: int, *, dropout: float) -> None:
        super().__init__()
        self.heads = divides(heads, dim)
        self.norm_leader, self.norm_others = nn.LayerNorm(dim), StackedNorm(others, dim)
        self.query, self.out = nn.Linear(dim, dim, bias=False), nn.Linear(dim, dim)
        self.key_value = StackedLinear(others, dim, 2 * dim, bias=False)
        self.dropout = nn.Dropout(dropout)

    def forward(self, hyper: Tensor, leading: Tensor, others: Masked) -> Tensor:
        """Hyper and leading tokens (batch, tokens, dim); others (others, batch, tokens, dim), mask (others, batch)."""
        shape = others.mask.shape
        query = self.query(self.norm_leader(leading)).expand(*shape, -1, -1).flatten(0, 1)
        key, value = self.key_value(self.norm_others(others.values)).flatten(0, 1).chunk(2, dim=-1)
        tokens = others.mask.unsqueeze(-1).expand(*shape, key.shape[1]).flatten(0, 1)
        found, _ = attend(query, key, value, tokens, heads=self.heads)
        seen = torch.where(others.mask[..., None, None], found.unflatten(0, shape), 0.0)
        return hyper + self.dropout(self.out(seen.sum(0)))


class HyperFusion(nn.Module):
    """Leading tokens, layer by layer, gather a hyper representation from the others, then look at it themselves.

    Args:
        others: how many modalities beside the leading one.
        dim: features.
        tokens: of every modality.
        layers: hyper layers; before each but the first the leading tokens pass a pre-LN transformer layer.
        fusion_layers: pre-LN layers in which the leading tokens look at the hyper representation.
        heads: divides `dim`.
        hidden: width of the feed-forward networks.
        dropout: in all layers.
    """

    def __init__(
        self,
        others: int,
        dim: int,
        *,
        tokens: int,
        layers: int,
        fusion_layers: int,
        heads: int,
        hidden: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.positions = nn.Parameter(torch.randn(3, tokens, dim))
        self.hyper = nn.Parameter(torch.ones(tokens, dim))
        self.leading = nn.ModuleList(
            TransformerLayer(dim, heads, hidden=hidden, dropout=dropout) for _ in range(layers - 1)
        )
        self.gather = nn.ModuleList(HyperLayer(others, dim, heads, dropout=dropout) for _ in range(layers))
        self.fuse = nn.ModuleList(
            StackedCrossLayer(1, dim, heads, hidden=hidden, dropout=dropout, activation=nn.GELU)
            for _ in range(fusion_layers)
        )

    def forward(self, leading: Tensor, others: Masked) -> Tensor:
        """Leading tokens (batch, tokens, dim) and the others (others, batch, tokens, dim) to (batch, dim)."""
        leading = leading + self.positions[0]
        everything = leading.new_ones(leading.shape[:2], dtype=torch.bool)
        first, *further = self.gather
        hyper = first(self.hyper, leading, others)
        for layer, gather in zip(self.leading, further, strict=True):
            leading = layer(leading, everything)
            hyper = gather(hyper, leading, others)
        query, source = (leading + self.positions[1]).unsqueeze(0), (hyper + self.positions[2]).unsqueeze(0)
        for layer in self.fuse:
            query = layer(query, source, everything.unsqueeze(0))
        return query.squeeze(0).mean(-2)
