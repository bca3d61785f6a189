"""One modality by itself: from the frames of a feature file to vectors of a common width.

Every encoder takes a `Masked` (batch, time, features) and returns a `Masked`, so that the mathematics of a fusion can
be written once, on the last axis: for item-level tasks over (batch, dim), for frame-level tasks over
(batch, time, dim). A modality that is absent contributes zeros and a mask that says so.
"""

from __future__ import annotations

from torch import nn

from mer_bench.nn.attention import TransformerStack, sinusoidal_positions
from mer_bench.nn.masking import zeroed
from mer_bench.nn.pooling import masked_mean
from mer_bench.types import FeatureSpec, Level, Masked


class SequenceEncoder(nn.Module):
    """Each frame through one linear layer, then transformer layers or, without any, a GELU and dropout.

    Without layers it works on any leading axes, so on (batch, features) too.

    Args:
        spec: the modality.
        dim: width of the result.
        layers: transformer layers, with sinusoidal positions; 0: frames are encoded one by one.
        heads: of the transformer layers.
        dropout: in the layers, or after the GELU.
    """

    def __init__(self, spec: FeatureSpec, dim: int, *, layers: int = 0, heads: int = 4, dropout: float = 0.1) -> None:
        super().__init__()
        self.project = nn.Linear(spec.dim, dim)
        self.stack = TransformerStack(dim, layers, heads=heads, dropout=dropout)
        self.after = nn.Identity() if layers else nn.Sequential(nn.GELU(), nn.Dropout(dropout))
        self.positions = layers > 0

    def forward(self, x: Masked) -> Masked:
        """Values (batch, time, features) to (batch, time, dim), zero where masked; the mask stays."""
        frames = self.project(zeroed(x))
        if self.positions:
            frames = frames + sinusoidal_positions(frames.shape[1], like=frames)
        encoded = Masked(self.after(self.stack(frames, x.mask)), x.mask)
        return Masked(zeroed(encoded), x.mask)


class ModalityEncoder(nn.Module):
    """A modality as one vector per item, or per frame where the tasks ask for frames.

    Item level without transformer layers: the mean over observed frames, then the linear layer and GELU, so nothing in
    the result depends on which features stood in the same frame. With layers: a `SequenceEncoder`, then the mean.

    Args:
        spec: the modality.
        dim: width of the result.
        level: item: values (batch, dim) with mask (batch,). frame: values (batch, time, dim) with mask (batch, time).
        layers: as in `SequenceEncoder`.
        heads: as in `SequenceEncoder`.
        dropout: as in `SequenceEncoder`.
    """

    def __init__(
        self, spec: FeatureSpec, dim: int, *, level: Level, layers: int = 0, heads: int = 4, dropout: float = 0.1
    ) -> None:
        super().__init__()
        self.level, self.related = level, layers > 0
        self.frames = SequenceEncoder(spec, dim, layers=layers, heads=heads, dropout=dropout)

    def forward(self, x: Masked) -> Masked:
        """Values (batch, time, features) to (batch, dim) or (batch, time, dim), zero where masked."""
        if self.related:
            return at_level(self.frames(x), self.level)
        return self.frames(at_level(x, self.level))


def at_level(x: Masked, level: Level) -> Masked:
    """Averaged over the observed frames for item-level tasks, frame by frame for frame-level ones; zero where masked.

    Args:
        x: values (batch, time, dim) with mask (batch, time).
        level: of the tasks.
    """
    return Masked(masked_mean(x), x.mask.any(-1)) if level == "item" else Masked(zeroed(x), x.mask)
