"""The list of pages, the matrix of differences, and what the numbers were measured on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mer_bench.results.markdown import DASH, code, count, table, text
from mer_bench.results.model import Board, BoardPage, BoardTable
from mer_bench.results.pages import words

SHOWN = 40


def index(board: Board, extra: Mapping[str, str]) -> str:
    """The front page. For each board, what is known to be better than the reference, and what the best costs.

    Args:
        board: real or synthetic.
        extra: titles of pages beside the generated ones, by file name.
    """
    title = "Leaderboards on synthetic data" if board.synthetic else "Leaderboards"
    parts = [words.MARK, f"# {title}\n"]
    parts.append(
        "One page for each protocol and feature set; numbers of different pages do not compare. Every score has an "
        "interval, every rank is a range: a method is better than another only where the page says so "
        f"({words.SURE_IF}).\n"
    )
    if board.pages:
        header = ("board", "modalities", "top group", "better than concat", "worse than concat", "runs", "newest")
        parts.append(table(header, [_row(page) for page in board.pages], left=5))
    else:
        parts.append("No records yet.\n")
    links = [f"- [{title}]({name})\n" for name, title in extra.items()]
    parts.append("".join(links))
    if board.same:
        parts.append("## Older code, same numbers\n")
        parts.append("Records of the older code count as current: a run was repeated, and every score was the same.\n")
        same = [(text(s.method), code(s.old[:16]), code(s.new[:16]), code(s.run[:16])) for s in board.same]
        parts.append(table(("method", "older code", "newer code", "run"), same, left=4))
    if board.left_out:
        parts.append("## Left out\n")
        rows = [(text(entry.record), text(entry.reason)) for entry in board.left_out]
        parts.append(table(("record", "reason"), rows, left=2))
    return "\n".join(part for part in parts if part)


@dataclass(frozen=True)
class Verdicts:
    """What a board says of its methods, by their labels.

    Attributes:
        top: those that may be the best.
        better: than the reference.
        worse: than the reference.
    """

    top: list[str]
    better: list[str]
    worse: list[str]


def verdicts(page: BoardPage) -> Verdicts:
    """Of the common settings, or of the first ones where nothing was run with these."""
    main = next((t for t in page.tables if t.variant == "default"), page.tables[0])
    ranked = words.ranked(main.rows)
    sure = [row for row in ranked if words.is_sure(row)]
    return Verdicts(
        top=[row.label for row in ranked if row.rank and row.rank[0] == 1],
        better=[row.label for row in sure if (row.p_better or 0) > 0.5],
        worse=[row.label for row in sure if (row.p_better or 0) < 0.5],
    )


def _row(page: BoardPage) -> tuple[str, ...]:
    found, rows = verdicts(page), [row for t in page.tables for row in t.rows]
    return (
        f"[{text(page.protocol.name)}]({page.name}.md)",
        text(" + ".join(f.modality for f in page.features)),
        _list(found.top),
        _list(found.better),
        _list(found.worse),
        f"{count(sum(row.done for row in rows))}/{count(sum(row.planned for row in rows))}",
        page.newest or DASH,
    )


def _list(labels: list[str], shown: int = 6) -> str:
    more = f" and {len(labels) - shown} more" if len(labels) > shown else ""
    return text(", ".join(labels[:shown])) + more if labels else DASH


def compare(board: Board) -> str:
    """Differences of all pairs of ranked rows."""
    parts = [words.MARK, "# Every pair\n"]
    parts.append(
        "Row minus column, in the unit of the metric; a star where the 95 % interval does not hold 0. These are "
        "exploratory: not adjusted, so one in twenty of equal pairs has a star. Intervals: `board.json`, or "
        "`mer-bench compare A B`.\n"
    )
    for page in board.pages:
        for found in page.tables:
            if found.pairs:
                parts += [f"## {words.heading(page)}, {text(found.variant)} settings\n", _matrix(page, found)]
    return "\n".join(parts)


def _matrix(page: BoardPage, found: BoardTable) -> str:
    rows = words.ranked(found.rows)[:SHOWN]
    cells = {}
    for pair in found.pairs:
        star = "" if pair.difference.low <= 0 <= pair.difference.high else "*"
        shown = words.value(page.scale, pair.difference.value, sign=True)
        mirrored = words.value(page.scale, -pair.difference.value, sign=True)
        cells[pair.first, pair.second], cells[pair.second, pair.first] = shown + star, mirrored + star
    legend = "".join(f"{i}. {text(row.label)}\n" for i, row in enumerate(rows, 1))
    body = [
        (str(i), *("" if a is b else cells[a.key, b.key].replace("*", "\\*") for b in rows))
        for i, a in enumerate(rows, 1)
    ]
    return f"{legend}\n{table(('', *(str(i) for i in range(1, len(rows) + 1))), body)}"


def datasets(board: Board) -> str:
    """What the numbers were measured on."""
    parts = [words.MARK, "# Data\n"]
    parts.append("Feature files are told apart by the hash of their content. None of them is distributed here.\n")
    rows = {}
    for page in board.pages:
        sizes = ", ".join(f"{part} {' to '.join(map(count, n))}" for part, n in page.items.items())
        for f in page.features:
            rows[page.data, page.protocol.name, f.modality, f.extractor] = (
                code(page.data[:16]),
                text(page.protocol.title),
                text(page.protocol.name),
                text(f.modality),
                text(f.extractor) or DASH,
                count(f.dim),
                sizes or DASH,
            )
    header = ("feature file", "corpus", "protocol", "modality", "features", "dim", "items by part")
    parts.append(table(header, [rows[key] for key in sorted(rows)], left=5) if rows else "No records yet.\n")
    return "\n".join(parts)


def comma_separated(board: Board) -> str:
    """Every row of every board, one a line, with all digits of the model."""
    lines = [",".join(COLUMNS)]
    for page in board.pages:
        for found in page.tables:
            for row in found.rows:
                head = (page.name, page.protocol.primary, found.variant, row.slug, row.label, "+".join(row.modalities))
                low, high = row.rank or (None, None)
                numbers = [low, high, row.mean]
                for one in (row.score, row.difference, row.gain, row.missing_auc):
                    numbers += [None, None, None] if one is None else [one.value, one.low, one.high]
                numbers += [row.p, row.p_adjusted, row.p_better, row.p_within, row.seed_sd, row.worst_group]
                numbers += [row.validation, row.parameters, row.train_seconds, row.done, row.planned]
                cells = [
                    *map(_cell, head),
                    *("" if x is None else repr(x) for x in numbers),
                    _cell(" ".join(row.badges)),
                ]
                lines.append(",".join(cells))
    return "\n".join(lines) + "\n"


COLUMNS = (
    *("page", "metric", "variant", "slug", "label", "modalities", "rank_low", "rank_high", "mean"),
    *(f"{name}{end}" for name in ("score", "difference", "gain", "missing_auc") for end in ("", "_low", "_high")),
    *("p", "p_adjusted", "p_better", "p_within", "seed_sd", "worst_group", "validation"),
    *("parameters", "train_seconds", "done", "planned", "badges"),
)


def _cell(value: str) -> str:
    """A text that no spreadsheet takes for a formula."""
    safe = f"'{value}" if value[:1] in ("=", "+", "-", "@", "\t", "\r") else value
    return '"' + safe.replace('"', '""') + '"'
