"""Score as modalities go missing at test: against the rate, and beside it what single modalities give alone."""

from __future__ import annotations

from collections.abc import Sequence

from mer_bench.results.model import BoardPage, BoardRow, BoardTable
from mer_bench.results.pages import rows_table, words
from mer_bench.results.pages.svg import COLOURS, DASHES, MARKS, Drawing, Scale, shorten, ticks
from mer_bench.results.samples import missing_curve
from mer_bench.results.tables import REFERENCE

CURVES = 8
LEFT, RIGHT, TOP, BOTTOM = 60.0, 400.0, 30.0, 290.0  # of the curves
STEP = 46.0  # between two single modalities

Curve = list[tuple[float, float]]  # rate and score


def missing_figures(page: BoardPage, table: BoardTable) -> dict[str, str]:
    """By the ending of the file's name: the table's own picture, and one for each row with a curve, beside `concat`.

    None where no complete row was scored at rates.
    """
    able = [row for row in table.rows if row.score and row.missing_auc and curve(row)]
    ranked = [row for row in able if row.rank is not None]
    base = [row for row in ranked if row.slug == REFERENCE][:1]
    if not able:
        return {}
    first = ranked[: CURVES - 1] or able[: CURVES - 1]
    found = {"": drawing(page, [*first, *(row for row in base if row not in first)])}
    for row in able:
        if not row.control:
            found[f"--{stem(row)}"] = drawing(page, [row, *(one for one in base if one is not row)])
    return found


def stem(row: BoardRow) -> str:
    """What tells the picture of a row from those of others."""
    return f"{row.slug}-{row.settings[:8]}"


def curve(row: BoardRow) -> Curve:
    """Rate and score, from nothing missing up; empty where no rates were scored."""
    return [(rate, row.conditions[names[0]]) for rate, names in missing_curve(row.conditions).items()]


def drawing(page: BoardPage, rows: Sequence[BoardRow]) -> str:
    """The picture of some rows, each with a curve."""
    scale, parts = page.scale, rows_table.part_conditions(rows)
    values = [x for row in rows for x in [*(v for _, v in curve(row)), *_known(row, parts)]]
    rates = sorted({rate for row in rows for rate, _ in curve(row)})
    edge = RIGHT + 30 + STEP * len(parts)  # where the legend starts
    height = max(BOTTOM + 50, 40 + 20.0 * len(rows))
    said = "; ".join(f"{row.label}: {_spoken(page, row, parts)}" for row in rows)
    picture = Drawing(edge + 270, height, f"{scale.title} as modalities go missing on {page.name}", said)
    x, y = Scale(0, max(rates), LEFT, RIGHT), Scale(min(values), max(values), BOTTOM - 10, TOP)
    for tick in ticks(min(values), max(values)):
        picture.line(LEFT, y(tick), edge - 20, y(tick), "grid")
        picture.text(LEFT - 6, y(tick) + 4, f"{tick:g}", anchor="end", kind="quiet")
    for rate in rates:
        picture.text(x(rate), BOTTOM + 12, f"{rate:g}", anchor="middle", kind="quiet")
    picture.text(RIGHT, BOTTOM + 36, "share of modalities removed at test", anchor="end", kind="quiet")
    picture.text(LEFT - 6, TOP - 14, f"{scale.title}{' %' if scale.unit else ''}", kind="quiet")
    for i, name in enumerate(parts):
        for k, word in enumerate(rows_table.spoken(name).split(" ", 1)):
            picture.text(_place(i), BOTTOM + 12 + 14 * k, shorten(word, 8), anchor="middle", kind="quiet")
    for i, row in enumerate(rows):
        _row(picture, i, [(x(rate), y(value)) for rate, value in curve(row)])
        for k, name in enumerate(parts):
            if name in row.conditions:
                picture.mark(_place(k), y(row.conditions[name]), COLOURS[i], MARKS[i])
        picture.path([(edge, 26 + 20 * i), (edge + 30, 26 + 20 * i)], COLOURS[i], DASHES[i])
        picture.mark(edge + 15, 26 + 20 * i, COLOURS[i], MARKS[i])
        picture.text(edge + 38, 30 + 20 * i, shorten(row.label))
    return picture.render()


def _row(picture: Drawing, i: int, points: Sequence[tuple[float, float]]) -> None:
    picture.path(points, COLOURS[i], DASHES[i])
    for place in points:
        picture.mark(*place, COLOURS[i], MARKS[i])


def _place(i: int) -> float:
    """Where a single modality stands."""
    return RIGHT + 34 + STEP * i


def _known(row: BoardRow, parts: Sequence[str]) -> list[float]:
    return [row.conditions[name] for name in parts if name in row.conditions]


def _spoken(page: BoardPage, row: BoardRow, parts: Sequence[str]) -> str:
    rates = [f"{rate:g} {words.value(page.scale, value)}" for rate, value in curve(row)]
    single = [
        f"{rows_table.spoken(name)} {words.value(page.scale, row.conditions[name])}"
        for name in parts
        if name in row.conditions
    ]
    return ", ".join([*rates, *single])
