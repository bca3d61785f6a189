"""What a feature file holds, in plain Python: for people and for programs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from mer_bench.merh5.reader import FeatureFile
from mer_bench.merh5.schema import CLASS_KINDS, GROUP_KEYS, PARTS

COPIED = ("corpus_version", "corpus_part", "licence", "redistributable", "created_utc", "creator", "notes", "repairs")


def summarise(path: str | Path) -> dict[str, Any]:
    """Facts about a feature file that JSON can hold. Reads labels and splits, no features.

    Raises:
        UserError: the file cannot be opened.
    """
    file = FeatureFile(path)
    return {
        "path": str(file.path),
        "corpus": file.corpus,
        "synthetic": file.synthetic,
        "items": file.n,
        **{key: file.attrs[key] for key in COPIED},
        "groups": {key: len(set(file.group(key))) for key in GROUP_KEYS if key in file.columns},
        "columns": [key for key in file.columns if key not in GROUP_KEYS],
        "text": file.has_text,
        "modalities": {name: _modality(file, name) for name in file.modalities},
        "labels": {name: _labels(file, name) for name in file.labels},
        "splits": {name: _split(file, name) for name in file.splits},
        "content_sha256": file.content_sha256,
        "sources": file.attrs["sources"],
        "truth": file.truth,
    }


def _modality(file: FeatureFile, name: str) -> dict[str, Any]:
    info = file.modalities[name]
    return {
        "kind": info.kind,
        "dim": info.dim,
        "rate_hz": info.rate_hz,
        "rows": info.rows,
        "longest": int(np.diff(info.offsets).max()),
        "present": float(info.present.mean()),
        "extractor": info.extractor,
        "extractor_version": info.extractor_version,
        "unit": info.unit,
        "aligned_to": info.aligned_to,
        "fitted_on": info.fitted_on,
    }


def _labels(file: FeatureFile, name: str) -> dict[str, Any]:
    """Counts: items of each class, positives of each label, or lowest and highest value of each dimension."""
    info = file.labels[name]
    values, mask = file.label(name)
    if info.kind in CLASS_KINDS:
        counts: list[Any] = np.bincount(values[mask], minlength=len(info.names)).tolist()
    elif info.kind == "multilabel":
        counts = (values * mask).sum(axis=0).astype(int).tolist()
    else:
        usable = [column[seen] for column, seen in zip(values.T, mask.T, strict=True)]
        counts = [[float(column.min()), float(column.max())] if len(column) else None for column in usable]
    return {
        "kind": info.kind,
        "level": info.level,
        "definition": info.definition,
        "range": info.range,
        "usable": int(mask.reshape(len(mask), -1).any(axis=1).sum()),
        "total": len(mask),
        "counts": dict(zip(info.names, counts, strict=True)),
    }


def _split(file: FeatureFile, name: str) -> dict[str, Any]:
    info = file.splits[name]
    table = file.split_table(name)
    sizes = [dict(zip(PARTS, np.bincount(row, minlength=len(PARTS)).tolist(), strict=True)) for row in table]
    return {"folds": info.folds, "sizes": sizes, "disjoint_by": info.disjoint_by, "source": info.source}
