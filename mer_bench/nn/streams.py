"""Modalities on one clock, for fusion that joins them step by step.

Frame-level tasks come on the clock of their labels. For item-level tasks every modality has its own length; there a
clock has to be made.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mer_bench.errors import UserError
from mer_bench.nn.masking import zeroed
from mer_bench.nn.pooling import last_observed, masked_mean
from mer_bench.types import Features, Level, Masked

Pool = Literal["last", "mean"]
POOLS: dict[Pool, Callable[[Masked], Tensor]] = {"last": last_observed, "mean": masked_mean}


class Streams(nn.Module):
    """From the frames of each modality to sequences of one length and width.

    Args:
        features: the modalities.
        dim: width of the streams; a modality of that width is taken as it is, others go through a linear layer.
        level: of the tasks.
        tokens: item-level tasks: length of the streams (`resample`).
        every: frame-level tasks: frames from one token of a stream to the next (`interleaved`).
        pool: item-level tasks: how `answer` makes one vector of a sequence, its last observed step or the mean.
        normalise: scale each token to length 1.

    Raises:
        UserError: `tokens` or `every` below 1.
    """

    def __init__(
        self,
        features: Features,
        dim: int,
        *,
        level: Level,
        tokens: int = 16,
        every: int = 1,
        pool: Pool = "last",
        normalise: bool = True,
    ) -> None:
        super().__init__()
        for name, value in {"tokens": tokens, "every": every}.items():
            if value < 1:
                raise UserError(f"model.method.{name} must be at least 1, got {value}")
        self.project = nn.ModuleDict(
            {m: nn.Identity() if spec.dim == dim else nn.Linear(spec.dim, dim) for m, spec in features.items()}
        )
        clocks: dict[Level, Callable[[], _Items | _Frames]] = {
            "item": lambda: _Items(tokens, POOLS[pool]),
            "frame": lambda: _Frames(every),
        }
        self.clock = clocks[level]()
        self.normalise = normalise

    def forward(self, inputs: Mapping[str, Masked]) -> dict[str, Masked]:
        """By modality, values (streams, tokens, dim) with mask (streams, tokens), zero where masked.

        There is one stream per item, or `every` for frame-level tasks.
        """
        return {m: self._stream(m, inputs[m]) for m in self.project}

    def _stream(self, m: str, x: Masked) -> Masked:
        tokens = self.clock.split(x)
        values = self.project[m](tokens.values)
        values = F.normalize(values, dim=-1) if self.normalise else values
        return Masked(zeroed(Masked(values, tokens.mask)), tokens.mask)

    def answer(self, x: Masked, inputs: Mapping[str, Masked]) -> Tensor:
        """Sequences (streams, tokens, width) back to (batch, width), or to (batch, time, width) for frames."""
        return self.clock.join(x, inputs)


class _Items:
    """One sequence of `tokens` steps per item."""

    def __init__(self, tokens: int, pool: Callable[[Masked], Tensor]) -> None:
        self.tokens, self.pool = tokens, pool

    def split(self, x: Masked) -> Masked:
        return resample(x, self.tokens)

    def join(self, x: Masked, inputs: Mapping[str, Masked]) -> Tensor:
        return self.pool(x)


class _Frames:
    """`every` sequences per window, each of frames that are `every` apart."""

    def __init__(self, every: int) -> None:
        self.every = every

    def split(self, x: Masked) -> Masked:
        return interleaved(x, self.every)

    def join(self, x: Masked, inputs: Mapping[str, Masked]) -> Tensor:
        time = next(iter(inputs.values())).mask.shape[1]
        return zeroed(x).unflatten(0, (-1, self.every)).transpose(1, 2).flatten(1, 2)[:, :time]


def resample(x: Masked, n: int) -> Masked:
    """Means over `n` stretches of each item's time, as adaptive average pooling cuts it.

    Stretch s of an item of L frames, counted up to the last observed one, goes from floor(s L / n) to
    ceil((s + 1) L / n): stretches overlap by at most a frame, and a single frame is repeated `n` times. A stretch
    without an observed frame is masked.

    Args:
        x: values (batch, time, dim) with mask (batch, time).
        n: number of stretches.

    Returns:
        Values (batch, n, dim) with mask (batch, n), zero where masked.
    """
    time = torch.arange(x.mask.shape[1], device=x.mask.device)
    stretch = torch.arange(n, device=x.mask.device)
    length = torch.where(x.mask, time + 1, 0).amax(-1, keepdim=True)  # (batch, 1)
    start = (stretch * length) // n  # (batch, n)
    end = ((stretch + 1) * length + n - 1) // n
    inside = (time >= start.unsqueeze(-1)) & (time < end.unsqueeze(-1)) & x.mask.unsqueeze(1)  # (batch, n, time)
    share = inside / inside.sum(-1, keepdim=True).clamp(min=1)
    return Masked(share.to(x.values.dtype) @ zeroed(x), inside.any(-1))


def interleaved(x: Masked, every: int) -> Masked:
    """Each sequence dealt to `every` sequences: frame t goes to number t modulo `every`.

    Args:
        x: values (batch, time, dim) with mask (batch, time).
        every: how many sequences; 1 leaves everything as it is.

    Returns:
        Values (batch · every, ceil(time / every), dim), zero where masked, and their mask.
    """
    more = -x.mask.shape[1] % every
    values, mask = F.pad(zeroed(x), (0, 0, 0, more)), F.pad(x.mask, (0, more), value=False)
    deal = (-1, every)
    return Masked(
        values.unflatten(1, deal).transpose(1, 2).flatten(0, 1), mask.unflatten(1, deal).transpose(1, 2).flatten(0, 1)
    )
