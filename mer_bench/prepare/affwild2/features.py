"""Features of tracks, as a folder holds them: one entry per track (or per video, which two tracks share).

- ``<track>/00001.npy`` ...: one file per video frame, named by its number, counted from 1.
- ``<track>.npz``: ``values`` (rows, features) and ``frames`` (rows,), their frame numbers.
- ``<track>.csv``: a column ``frame`` (or ``frame_id``), the others are features. Where a column ``success`` is 0 the
  row is no measurement; ``timestamp``, ``confidence`` and ``face_id`` are no features.
- ``<track>.npy``: (rows, features) without frame numbers. With ``--rate NAME=HZ`` rows on a clock of their own, from
  the start of the video; without it one row per frame, as many as annotated lines (one more or less is known).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mer_bench.errors import UserError
from mer_bench.prepare.arrays import load_npy, load_npz
from mer_bench.prepare.tables import numbers, read_any

ENDINGS = ("", ".npz", ".csv", ".npy")
FRAME_COLUMNS = ("frame", "frame_id")
NO_FEATURES = ("timestamp", "confidence", "face_id", "success")


@dataclass(frozen=True)
class Rows:
    """What one entry holds.

    Attributes:
        values: (rows, features) float32.
        frames: (rows,) number of the video frame, counted from 1; None where the entry does not tell.
        tracked: (rows,) False where the extractor itself says that it found nothing; None where it says nothing.
    """

    values: NDArray[np.float32]
    frames: NDArray[np.int64] | None
    tracked: NDArray[np.bool_] | None = None


def entries(folder: Path) -> dict[str, Path]:
    """Entries of a folder by name.

    Raises:
        UserError: not a folder, or a name with two entries.
    """
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        ending = "" if path.is_dir() else path.suffix
        if path.name.startswith(".") or ending not in ENDINGS or (not path.is_dir() and not ending):
            continue
        name = path.name if path.is_dir() else path.stem
        if name in found:
            raise UserError(f"{folder}: {found[name].name} and {path.name} hold the same track; leave one")
        found[name] = path
    if not found:
        raise UserError(f"{folder}: no features; expected <track>/00001.npy, or <track>.npz, .csv or .npy")
    return found


def read(path: Path) -> Rows:
    """One entry.

    Raises:
        UserError: unreadable, no numbers, or frame numbers that are no counting numbers or occur twice.
    """
    rows = _READERS[path.suffix if path.is_file() else ""](path)
    if rows.frames is not None:
        low = rows.frames < 1
        if low.any():
            raise UserError(f"{path}: frame {int(rows.frames[low][0])}; expected numbers from 1, as the images have")
        numbers_, counts = np.unique(rows.frames, return_counts=True)
        if (counts > 1).any():
            raise UserError(f"{path}: frame {int(numbers_[counts > 1][0])} occurs twice")
    return rows


def _folder(path: Path) -> Rows:
    files = {file: file.stem for file in sorted(path.glob("*.npy"))}
    odd = [file for file, stem in files.items() if not (stem.isascii() and stem.isdigit())]
    if odd or not files:
        told = f"{odd[0].name} is not named by a frame" if odd else "no .npy files"
        raise UserError(f"{path}: {told}; expected 00001.npy, 00002.npy, ...")
    arrays = [np.squeeze(load_npy(file)) for file in files]
    for file, array in zip(files, arrays, strict=True):
        if array.ndim != 1 or array.shape != arrays[0].shape or array.dtype.kind not in "fiu":
            raise UserError(f"{file}: shape {array.shape}; expected one vector of {arrays[0].size} numbers")
    values = np.stack(arrays).astype(np.float32)
    return Rows(values, np.array([int(stem) for stem in files.values()], np.int64))


def _npy(path: Path) -> Rows:
    values = _matrix(path, load_npy(path))
    return Rows(values, None)


def _npz(path: Path) -> Rows:
    found = load_npz(path)
    if set(found) != {"values", "frames"}:
        raise UserError(f"{path}: arrays {', '.join(sorted(found))}; expected values and frames")
    values, frames = _matrix(path, found["values"]), found["frames"]
    if frames.shape != (len(values),) or frames.dtype.kind not in "iu":
        raise UserError(f"{path}: frames {frames.shape} of {frames.dtype}; expected {len(values)} whole numbers")
    return Rows(values, frames.astype(np.int64))


def _csv(path: Path) -> Rows:
    table = {name.lower(): cells for name, cells in read_any(path).items()}
    frame = [name for name in FRAME_COLUMNS if name in table]
    names = [name for name in table if name not in (*FRAME_COLUMNS, *NO_FEATURES)]
    if not frame or not names:
        raise UserError(f"{path}: columns {', '.join(list(table)[:6])}; expected frame and the features")
    number = numbers(table[frame[0]], f"{path}: {frame[0]}")
    if not (number == np.round(number)).all():
        raise UserError(f"{path}: {frame[0]}: expected whole numbers")
    values = np.stack([numbers(table[name], f"{path}: {name}") for name in names], axis=1).astype(np.float32)
    tracked = numbers(table["success"], f"{path}: success") != 0 if "success" in table else None
    return Rows(values, number.astype(np.int64), tracked)


def _matrix(path: Path, values: np.ndarray) -> NDArray[np.float32]:
    if values.ndim != 2 or values.dtype.kind not in "fiu" or not values.size:
        raise UserError(f"{path}: {values.dtype} of shape {values.shape}; expected numbers (rows, features)")
    return values.astype(np.float32)


_READERS = {"": _folder, ".npy": _npy, ".npz": _npz, ".csv": _csv}


def find(entries: Mapping[str, Path], track: str, video: str, *, shared: bool) -> Path | None:
    """The entry of a track, or of its video for what two tracks share (sound, never a face)."""
    return entries.get(track) or (entries.get(video) if shared else None)
