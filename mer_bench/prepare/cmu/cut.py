"""From the rows of whole videos to the rows of clips: cut on their own clock, or averaged under each word.

A row belongs to a clip, and a frame to a word, when its middle lies inside (ours: no frame counts twice). Frames need
no common rate.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mer_bench.errors import UserError
from mer_bench.merh5 import Modality
from mer_bench.prepare.cmu.clips import Clips
from mer_bench.prepare.cmu.sequence import Sequence, Timeline, timeline
from mer_bench.prepare.report import Report
from mer_bench.prepare.rows import measured_rows

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
PAUSE = "sp"  # how the SDK's words write silence


class Piece(NamedTuple):
    """The rows of one clip: positions `first` to `last` (not included) of the timeline of `key`."""

    clip: int
    key: str
    line: Timeline
    first: int
    last: int


@dataclass(frozen=True)
class Words:
    """The words of every clip, end to end.

    Attributes:
        times: (words, 2) start and end in seconds of the video.
        lengths: (clips,) words of each clip.
    """

    times: Floats
    lengths: Ints

    @classmethod
    def of(cls, sequence: Sequence, clips: Clips, report: Report) -> Words:
        """The rows of a sequence of words; their text is not looked at."""
        clock, times = Clock(), [np.empty((0, 2))]
        lengths = np.zeros(len(clips), np.int64)
        for clip, _, line, first, last in pieces(sequence, clips, clock):
            lengths[clip] = last - first
            times.append(np.stack([line.start[first:last], line.end[first:last]], axis=1))
        clock.tell("word", report)
        return cls(np.concatenate(times), lengths)


@dataclass
class Clock:
    """What is wrong with the times of a sequence: rows that have none by video, and videos out of order."""

    lost: dict[str, int] = field(default_factory=dict)
    unsorted: dict[str, int] = field(default_factory=dict)

    def look(self, key: str, line: Timeline) -> None:
        """Note the rows of a video."""
        self.lost |= {key: line.lost} if line.lost else {}
        self.unsorted |= {key: line.moved} if line.moved else {}

    def tell(self, name: str, report: Report) -> None:
        """Report it."""
        report.drop(f"{name} rows with impossible times", self.lost, sum(self.lost.values()))
        report.repair(f"{name} rows put in order of time", self.unsorted, sum(self.unsorted.values()))


def pieces(sequence: Sequence, clips: Clips, clock: Clock | None = None) -> Iterator[Piece]:
    """The rows of each clip that a sequence knows.

    Rows stand under the video, or (after the SDK's alignment) under the clip, ``video[row]``. `clock` is told of times.
    """
    assert clips.start_s is not None and clips.end_s is not None
    keys, last = set(sequence.keys), ""
    line = None
    for clip, (name, video) in enumerate(zip(clips.ids, clips.video, strict=True)):
        own = f"{video}[{name.removeprefix(video + '.')}]"
        key = own if own in keys else video
        if key not in keys:
            continue
        if line is None or key != last:
            line, last = timeline(sequence.times(key)), key
            (clock or Clock()).look(key, line)
        ends = (0, len(line.rows)) if key == own else line.between(clips.start_s[clip], clips.end_s[clip])
        yield Piece(clip, key, line, int(ends[0]), int(ends[1]))


def cut(name: str, sequence: Sequence, clips: Clips, report: Report, extractor: str) -> tuple[Modality, Words]:
    """The rows of each clip on their own clock, with times from the start of the clip.

    Returns:
        The modality, and the same rows as words in case they are words.

    Raises:
        UserError: no numbers, or videos with different numbers of features.
    """
    lengths = np.zeros(len(clips), np.int64)
    clock = Clock()
    for piece in pieces(sequence, clips, clock):
        lengths[piece.clip] = piece.last - piece.first
    clock.tell(name, report)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    values = np.empty((offsets[-1], _width(sequence)), np.float32)
    times = np.empty((offsets[-1], 2))
    blocks = _Blocks(sequence)
    for clip, key, line, first, last in pieces(sequence, clips):
        here = slice(offsets[clip], offsets[clip + 1])
        if first < last:
            with np.errstate(over="ignore"):  # what overflows becomes infinite and is masked
                values[here] = blocks.of(key)[line.rows[first:last]]
            times[here] = np.stack([line.start[first:last], line.end[first:last]], axis=1)
    owner = np.repeat(np.arange(len(clips)), lengths)
    report.counted[f"rows of {name}"] = len(values)
    assert clips.start_s is not None
    modality = Modality(
        values,
        lengths,
        valid=measured_rows(name, values, lengths, clips.ids, report),
        times=times - clips.start_s[owner][:, None],
        extractor=extractor,
        note=f"{sequence.name}; times count from the start of the clip",
    )
    return modality, Words(times, lengths)


def average(name: str, sequence: Sequence, clips: Clips, words: Words, report: Report, extractor: str) -> Modality:
    """One row per word: the mean of the measured frames under it; masked where there is none.

    Raises:
        UserError: no numbers, or videos with different numbers of features.
    """
    offsets = np.concatenate([[0], np.cumsum(words.lengths)])
    values = np.zeros((len(words.times), _width(sequence)), np.float32)
    counts = np.zeros(len(words.times), np.int64)
    lost = np.zeros((2, len(clips)), np.int64)  # frames that are not finite, and all zero
    blocks, clock = _Blocks(sequence), Clock()
    seen = ""
    for clip, key, line, first, last in pieces(sequence, clips, clock):
        here = slice(offsets[clip], offsets[clip + 1])
        start, stop = line.under(*words.times[here].T)
        if key != seen:
            frames, seen = blocks.of(key)[line.rows].astype(np.float64), key
            finite, filled = (np.asarray(good) for good in (np.isfinite(frames).all(axis=1), (frames != 0).any(axis=1)))
            frames[~finite] = 0
            measured = np.concatenate([[0], np.cumsum(finite & filled)])
        lost[:, clip] = (~finite[first:last]).sum(), (~filled[first:last]).sum()
        counts[here] = measured[stop] - measured[start]
        with np.errstate(over="ignore"):
            values[here] = _sums(frames, start, stop) / np.maximum(counts[here], 1)[:, None]
    clock.tell(name, report)
    for what, number in zip(("with a value that is not finite", "of nothing but zeros"), lost, strict=True):
        touched = [clips.ids[clip] for clip in np.flatnonzero(number).tolist()]
        report.repair(f"{name} frames {what} left out of the means", touched, int(number.sum()))
    return _aligned(name, values, counts, words, clips, report, extractor, sequence)


def _aligned(
    name: str,
    values: np.ndarray,
    counts: Ints,
    words: Words,
    clips: Clips,
    report: Report,
    extractor: str,
    sequence: Sequence,
) -> Modality:
    """Rows of words as a modality; a clip without a frame under any word lacks it."""
    owner = np.repeat(np.arange(len(clips)), words.lengths)
    present = np.bincount(owner, weights=counts, minlength=len(clips)) > 0
    rows = present[owner]
    report.counted[f"words without {name}"] = int((counts[rows] == 0).sum())
    assert clips.start_s is not None
    return Modality(
        values[rows],
        np.where(present, words.lengths, 0),
        valid=(counts > 0)[rows] & np.isfinite(values[rows]).all(axis=1),
        times=(words.times - clips.start_s[owner][:, None])[rows],
        extractor=extractor,
        aligned_to="word",
        note=f"{sequence.name}, mean of the frames under each word; times count from the start of the clip",
    )


def transcripts(sequence: Sequence, clips: Clips) -> list[str]:
    """What is said in each clip, pauses left out."""
    said = [""] * len(clips)
    for clip, key, line, first, last in pieces(sequence, clips):
        words = sequence.words(key)
        said[clip] = " ".join(words[row] for row in line.rows[first:last] if words[row] not in ("", PAUSE))
    return said


class _Blocks:
    """The values of the video at hand, read once."""

    def __init__(self, sequence: Sequence) -> None:
        self.sequence, self.width = sequence, _width(sequence)
        self.key, self.values = "", np.empty((0, 0))

    def of(self, key: str) -> np.ndarray:
        if key != self.key:
            if self.sequence.width(key) != self.width:
                raise UserError(
                    f"{self.sequence.path}: {key} has {self.sequence.width(key)} features, others have {self.width}; "
                    "a mixture of releases?"
                )
            self.key, self.values = key, self.sequence.values(key)
        return self.values


def _width(sequence: Sequence) -> int:
    return sequence.width(sequence.keys[0])


def _sums(frames: Floats, start: Ints, stop: Ints) -> Floats:
    """(words, features) sums of frames[start:stop] for each word."""
    if not len(start) or not len(frames):
        return np.zeros((len(start), frames.shape[1]))
    low, high = int(start.min()), int(stop.max())
    window = np.concatenate([frames[low:high], np.zeros((1, frames.shape[1]))])  # so that the end is a position too
    ends = np.stack([start, stop], axis=1).ravel() - low
    return np.where((start < stop)[:, None], np.add.reduceat(window, ends, axis=0)[::2], 0.0)
