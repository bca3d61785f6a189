"""The structure of a pickle with one dictionary per part, taken apart and checked; the arrays stay as they are."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mer_bench.errors import UserError
from mer_bench.prepare.cmu.clips import Clips, named
from mer_bench.prepare.ids import shown

PARTS = {"train": 1, "valid": 2, "test": 3}
MODALITIES = ("text", "audio", "vision")
#: MMSA's class of a sentiment below, at and above zero
CLASSES = (0, 1, 2)
MMSA_LABELS, OTHER_LABELS, MMSA_CLASSES = "regression_labels", "labels", "classification_labels"


@dataclass
class Table:
    """What a pickle holds.

    Attributes:
        dialect: MMSA, MulT or MultiBench.
        clips: all of them, in the order of the parts.
        arrays: by modality, (clips, steps, features) of each part.
        lengths: by modality, (clips,) as the file states them.
        text_mask: (clips, steps) mask of the tokens, or None.
        odd_classes: clips whose class is not the sign of their sentiment.
    """

    dialect: str
    clips: Clips
    arrays: dict[str, list[np.ndarray]]
    lengths: dict[str, NDArray[np.int64]]
    text_mask: NDArray[np.bool_] | None
    odd_classes: list[str]

    @property
    def aligned(self) -> bool:
        """All modalities have the same number of steps, one per word."""
        return len({parts[0].shape[1] for parts in self.arrays.values()}) == 1


def read_table(path: Path, content: Any) -> Table:
    """Take a pickle apart.

    Args:
        path: the file, for messages.
        content: what it holds; the feature arrays are taken out of it.

    Raises:
        UserError: parts, arrays or labels are missing, or do not fit each other.
    """
    parts = _Parts(path, content)
    mmsa = parts.has(MMSA_LABELS)
    if not mmsa and not parts.has(OTHER_LABELS):
        raise UserError(f"{path}: no labels: expected 'regression_labels' (MMSA) or 'labels' (MulT, MultiBench)")
    labels = parts.labels(MMSA_LABELS if mmsa else OTHER_LABELS)
    names = parts.names()
    clips = _clips(path, names, labels)
    clips = replace(clips, text=parts.texts("raw_text"), part=np.repeat([*PARTS.values()], parts.counts))
    arrays = {name: parts.sequences(name) for name in MODALITIES if parts.has(name)}
    if not arrays:
        raise UserError(f"{path}: none of the arrays {', '.join(MODALITIES)}")
    lengths = {name: parts.lengths(f"{name}_lengths") for name in arrays if parts.has(f"{name}_lengths")}
    dialect = "MMSA" if mmsa else "MulT" if clips.start_s is not None else "MultiBench"
    return Table(dialect, clips, arrays, lengths, _text_mask(path, parts, arrays), _odd_classes(path, parts, clips))


class _Parts:
    """The dictionaries of the parts, and what can be asked of all three at once."""

    def __init__(self, path: Path, content: Any) -> None:
        if not isinstance(content, dict) or not all(isinstance(content.get(name), dict) for name in PARTS):
            raise UserError(f"{path}: not a dictionary of {', '.join(PARTS)}, each a dictionary of arrays")
        self.path = path
        self.parts: list[dict[str, Any]] = [content[name] for name in PARTS]
        self.counts: list[int] = []

    def has(self, name: str) -> bool:
        have = [part for part, content in zip(PARTS, self.parts, strict=True) if content.get(name) is not None]
        if have and len(have) < len(PARTS):
            raise UserError(f"{self.path}: {name!r} is in {', '.join(have)} only; expected it in every part")
        return bool(have)

    def arrays(self, name: str) -> list[np.ndarray]:
        """Numbers of each part, as many as there are labels; they leave the dictionaries."""
        found = []
        for part, content in zip(PARTS, self.parts, strict=True):
            try:
                array = np.asarray(content.pop(name))
            except ValueError:
                array = np.empty(0, object)
            if array.dtype.kind not in "fiub" or not array.ndim:
                raise UserError(f"{self.path}: {part}/{name} holds no numbers of one shape")
            found.append(array)
        self.same_number(name, [len(array) for array in found])
        return found

    def same_number(self, name: str, counts: list[int]) -> None:
        self.counts = self.counts or counts
        if counts != self.counts:
            raise UserError(f"{self.path}: {counts} entries of {name} for {self.counts} labels (train, valid, test)")

    def labels(self, name: str) -> NDArray[np.float64]:
        found = [array.reshape(len(array), -1).astype(np.float64) for array in self.arrays(name) if len(array)]
        widths = {array.shape[1] for array in found}
        if widths not in ({1}, {7}):
            raise UserError(
                f"{self.path}: {name} of {sorted(widths)} columns; expected 1 (sentiment) or 7 (and six emotions)"
            )
        return np.concatenate(found)

    def names(self) -> list[tuple[str, ...]]:
        """Name of each clip: one string, or video, start and end."""
        if not self.has("id"):
            raise UserError(f"{self.path}: no 'id'; clips without a name cannot be told to an official fold")
        rows = [[_strings(row) for row in np.asarray(part["id"], dtype=object)] for part in self.parts]
        self.same_number("id", [len(part) for part in rows])
        told = [tuple(row) for part in rows for row in part]
        if {len(row) for row in told} not in ({1}, {3}):
            raise UserError(f"{self.path}: ids that are neither a name nor video, start and end: {told[0]!r:.80}")
        return told

    def texts(self, name: str) -> list[str] | None:
        if not self.has(name):
            return None
        told = [_strings(part[name]) for part in self.parts]
        self.same_number(name, [len(part) for part in told])
        return [text for part in told for text in part]

    def sequences(self, name: str) -> list[np.ndarray]:
        found = self.arrays(name)
        shapes = {array.shape[1:] for array in found}
        if len(shapes) > 1 or found[0].ndim != 3:
            raise UserError(f"{self.path}: {name} has shapes {sorted(shapes)}; expected (clips, steps, features)")
        return found

    def lengths(self, name: str) -> NDArray[np.int64]:
        arrays = self.arrays(name)
        empty = [part for part, array in zip(PARTS, arrays, strict=True) if not array.size]
        if empty:
            raise UserError(f"{self.path}: {empty[0]}/{name} is empty; expected clips in every part")
        found = np.concatenate([array.reshape(len(array), -1) for array in arrays])
        if found.shape[1] != 1 or (found < 0).any() or (found != np.round(found)).any():
            raise UserError(f"{self.path}: {name} are no numbers of steps")
        return found[:, 0].astype(np.int64)


def _strings(cells: Any) -> list[str]:
    flat = np.ravel(np.asarray(cells, dtype=object)).tolist()
    return [cell.decode("utf-8", "replace") if isinstance(cell, bytes) else str(cell) for cell in flat]


def _clips(path: Path, names: list[tuple[str, ...]], labels: NDArray[np.float64]) -> Clips:
    sentiment, emotions = labels[:, 0], labels[:, 1:] if labels.shape[1] > 1 else None
    if len(names[0]) == 1:
        told = [named(path, name) for (name,) in names]
        place = np.array([number for *_, number in told], np.float64)
        return Clips([name for name, *_ in told], [video for _, video, _ in told], place, sentiment, emotions)
    try:
        times = np.array([[float(start), float(end)] for _, start, end in names])
    except ValueError:
        times = np.full((len(names), 2), np.nan)
    wrong = ~np.isfinite(times).all(axis=1) | (times[:, 1] < times[:, 0])
    if wrong.any():
        bad = [" ".join(names[row]) for row in np.flatnonzero(wrong)]
        raise UserError(f"{path}: ids without possible times: {shown(bad, 3)}; expected video, start and end")
    ids = [f"{video}.at{start:.3f}-{end:.3f}" for (video, *_), (start, end) in zip(names, times, strict=True)]
    return Clips(ids, [video for video, *_ in names], times[:, 0], sentiment, emotions, times[:, 0], times[:, 1])


def _odd_classes(path: Path, parts: _Parts, clips: Clips) -> list[str]:
    """Where MMSA's classes (negative, neutral, positive), which are not used, are not the sign of the sentiment."""
    if not parts.has(MMSA_CLASSES):
        return []
    classes = np.concatenate([np.ravel(array) for array in parts.arrays(MMSA_CLASSES)])
    expected = np.array(CLASSES)[np.sign(np.nan_to_num(clips.sentiment)).astype(np.int64) + 1]
    if len(classes) != len(expected):
        raise UserError(f"{path}: {len(classes):,} {MMSA_CLASSES} for {len(expected):,} {MMSA_LABELS}")
    return [clips.ids[row] for row in np.flatnonzero(classes != expected).tolist()]


def _text_mask(path: Path, parts: _Parts, arrays: dict[str, list[np.ndarray]]) -> NDArray[np.bool_] | None:
    """The second row of `text_bert` (token ids, mask, segments)."""
    if "text" not in arrays or not parts.has("text_bert"):
        return None
    found = parts.arrays("text_bert")
    expected = [(len(text), 3, text.shape[1]) for text in arrays["text"]]
    if [array.shape for array in found] != expected:
        raise UserError(f"{path}: text_bert has shape {found[0].shape}; expected {expected[0]}, as text")
    return np.concatenate([array[:, 1] > 0 for array in found])
