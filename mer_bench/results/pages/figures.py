"""The pictures of a page: scores with intervals, score against time, missing modalities, confusion."""

from __future__ import annotations

from collections.abc import Sequence

from mer_bench.results.facts import Confusion
from mer_bench.results.model import BoardPage, BoardRow
from mer_bench.results.pages import words
from mer_bench.results.pages.method_page import picture
from mer_bench.results.pages.missing import missing_figures
from mer_bench.results.pages.svg import Drawing, Scale, shorten, ticks
from mer_bench.results.tables import REFERENCE

FAR = ("majority", "shuffled")  # so far below all others that these would be one dot

UNTIMED = "No run says what it took of processors."


def figures(page: BoardPage) -> dict[str, str]:
    """Every picture of a page, by file name."""
    found = {}
    for table in page.tables:
        rows, stem = words.drawn(table.rows), f"{page.name}--{table.variant}"
        rows = [row for row in rows if row.slug not in FAR] or rows
        for row in table.rows:
            if row.confusion and not row.control:
                found[f"{picture(page, table.variant, row)}.svg"] = confusion(row)
        if not rows:
            continue
        found[f"{stem}--forest.svg"] = forest(page, rows)
        found[f"{stem}--pareto.svg"] = pareto(page, rows)
        found |= {f"{stem}--missing{name}.svg": content for name, content in missing_figures(page, table).items()}
    return found


def forest(page: BoardPage, rows: Sequence[BoardRow]) -> str:
    """Scores with their 95 % intervals; hollow for controls, a guide at the reference."""
    scale, left, width, step = page.scale, 260.0, 720.0, 22.0
    ends = [x for row in rows if row.score for x in (row.score.low, row.score.high)]
    height = 60 + step * len(rows)
    unit = f"{scale.title}{' %' if scale.unit else ''}"
    drawing = Drawing(
        width, height, f"{unit} on {page.name}", "; ".join(f"{r.label} {words.score(scale, r)}" for r in rows)
    )
    x = Scale(min(ends), max(ends), left, width - 165)
    bottom = 20 + step * len(rows)
    for tick in ticks(min(ends), max(ends)):
        drawing.line(x(tick), 14, x(tick), bottom, "grid")
        drawing.text(x(tick), bottom + 18, f"{tick:g}", anchor="middle", kind="quiet")
    drawing.text(width - 165, bottom + 36, f"{unit}, 95 % interval", anchor="end", kind="quiet")
    for row in rows:
        if row.slug == REFERENCE and row.score and not row.control:
            drawing.line(x(row.score.value), 14, x(row.score.value), bottom, "guide")
    for i, row in enumerate(rows):
        assert row.score is not None
        y = 28 + step * i
        drawing.text(left - 12, y + 4, shorten(f"{words.rank(row)}  {row.label}".replace("—  ", "")), anchor="end")
        drawing.line(x(row.score.low), y, x(row.score.high), y, "axis")
        drawing.dot(x(row.score.value), y, "hollow" if row.rank is None else "mark")
        drawing.text(width - 152, y + 4, words.score(scale, row), kind="quiet")
    return drawing.render()


def pareto(page: BoardPage, rows: Sequence[BoardRow]) -> str:
    """Score against seconds of processors, logarithmic; filled: nothing is both cheaper and better."""
    scale = page.scale
    timed = [row for row in rows if row.compute_seconds and row.score]
    height = max(340.0, 60 + 16.0 * len(timed))
    about = "; ".join(
        f"{row.label}: {words.value(scale, row.mean)} in {row.compute_seconds:.1f} CPU s" for row in timed
    )
    drawing = Drawing(760, height, f"{scale.title} against CPU time on {page.name}", about or UNTIMED)
    if not timed:
        drawing.text(20, 40, UNTIMED)
        return drawing.render()
    seconds = [row.compute_seconds or 1.0 for row in timed]
    scores = [row.score.value for row in timed if row.score]
    x = Scale(min(seconds), max(seconds), 70, 440, log=True)
    y = Scale(min(scores), max(scores), height - 60, 30)
    for power in range(-2, 7):
        for tick in (10.0**power, 2 * 10.0**power, 5 * 10.0**power):
            if min(seconds) <= tick <= max(seconds):
                drawing.line(x(tick), 20, x(tick), height - 50, "grid")
                drawing.text(x(tick), height - 34, f"{tick:g}", anchor="middle", kind="quiet")
    for tick in ticks(min(scores), max(scores)):
        drawing.line(60, y(tick), 450, y(tick), "grid")
        drawing.text(54, y(tick) + 4, f"{tick:g}", anchor="end", kind="quiet")
    drawing.text(450, height - 14, "CPU seconds of a run (logarithmic)", anchor="end", kind="quiet")
    sign = 1 if scale.higher_is_better else -1
    for i, row in enumerate(timed):
        assert row.score is not None
        better = [
            other
            for other in timed
            if other.score
            and other is not row
            and (other.compute_seconds or 0) <= (row.compute_seconds or 0)
            and sign * other.score.value >= sign * row.score.value
        ]
        px, py = x(row.compute_seconds or 1.0), y(row.score.value)
        drawing.dot(px, py, "hollow" if better else "mark")
        drawing.text(px + 6, py - 5, str(i + 1), kind="quiet")
        drawing.text(475, 30 + 16 * i, f"{i + 1}. {shorten(row.label, 36)}")
    return drawing.render()


def confusion(row: BoardRow) -> str:
    """Row-normalised, with counts: the first task, and only the first tables where there are many labels."""
    shown = list(row.confusion.items())[:6]
    cell = 62.0
    width = 140 + cell * max(len(found.names) for _, found in shown)
    heights = [60 + cell * len(found.names) for _, found in shown]
    about = "; ".join(f"{name}: {_spoken(found)}" for name, found in shown)
    drawing = Drawing(width, sum(heights), f"Confusion of {row.label}", about)
    top = 0.0
    for (name, found), height in zip(shown, heights, strict=True):
        drawing.text(10, top + 20, f"{name}: truth in rows, prediction in columns", kind="quiet")
        for i, line in enumerate(found.counts):
            total = max(sum(line), 1)
            drawing.text(130, top + 70 + cell * i, shorten(found.names[i], 16), anchor="end")
            drawing.text(140 + cell * (i + 0.5), top + 38, shorten(found.names[i], 9), anchor="middle")
            for j, number in enumerate(line):
                share = number / total
                place = 140 + cell * j, top + 44 + cell * i
                drawing.box(*place, cell, cell, "cell", 0.6 * share)
                drawing.text(place[0] + cell / 2, place[1] + 28, f"{100 * share:.1f} %", anchor="middle")
                drawing.text(place[0] + cell / 2, place[1] + 44, f"{number:,}", anchor="middle")
        top += height
    return drawing.render()


def _spoken(found: Confusion) -> str:
    return ", ".join(
        f"{a} taken for {b} {n}"
        for a, line in zip(found.names, found.counts, strict=True)
        for b, n in zip(found.names, line, strict=True)
        if n
    )
