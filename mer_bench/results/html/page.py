"""One HTML file for all boards of one kind. It works without JavaScript, and never asks a network for anything."""

from __future__ import annotations

import base64
import hashlib
import json
from functools import cache
from importlib import resources
from typing import Any

from jinja2 import Environment, StrictUndefined, Template

from mer_bench.results.html import cells
from mer_bench.results.html.pictures import pictures
from mer_bench.results.markdown import DASH, count
from mer_bench.results.model import Board, BoardPage, BoardTable
from mer_bench.results.pages import board_page, index, rows_table, short, words
from mer_bench.results.schema import plain
from mer_bench.results.tables import REFERENCE

NAME = "leaderboard.html"
#: files of the script, in the order in which they build on each other
SCRIPT = ("build", "state", "rows", "compare", "save", "start")
CAPTIONS = {
    "forest": "Scores with their 95 % intervals",
    "pareto": "Score against CPU time; filled: nothing is both cheaper and better",
    "missing": "Score as modalities go missing",
}


def render(board: Board, other: str) -> str:
    """The file.

    Args:
        board: of real or of invented data; the two never share a file.
        other: where the file of the other kind lies.
    """
    drawn = {page.name: pictures(page) for page in board.pages}
    styles = sorted({one.style for by_variant in drawn.values() for found in by_variant.values() for one in found})
    # pictures bring their style; nested, it reaches nothing else
    style = _shipped("page.css") + "".join(f"figure svg{{{one}}}\n" for one in styles)
    script = _script()
    rows = [row for page in board.pages for table in page.tables for row in table.rows]
    return _template().render(
        mark=words.MARK.strip(),
        policy=_policy(style, script),
        style=style,
        script=script,
        data=embedded(board),
        board=board,
        other=other,
        dash=DASH,
        sure_if=words.SURE_IF,
        header=[*map(cells.plain, index.HEADER[1:])],
        overview=[_overview(page) for page in board.pages],
        pages=[_page(page, drawn[page.name]) for page in board.pages],
        same=board.same,
        left_out=[(cells.shown(one.record), cells.shown(one.reason)) for one in board.left_out],
        columns_used=words.COLUMNS,
        conflict=cells.plain(words.CONFLICT) if any("CONFLICT" in one.reason for one in board.left_out) else "",
        badges_used=[cells.plain(line[2:]).split(": ", 1) for line in words.legend(rows).splitlines()],
    )


def embedded(board: Board) -> str:
    """The model for the script. JSON in which nothing can end the element that holds it.

    Pairs are by far the most: they name their rows by position, as ``[first, second, value, low, high, p, p_better]``.
    """
    content = plain(board)
    for page in content["pages"]:
        for table in page["tables"]:
            place = {row["key"]: i for i, row in enumerate(table["rows"])}
            table["pairs"] = [
                [place[x["first"]], place[x["second"]], *x["difference"].values(), x["p"], x["p_better"]]
                for x in table["pairs"]
            ]
    content["reference"] = REFERENCE
    written = json.dumps(content, sort_keys=True, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return written.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _policy(style: str, script: str) -> str:
    """Nothing from anywhere; only this style and this script."""
    return (
        f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}'; base-uri 'none'; "
        "form-action 'none'; require-trusted-types-for 'script'"
    )


def _hash(content: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()


@cache
def _shipped(name: str) -> str:
    return (resources.files(__package__) / name).read_text(encoding="utf-8")


def _script() -> str:
    """All parts in one scope, so that nothing of it is seen outside."""
    parts = "\n".join(_shipped(f"script/{name}.js") for name in SCRIPT)
    return f'\n"use strict";\n(() => {{\n{parts}}})();\n'


@cache
def _template() -> Template:
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(_shipped("page.html.j2"))


def _overview(page: BoardPage) -> dict[str, Any]:
    """A line of the list of boards."""
    modalities = cells.shown(" + ".join(f.modality for f in page.features))
    about = f"{modalities}, {cells.plain(words.column(page.scale))}"
    return {
        "name": page.name,
        "protocol": cells.shown(page.protocol.name) + (" (older definition)" if page.superseded else ""),
        "about": about,
        "cells": [*map(cells.plain, index.line(page))],
    }


def _page(page: BoardPage, drawn: dict[str, Any]) -> dict[str, Any]:
    """What the template shows of a board."""
    protocol = page.protocol
    sizes = "; ".join(f"{part} {' to '.join(map(count, numbers))}" for part, numbers in page.items.items())
    direction = "higher" if page.scale.higher_is_better else "lower"
    return {
        "name": page.name,
        "title": cells.plain(words.heading(page)),
        "legacy": protocol.legacy,
        "superseded": page.superseded,
        "note": cells.shown(protocol.note),
        "facts": {
            "Ranked by": f"{cells.shown(protocol.primary)} on the test part, {direction} is better",
            "Planned": f"{protocol.folds} x {len(protocol.seeds)} = {count(protocol.folds * len(protocol.seeds))} "
            "runs (folds x seeds)",
            "Intervals": f"{board_page.RULES[protocol.statistics]}; the independent unit is "
            f"{cells.plain(board_page.unit(page))}",
            "Items": cells.shown(sizes) or DASH,
            "Features": cells.shown("; ".join(f"{f.modality} {f.extractor or DASH} ({f.dim})" for f in page.features)),
            "Protocol": f"{protocol.hash}, feature file {page.data[:16]}, newest record {page.newest or DASH}",
        },
        "tables": [_table(page, table, drawn[table.variant]) for table in page.tables],
    }


def _table(page: BoardPage, table: BoardTable, drawn: list[Any]) -> dict[str, Any]:
    """What the template shows of one variant of the settings."""
    columns = cells.columns(page, table)
    absent = [f"control {cells.shown(slug)} was not run" for slug in table.absent if not table.not_run]
    left = [f"{cells.shown(one.record)}: {cells.shown(one.reason)}" for one in page.left_out]
    column = cells.plain(words.column(page.scale))
    return {
        "variant": cells.shown(table.variant),
        "columns": columns,
        "rows": [
            {"quiet": row.rank is None, "cells": [(column.key, column.cell(row)) for column in columns]}
            for row in table.rows
        ],
        "sentences": [cells.spans(said) for said in short.sentences(page, table)],
        "alarms": [cells.shown(alarm) for alarm in table.alarms],
        "problems": [*absent, *map(cells.shown, table.problems), *left],
        "not_run": cells.unwrapped(board_page.not_run_rows(page, table)),
        "pictures": [{"caption": CAPTIONS.get(one.kind, one.kind), "markup": one.markup} for one in drawn],
        "more": {
            title: cells.unwrapped(found)
            for title, found in {
                f"{column} with modalities missing at test": rows_table.missing(page, table),
                "Other metrics, never used for ranks": rows_table.metrics(page, table),
                f"{column} by fold, mean over seeds": rows_table.folds(page, table),
            }.items()
        },
    }
