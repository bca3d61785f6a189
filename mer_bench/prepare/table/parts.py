"""Modalities, labels and splits of a specification."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import cast, get_args

import numpy as np
from numpy.typing import NDArray

from mer_bench.errors import UserError, did_you_mean
from mer_bench.merh5 import Labels, Modality, SplitTable
from mer_bench.merh5.schema import CLASS_KINDS, LabelKind, ModalityKind
from mer_bench.prepare.arrays import load_npz
from mer_bench.prepare.feature_entry import Dialect
from mer_bench.prepare.feature_folder import feature_files, read_folder
from mer_bench.prepare.ids import shown, unique
from mer_bench.prepare.report import Report
from mer_bench.prepare.rows import measured_rows, rows_without
from mer_bench.prepare.table.section import Section
from mer_bench.prepare.tables import is_number, numbers, read_any

Columns = Mapping[str, list[str]]
FACTS = ("extractor", "extractor_version", "unit", "note", "fitted_on")
MODALITY_KEYS = (
    *("folder", "archive", "table", "id", "columns", "delimiter", "missing", "kind", "rate_hz", "t0_s"),
    *FACTS,
)
LABEL_KEYS = ("kind", "column", "columns", "names", "missing", "range", "folder", "rate_hz", "delimiter", "definition")
SPLIT_KEYS = ("column", "train", "validation", "test", "disjoint_by", "source", "note")


def column(section: Section, table: Columns, name: str) -> list[str]:
    """Cells of a column.

    Raises:
        UserError: no such column.
    """
    if name not in table:
        raise UserError(
            f"{section.path}: {section.place}: the table has no column {name!r}; {did_you_mean(name, table)}"
        )
    return table[name]


def modality(name: str, spec: Section, ids: Sequence[str], report: Report) -> Modality:
    """One modality from a folder, an archive or a table."""
    form = spec.one_of("folder", "archive", "table")
    made = _without_sentinels(name, _READERS[form](name, spec, ids, report), spec, ids, report)
    kind = spec.text("kind", made.kind)
    if kind not in get_args(ModalityKind):
        raise spec.refuse("kind", " or ".join(get_args(ModalityKind)))
    report.counted[f"with {name}"] = int((np.asarray(made.lengths) > 0).sum())
    return dataclasses.replace(
        made,
        kind=cast(ModalityKind, kind),
        rate_hz=spec.number("rate_hz"),
        t0_s=spec.number("t0_s"),
        extractor=spec.text("extractor", made.extractor),
        extractor_version=spec.text("extractor_version", ""),
        unit=spec.text("unit", ""),
        note=spec.text("note", made.note),
        fitted_on=spec.text("fitted_on", ""),
    )


def _from_folder(name: str, spec: Section, ids: Sequence[str], report: Report) -> Modality:
    folder = spec.file("folder")
    dialect = Dialect(spec.text("delimiter", ","), tuple(spec.texts("columns")))
    return read_folder(name, folder, feature_files(name, folder, ids), ids, report, dialect=dialect)


def _without_sentinels(name: str, made: Modality, spec: Section, ids: Sequence[str], report: Report) -> Modality:
    """The same, with the rows masked that hold a value which the specification calls missing."""
    sentinels = numbers(spec.texts("missing"), f"{spec.path}: {spec.place}.missing").astype(np.float32)
    if not len(sentinels):
        return made
    owner = np.repeat(np.arange(len(ids)), made.lengths)
    measured = rows_without(name, made.values, sentinels, ids, owner, report)
    return dataclasses.replace(made, valid=measured if made.valid is None else measured & made.valid)


def _from_archive(name: str, spec: Section, ids: Sequence[str], report: Report) -> Modality:
    path = spec.file("archive")
    found = load_npz(path)
    if not {"values", "ids"} <= set(found) <= {"values", "ids", "lengths"}:
        raise UserError(f"{path}: arrays {', '.join(sorted(found))}; expected values, ids, and lengths where ragged")
    values, names = found["values"], [str(item) for item in found["ids"].tolist()]
    lengths = found.get("lengths", np.ones(len(names), np.int64))
    fits = lengths.shape == (len(names),) and lengths.dtype.kind in "iu" and lengths.min(initial=0) >= 0
    if values.ndim != 2 or values.dtype.kind not in "fiu" or not fits or int(lengths.sum()) != len(values):
        raise UserError(f"{path}: values {values.shape}, {len(names)} ids; expected rows as many as the lengths say")
    starts = np.concatenate([[0], np.cumsum(lengths)])
    rows = {item: np.arange(starts[k], starts[k + 1]) for k, item in enumerate(names)}
    kind: ModalityKind = "sequence" if "lengths" in found else "utterance"
    return _arranged(name, path, values, names, rows, ids, kind, report)


def _from_table(name: str, spec: Section, ids: Sequence[str], report: Report) -> Modality:
    path = spec.file("table")
    table = read_any(path, spec.text("delimiter", ","))
    names = column(spec, table, spec.text("id"))
    wanted = spec.texts("columns") or [key for key in table if key != spec.text("id")]
    values = np.stack([numbers(column(spec, table, key), f"{path}: {key}") for key in wanted], axis=1)
    rows: dict[str, list[int]] = {}
    for row, item in enumerate(names):
        rows.setdefault(item, []).append(row)
    kind: ModalityKind = "utterance" if len(rows) == len(names) else "sequence"
    indices = {item: np.array(places) for item, places in rows.items()}
    made = _arranged(name, path, values, list(rows), indices, ids, kind, report)
    return dataclasses.replace(made, names=wanted)


_READERS = {"folder": _from_folder, "archive": _from_archive, "table": _from_table}


def _arranged(
    name: str,
    where: object,
    values: np.ndarray,
    names: Sequence[str],
    rows: Mapping[str, np.ndarray],
    ids: Sequence[str],
    kind: ModalityKind,
    report: Report,
) -> Modality:
    """The rows in the order of the ids; rows of other items are dropped and counted."""
    unique(where, names)
    foreign = sorted(set(names) - set(ids))
    report.drop(f"items of {name} that are not in the table of items", foreign)
    lengths = np.array([len(rows[item]) if item in rows else 0 for item in ids])
    if not lengths.any():
        raise UserError(
            f"{where}: none of the items; its first is {names[0] if names else 'none'!r}, expected {ids[0]!r}"
        )
    kept = values[np.concatenate([rows[item] for item in ids if item in rows])].astype(np.float32)
    return Modality(kept, lengths, kind=kind, valid=measured_rows(name, kept, lengths, ids, report))


def labels(name: str, spec: Section, table: Columns, ids: Sequence[str], report: Report) -> Labels:
    """One label table, from columns of the table of items or, per frame, from one file per item."""
    kind = spec.text("kind")
    if kind not in get_args(LabelKind):
        raise spec.refuse("kind", ", ".join(get_args(LabelKind)))
    wanted = [spec.text("column")] if kind in CLASS_KINDS else spec.texts("columns")
    if not wanted:
        raise spec.refuse("columns", "a list of columns")
    lengths = None
    if "folder" in spec.content:
        table, lengths = _frames(spec, wanted, ids)
    cells = [column(spec, table, key) for key in wanted]
    missing = {"", *spec.texts("missing")}
    if kind not in CLASS_KINDS:  # -5 and -5.0 are one number
        sentinels = {float(cell) for cell in missing if is_number(cell)}
        written = {cell.strip() for one in cells for cell in one}
        missing |= {cell for cell in written if is_number(cell) and float(cell) in sentinels}
    mask = np.array([[cell.strip() not in missing for cell in one] for one in cells]).T.reshape(-1, len(cells))
    report.repair(f"labels {name} missing, masked", (), int((~mask).sum()))
    if kind in CLASS_KINDS:
        names = tuple(spec.texts("names"))
        values: np.ndarray = _classes(name, spec, names, cells[0], mask[:, 0])
        mask = mask[:, 0]
    else:
        names = tuple(wanted)
        found = []
        for key, one, known in zip(wanted, cells, mask.T, strict=True):
            usable = [cell if ok else "0" for cell, ok in zip(one, known, strict=True)]
            found.append(numbers(usable, f"{spec.path}: {spec.place}: {key}"))
        values = np.stack(found, axis=1)
    return Labels(
        cast(LabelKind, kind),
        names,
        values,
        mask,
        level="item" if lengths is None else "frame",
        lengths=lengths,
        rate_hz=spec.number("rate_hz"),
        range=spec.span("range"),
        native_missing=", ".join(spec.texts("missing")),
        definition=spec.text("definition", ""),
    )


def _classes(
    name: str, spec: Section, names: tuple[str, ...], cells: Sequence[str], mask: NDArray[np.bool_]
) -> NDArray[np.int64]:
    index = {word: number for number, word in enumerate(names)}
    unknown = sorted({cell.strip() for cell, ok in zip(cells, mask, strict=True) if ok and cell.strip() not in index})
    if unknown or not names:
        raise UserError(f"{spec.path}: {spec.place}: labels {shown(unknown)} are neither in names nor in missing")
    return np.array([index.get(cell.strip(), 0) for cell in cells], np.int64)


def _frames(spec: Section, wanted: Sequence[str], ids: Sequence[str]) -> tuple[Columns, NDArray[np.int64]]:
    """Columns of all items end to end, and the frames of each; items without a file have none."""
    folder, delimiter = spec.file("folder"), spec.text("delimiter", ",")
    joined: dict[str, list[str]] = {key: [] for key in wanted}
    lengths = []
    files = {path.stem: path for path in folder.glob("*.csv")}  # no path is made from an id
    for item in ids:
        table = read_any(files[item], delimiter) if item in files else {key: [] for key in wanted}
        for key in wanted:
            joined[key] += column(spec, table, key)
        lengths.append(len(table[wanted[0]]))
    if not any(lengths):
        raise UserError(f"{folder}: no file of any item; expected such as {ids[0]}.csv")
    return joined, np.array(lengths)


def split(spec: Section, table: Columns) -> SplitTable:
    """One split from a column of the table of items; what it does not name is unused."""
    cells = column(spec, table, spec.text("column"))
    part = {word: number for number, key in enumerate(("train", "validation", "test"), 1) for word in spec.texts(key)}
    row = np.array([part.get(cell.strip(), 0) for cell in cells], np.uint8)
    return SplitTable(
        row[None],
        disjoint_by=tuple(spec.texts("disjoint_by")),
        source=spec.text("source", ""),
        note=spec.text("note", ""),
    )
