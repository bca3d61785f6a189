"""The specification as a layout of `prepare table`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mer_bench.errors import UserError
from mer_bench.merh5 import Contents, Source
from mer_bench.merh5.layout import CORPUS
from mer_bench.prepare.feature_folder import feature_files
from mer_bench.prepare.ids import unique
from mer_bench.prepare.layout import Layout, Request
from mer_bench.prepare.report import Report
from mer_bench.prepare.sources import folder_source, source
from mer_bench.prepare.table.parts import (
    LABEL_KEYS,
    MODALITY_KEYS,
    SPLIT_KEYS,
    Columns,
    column,
    labels,
    modality,
    split,
)
from mer_bench.prepare.table.section import Section
from mer_bench.prepare.tables import numbers, read_any
from mer_bench.recipes import load_yaml

FACTS = ("licence", "corpus_version", "corpus_part", "notes")
KEYS = ("corpus", "items", "modalities", "labels", "splits", *FACTS)
ITEM_KEYS = ("table", "delimiter", "id", "speaker", "session", "dialogue", "order", "start_s", "end_s", "text", "attrs")


class TableSpec(Layout):
    """A YAML file that names tables, archives and folders."""

    name = "table specification"

    def missing(self, root: Path) -> list[str]:
        """A YAML file, not a folder."""
        return [] if root.is_file() else ["a YAML file (--spec my.yaml)"]

    def read(self, request: Request, report: Report) -> Contents:
        """Read everything that the specification names."""
        spec = Section(request.source, "", load_yaml(request.source), KEYS)
        report.corpus = spec.text("corpus")
        if not CORPUS.fullmatch(report.corpus):
            raise spec.refuse("corpus", "small letters, digits and hyphens")
        items = spec.section("items", ITEM_KEYS)
        table = read_any(items.file("table"), items.text("delimiter", ","))
        ids = column(items, table, items.text("id"))
        unique(items.file("table"), ids)
        if not ids:
            raise UserError(f"{items.file('table')}: no rows; expected one per item")
        report.counted["items"] = len(ids)
        parts = {key: spec.section(key, None) for key in ("modalities", "labels", "splits")}
        if not parts["modalities"].content:
            raise spec.refuse("modalities", "at least one")
        order = _numbers(items, table, "order")
        return Contents(
            corpus=report.corpus,
            ids=ids,
            modalities={
                name: modality(name, parts["modalities"].section(name, MODALITY_KEYS), ids, report)
                for name in parts["modalities"].content
            },
            labels={
                name: labels(name, parts["labels"].section(name, LABEL_KEYS), table, ids, report)
                for name in parts["labels"].content
            },
            order=None if order is None else order.astype(np.int64),
            text=_column(items, table, "text") if request.text else None,
            attrs=_attrs(items, table),
            splits={name: split(parts["splits"].section(name, SPLIT_KEYS), table) for name in parts["splits"].content},
            sources=[
                source(request.source),
                source(items.file("table")),
                *_sources(parts["modalities"], parts["labels"], ids),
            ],
            speaker=_column(items, table, "speaker"),
            session=_column(items, table, "session"),
            dialogue=_column(items, table, "dialogue"),
            start_s=_numbers(items, table, "start_s"),
            end_s=_numbers(items, table, "end_s"),
            licence=spec.text("licence", ""),
            corpus_version=spec.text("corpus_version", ""),
            corpus_part=spec.text("corpus_part", ""),
            notes=spec.text("notes", ""),
        )


def _column(items: Section, table: Columns, key: str) -> list[str] | None:
    """A column by what it is, or None where the specification does not name it."""
    return column(items, table, items.text(key)) if key in items.content else None


def _numbers(items: Section, table: Columns, key: str) -> np.ndarray | None:
    """A column of numbers, likewise; empty cells become NaN (order: -1)."""
    cells = _column(items, table, key)
    empty = "-1" if key == "order" else "nan"
    return None if cells is None else numbers([cell or empty for cell in cells], f"{items.path}: items.{key}")


def _attrs(items: Section, table: Columns) -> dict[str, Sequence[str] | np.ndarray]:
    """Further columns, as numbers where every cell that is not empty is one."""
    found: dict[str, Sequence[str] | np.ndarray] = {}
    wanted = items.section("attrs", None)
    for name in wanted.content:
        cells = column(wanted, table, wanted.text(name))
        try:
            found[name] = numbers([cell or "nan" for cell in cells], name) if any(cells) else cells
        except UserError:
            found[name] = cells
    return found


def _sources(modalities: Section, tables: Section, ids: Sequence[str]) -> list[Source]:
    found = []
    for name in tables.content:
        spec = tables.section(name, LABEL_KEYS)
        if "folder" in spec.content:
            found.append(folder_source(sorted(spec.file("folder").glob("*.csv"))))
    for name in modalities.content:
        spec = modalities.section(name, MODALITY_KEYS)
        path = spec.file(spec.one_of("folder", "archive", "table"))
        files = feature_files(name, path, ids) if path.is_dir() else {}
        found.append(folder_source(files.values(), path) if files else source(path))
    return found
