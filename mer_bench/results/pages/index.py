"""The list of pages, the matrix of differences, and what the numbers were measured on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mer_bench.results.markdown import DASH, code, count, table, text
from mer_bench.results.model import Board, BoardPage, BoardRow, BoardTable, Scale
from mer_bench.results.pages import short, words
from mer_bench.results.tables import CONTROLS

SHOWN = 40


def index(board: Board, extra: Mapping[str, str], unrun: Sequence[str] = ()) -> str:
    """The front page. For each board, what is known to be better than the reference, by how much and how surely.

    Args:
        board: real or synthetic.
        extra: titles of pages beside the generated ones, by file name.
        unrun: names of protocols without a board.
    """
    title = "Leaderboards on synthetic data" if board.synthetic else "Leaderboards"
    parts = [words.MARK, f"# {title}\n"]
    parts.append(
        "One page for each protocol and feature set; numbers of different pages do not compare. Scores of complete "
        "rows have an interval, every rank is a range: a method is better than another only where the page says so "
        f"({words.SURE_IF}).\n"
    )
    parts.append(table(HEADER, [_row(page) for page in board.pages], left=2) if board.pages else "No records yet.\n")
    if board.pages:
        parts.append(f"{_key()} Newest record: {max(page.newest for page in board.pages) or DASH}.\n")
    if unrun and not board.synthetic:
        parts.append(f"Protocols without a run on real data: {', '.join(map(code, unrun))}.\n")
    links = [f"- [{title}]({name})\n" for name, title in extra.items()]
    parts.append("".join(links))
    if board.same:
        parts.append("## Older code, same numbers\n")
        parts.append("Records of the older code count as current: a run was repeated, and every score was the same.\n")
        same = [(text(s.method), code(s.old[:16]), code(s.new[:16]), code(s.run[:16])) for s in board.same]
        parts.append(table(("method", "older code", "newer code", "run"), same, left=4))
    if board.left_out:
        parts.append("## Left out\n")
        parts.append(f"{words.CONFLICT}\n" if any("CONFLICT" in entry.reason for entry in board.left_out) else "")
        rows = [(text(entry.record), text(entry.reason)) for entry in board.left_out]
        parts.append(table(("record", "reason"), rows, left=2))
    return "\n".join(part for part in parts if part)


HEADER = (
    *("board", "better than concat (Δ [95 %], p)", "concat", "minus the best single modality", "with half missing"),
    *("half of the pairs need", "ranked rows"),
)


def _key() -> str:
    return (
        "Δ is in the unit of the board's metric. *With half missing*: concat when half of the modalities are "
        "removed at test. *Half of the pairs need*: a larger difference, to be found in four studies of five; the "
        "page of a board says what the others need. "
        "*Ranked rows*: of all shipped methods that fit; the page of a board names those without a run."
    )


def _row(page: BoardPage) -> tuple[str, ...]:
    about = f"{text(' + '.join(f.modality for f in page.features))}, {words.column(page.scale)}"
    old = " (older definition)" if page.superseded else ""
    return f"[{text(page.protocol.name)}]({page.name}.md){old}, {about}", *line(page)


def line(page: BoardPage) -> tuple[str, ...]:
    """What stands beside the name of a board, in the columns of `HEADER`."""
    found, scale = words.main_table(page), page.scale
    base, pair = short.reference(found), short.best_single(found)
    fit = {(one.slug, one.modalities) for one in found.not_run if not one.reason and one.slug not in CONTROLS}
    rows = [row for row in found.rows if not row.control]
    return (
        _named(scale, short.sure(found, better=True), found),
        DASH if base is None else words.score(scale, base),
        DASH if pair is None else f"{text(pair[0].label)} {words.interval(scale, pair[1], sign=True)}",
        DASH if base is None else words.value(scale, base.conditions.get("missing_0.5")),
        DASH if found.resolution is None else words.value(scale, found.resolution.single),
        f"{count(len(words.ranked(found.rows)))}/{count(len(rows) + len(fit))}",
    )


def _named(scale: Scale, rows: list[BoardRow], found: BoardTable, most: int = 4) -> str:
    """The first ones with difference and p; of how many none is."""
    compared = sum(row.difference is not None for row in words.ranked(found.rows))
    if not rows:
        return f"none of {compared}" if compared else DASH
    named = [
        f"{text(row.label)} {words.interval(scale, row.difference, sign=True)}, p {words.p_value(row)}"
        for row in rows[:most]
    ]
    return "; ".join(named) + (f" and {len(rows) - most} more" if len(rows) > most else "")


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
                numbers += [
                    row.validation,
                    row.parameters,
                    row.train_seconds,
                    row.compute_seconds,
                    row.done,
                    row.planned,
                ]
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
    *("parameters", "train_seconds", "compute_seconds", "done", "planned", "badges"),
)


def _cell(value: str) -> str:
    """A text that no spreadsheet takes for a formula."""
    safe = f"'{value}" if value[:1] in ("=", "+", "-", "@", "\t", "\r") else value
    return '"' + safe.replace('"', '""') + '"'
