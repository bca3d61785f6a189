"""Annotation files: a header, then one line per video frame; -5 (valence, arousal) and -1 stand for "no label".

Folder names changed between the editions of the challenge; both are read. The file is named by the track: the video,
with ``_left`` or ``_right`` where it shows two people.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mer_bench.errors import UserError
from mer_bench.prepare.ids import shown
from mer_bench.prepare.tables import numbers

FOLDERS = {
    "va": ("VA_Set", "VA_Estimation_Challenge"),
    "expr": (
        "EXPR_Set",
        "EXPR_Recognition_Challenge",
        "EXPR_Classification_Challenge",
        "Expression_Classification_Challenge",
    ),
    "au": ("AU_Set", "AU_Detection_Challenge"),
}
#: part of the split; the official validation part is tested on, because the labels of the test part are private
PARTS = {"Training_Set": 1, "Train_Set": 1, "Validation_Set": 3}
SIDES = ("_left", "_right")

VA = ("valence", "arousal")
EXPRESSIONS = ("neutral", "anger", "disgust", "fear", "happiness", "sadness", "surprise", "other")
#: of the editions from 2022 on, and of that of 2020
UNITS = (
    tuple(f"AU{number}" for number in (1, 2, 4, 6, 7, 10, 12, 15, 23, 24, 25, 26)),
    tuple(f"AU{number}" for number in (1, 2, 4, 6, 12, 15, 20, 25)),
)
NO_VA, NO_CLASS = -5.0, -1.0


@dataclass(frozen=True)
class Annotation:
    """One file.

    Attributes:
        names: columns of `values`; for expressions the classes that the header names.
        values: (frames, columns); expressions (frames,), an index into `EXPRESSIONS`. Zero where masked.
        mask: shape of the values.
    """

    names: tuple[str, ...]
    values: NDArray
    mask: NDArray[np.bool_]


@dataclass
class Track:
    """One person in one video.

    Attributes:
        name: of the annotation files, without ending.
        labels: by task.
        parts: part of the official split, by task.
    """

    name: str
    labels: dict[str, Annotation] = field(default_factory=dict)
    parts: dict[str, int] = field(default_factory=dict)

    @property
    def video(self) -> str:
        """Name of the video, which two tracks may share."""
        for side in SIDES:
            if self.name.endswith(side):
                return self.name.removesuffix(side)
        return self.name

    @property
    def frames(self) -> int:
        """Frames of the track: lines of its longest annotation."""
        return max(len(annotation.values) for annotation in self.labels.values())


def task_folders(root: Path) -> dict[str, Path]:
    """The folder of each task that is there."""
    found = {task: [root / name for name in names if (root / name).is_dir()] for task, names in FOLDERS.items()}
    twice = [paths for paths in found.values() if len(paths) > 1]
    if twice:
        raise UserError(f"{root}: {shown([p.name for p in twice[0]])} hold the same task; leave one")
    return {task: paths[0] for task, paths in found.items() if paths}


def read_tracks(folders: dict[str, Path]) -> tuple[list[Track], list[Path]]:
    """All tracks, sorted by name, and the files they were read from.

    Raises:
        UserError: a malformed file, or a track in both parts of one task.
    """
    tracks: dict[str, Track] = {}
    files = []
    for task, folder in folders.items():
        for name, part in PARTS.items():
            for path in sorted((folder / name).glob("*.txt")):
                track = tracks.setdefault(path.stem, Track(path.stem))
                if task in track.parts:
                    raise UserError(f"{path}: this track is in another part of {folder.name} too; expected one")
                track.labels[task] = read(path, task)
                track.parts[task] = part
                files.append(path)
        if not any(task in track.parts for track in tracks.values()):
            raise UserError(f"{folder}: no annotation files; expected <track>.txt in {' or '.join(PARTS)}")
    return [tracks[name] for name in sorted(tracks)], files


def read(path: Path, task: str) -> Annotation:
    """One annotation file.

    Raises:
        UserError: unreadable, an unknown header, a line of another width, or a label that is none.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read: {error}") from None
    while lines and not lines[-1].strip():
        lines.pop()
    if len(lines) < 2:
        raise UserError(f"{path}: {len(lines)} lines; expected a header and one line per video frame")
    header = [name.strip() for name in lines[0].replace("\t", ",").split(",") if name.strip()]
    return READERS[task](path, header, lines[1:])


def _cells(path: Path, lines: Sequence[str], width: int) -> np.ndarray:
    """(lines, width) numbers."""
    rows = [line.split(",") for line in lines]
    for number, row in enumerate(rows):
        if len(row) != width:
            raise UserError(f"{path}, line {number + 2}: {len(row)} values; expected {width}")
    return numbers([cell for row in rows for cell in row], str(path)).reshape(len(rows), width)


def _refuse(path: Path, wrong: np.ndarray, values: np.ndarray, expected: str) -> None:
    if wrong.any():
        row, column = (int(place[0]) for place in np.nonzero(wrong))
        raise UserError(f"{path}, line {row + 2}: {values[row, column]:g}; expected {expected}")


def _valence_arousal(path: Path, header: list[str], lines: list[str]) -> Annotation:
    names = [name.lower() for name in header]
    if sorted(names) != sorted(VA):
        raise UserError(f"{path}: header {header}; expected {','.join(VA)}")
    values = _cells(path, lines, 2)[:, [names.index(name) for name in VA]]
    mask = np.repeat((values != NO_VA).all(axis=1)[:, None], 2, axis=1)  # either one is missing: both are
    _refuse(path, mask & ~(np.abs(values) <= 1), values, "-1 to 1, or -5 for no label")
    return Annotation(VA, np.where(mask, values, 0).astype(np.float32), mask)


def _expression(path: Path, header: list[str], lines: list[str]) -> Annotation:
    names = tuple(name.lower() for name in header)
    if names not in (EXPRESSIONS, EXPRESSIONS[:-1]):
        raise UserError(f"{path}: header {','.join(header)}; expected {','.join(EXPRESSIONS)} (the last one from 2022)")
    values = _cells(path, lines, 1)
    mask = values != NO_CLASS
    _refuse(path, mask & ~np.isin(values, range(len(names))), values, f"a class 0 to {len(names) - 1}, or -1")
    return Annotation(names, np.where(mask, values, 0).astype(np.int64)[:, 0], mask[:, 0])


def _action_units(path: Path, header: list[str], lines: list[str]) -> Annotation:
    names = tuple(name.upper().replace(" ", "") for name in header)
    known = [units for units in UNITS if set(units) == set(names) and len(names) == len(units)]
    if not known:
        raise UserError(f"{path}: header {','.join(header)}; expected {','.join(UNITS[0])}")
    values = _cells(path, lines, len(names))[:, [names.index(name) for name in known[0]]]
    mask = values != NO_CLASS
    _refuse(path, mask & ~np.isin(values, (0, 1)), values, "0, 1, or -1 for no label")
    return Annotation(known[0], np.where(mask, values, 0).astype(np.float32), mask)


READERS: dict[str, Callable[[Path, list[str], list[str]], Annotation]] = {
    "va": _valence_arousal,
    "expr": _expression,
    "au": _action_units,
}
