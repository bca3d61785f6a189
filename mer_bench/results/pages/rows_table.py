"""The rows of a table in markdown: what decides in few columns, so that nobody has to scroll; the rest folded away."""

from __future__ import annotations

from collections.abc import Sequence

from mer_bench.results.markdown import DASH, number, table, text
from mer_bench.results.model import BoardPage, BoardRow, BoardTable
from mer_bench.results.pages import words
from mer_bench.results.samples import missing_curve

FOLDS_SHOWN = 10
Cells = tuple[Sequence[str], list[tuple[str, ...]]]


def tables(page: BoardPage, found: BoardTable) -> list[str]:
    """Ranked rows, then those that are not: controls, and what is not complete or may not be ranked."""
    ranked = words.ranked(found.rows)
    quiet = [row for row in found.rows if row.rank is None]
    shown = [_main(page, ranked) if ranked else "No row is ranked.\n"]
    groups = {"Controls, never ranked": [row for row in quiet if row.control]}
    groups["Not ranked, see the badges"] = [row for row in quiet if not row.control]
    return shown + [f"{title}:\n\n{_main(page, rows)}" for title, rows in groups.items() if rows]


def _main(page: BoardPage, rows: Sequence[BoardRow]) -> str:
    scale = page.scale
    header = ("method", f"{words.column(scale)} [95 %]", "Δ concat [95 %]", "p", "missing AUC [95 %]", "CPU s / run",
              "parameters", "badges")  # fmt: skip
    cells = [
        (
            words.method_link(row),
            words.score(scale, row),
            words.interval(scale, row.difference, sign=True),
            words.p_value(row),
            words.interval(scale, row.missing_auc),
            words.cost(row),
            words.parameters(row),
            text(words.badges(row)) or DASH,
        )
        for row in rows
    ]
    if all(row.rank is None for row in rows):
        return table(header, cells)
    ranks = [words.rank(row) for row in rows]
    return table(("rank", *header), [(rank, *line) for rank, line in zip(ranks, cells, strict=True)], left=2)


def more(page: BoardPage, found: BoardTable) -> str:
    """What does not decide, each table under its title."""
    parts = {
        "More of each row: validation, luck of seeds, interaction gain, worst group": _rest(page, found),
        f"{words.column(page.scale)} with modalities missing at test": missing(page, found),
        "Other metrics, never used for ranks": metrics(page, found),
        f"{words.column(page.scale)} by fold, mean over seeds": folds(page, found),
    }
    shown = [(title, table(cells[0], cells[1])) for title, cells in parts.items() if cells]
    return "\n".join(f"<details><summary>{title}</summary>\n\n{body}\n</details>\n" for title, body in shown)


def _rest(page: BoardPage, found: BoardTable) -> Cells:
    scale = page.scale
    header = ("method", "validation", "seed SD", "P(better)", "interaction gain [95 %]", "worst group", "runs")
    return header, [
        (
            text(row.label),
            words.value(scale, row.validation),
            words.value(scale, row.seed_sd),
            number(row.p_better, 3),
            words.interval(scale, row.gain, sign=True),
            words.value(scale, row.worst_group),
            f"{row.done}/{row.planned}",
        )
        for row in found.rows
    ]


def metrics(page: BoardPage, found: BoardTable) -> Cells | None:
    """Of the metrics that never rank; None where the protocol has one only."""
    others = [m for m in page.protocol.metrics if m != page.protocol.primary]
    header = ("method", *(words.column(page.scales[m]) for m in others))
    rows = [(text(row.label), *(words.value(page.scales[m], row.metrics.get(m)) for m in others)) for row in found.rows]
    return (header, rows) if others else None


def folds(page: BoardPage, found: BoardTable) -> Cells | None:
    """Of the scores by fold; None where there is one fold, or more than can be read."""
    if not 1 < page.protocol.folds <= FOLDS_SHOWN:
        return None
    header = ("method", *(f"fold {fold}" for fold in range(page.protocol.folds)))
    return header, [(text(row.label), *(words.value(page.scale, x) for x in row.folds)) for row in found.rows]


def missing(page: BoardPage, found: BoardTable) -> Cells | None:
    """Score by what is missing: rates, then single modalities; None where no row has any of it."""
    curves = {row.key: {rate: names[0] for rate, names in missing_curve(row.conditions).items()} for row in found.rows}
    rates = sorted({rate for curve in curves.values() for rate in curve if rate})
    names = part_conditions(found.rows)
    if not rates and not names:
        return None
    header = ("method", "nothing missing", *(f"rate {rate:g}" for rate in rates), *(text(spoken(n)) for n in names))
    return header, [
        (
            text(row.label),
            words.value(page.scale, row.mean),
            *(words.value(page.scale, row.conditions.get(curves[row.key].get(rate, ""))) for rate in rates),
            *(words.value(page.scale, row.conditions.get(name)) for name in names),
        )
        for row in found.rows
        if len(row.conditions) > 1
    ]


def part_conditions(rows: Sequence[BoardRow]) -> list[str]:
    """Conditions without a whole modality, single ones first; of two modalities ``no_`` is ``only_`` of the other."""
    every = {name for row in rows for name in row.conditions}
    single = sorted(name for name in every if name.startswith("only_"))
    without = sorted(name for name in every if name.startswith("no_"))
    return single if len(single) == 2 else single + without


def spoken(condition: str) -> str:
    """``only audio``, ``no text``."""
    return condition.replace("_", " ", 1)
