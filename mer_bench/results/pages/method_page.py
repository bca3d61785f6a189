"""The page of one method: all of its numbers, on every board where it stands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from mer_bench.results.facts import Confusion
from mer_bench.results.markdown import DASH, code, count, number, table, text
from mer_bench.results.model import Board, BoardPage, BoardRow
from mer_bench.results.pages import missing, words

_SPOKEN = {"emap": "its additive projection, on chosen items", "emap_full": "itself, on the same items"}


def render(slug: str, board: Board, card: Mapping[str, Any] | None, reported: str = "") -> str:
    """The page as markdown.

    Args:
        slug: of the method.
        board: real or synthetic.
        card: of the method and, under ``settings``, what its config says; None where it is not shipped.
        reported: table of what papers report of it, see `paper.published_table`.
    """
    found = [(page, t.variant, row) for page in board.pages for t in page.tables for row in t.rows if row.slug == slug]
    parts = [words.MARK, f"# {text(found[0][2].title)}\n", _card(slug, card)]
    if board.synthetic:
        parts.append("**Synthetic data.** These numbers say nothing about any corpus.\n")
    parts.append(_overview(found))
    for page, variant, row in found:
        parts += [f"## {words.heading(page)}, {text(variant)} settings: {text(row.label)}\n", _numbers(page, row)]
        parts += [
            _metrics(page, row),
            _conditions(page, row),
            _curve(page, variant, row),
            *_confusions(page, variant, row),
        ]
    if reported:
        parts.append("## What papers report\n")
        parts.append(
            "None of it was measured here, and none is ranked; [papers and measurements](../paper_vs_measured.md) "
            f"holds claims against the records.\n\n{reported}"
        )
    parts.append(_settings(card))
    return "\n".join(part for part in parts if part)


def _card(slug: str, card: Mapping[str, Any] | None) -> str:
    if card is None:
        return f"{code(slug)} is not shipped with this version.\n"
    lines = [f"config {code(f'configs/method/{slug}.yaml')}, status {text(str(card.get('status', DASH)))}"]
    if card.get("paper"):
        lines.append(f"paper: {text(str(card['paper']))}")
    lines += [text(str(note)) for note in card.get("notes", ())]
    return "".join(f"- {line}\n" for line in lines)


def _overview(found: Sequence[tuple[BoardPage, str, BoardRow]]) -> str:
    """Every row of the method in one line."""
    rows = [
        (
            f"[{text(page.name)}](../{page.name}.md)",
            text(row.label if variant == "default" else f"{row.label}, {variant}"),
            f"{words.column(page.scale)} {words.score(page.scale, row)}",
            words.interval(page.scale, row.difference, sign=True),
            words.p_value(row),
            words.rank(row),
            words.cost(row),
            f"{row.done}/{row.planned}",
        )
        for page, variant, row in found
    ]
    header = ("board", "row", "score [95 %]", "Δ concat [95 %]", "p", "rank", "CPU s / run", "runs")
    return table(header, rows, left=3)


def _numbers(page: BoardPage, row: BoardRow) -> str:
    scale = page.scale
    opinions = ", ".join(f"{text(name)} p {number(p, 3)}" for name, p in row.second_opinions.items())
    lines = [
        ("board", f"[{text(page.name)}](../{page.name}.md)"),
        (words.column(scale), words.score(scale, row)),
        ("rank", words.rank(row)),
        ("Δ concat", words.interval(scale, row.difference, sign=True)),
        ("p", words.p_value(row)),
        ("P(better)", number(row.p_better, 3)),
        (f"P(within {scale.margin})", number(row.p_within, 3)),
        ("second opinions", opinions or DASH),
        ("validation part", words.value(scale, row.validation)),
        ("seed SD", words.value(scale, row.seed_sd)),
        ("interaction gain", words.interval(scale, row.gain, sign=True)),
        ("missing-modality AUC", words.interval(scale, row.missing_auc)),
        ("worst group", words.value(scale, row.worst_group)),
        ("parameters", words.parameters(row)),
        ("CPU seconds of a run", words.cost(row)),
        ("seconds of training a run, on the clock of whatever machine it was", number(row.train_seconds, 1)),
        ("runs", f"{row.done}/{row.planned}"),
        ("settings", code(row.settings)),
        ("commits", ", ".join(map(code, row.commits)) or DASH),
        ("badges", text(", ".join(row.badges)) or DASH),
    ]
    return table(("", "value"), lines)


def _metrics(page: BoardPage, row: BoardRow) -> str:
    rows = [
        (words.column(page.scales[m]), words.value(page.scales[m], x))
        for m, x in row.metrics.items()
        if m in page.scales
    ]
    return table(("metric", "mean"), rows) if rows else ""


def _conditions(page: BoardPage, row: BoardRow) -> str:
    """What happens when modalities are missing; of a rate, the mean over its masks."""
    rows = [(text(_SPOKEN.get(name, name)), words.value(page.scale, x)) for name, x in row.conditions.items()]
    return table(("condition at test", words.column(page.scale)), rows) if len(rows) > 1 else ""


def _curve(page: BoardPage, variant: str, row: BoardRow) -> str:
    """The picture of the conditions, where the row has one; see `missing.missing_figures`."""
    if not (row.score and row.missing_auc and missing.curve(row)) or row.control:
        return ""
    return f"![Score as modalities go missing](../figures/{page.name}--{variant}--missing--{missing.stem(row)}.svg)\n"


def _confusions(page: BoardPage, variant: str, row: BoardRow) -> list[str]:
    parts = []
    for name, found in row.confusion.items():
        parts += [f"Truth before prediction, {text(name)}, all runs together:\n", _counts(found)]
    if row.confusion and not row.control:
        parts.append(f"![Confusion](../figures/{picture(page, variant, row)}.svg)\n")
    return parts


def picture(page: BoardPage, variant: str, row: BoardRow) -> str:
    """Name of the picture of the confusion."""
    return f"{page.name}--{variant}--confusion--{row.slug}-{row.settings[:8]}"


def _counts(found: Confusion) -> str:
    sizes = [sum(line) for line in found.counts]
    columns = [sum(line[j] for line in found.counts) for j in range(len(found.names))]
    rows = []
    for i, name in enumerate(found.names):
        right = found.counts[i][i]
        recall, precision = _share(right, sizes[i]), _share(right, columns[i])
        rows.append((text(name), *map(count, found.counts[i]), recall, precision))
    return table(("", *map(text, found.names), "recall %", "precision %"), rows)


def _share(part: int, whole: int) -> str:
    return number(100 * part / whole, 2) if whole else DASH


def _settings(card: Mapping[str, Any] | None) -> str:
    if card is None or "settings" not in card:
        return ""
    written = yaml.safe_dump(card["settings"], sort_keys=True).replace("```", "'''")
    return f"## Settings\n\nAs shipped; a data set may have a config on top of them.\n\n```yaml\n{written}```\n"
