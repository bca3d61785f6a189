"""One pickle with a dictionary per part, padded arrays in each: the files of MMSA, MulT and MultiBench."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mer_bench.errors import UserError
from mer_bench.merh5 import Contents, Modality
from mer_bench.prepare.cmu import padded
from mer_bench.prepare.cmu.archive import read_with_folders
from mer_bench.prepare.cmu.clips import Clips, settle
from mer_bench.prepare.cmu.contents import Extras, contents
from mer_bench.prepare.cmu.folds import check_beside
from mer_bench.prepare.cmu.label_files import is_index
from mer_bench.prepare.cmu.padded import Extent
from mer_bench.prepare.cmu.split_table import Table, read_table
from mer_bench.prepare.ids import shown
from mer_bench.prepare.layout import Layout, Request
from mer_bench.prepare.report import Report
from mer_bench.prepare.rows import measured_rows
from mer_bench.prepare.sources import source
from mer_bench.prepare.unpickle import load_pickle

#: as the README of MMSA states them
MMSA_FILES = {
    "ad8b23d50557045e7d47959ce6c5b955d8d983f2979c7d9b7b9226f6dd6fec1f": "MMSA's MOSEI unaligned_50.pkl",
    "45eccfb748a87c80ecab9bfac29582e7b1466bf6605ff29d3b338a75120bf791": "MMSA's MOSEI aligned_50.pkl",
    "78e0f8b5ef8ff71558e7308847fc1fa929ecb078203f565ab22b9daab2e02524": "MMSA's MOSI unaligned_50.pkl",
    "d3994fd25681f9c7ad6e9c6596a6fe9b4beb85ff7d478ba978b124139002e5f9": "MMSA's MOSI aligned_50.pkl",
}
#: what computed features of this width in these files
EXTRACTORS = {
    ("text", 768): "BERT (MMSA)",
    ("text", 300): "GloVe 300",
    ("audio", 74): "COVAREP",
    ("audio", 5): "COVAREP, 5 columns",
    ("vision", 35): "FACET 4.2",
    ("vision", 47): "FACET 4.1",
    ("vision", 20): "FACET, 20 columns",
}


class SplitPickle(Layout):
    """A `.pkl` file, or a folder with exactly one.

    Args:
        corpus: slug.
    """

    name = "pickle of MMSA, MulT, MultiBench or GCNet"
    options = ("features",)

    def __init__(self, corpus: str) -> None:
        self.corpus = corpus

    def missing(self, root: Path) -> list[str]:
        """One pickle, unless it is there."""
        found = [root] if root.is_file() else sorted(root.glob("*.pkl"))
        if len(found) > 1:
            return [f"one .pkl file (there are {', '.join(path.name for path in found[:4])}: name the one you want)"]
        return [] if found and found[0].suffix in (".pkl", ".pickle") else ["a .pkl file"]

    def read(self, request: Request, report: Report) -> Contents:
        """Read the pickle; one of GCNet holds labels only and goes with feature folders.

        Raises:
            UserError: another structure, or arrays that do not fit each other.
        """
        path = request.source if request.source.is_file() else next(iter(sorted(request.source.glob("*.pkl"))))
        content = load_pickle(path)
        if is_index(content):
            report.recognised = "GCNet index with feature folders"
            del content
            return read_with_folders(self.corpus, path, request, report)
        if request.features:
            raise UserError(f"--features: makes no difference here ({path} brings its own)")
        return self._split(path, content, request, report)

    def _split(self, path: Path, content: Any, request: Request, report: Report) -> Contents:
        check_beside(self.corpus, path, report)
        table = read_table(path, content)
        report.recognised = f"{table.dialect} pickle"
        origin = source(path)
        if origin.sha256 in MMSA_FILES:
            report.verified.append(f"sha256 of {path.name}: that of {MMSA_FILES[origin.sha256]}")
        elif table.dialect == "MMSA":
            report.absent.append(f"sha256 of {path.name} is none of the four that MMSA states")
        if table.odd_classes:
            report.absent.append(
                f"agreement of classification_labels, which are not used, with the sign of regression_labels in "
                f"{len(table.odd_classes):,} clips: {shown(table.odd_classes)}"
            )
        clips, rows = settle(self.corpus, path, table.clips, report)
        empty = [name for name, text in zip(clips.ids, clips.text or [], strict=False) if not text.strip()]
        report.counted |= {"clips of empty text": len(empty)} if clips.text is not None else {}
        modalities = _modalities(path, table, clips, rows, report)
        extras = Extras(notes=f"{table.dialect} pickle. dialogue: the video. order: position of the clip in it.")
        return contents(self.corpus, path, clips, modalities, request, report, [origin], extras)


def _modalities(path: Path, table: Table, clips: Clips, rows: np.ndarray, report: Report) -> dict[str, Modality]:
    """The modalities of the kept clips; each padded array is let go as soon as it is read."""
    extents = _extents(path, table)
    aligned = table.aligned
    found = {}
    for name in sorted(table.arrays):
        parts = table.arrays.pop(name)
        extent, steps = extents[name], parts[0].shape[1]
        if extent.inferred:
            report.repair(f"lengths of {name} inferred from padding", clips.ids)
        report.drop(f"{name} rows outside the stated lengths", [], extent.outside)
        chosen = np.zeros(len(extent.start), bool)
        chosen[rows] = True
        inside = extent.rows(steps) & chosen[:, None]
        values, lengths = _unpadded(parts, inside), inside.sum(axis=1)[chosen]
        report.counted[f"rows of {name}"] = len(values)
        found[name] = Modality(
            values,
            lengths,
            valid=measured_rows(name, values, lengths, clips.ids, report),
            extractor=EXTRACTORS.get((name, values.shape[1]), "unknown"),
            aligned_to="word" if aligned else "",
            note=f"from a padded {table.dialect} pickle; lengths: {extent.note}; no times",
        )
    return found


def _unpadded(parts: list[np.ndarray], inside: np.ndarray) -> np.ndarray:
    """The rows inside, clip after clip; a part is let go as soon as it is copied."""
    values = np.empty((int(inside.sum()), parts[0].shape[2]), np.float32)
    done = clip = 0
    while parts:
        part = parts.pop(0)
        taken = part[inside[clip : clip + len(part)]]
        values[done : done + len(taken)] = taken
        done, clip = done + len(taken), clip + len(part)
    return values


def _extents(path: Path, table: Table) -> Mapping[str, Extent]:
    """Steps of every clip in every modality.

    Arrays with the same number of steps are aligned: they share the extent of the text where the file states that, else
    the steps at which any of them holds something.
    """
    held = {
        name: np.concatenate([padded.occupied(part) for part in parts]) for name, parts in sorted(table.arrays.items())
    }
    found: dict[str, Extent] = {}
    if table.text_mask is not None:
        found["text"] = padded.from_mask(path, table.clips.ids, table.text_mask)
    if table.aligned:
        common = found.get("text") or padded.inferred(np.logical_or.reduce(list(held.values())))
        found = dict.fromkeys(held, common)
    else:
        found |= {name: padded.stated(lengths, held[name]) for name, lengths in table.lengths.items()}
        found |= {name: padded.inferred(here) for name, here in held.items() if name not in found}
    return {name: padded.without_absent(extent, held[name]) for name, extent in found.items()}
