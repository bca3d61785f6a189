"""Padded arrays (clips, steps, features): where each clip begins and ends in them, and its rows alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mer_bench.errors import UserError
from mer_bench.prepare.ids import shown

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


class Extent(NamedTuple):
    """Steps of each clip.

    Attributes:
        start: (clips,) first step.
        stop: (clips,) step after the last one; equal to `start` where the clip lacks the modality.
        note: how they are known.
        inferred: they are guessed from zeros.
        outside: rows outside them that are not zero.
    """

    start: Ints
    stop: Ints
    note: str
    inferred: bool = False
    outside: int = 0

    @property
    def lengths(self) -> Ints:
        """(clips,) number of steps."""
        return self.stop - self.start

    def rows(self, steps: int) -> Bools:
        """(clips, steps) which steps belong to their clip."""
        time = np.arange(steps)
        return (time >= self.start[:, None]) & (time < self.stop[:, None])


def occupied(values: np.ndarray) -> Bools:
    """(clips, steps) which rows hold anything but zeros; what is not finite counts as something."""
    found = np.empty(values.shape[:2], bool)
    for clip, rows in enumerate(values):  # one by one: no copy of the whole
        found[clip] = (rows != 0).any(axis=1)
    return found


def stated(lengths: Ints, held: Bools) -> Extent:
    """From lengths that the file states; the padding is on the side that holds fewer rows outside them.

    Args:
        lengths: (clips,).
        held: (clips, steps), from `occupied`.
    """
    steps = held.shape[1]
    lengths = np.minimum(lengths, steps)
    lengths = np.where(held.any(axis=1), lengths, 0)
    time = np.arange(steps)
    behind = int((held & (time >= lengths[:, None])).sum())
    before = int((held & (time < steps - lengths[:, None])).sum())
    if before < behind:
        return Extent(steps - lengths, np.full_like(lengths, steps), "stated, padded in front", outside=before)
    return Extent(np.zeros_like(lengths), lengths, "stated, padded at the end", outside=behind)


def from_mask(where: object, ids: Sequence[str], mask: Bools) -> Extent:
    """From a mask of the steps.

    Raises:
        UserError: a mask with holes.
    """
    lengths = mask.sum(axis=1)
    start = np.where(lengths > 0, mask.argmax(axis=1), 0)
    extent = Extent(start, start + lengths, "stated by the mask of the tokens")
    holes = (extent.rows(mask.shape[1]) != mask).any(axis=1)
    if holes.any():
        raise UserError(
            f"{where}: token masks with holes at {shown(ids[row] for row in np.flatnonzero(holes).tolist())}"
        )
    return extent


def inferred(held: Bools) -> Extent:
    """From zeros at the padded side, which is the one that begins with them in more clips.

    Zero rows that are left inside a clip are not told from lost ones: they stay, and are masked. So a wrong guess of
    the side masks rows that are padding, and never makes data of them.
    """
    steps = held.shape[1]
    some = held.any(axis=1)
    front, end = (float((~held[some][:, step]).mean()) if some.any() else 0.0 for step in (0, -1))
    told = f"first step zero in {front:.0%} of the clips, last in {end:.0%}"
    if front > end:
        start = np.where(some, held.argmax(axis=1), 0)
        return Extent(start, np.where(some, steps, 0), f"lengths_inferred, padded in front ({told})", True)
    stop = np.where(some, steps - held[:, ::-1].argmax(axis=1), 0)
    return Extent(np.zeros_like(stop), stop, f"lengths_inferred, padded at the end ({told})", True)


def without_absent(extent: Extent, held: Bools) -> Extent:
    """The same, with no steps for clips of which no row holds anything: they lack the modality."""
    some = (held & extent.rows(held.shape[1])).any(axis=1)
    return extent._replace(stop=np.where(some, extent.stop, extent.start))
