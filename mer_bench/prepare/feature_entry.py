"""The features of one item, as a file or a folder of frames holds them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mer_bench.errors import UserError
from mer_bench.prepare.arrays import load_npy
from mer_bench.prepare.tables import is_number, numbers, read_any, read_rows, width_of

#: columns of OpenFace's tables that are no features
NO_FEATURES = ("frame", "frame_id", "face_id", "timestamp", "confidence", "success")


@dataclass(frozen=True)
class Dialect:
    """How tables are written.

    Attributes:
        delimiter: between cells.
        columns: which to take, by name; none means all that are features.
    """

    delimiter: str = ","
    columns: tuple[str, ...] = ()


@dataclass(frozen=True)
class Entry:
    """What one entry holds.

    Attributes:
        values: (rows, features) float32.
        vector: it is one vector, not a matrix with one row.
        tracked: (rows,) False where the extractor itself says that it found nothing.
        times: (rows, 2) start and end in seconds, where the entry tells.
        names: of the columns, where the entry tells.
    """

    values: NDArray[np.float32]
    vector: bool = False
    tracked: NDArray[np.bool_] | None = None
    times: NDArray[np.float64] | None = None
    names: tuple[str, ...] = ()


def _array(path: Path) -> np.ndarray:
    array = load_npy(path)
    if array.ndim not in (1, 2) or array.dtype.kind not in "fiu" or not array.shape[-1]:
        raise UserError(
            f"{path}: {array.dtype} of shape {array.shape}; expected numbers, (features) or (frames, features)"
        )
    return array


def _npy(path: Path, _: Dialect) -> Entry:
    array = _array(path)
    return Entry(np.atleast_2d(array).astype(np.float32), vector=array.ndim == 1)


def _frames(path: Path, _: Dialect) -> Entry:
    files = sorted(path.glob("*.npy"), key=lambda file: (int(file.stem) if file.stem.isdecimal() else 0, file.name))
    vectors = [np.squeeze(_array(file)) for file in files]
    for file, vector in zip(files, vectors, strict=True):
        if vector.shape != vectors[0].shape or vector.ndim != 1:
            raise UserError(
                f"{file}: shape {vector.shape}; expected one vector, of {vectors[0].size} numbers as before"
            )
    return Entry(np.stack(vectors).astype(np.float32))


def _csv(path: Path, dialect: Dialect) -> Entry:
    width, head = width_of(path, dialect.delimiter)
    if all(map(is_number, head)) and not dialect.columns:
        rows = read_rows(path, width, dialect.delimiter)
        return Entry(numbers([cell for row in rows for cell in row], str(path)).reshape(-1, width).astype(np.float32))
    table = read_any(path, dialect.delimiter)
    lower = {key.lower(): key for key in table}
    lost = [name for name in dialect.columns if name not in table]
    if lost:
        raise UserError(f"{path}: no column {lost[0]!r}; it has {', '.join(list(table)[:8])}")
    names = dialect.columns or tuple(key for key in table if key.lower() not in NO_FEATURES)
    if not names or not table[names[0]]:
        raise UserError(f"{path}: no {'rows' if names else 'features'}; expected a header and one row per frame")
    values = np.stack([numbers(table[key], f"{path}: {key}") for key in names], axis=1).astype(np.float32)
    columns = {key: numbers(table[lower[key]], f"{path}: {key}") for key in NO_FEATURES if key in lower}
    frame = columns.get("frame", columns.get("frame_id"))
    if frame is not None and not (np.diff(frame) > 0).all():
        raise UserError(f"{path}: frame numbers do not rise; expected one face, each frame once")
    tracked = columns["success"] == 1 if "success" in columns else None
    return Entry(values, tracked=tracked, times=_times(path, columns.get("timestamp")), names=names)


def _times(path: Path, start: NDArray[np.float64] | None) -> NDArray[np.float64] | None:
    """Start and end of each row from the starts; the last row is as long as the middle one of the others."""
    if start is None or len(start) < 2:
        return None
    steps = np.diff(start)
    if not (np.isfinite(start).all() and (steps >= 0).all() and start[0] >= 0):
        raise UserError(f"{path}: timestamps do not rise; expected seconds from the start of the item")
    return np.stack([start, np.append(start[1:], start[-1] + np.median(steps))], axis=1)


READERS: dict[str, Callable[[Path, Dialect], Entry]] = {".npy": _npy, ".csv": _csv, "": _frames}
