"""Computational sequences (`.csd`): one HDF5 file for all videos, ``/<name>/data/<video>/{features, intervals}``.

The metadata beside `data` is not read: in real files it is placeholder text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from mer_bench.errors import UserError
from mer_bench.prepare import hdf5
from mer_bench.prepare.ids import shown

VIDEO = re.compile(r"[A-Za-z0-9_-]{1,100}(\[\d{1,6}\])?")
Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Timeline:
    """The rows of one video in the order of their middles.

    Attributes:
        rows: (n,) row in the file; rows with impossible times are left out.
        start: (n,) seconds.
        end: (n,) seconds.
        lost: how many rows have impossible times.
        moved: how many rows stand elsewhere in the file.
    """

    rows: Ints
    start: Floats
    end: Floats
    lost: int
    moved: int

    @property
    def middle(self) -> Floats:
        """(n,) seconds, never falling."""
        return (self.start + self.end) / 2

    def between(self, start: Floats, end: Floats) -> tuple[Ints, Ints]:
        """First and last-but-one position of the rows whose middle is in [start, end)."""
        return np.searchsorted(self.middle, start, "left"), np.searchsorted(self.middle, end, "left")

    def under(self, start: Floats, end: Floats) -> tuple[Ints, Ints]:
        """The same, and for an interval too short to hold a middle the row that covers its own middle."""
        first, last = self.between(start, end)
        if not len(self.rows):
            return first, last
        middle = (start + end) / 2
        right = np.clip(np.searchsorted(self.middle, middle), 0, len(self.rows) - 1)
        left = np.maximum(right - 1, 0)
        nearer = np.abs(self.middle[left] - middle) <= np.abs(self.middle[right] - middle)
        nearest = np.where(nearer, left, right)
        covered = (first == last) & (self.start[nearest] <= middle) & (middle <= self.end[nearest])
        return np.where(covered, nearest, first), np.where(covered, nearest + 1, last)


def timeline(intervals: Floats) -> Timeline:
    """Put the rows of one video in order."""
    start, end = intervals[:, 0], intervals[:, 1]
    good = np.flatnonzero(np.isfinite(intervals).all(axis=1) & (end >= start))
    rows = good[np.argsort(start[good] + end[good], kind="stable")]
    return Timeline(rows, start[rows], end[rows], len(intervals) - len(good), int((rows != good).sum()))


class Sequence:
    """An open computational sequence.

    Args:
        reader: the open file.
        name: name of the sequence.
        data: its videos.

    Attributes:
        keys: names of the videos (or, after the SDK's alignment, of segments ``video[row]``).
    """

    def __init__(self, reader: hdf5.Reader, name: str, data: h5py.Group) -> None:
        self.path, self.name = reader.path, name
        self._reader, self._data = reader, data
        self._open: dict[str, tuple[h5py.Dataset, h5py.Dataset]] = {}
        self.keys = list(data)
        foreign = [key for key in self.keys if not VIDEO.fullmatch(key)]
        if foreign or not self.keys:
            what = f"no names of videos: {shown(map(repr, foreign))}" if foreign else "no videos"
            raise UserError(f"{self.path}: {what}")

    def _datasets(self, key: str) -> tuple[h5py.Dataset, h5py.Dataset]:
        """Features and intervals of a video, after a look at how they are stored."""
        if key not in self._open:
            video = self._reader.group(self._data, key)
            features, intervals = (self._reader.dataset(video, name, axes=2) for name in ("features", "intervals"))
            if intervals.shape[1] != 2 or len(intervals) != len(features):
                raise UserError(
                    f"{self.path}: {key} has {len(features):,} rows of features and intervals of shape "
                    f"{intervals.shape}; expected start and end of each row"
                )
            self._open[key] = features, intervals
        return self._open[key]

    def times(self, key: str) -> Floats:
        """(rows, 2) start and end in seconds."""
        dataset = self._datasets(key)[1]
        return hdf5.numbers(dataset, f"{self.path}: {key}/intervals").astype(np.float64)

    def width(self, key: str) -> int:
        """Features per row."""
        return int(self._datasets(key)[0].shape[1])

    def values(self, key: str) -> np.ndarray:
        """(rows, width) numbers."""
        return hdf5.numbers(self._datasets(key)[0], f"{self.path}: {key}/features")

    def words(self, key: str) -> list[str]:
        """Text of the rows of a video."""
        return hdf5.strings(self._datasets(key)[0], f"{self.path}: {key}/features")


@contextmanager
def opened(path: Path) -> Iterator[Sequence]:
    """A `.csd` file, checked and open.

    Raises:
        UserError: not such a file, damaged, or hostile.
    """
    with hdf5.opened(path) as reader:
        names = list(reader.file)
        if len(names) != 1:
            raise UserError(f"{path}: {len(names)} groups at the top; a computational sequence has one")
        root = reader.group(reader.file, names[0])
        yield Sequence(reader, names[0], reader.group(root, "data"))
