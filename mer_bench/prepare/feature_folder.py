"""A folder of features with one `.npy` file per item, named by the item."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from mer_bench.errors import UserError
from mer_bench.merh5 import Modality
from mer_bench.prepare.arrays import load_npy
from mer_bench.prepare.ids import shown
from mer_bench.prepare.report import Report
from mer_bench.prepare.rows import measured_rows


def npy_files(name: str, folder: Path) -> dict[str, Path]:
    """The files of a folder by stem. Names are read from the folder; no path is made from what a file says.

    Raises:
        UserError: not a folder, or without such files.
    """
    files = {path.stem: path for path in sorted(folder.glob("*.npy")) if path.is_file()} if folder.is_dir() else {}
    if not files:
        raise UserError(f"--features {name}: {folder} is no folder with one .npy file per item")
    return files


def read_folder(name: str, folder: Path, files: Mapping[str, Path], ids: Sequence[str], report: Report) -> Modality:
    """The features of the items that have a file; the others lack this modality.

    Vectors become an utterance modality, matrices of (frames, features) a sequence one.

    Args:
        name: of the modality.
        folder: for messages.
        files: by item.
        ids: of the items.
        report: told what is absent and masked.

    Raises:
        UserError: no file for any item, files of different width, or vectors among matrices.
    """
    arrays = {item: load_npy(files[item]) for item in ids if item in files}
    if not arrays:
        first = next(iter(files))
        raise UserError(f"{folder}: no file of any item; its first is {first!r}, expected names such as {ids[0]!r}")
    shapes = {(array.ndim, array.shape[-1] if array.ndim else 0) for array in arrays.values()}
    axes, width = min(shapes)
    odd = [item for item, array in arrays.items() if (array.ndim, array.shape[-1:]) != (axes, (width,))]
    if odd or axes not in (1, 2) or not width:
        told = ", ".join(f"{array.shape} in {item}" for item, array in arrays.items() if item in odd[:3])
        raise UserError(f"{folder}: files of different shape: {axes} axes with {width} features, but {told or 'empty'}")
    wrong = [item for item, array in arrays.items() if array.dtype.kind not in "fiu"]
    if wrong:
        raise UserError(f"{folder}: no numbers in {shown(wrong)}")
    lengths = np.array([len(np.atleast_2d(arrays[item])) if item in arrays else 0 for item in ids])
    values = np.concatenate([np.atleast_2d(array).astype(np.float32) for array in arrays.values()])
    report.counted[f"without a file in {name}"] = int((lengths == 0).sum())
    return Modality(
        values,
        lengths,
        kind="utterance" if axes == 1 else "sequence",
        valid=measured_rows(name, values, lengths, ids, report),
        extractor=folder.name,
        note="rows as they stand in the files; no times",
    )
