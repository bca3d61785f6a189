"""The CSV tables of bc-LSTM: one row per MOSI utterance, in its own split of 62 and 31 videos.

Text and video were computed by networks that were trained on the training part of that split with its labels. The
modalities say so (`fitted_on`), and every other split refuses them where it would score on what those networks saw.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mer_bench.errors import UserError
from mer_bench.merh5 import Contents, Labels, Modality, SplitTable
from mer_bench.prepare.cmu.clips import Clips, named, settle
from mer_bench.prepare.cmu.contents import Extras, contents
from mer_bench.prepare.cmu.label_files import read_labels
from mer_bench.prepare.ids import same, shown, unique
from mer_bench.prepare.layout import Layout, Request
from mer_bench.prepare.report import Report
from mer_bench.prepare.rows import measured_rows
from mer_bench.prepare.sources import source
from mer_bench.prepare.tables import numbers, read_rows

SCHEME = "bclstm"
PARTS = {"train": 1, "test": 3}
TRANSCRIPTS = "transcripts.csv"
INDEXED = "text_{part}.csv"  # its first cell is the row in the transcripts, so it tells the clip of every row
TABLES = {"text": "text_{part}0.csv", "audio": "audio_{part}0.csv", "video": "video_{part}0.csv"}
FILES = (TRANSCRIPTS, *(name.format(part=part) for part in PARTS for name in (INDEXED, *TABLES.values())))
WIDTHS = {"text": 100, "audio": 73, "video": 100}
#: modality in the feature file, table, split that its extractor was trained on, extractor
MODALITIES = (
    ("audio", "audio", "", "openSMILE, 73 columns (bc-LSTM)"),
    ("text_cnn", "text", SCHEME, "text-CNN of bc-LSTM, trained on its own split"),
    ("vision_c3d", "video", SCHEME, "3D-CNN of bc-LSTM, trained on its own split"),
)
POLARITY = ("negative", "nonnegative")


@dataclass(frozen=True)
class Tables:
    """The tables in the order of the transcripts.

    Attributes:
        ids: of the utterances.
        text: what is said.
        values: by table, (utterances, columns).
        polarity: (utterances,) 0 negative, 1 not.
        part: (utterances,) 1 train, 3 test.
    """

    ids: list[str]
    text: list[str]
    values: dict[str, NDArray[np.float64]]
    polarity: NDArray[np.int64]
    part: NDArray[np.int64]


def place(root: Path, name: str) -> Path:
    """Where a table lies: in the folder, or under ``text``, ``audio`` or ``video`` as in the source repository."""
    below = root / name.partition("_")[0] / name
    return below if below.is_file() else root / name


def read_tables(root: Path, report: Report) -> Tables:
    """Read and compare all tables.

    Raises:
        UserError: a table that does not fit the others, a row of no utterance, an utterance in no row.
    """
    rows = read_rows(root / TRANSCRIPTS, 4)
    ids = [named(root / TRANSCRIPTS, row[0])[0] for row in rows]
    unique(root / TRANSCRIPTS, ids)
    polarity = _polarity([row[3] for row in rows], root / TRANSCRIPTS)
    part = np.zeros(len(ids), np.int64)
    values = {name: np.empty((len(ids), width)) for name, width in WIDTHS.items()}
    for which, number in PARTS.items():
        path = place(root, INDEXED.format(part=which))
        cells = read_rows(path, WIDTHS["text"] + 1)
        at = _rows(path, [row[0] for row in cells], part, ids)
        part[at] = number
        for name, file in TABLES.items():
            table = place(root, file.format(part=which))
            found = _matrix(table, WIDTHS[name] + 1)
            if len(found) != len(at) or (_polarity(found[:, -1], table) != polarity[at]).any():
                raise UserError(f"{table}: {len(found):,} rows; their number or labels differ from {path.name}")
            values[name][at] = found[:, :-1]
        index = np.array([numbers(row[1:], f"{path}, row {k + 1}") for k, row in enumerate(cells)])
        if not np.allclose(index, values["text"][at], rtol=0, atol=1e-9):
            raise UserError(f"{path}: features differ from {TABLES['text'].format(part=which)}: rows of other clips")
    lost = [ids[row] for row in np.flatnonzero(part == 0)]
    if lost:
        raise UserError(f"{root}: utterances in no table: {shown(lost)}")
    report.counted |= {f"{SCHEME} {which}": int((part == number).sum()) for which, number in PARTS.items()}
    report.verified.append("bc-LSTM tables: text, audio and video rows carry the labels of the transcripts")
    return Tables(ids, [row[1] for row in rows], values, polarity, part)


def _rows(path: Path, cells: Sequence[str], part: NDArray[np.int64], ids: Sequence[str]) -> NDArray[np.int64]:
    at = numbers(cells, f"{path}: first column")
    if not ((at >= 0) & (at < len(ids)) & (at == np.round(at))).all() or len(set(at.tolist())) < len(at):
        raise UserError(f"{path}: first column does not name rows of {TRANSCRIPTS}, each once")
    rows = at.astype(np.int64)
    twice = [ids[row] for row in rows if part[row]]
    if twice:
        raise UserError(f"{path}: utterances of both parts: {shown(twice)}")
    return rows


def _matrix(path: Path, width: int) -> NDArray[np.float64]:
    return np.array([numbers(row, f"{path}, row {k + 1}") for k, row in enumerate(read_rows(path, width))])


def _polarity(cells: Sequence[str] | np.ndarray, path: Path) -> NDArray[np.int64]:
    values = numbers(list(cells), f"{path}: label")
    if not np.isin(values, (0, 1)).all():
        raise UserError(f"{path}: labels other than 0 and 1")
    return values.astype(np.int64)


def modalities(tables: Tables, rows: NDArray[np.int64], ids: Sequence[str], report: Report) -> dict[str, Modality]:
    """The three modalities of the kept utterances."""
    found = {}
    for name, table, fitted_on, extractor in MODALITIES:
        values = tables.values[table][rows].astype(np.float32)
        lengths = np.ones(len(rows), np.int64)
        valid = measured_rows(name, values, lengths, ids, report)
        found[name] = Modality(values, lengths, kind="utterance", valid=valid, extractor=extractor, fitted_on=fitted_on)
    return found


def extras(tables: Tables, rows: NDArray[np.int64], videos: Sequence[str]) -> Extras:
    """The binary labels and the split of bc-LSTM.

    Raises:
        UserError: a video in both parts.
    """
    part = tables.part[rows]
    train, test = (set(np.array(videos)[part == number].tolist()) for number in PARTS.values())
    both = train & test
    if both:
        raise UserError(f"bc-LSTM tables: videos in both parts: {shown(sorted(both))}")
    polarity = Labels(
        "multiclass",
        POLARITY,
        tables.polarity[rows],
        np.ones(len(rows), bool),
        definition="sentiment below 0, or not (bc-LSTM)",
    )
    split = SplitTable(
        part.astype(np.uint8)[None],
        disjoint_by=("dialogue",),
        source="declare-lab/multimodal-deep-learning, bc-LSTM: 62 and 31 videos",
        note="No validation part. 24 of the 31 official test videos train here.",
    )
    return Extras(labels={"polarity": polarity}, splits={SCHEME: split}, part="opinion segments")


def check_polarity(where: object, clips: Clips, tables: Tables, rows: NDArray[np.int64], report: Report) -> None:
    """The binary labels must say which sentiments are below zero.

    Raises:
        UserError: naming the clips where they do not.
    """
    wrong = (clips.sentiment >= 0) != (tables.polarity[rows] == 1)
    if wrong.any():
        names = [clips.ids[row] for row in np.flatnonzero(wrong)]
        raise UserError(f"{where}: the sign of the sentiment differs from bc-LSTM's label at {shown(names)}")
    report.verified.append(f"bc-LSTM's labels: sentiment below 0, or not, in {len(clips):,} clips")


class BcLstm(Layout):
    """The folder of tables; `--labels` names the sentiment, which they lack."""

    name = "bc-LSTM tables"
    options = ("labels",)

    def missing(self, root: Path) -> list[str]:
        """Tables that are not there."""
        return [name for name in FILES if not place(root, name).is_file()]

    def read(self, request: Request, report: Report) -> Contents:
        """Read tables and labels.

        Raises:
            UserError: no labels, or files that do not fit each other.
        """
        root = request.source
        if request.labels is None:
            raise UserError(f"{root}: holds signs only; --labels names a label.npz (MERBench) or index (GCNet)")
        tables = read_tables(root, report)
        labels = read_labels(request.labels)
        same(request.labels, labels.ids, tables.ids)
        clips, rows = settle("mosi", request.labels, matched(labels, tables), report)
        check_polarity(request.labels, clips, tables, rows, report)
        found = modalities(tables, rows, clips.ids, report)
        sources = [source(request.labels), *(source(place(root, name)) for name in FILES)]
        more = extras(tables, rows, clips.video)
        return contents("mosi", root, clips, found, request, report, sources, more)


def matched(labels: Clips, tables: Tables) -> Clips:
    """The labelled clips in the order of the tables, with their transcripts."""
    row = {name: place for place, name in enumerate(labels.ids)}
    clips = labels.take(np.array([row[name] for name in tables.ids]))
    return Clips(**{**vars(clips), "text": tables.text})
