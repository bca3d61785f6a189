"""What stands in the cells of the HTML tables: the words of the markdown pages, as plain text for Jinja to escape."""

from __future__ import annotations

import html
from collections.abc import Callable
from dataclasses import dataclass

from mer_bench.results.markdown import DASH, number, text
from mer_bench.results.model import BoardPage, BoardRow, BoardTable
from mer_bench.results.pages import rows_table, words


@dataclass(frozen=True)
class Column:
    """A column of a main table.

    Attributes:
        key: what it shows, by the name in the model; the script sorts by it.
        title: in the header.
        cell: what stands in a row.
    """

    key: str
    title: str
    cell: Callable[[BoardRow], str]


def plain(safe: str) -> str:
    """What a reader sees of text that was made safe for markdown: without entities, hidden characters marked."""
    return html.unescape(safe)


def shown(value: str) -> str:
    """Any text as a reader shall see it."""
    return plain(text(value))


def spans(sentence: str) -> list[tuple[bool, str]]:
    """A sentence of a markdown page as stretches of plain text, each with whether it is strong."""
    return [(bool(i % 2), plain(part)) for i, part in enumerate(sentence.strip().split("**")) if part]


def columns(page: BoardPage, found: BoardTable) -> list[Column]:
    """The columns of a table, without those in which no row has anything."""
    scale = page.scale
    every = [
        Column("rank", "rank", words.rank),
        Column("label", "method", lambda row: shown(row.label)),
        Column("score", plain(words.column(scale)), lambda row: words.score(scale, row)),
        Column("difference", "Δ concat", lambda row: words.interval(scale, row.difference, sign=True)),
        Column("p", "p", lambda row: plain(words.p_value(row))),
        Column("p_better", "P(better)", lambda row: number(row.p_better, 3)),
        Column("seed_sd", "seed SD", lambda row: words.value(scale, row.seed_sd)),
        Column("gain", "interaction gain", lambda row: words.interval(scale, row.gain, sign=True)),
        Column("missing_auc", "missing AUC", lambda row: words.interval(scale, row.missing_auc)),
        Column("worst_group", "worst group", lambda row: words.value(scale, row.worst_group)),
        Column("parameters", "parameters", words.parameters),
        Column("compute_seconds", "CPU s / run", words.cost),
        Column("done", "runs", lambda row: f"{row.done}/{row.planned}"),
        Column("badges", "badges", lambda row: shown(words.badges(row)) or DASH),
    ]
    return [c for c in every if c.key == "label" or any(c.cell(row) != DASH for row in found.rows)]


def unwrapped(found: rows_table.Cells | None) -> tuple[list[str], list[list[str]]] | None:
    """Header and rows of a markdown table as plain text."""
    return None if found is None else ([*map(plain, found[0])], [[*map(plain, line)] for line in found[1]])
