"""Every modality looks at every other one, and remembers: the transformers that MulT and DMD share."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations

import torch
from torch import Tensor, nn

from mer_bench.nn.attention import sinusoidal_positions
from mer_bench.nn.masking import zeroed
from mer_bench.nn.pooling import last_observed
from mer_bench.nn.stacks import StackedCrossLayer, StackedNorm
from mer_bench.types import Masked


class SelfStack(nn.Module):
    """Several pre-LN transformers of one shape side by side, with positions; read at the last step, or at all.

    The last layer is computed for the step that is read only, which does not change the result.

    Args:
        n: how many.
        dim: width of each.
        heads: divides `dim`.
        layers: of each.
        dropout: in the layers.
        embed_dropout: on the input.
        frames: read every step.
    """

    def __init__(
        self, n: int, dim: int, heads: int, *, layers: int, dropout: float, embed_dropout: float, frames: bool
    ) -> None:
        super().__init__()
        self.frames = frames
        self.layers = nn.ModuleList(
            StackedCrossLayer(n, dim, heads, hidden=4 * dim, dropout=dropout) for _ in range(layers)
        )
        self.norm = StackedNorm(n, dim)
        self.embed_dropout = nn.Dropout(embed_dropout)

    def forward(self, x: Masked) -> Tensor:
        """Values (n, batch, time, dim) to (n, batch, dim) or (n, batch, time, dim), zero where nothing is observed."""
        values = self.embed_dropout(placed(x.values))
        *first, last = self.layers
        for layer in first:
            values = layer(values, values, x.mask)
        if self.frames:
            return zeroed(Masked(self.norm(last(values, values, x.mask)), x.mask))
        query = last_observed(Masked(values, x.mask)).unsqueeze(-2)
        read = self.norm(last(query, values, x.mask)).squeeze(-2)
        return zeroed(Masked(read, x.mask.any(-1)))


class Crossmodal(nn.Module):
    """For every ordered pair a crossmodal transformer; the views of a modality, side by side, pass self-attention.

    The source of a pair is the input of the other modality in all layers. All crossmodal transformers have one shape,
    as all memory transformers have, so each kind is one stack.

    Args:
        modalities: how many, two or more.
        dim: width of each.
        heads: of all attention; divides `dim`.
        layers: crossmodal layers.
        memory: layers of self-attention.
        dropout: in the layers.
        embed_dropout: on the input of every transformer.
        frames: read every step.
    """

    def __init__(
        self,
        modalities: int,
        dim: int,
        heads: int,
        *,
        layers: int,
        memory: int,
        dropout: float,
        embed_dropout: float,
        frames: bool,
    ) -> None:
        super().__init__()
        self.pairs = list(permutations(range(modalities), 2))
        self.cross = nn.ModuleList(
            StackedCrossLayer(len(self.pairs), dim, heads, hidden=4 * dim, dropout=dropout) for _ in range(layers)
        )
        self.norm = StackedNorm(len(self.pairs), dim)
        self.embed_dropout = nn.Dropout(embed_dropout)
        self.memory = SelfStack(
            modalities,
            (modalities - 1) * dim,
            heads,
            layers=memory,
            dropout=dropout,
            embed_dropout=embed_dropout,
            frames=frames,
        )

    def forward(self, x: Masked) -> Tensor:
        """What each modality saw of the others.

        Args:
            x: values (modalities, batch, time, dim) with mask (modalities, batch, time).

        Returns:
            (modalities, batch, wide), or (modalities, batch, time, wide) for frames.
        """
        at = zeroed(Masked(placed(x.values), x.mask))
        query, source = (self.embed_dropout(_pick(at, [pair[k] for pair in self.pairs])) for k in (0, 1))
        source_mask = _pick(x.mask, [b for _, b in self.pairs])
        for layer in self.cross:
            query = layer(query, source, source_mask)
        views = self.norm(query).unflatten(0, (x.mask.shape[0], -1))  # pairs are sorted by the one that looks
        return self.memory(Masked(views.movedim(1, -2).flatten(-2), x.mask))


def placed(x: Tensor) -> Tensor:
    """Scaled by the root of the width, with positions along the axis before the last."""
    return x * x.shape[-1] ** 0.5 + sinusoidal_positions(x.shape[-2], like=x)


def _pick(x: Tensor, index: Sequence[int]) -> Tensor:
    return torch.stack([x[k] for k in index])
