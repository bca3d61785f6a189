"""What a table says, in a few sentences: what is better, how sure that is, what it costs, what happens without a part.

Sentences are markdown; the HTML page shows the same ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from mer_bench.results.markdown import number, text
from mer_bench.results.model import BoardPage, BoardRow, BoardTable, Interval, Scale
from mer_bench.results.pages import words
from mer_bench.results.samples import missing_curve
from mer_bench.results.tables import REFERENCE

NAMED = 6


def sentences(page: BoardPage, found: BoardTable) -> list[str]:
    """Every sentence of a table, the most wanted first; those that the records have nothing for are left out."""
    every = [
        verdict(page.scale, found),
        resolution(page.scale, found),
        single(page.scale, found),
        cost(found),
        missing(page.scale, found),
    ]
    return [sentence for sentence in every if sentence]


def reference(found: BoardTable) -> BoardRow | None:
    """The row that all others are held against."""
    ranked = [row for row in words.ranked(found.rows) if row.slug == REFERENCE]
    return ranked[0] if len(ranked) == 1 else None


def sure(found: BoardTable, *, better: bool) -> list[BoardRow]:
    """Ranked rows that differ from the reference by the p value that applies to them, on one side."""
    rows = [row for row in words.ranked(found.rows) if words.is_sure(row)]
    return [row for row in rows if ((row.p_better or 0) > 0.5) == better]


def verdict(scale: Scale, found: BoardTable) -> str:
    """Which ranked methods are known to differ from the reference, by how much, how surely, and at what cost."""
    rows = [row for row in words.ranked(found.rows) if row.difference is not None]
    if not rows:
        return ""
    base = reference(found)
    sides = {name: sure(found, better=name == "Better") for name in ("Better", "Worse")}
    parts = [f"**{name} than concat:** {_named(scale, side, base)}." for name, side in sides.items()]
    rest, loose = len(rows) - sum(map(len, sides.values())), [row for row in rows if row.p_adjusted is None]
    luck = f"; were all methods equal, {number(len(loose) / 20, 1)} of these {len(loose)} would pass by luck"
    return f"{' '.join(parts)} Not told apart from it: {rest} of {len(rows)}. ({words.SURE_IF}{luck if loose else ''})"


def _named(scale: Scale, rows: Sequence[BoardRow], base: BoardRow | None) -> str:
    named = []
    for row in rows:
        about = [f"p {words.p_value(row)}"]
        if base is not None and base.compute_seconds and row.compute_seconds:
            about.append(f"{number(row.compute_seconds / base.compute_seconds, 1)} x the CPU time")
        named.append(f"{text(row.label)} {words.interval(scale, row.difference, sign=True)} ({', '.join(about)})")
    return "; ".join(named) or "none"


def resolution(scale: Scale, found: BoardTable) -> str:
    """How large a difference has to be."""
    if found.resolution is None:
        return "Fewer than two ranked methods: nothing can be resolved."
    r, unit = found.resolution, " points" if scale.unit else ""
    ends = f"{words.value(scale, r.smallest)} to {words.value(scale, r.largest)}"
    return (
        f"**Resolution:** to be found in four studies of five, half of the pairs need a difference above "
        f"{words.value(scale, r.single)}{unit} (one comparison; {ends} over all pairs); with Holm over {r.comparisons} "
        f"comparisons, above {words.value(scale, r.adjusted)}{unit}, since an observed difference then needs "
        f"{number(r.factor, 2)} standard errors."
    )


def best_single(found: BoardTable) -> tuple[BoardRow, Interval] | None:
    """The best single modality, and what the reference has over it; None where one of the two is not complete."""
    row = next((row for row in found.rows if "BEST-SINGLE" in row.badges), None)
    if row is None or row.difference is None:
        return None
    d = row.difference
    return row, Interval(-d.value + 0.0, -d.high + 0.0, -d.low + 0.0)


def single(scale: Scale, found: BoardTable) -> str:
    """Whether fusion is worth anything: the reference against the best single modality."""
    pair = best_single(found)
    if pair is None:
        return ""
    row, gain = pair
    held = "" if words.is_sure(row) else ", which is not told apart from none"
    return (
        f"**One modality:** {text(row.label)} alone has {words.score(scale, row)}; concat differs from it by "
        f"{words.interval(scale, gain, sign=True)} (p {words.p_value(row)}){held}."
    )


def top(found: BoardTable) -> list[BoardRow]:
    """Those that may be the best."""
    return [row for row in words.ranked(found.rows) if row.rank and row.rank[0] == 1]


def cost(found: BoardTable) -> str:
    """What the cheapest and the dearest of the top group take."""
    timed = sorted((row.compute_seconds, row.key, row) for row in top(found) if row.compute_seconds is not None)
    if not timed:
        return ""
    cheap, dear = timed[0][2], timed[-1][2]
    said = f"**Cost:** {len(top(found))} methods may be the best; the cheapest of them is {_takes(cheap)}"
    return (
        f"{said}, the dearest {_takes(dear)}."
        if cheap is not dear
        else f"**Cost:** the best method is {_takes(cheap)}."
    )


def _takes(row: BoardRow) -> str:
    size = f", {words.parameters(row)} parameters" if row.parameters else ""
    return f"{text(row.label)} ({words.cost(row)} CPU s a run{size})"


def missing(scale: Scale, found: BoardTable) -> str:
    """What is left of the reference without a part of its input, and who loses least."""
    base = reference(found)
    if base is None:
        return ""
    curve = list(missing_curve(base.conditions).items())
    alone = [(name.removeprefix("only_"), value) for name, value in base.conditions.items() if name.startswith("only_")]
    if not curve and not alone:
        return ""
    said = [f"{words.value(scale, base.mean)} with nothing missing"]
    if curve:
        rate, names = curve[-1]
        said.append(f"{words.value(scale, base.conditions[names[0]])} with {_share(rate)} of the modalities removed")
    said += [f"{words.value(scale, value)} with {text(name)} only" for name, value in alone]
    return f"**Missing at test:** concat reaches {', '.join(said)}.{_robust(scale, found, base)}"


def _share(rate: float) -> str:
    return "half" if rate == 0.5 else f"{number(100 * rate, 0)} %"


def _robust(scale: Scale, found: BoardTable, base: BoardRow) -> str:
    """The best area under the curve beside that of the reference; no test is made of the two."""
    best = robust(scale, words.ranked(found.rows))
    if best is None or best is base or base.missing_auc is None:
        return " No ranked method has a larger area under the curve of rates." if best is base else ""
    return (
        f" Over all rates {text(best.label)} is best, with a mean of {words.interval(scale, best.missing_auc)} against "
        f"{words.interval(scale, base.missing_auc)} (not tested)."
    )


def robust(scale: Scale, rows: Iterable[BoardRow]) -> BoardRow | None:
    """The row with the best area under the missing-modality curve."""
    sign = -1 if scale.higher_is_better else 1
    known = [(sign * row.missing_auc.value, row.key, row) for row in rows if row.missing_auc is not None]
    return min(known)[2] if known else None
