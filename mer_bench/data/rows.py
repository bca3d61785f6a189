"""The rows of a modality as a run sees them, read in pieces: normalised, zero where not observed. numpy only."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mer_bench.merh5 import FeatureFile

Ints = NDArray[np.int64]
#: bytes that are read, measured or converted at once: few enough to stay in a core's cache
PIECE_BYTES = 1 << 20


class Scale(NamedTuple):
    """Mean and standard deviation by feature, (dim,) float32 each."""

    mean: NDArray[np.float32]
    std: NDArray[np.float32]


@dataclass(frozen=True)
class Rows:
    """The rows of one modality.

    Attributes:
        file: where they are.
        name: of the modality.
        scale: what they are normalised by; None leaves them as they are.
    """

    file: FeatureFile
    name: str
    scale: Scale | None = None

    @property
    def dim(self) -> int:
        """Features per row."""
        return self.file.modalities[self.name].dim

    def fill(self, start: int, values: NDArray[np.floating], observed: NDArray[np.bool_]) -> None:
        """Read the rows from `start` on into `values` (n, dim) and `observed` (n,).

        Half precision keeps what lies beyond its range as its largest number.
        """
        for a, b in _pieces(0, len(values), self.dim):
            part = values[a:b] if values.dtype == np.float32 else np.empty((b - a, self.dim), np.float32)
            self.file.read_values(self.name, start + a, part)
            observed[a:b] = self.file.valid(self.name, start + a, start + b)
            if self.scale is not None:
                part -= self.scale.mean
                part /= self.scale.std
            if not observed[a:b].all():
                part[~observed[a:b]] = 0
            if part.dtype != values.dtype:
                largest = np.finfo(values.dtype).max
                values[a:b] = np.clip(part, -largest, largest)


def spans(starts: Ints, stops: Ints) -> Ints:
    """(spans, 2) the ranges start..stop, in order of their starts, as one where they touch or overlap."""
    if not len(starts):
        return np.zeros((0, 2), np.int64)
    order = np.argsort(starts, kind="stable")
    starts, reach = starts[order], np.maximum.accumulate(stops[order])
    first = np.flatnonzero(np.append(True, starts[1:] > reach[:-1]))
    return np.stack([starts[first], reach[np.append(first[1:], len(starts)) - 1]], axis=1)


def scale_of(file: FeatureFile, modality: str, items: Ints) -> Scale | None:
    """Mean and standard deviation over the observed rows of the given items, in one pass over them.

    Moments of pieces are joined by the update of Chan, Golub and LeVeque (1983), in float64. The standard deviation of
    a feature that does not vary counts as 1. None when nothing is observed.
    """
    info = file.modalities[modality]
    n, mean, square = 0, np.zeros(info.dim), np.zeros(info.dim)
    for first, last in spans(info.offsets[:-1][items], info.offsets[1:][items]):
        for a, b in _pieces(int(first), int(last), info.dim):
            seen = file.valid(modality, a, b)
            if not seen.any():
                continue
            part = file.values(modality, a, b)[seen if not seen.all() else slice(None)].astype(np.float64)
            own = part.mean(axis=0)
            part -= own
            step, total = own - mean, n + len(part)
            square += np.einsum("ij,ij->j", part, part) + step**2 * (n * len(part) / total)
            mean += step * (len(part) / total)
            n = total
    if not n:
        return None
    std = np.sqrt(square / n)
    varies = std > 1e-8 * np.maximum(np.abs(mean), 1)
    return Scale(mean.astype(np.float32), np.where(varies, std, 1).astype(np.float32))


def _pieces(start: int, stop: int, dim: int) -> Iterator[tuple[int, int]]:
    """Ranges of about `PIECE_BYTES` that make up start..stop."""
    step = max(1, PIECE_BYTES // (4 * dim))
    for a in range(start, stop, step):
        yield a, min(a + step, stop)
