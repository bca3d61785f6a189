"""What one training example is: a whole item, or a window of a recording's label clock. numpy only.

For item-level tasks a view is an item. For frame-level tasks it is a window of label frames; windows are made at run
time from offsets, so their length and stride are settings, not files. Every modality is then read on the label clock:
label frame t takes the row of the modality that is nearest in time, and none where the modality has no row within half
a label frame plus half a row of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mer_bench.errors import UserError
from mer_bench.merh5 import FeatureFile

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Views:
    """Examples of a corpus.

    Attributes:
        item: (views,) row of the item in the file.
        start: (views,) first label frame, counted from the start of the whole label table; 0 for item-level tasks.
        length: (views,) label frames; 0 for item-level tasks.
    """

    item: Ints
    start: Ints
    length: Ints

    def __len__(self) -> int:
        return len(self.item)


def whole_items(n: int) -> Views:
    """One view per item."""
    zeros = np.zeros(n, dtype=np.int64)
    return Views(np.arange(n), zeros, zeros)


def windows(offsets: Ints, items: Ints, length: int, stride: int) -> Views:
    """Windows over the label frames of the given items; the last one of an item reaches exactly to its end.

    No frame is left out: windows start every `stride` frames, and one that would run over the end is moved back.

    Args:
        offsets: (all items + 1,) of the label table.
        items: rows to cut.
        length: frames of a window; items that are shorter give one short window.
        stride: frames between starts, at most `length`.
    """
    if not 1 <= stride <= length:
        raise UserError(f"--data.stride must be between 1 and --data.window ({length}), got {stride}")
    item, start, size = [], [], []
    for i in items:
        n = int(offsets[i + 1] - offsets[i])
        if n == 0:
            continue
        starts = np.arange(0, max(1, n - length + stride), stride)
        starts = np.unique(np.minimum(starts, max(0, n - length)))
        item.append(np.full(len(starts), i))
        start.append(offsets[i] + starts)
        size.append(np.full(len(starts), min(length, n)))
    empty = [np.zeros(0, dtype=np.int64)]
    return Views(*(np.concatenate(part or empty).astype(np.int64) for part in (item, start, size)))


def join(parts: Sequence[Views]) -> Views:
    """Views one after the other."""
    return Views(*(np.concatenate([getattr(p, name) for p in parts]) for name in ("item", "start", "length")))


def frame_offsets(file: FeatureFile, table: str) -> Ints:
    """(items + 1,) first label frame of each item.

    Raises:
        UserError: the table holds one label per item.
    """
    offsets = file.labels[table].offsets
    if offsets is None:
        raise UserError(f"{file.path}: labels {table!r} are given per item, the protocol asks for one per frame")
    return offsets


def label_times(file: FeatureFile, table: str) -> tuple[Floats, Floats]:
    """(frames,) middle and half the duration of each label frame, in seconds from the start of its item."""
    info = file.labels[table]
    times = file.label_times(table)
    if times is not None:
        return times.mean(axis=1), np.diff(times, axis=1)[:, 0] / 2
    if not info.rate_hz:
        raise UserError(f"{file.path}: labels {table!r} have neither a rate nor times")
    position = _position(frame_offsets(file, table))
    return ((position + 0.5) / info.rate_hz).astype(np.float64), np.full(len(position), 0.5 / info.rate_hz)


def row_times(file: FeatureFile, modality: str) -> tuple[Floats, Floats]:
    """(rows,) middle and half the duration of each row of a modality, in seconds from the start of its item."""
    info = file.modalities[modality]
    times = file.times(modality)
    if times is not None:
        return times.mean(axis=1), np.diff(times, axis=1)[:, 0] / 2
    if not info.rate_hz:
        raise UserError(
            f"{file.path}: modality {modality!r} has neither a rate nor times, so it cannot be joined to frame labels"
        )
    position = _position(info.offsets)
    middle = info.t0_s + (position + 0.5) / info.rate_hz
    return middle.astype(np.float64), np.full(len(position), 0.5 / info.rate_hz)


def _position(offsets: Ints) -> Ints:
    """Index of each row inside its item."""
    return np.arange(offsets[-1]) - np.repeat(offsets[:-1], np.diff(offsets))


def align(file: FeatureFile, modality: str, table: str) -> Ints:
    """(frames,) row of the modality for each label frame, -1 where it has none near enough."""
    offsets, own = frame_offsets(file, table), file.modalities[modality].offsets
    (rows, row_half), (frames, frame_half) = row_times(file, modality), label_times(file, table)
    index = np.full(len(frames), -1, dtype=np.int64)
    for i in range(file.n):
        a, b = own[i], own[i + 1]
        c, d = offsets[i], offsets[i + 1]
        if a == b or c == d:
            continue
        right = np.minimum(np.searchsorted(rows[a:b], frames[c:d]), b - a - 1)
        left = np.maximum(right - 1, 0)
        far_right, far_left = (np.abs(rows[a + k] - frames[c:d]) for k in (right, left))
        nearest = a + np.where(far_right < far_left, right, left)
        near = np.minimum(far_right, far_left) <= row_half[nearest] + frame_half[c:d] + 1e-6
        index[c:d] = np.where(near, nearest, -1)
    return index
