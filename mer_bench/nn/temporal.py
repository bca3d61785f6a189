"""Modalities on one clock, each with a temporal network of its own, computed as one stack."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mer_bench.nn.masking import zeroed
from mer_bench.nn.stacks import StackedLinear, StackedNorm
from mer_bench.nn.streams import Streams
from mer_bench.types import Features, Level, Masked


class StackedTCN(nn.Module):
    """`n` temporal convolutional networks side by side (Bai et al., 2018, arXiv:1803.01271).

    Level k: two causal convolutions that look back in steps of 2^k, each with LeakyReLU and dropout, added to the
    input, LeakyReLU (as in github.com/sucv/ABAW3). No weight normalisation. What is masked counts as zero, like the
    steps before the first one.

    Args:
        n: how many.
        dim: width, the same on all levels.
        levels: how many; with kernel 5 and four levels a step sees the 120 before it.
        kernel: steps that a convolution reads.
        dropout: after each convolution.
        longest: of the sequences; levels whose steps are not shorter are left out, since beside the step itself they
            would read only what lies before the first one. Sequences of one step have none.
    """

    def __init__(
        self, n: int, dim: int, *, longest: int, levels: int = 4, kernel: int = 5, dropout: float = 0.1
    ) -> None:
        super().__init__()
        self.kernel = kernel
        levels = min(levels, (longest - 1).bit_length())
        self.convolutions = nn.ModuleList(StackedLinear(n, kernel * dim, dim) for _ in range(2 * levels))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Values (n, batch, time, dim) with mask (n, batch, time) to the same shape, zero where masked."""
        seen = mask.unsqueeze(-1)
        x = torch.where(seen, x, 0.0)
        for level, pair in enumerate(zip(self.convolutions[::2], self.convolutions[1::2], strict=True)):
            inner = x
            for convolution in pair:
                inner = self.dropout(F.leaky_relu(convolution(self._past(inner, 2**level))))
                inner = torch.where(seen, inner, 0.0)
            x = F.leaky_relu(x + inner)
        return x

    def _past(self, x: Tensor, step: int) -> Tensor:
        """Each step beside those before it that a convolution reads, (n, batch, time, kernel · dim)."""
        time = x.shape[-2]
        return torch.cat([F.pad(x, (0, 0, k * step, 0))[..., :time, :] for k in range(self.kernel)], dim=-1)


class TemporalStreams(nn.Module):
    """`Streams`, then a `StackedTCN` over all of them and a layer normalisation of each.

    Args:
        features: the modalities.
        dim: width.
        level: of the tasks.
        tokens: item-level tasks: steps of the clock, at most as many as the longest item has frames.
        levels: of the temporal networks.
        kernel: of their convolutions.
        dropout: in them.
    """

    def __init__(
        self, features: Features, dim: int, *, level: Level, tokens: int, levels: int, kernel: int, dropout: float
    ) -> None:
        super().__init__()
        longest = max(spec.max_length for spec in features.values())
        tokens = min(tokens, longest)
        steps = tokens if level == "item" else longest
        self.streams = Streams(features, dim, level=level, tokens=tokens, pool="mean", normalise=False)
        self.temporal = StackedTCN(len(features), dim, longest=steps, levels=levels, kernel=kernel, dropout=dropout)
        self.norm = StackedNorm(len(features), dim)

    def forward(self, inputs: Mapping[str, Masked]) -> Masked:
        """All modalities: values (modalities, streams, time, dim), zero where masked, and mask without dim."""
        streams = self.streams(inputs)
        mask = torch.stack([x.mask for x in streams.values()])
        values = self.norm(self.temporal(torch.stack([x.values for x in streams.values()]), mask))
        return Masked(zeroed(Masked(values, mask)), mask)

    def answers(self, x: Masked, inputs: Mapping[str, Masked]) -> dict[str, Tensor]:
        """By modality, what `forward` gave, read like the answer: (batch, dim), or (batch, time, dim) for frames."""
        parts = zip(self.streams.project, x.values.unbind(0), x.mask.unbind(0), strict=True)
        return {m: self.streams.answer(Masked(values, mask), inputs) for m, values, mask in parts}

    def answer(self, joined: Tensor, mask: Tensor, inputs: Mapping[str, Masked]) -> Tensor:
        """A fused sequence (streams, time, width), observed where any modality is by the mask of `forward`."""
        return self.streams.answer(Masked(joined, mask.any(0)), inputs)
