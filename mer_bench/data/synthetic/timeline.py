"""Where each frame stands: items, independent segments, clocks; and what is missing, independent of every label.

A *unit* is a stretch in which classes are constant and nothing is known from outside: an item, or, for frame-level
corpora, a segment of a track. A *grain* is what has one label: an item, or one frame of the label clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from mer_bench.data.synthetic.blueprint import Classes
from mer_bench.data.synthetic.people import People
from mer_bench.data.synthetic.settings import Settings

_SEGMENT = (20, 60)  # ours: shortest and longest drawn segment of a frame-level corpus, in frames
_MIN_ROWS = 2  # ours: shortest sequence

Pattern = tuple[bool, ...]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Timeline:
    """Units and grains, and which modality says anything in which unit.

    Attributes:
        unit_item: (units,) the item of each unit.
        unit_size: (units,) grains in each unit; all 1 for item-level corpora.
        available: (units, modalities) False where the item lacks the modality or the segment is invalid.
        present: (items, modalities) whether the item has the modality at all.
    """

    unit_item: Ints
    unit_size: Ints
    available: NDArray[np.bool_]
    present: NDArray[np.bool_]

    @property
    def grain_unit(self) -> Ints:
        """(grains,) the unit of each grain."""
        return np.repeat(np.arange(len(self.unit_size)), self.unit_size)

    @property
    def grain_item(self) -> Ints:
        """(grains,) the item of each grain."""
        return np.repeat(self.unit_item, self.unit_size)

    @property
    def grains_of_item(self) -> Ints:
        """(items,) how many grains each item has."""
        return np.bincount(self.unit_item, weights=self.unit_size, minlength=len(self.present)).astype(np.int64)


@dataclass(frozen=True)
class Rows:
    """The rows of one modality, all items end to end; a raw signal counts as one row.

    Attributes:
        lengths: (items,) rows of each item.
        item: (rows,) item of each row.
        unit: (rows,) unit of each row.
        grain: (rows,) grain of each row.
        place: (rows,) position inside the unit.
        size: (rows,) rows of the unit.
        valid: (rows,) False where extraction failed.
    """

    lengths: Ints
    item: Ints
    unit: Ints
    grain: Ints
    place: Ints
    size: Ints
    valid: NDArray[np.bool_]


def item_patterns(settings: Settings) -> dict[Pattern, float]:
    """Probability of each set of present modalities: independent, given that an item has at least one."""
    rates = [settings.missing[m] for m in settings.modalities]
    chance = {
        pattern: float(np.prod([1 - r if has else r for has, r in zip(pattern, rates, strict=True)]))
        for pattern in product((True, False), repeat=len(rates))
        if any(pattern)
    }
    total = sum(chance.values())
    return {pattern: p / total for pattern, p in chance.items() if p > 0}


def unit_patterns(settings: Settings) -> dict[Pattern, float]:
    """Probability of each set of modalities that say something in a unit; segments may be invalid on top."""
    if settings.profile.level == "item":
        return item_patterns(settings)
    invalid = [settings.invalid[m] for m in settings.modalities]
    found: dict[Pattern, float] = {}
    for present, p in item_patterns(settings).items():
        for good in product((True, False), repeat=len(invalid)):
            chance = p * float(np.prod([1 - r if g else r for g, r in zip(good, invalid, strict=True)]))
            pattern = tuple(a and b for a, b in zip(present, good, strict=True))
            found[pattern] = found.get(pattern, 0.0) + chance
    return {pattern: p for pattern, p in found.items() if p > 0}


def timeline(settings: Settings, who: People) -> Timeline:
    """Draw presence and segments."""
    patterns = item_patterns(settings)
    edges = np.cumsum(list(patterns.values()))
    picked = np.searchsorted(edges, settings.stream("present").random(len(who.ids)), side="right")
    present = np.array(list(patterns))[np.minimum(picked, len(edges) - 1)]
    if settings.profile.level == "item":
        n = len(who.ids)
        return Timeline(np.arange(n), np.ones(n, dtype=np.int64), present, present)
    frames = np.round(who.seconds * settings.profile.clock_hz).astype(np.int64)
    sizes = _segments(settings, np.maximum(frames, _SEGMENT[0]))
    unit_item = np.repeat(np.arange(len(sizes)), [len(s) for s in sizes])
    rates = np.array([settings.invalid[m] for m in settings.modalities])
    good = settings.stream("segments", "invalid").random((len(unit_item), len(rates))) >= rates
    return Timeline(unit_item, np.concatenate(sizes), present[unit_item] & good, present)


def _segments(settings: Settings, frames: Ints) -> list[Ints]:
    """Segment sizes of each track; a remainder too short for a segment belongs to the one before."""
    rng = settings.stream("segments")
    low, high = _SEGMENT
    sizes = []
    for total in frames:
        drawn = rng.integers(low, high + 1, size=max(1, int(total) // low))
        ends = np.cumsum(drawn)
        ends = np.append(ends[ends <= total - low], total)
        sizes.append(np.diff(ends, prepend=0))
    return sizes


def rows_of(settings: Settings, who: People, line: Timeline, modality: str) -> Rows:
    """The rows of one modality and where they stand."""
    column = settings.modalities.index(modality)
    has = line.present[:, column]
    if settings.profile.level == "frame":
        return _frame_rows(line, column)
    lengths = np.where(has, _lengths(settings, who, modality), 0)
    item = np.repeat(np.arange(len(lengths)), lengths)
    place = np.arange(len(item)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    size = lengths[item]
    bad = failed_runs(settings.stream("invalid", modality), lengths, settings.invalid[modality])
    keep = place == np.floor(settings.stream("spared", modality).random(len(lengths))[item] * size)
    if settings.lookup and modality == settings.pair[1]:
        for parts in {classes_of(settings, name) for name in settings.profile.latents}:
            part = place * parts // np.maximum(size, 1)
            keep |= (place == 0) | (part != np.roll(part, 1))
    return Rows(lengths, item, item, item, place, size, ~bad | keep)


def classes_of(settings: Settings, latent: str) -> int:
    """Number of segments that a look-up of this hidden thing takes: its classes; two for the sign of a scale."""
    hidden = settings.profile.latents[latent]
    return hidden.size if isinstance(hidden, Classes) else 2


def _lengths(settings: Settings, who: People, modality: str) -> Ints:
    profile = settings.profile.modalities[modality]
    if profile.kind != "sequence":
        return np.ones(len(who.seconds), dtype=np.int64)
    least = _MIN_ROWS
    if settings.lookup and modality == settings.pair[1]:
        least = max(least, *(classes_of(settings, name) for name in settings.profile.latents))
    return np.maximum(np.round(who.seconds * profile.rate_hz).astype(np.int64), least)


def _frame_rows(line: Timeline, column: int) -> Rows:
    """Every modality of a frame-level corpus runs on the clock of the labels."""
    grain = np.flatnonzero(line.present[line.grain_item, column])
    unit = line.grain_unit[grain]
    first = np.cumsum(line.unit_size) - line.unit_size
    lengths = np.where(line.present[:, column], line.grains_of_item, 0)
    valid = line.available[unit, column]
    return Rows(lengths, line.grain_item[grain], unit, grain, grain - first[unit], line.unit_size[unit], valid)


def failed_runs(rng: np.random.Generator, lengths: Ints, rate: float) -> NDArray[np.bool_]:
    """(rows,) True inside one run per item, at a random place and of 0 to 2 x rate of its rows; `rate` on average."""
    item = np.repeat(np.arange(len(lengths)), lengths)
    place = np.arange(len(item)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    start, share = rng.random((2, len(lengths)))
    width = np.floor(2 * rate * share * lengths + rng.random(len(lengths)))
    return (place - np.floor(start * lengths)[item]) % np.maximum(lengths, 1)[item] < width[item] * (rate > 0)


def word_times(rng: np.random.Generator, rows: Rows, seconds: NDArray[np.float64]) -> NDArray[np.float64]:
    """(rows, 2) start and end of each word: the item's time shared out at random, a fifth of it pauses (ours)."""
    share = 0.2 + rng.random(len(rows.item))
    total = np.bincount(rows.item, weights=share, minlength=len(seconds))
    width = share / total[rows.item] * seconds[rows.item]
    end = np.cumsum(width)
    before = np.concatenate([[0.0], end])[np.cumsum(rows.lengths) - rows.lengths]
    start = end - width - before[rows.item]
    return np.round(np.stack([start, start + 0.8 * width], axis=1), 4)
