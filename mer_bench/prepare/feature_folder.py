"""A folder of features with one entry per item, named by the item.

- ``<item>.npy``: a vector, or (frames, features).
- ``<item>.csv``: one row per frame, with a header (then ``frame``, ``face_id``, ``timestamp``, ``confidence`` and
  ``success`` are no features, as OpenFace writes them) or without.
- ``<item>/*.npy``: a folder with one vector per frame (or per face), in the order of their names.

Entries lie in the folder itself or one level deeper, sorted by dialogue or video. Names are read from the disk; no path
is made from what a file says.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mer_bench.errors import UserError
from mer_bench.merh5 import Modality
from mer_bench.prepare.feature_entry import READERS, Dialect, Entry
from mer_bench.prepare.ids import shown
from mer_bench.prepare.report import Report
from mer_bench.prepare.rows import Faults
from mer_bench.prepare.spool import Spool

COMMAS = Dialect()


def feature_files(name: str, folder: Path, known: Collection[str]) -> dict[str, Path]:
    """The entries of a folder by item, those of unknown items too.

    Args:
        name: of the modality, for messages.
        folder: where they lie.
        known: ids of the items; a subfolder of such a name is an item, any other one holds items.

    Raises:
        UserError: not a folder, without such entries, or two entries of one item.
    """
    known = set(known)
    found: dict[str, Path] = {}
    for path in _entries(folder) if folder.is_dir() else []:
        inner = _entries(path) if path.is_dir() and path.name not in known else [path]
        for entry in inner:
            if _ending(entry) not in READERS:
                continue
            item = entry.stem if entry.is_file() else entry.name
            if item in found:
                raise UserError(f"--features {name}: {found[item]} and {entry} hold the same item; leave one")
            found[item] = entry
    if not found:
        raise UserError(f"--features {name}: {folder} is no folder with one .npy or .csv file per item")
    return found


def _entries(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


def _ending(path: Path) -> str:
    """Which reader an entry takes; a subfolder counts if it holds arrays."""
    if path.is_dir():
        return "" if any(path.glob("*.npy")) else "/"
    return path.suffix or "/"


def read_folder(
    name: str,
    folder: Path,
    files: Mapping[str, Path],
    ids: Sequence[str],
    report: Report,
    rate_hz: float = 0.0,
    dialect: Dialect = COMMAS,
) -> Modality:
    """The features of the items that have an entry; the others lack this modality.

    Vectors become an utterance modality, matrices of (frames, features) a sequence one.

    Args:
        name: of the modality.
        folder: for messages.
        files: by item.
        ids: of the items.
        report: told what is absent and masked.
        rate_hz: rows per second, 0 where unknown.
        dialect: how tables are written.

    Raises:
        UserError: nothing for any item, entries of different width, or vectors among matrices.
    """
    faults, lengths, valid = Faults(name), np.zeros(len(ids), np.int64), [np.zeros(0, bool)]
    times: list[NDArray[np.float64]] = []
    first: Entry | None = None
    with Spool() as spool:
        for row, item in enumerate(ids):
            if item not in files:
                continue
            entry = READERS[_ending(files[item])](files[item], dialect)
            first = first or entry
            _refuse_odd(folder, item, entry, first)
            good = faults.judge(item, entry.values, entry.tracked)
            spool.add(np.where(good[:, None], entry.values, np.float32(0)), files[item])
            lengths[row] = len(good)
            valid.append(good)
            times += [entry.times] if entry.times is not None else []
        if first is None or not spool.rows:
            other = next(iter(files))
            raise UserError(f"{folder}: no file of any item; its first is {other!r}, expected names such as {ids[0]!r}")
        values = spool.array()
    faults.tell(report.repair)
    report.counted[f"without a file in {name}"] = len([item for item in ids if item not in files])
    whole = sum(map(len, times)) == len(values)
    return Modality(
        values,
        lengths,
        kind="utterance" if first.vector else "sequence",
        rate_hz=rate_hz,
        valid=np.concatenate(valid),
        times=np.concatenate(times) if whole and not rate_hz else None,
        names=first.names or None,
        extractor=folder.name,
        note=f"rows as they stand in the files; {'their own times' if whole else 'no times'}",
    )


def _refuse_odd(folder: Path, item: str, entry: Entry, first: Entry) -> None:
    """Refuse an entry that does not go with the first one."""
    if entry.values.shape[1] != first.values.shape[1] or entry.vector != first.vector or not entry.values.shape[1]:
        raise UserError(
            f"{folder}: files of different shape: {_form(entry)} in {item}, {_form(first)} in those before; expected "
            "vectors, or matrices of (frames, features), of one width"
        )
    if entry.names != first.names:
        odd = [mine for mine, other in zip(entry.names, first.names, strict=False) if mine != other]
        raise UserError(f"{folder}: columns of {item} differ from those before: {shown(odd) or 'no header'}")


def _form(entry: Entry) -> str:
    return f"a vector of {entry.values.shape[1]}" if entry.vector else str(entry.values.shape)
