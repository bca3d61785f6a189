"""The page of one protocol with one feature set."""

from __future__ import annotations

from mer_bench.results.facts import ProtocolFacts
from mer_bench.results.markdown import DASH, code, count, number, table, text
from mer_bench.results.model import BoardPage, BoardRow, BoardTable, Scale
from mer_bench.results.pages import words

FOLDS_SHOWN = 10
RULES = {
    "A": "rule A: one official split, intervals from test clusters and seeds",
    "B": "rule B: folds x seeds, Nadeau-Bengio variance",
    "C": "rule C: leave one subject out x seeds",
}
_SELECTION = {
    "validation": "best epoch on the validation part of the fold",
    "fixed": "last of a fixed number of epochs",
    "none": "nothing to train",
    "test": "best epoch on the reported part (TEST-SELECTED)",
}


def render(page: BoardPage, *, synthetic: bool) -> str:
    """The page as markdown."""
    protocol = page.protocol
    parts = [words.MARK, f"# {words.heading(page)}\n"]
    if synthetic:
        parts.append("**Synthetic data.** These numbers say nothing about any corpus.\n")
    if protocol.legacy:
        parts.append("**Legacy protocol.** It repeats what a paper did, faults included; nothing here is ranked.\n")
    if protocol.note:
        parts.append(f"{text(protocol.note)}\n")
    parts += [_facts(page), _features(page)]
    for found in page.tables:
        parts.append(f"## Settings: {text(found.variant)}\n")
        parts += [f"**Wrong:** {text(alarm)}.\n" for alarm in found.alarms]
        parts += [verdict(page.scale, found), resolution(page.scale, found), _main(page, found)]
        parts.append(_pictures(page, found))
        parts += [_metrics(page, found), _folds(page, found), _problems(found)]
    parts.append("## Badges\n\n" + (words.legend(row for t in page.tables for row in t.rows) or "None in use.\n"))
    parts.append(f"How the numbers are made: [statistics]({'../' if synthetic else ''}statistics.md).\n")
    return "\n".join(part for part in parts if part)


def _facts(page: BoardPage) -> str:
    protocol, scale = page.protocol, page.scale
    seeds = ", ".join(map(str, protocol.seeds))
    rules = sorted({rule for found in page.tables for row in found.rows for rule in row.selection})
    sizes = ", ".join(f"{part} {' to '.join(map(count, numbers))}" for part, numbers in page.items.items())
    lines = [
        f"ranked by {text(protocol.primary)} ({'higher' if scale.higher_is_better else 'lower'} is better) on the test "
        "part; every other number is not adjusted for looking at many",
        f"planned: {protocol.folds} {'fold' if protocol.folds == 1 else 'folds'} x seeds {seeds} = "
        f"{count(protocol.folds * len(protocol.seeds))} runs",
        f"{RULES[protocol.statistics]}; the independent unit is the {text(protocol.cluster)}",
        f"weights: {'; '.join(_SELECTION[rule] for rule in rules) or DASH}",
        f"items: {sizes or DASH}",
        f"protocol {code(protocol.hash)}, feature file {code(page.data[:16])}, newest record {page.newest or DASH}",
        f"to reproduce: `{_command(protocol)}`",
    ]
    return "".join(f"- {line}\n" for line in lines)


def _command(protocol: ProtocolFacts) -> str:
    return f"mer-bench fit {protocol.corpus}_METHOD --data.protocol {protocol.name} --data.fold FOLD --seed SEED"


def _features(page: BoardPage) -> str:
    rows = [(text(f.modality), text(f.extractor) or DASH, count(f.dim)) for f in page.features]
    return table(("modality", "features", "dim"), rows, left=2)


def verdict(scale: Scale, found: BoardTable) -> str:
    """Which ranked methods are known to differ from the reference, in words."""
    rows = [row for row in words.ranked(found.rows) if row.difference is not None]
    if not rows:
        return ""
    sure = [row for row in rows if words.is_sure(row)]
    parts = [
        f"**{name} than concat:** {_named(scale, [row for row in sure if ((row.p_better or 0) > 0.5) == better])}."
        for name, better in (("Better", True), ("Worse", False))
    ]
    rest = len(rows) - len(sure)
    return f"{' '.join(parts)} Not told apart from it: {rest} of {len(rows)}. ({words.SURE_IF})\n"


def _named(scale: Scale, rows: list[BoardRow]) -> str:
    named = [f"{text(row.label)} {words.interval(scale, row.difference, sign=True)}" for row in rows]
    return ", ".join(named) or "none"


def resolution(scale: Scale, found: BoardTable) -> str:
    """How large a difference has to be, in words."""
    if found.resolution is None:
        return "Fewer than two ranked methods: nothing can be resolved.\n"
    r, unit = found.resolution, " points" if scale.unit else ""
    return (
        f"**Resolution.** Differences below {words.value(scale, r.single)}{unit} cannot be resolved here (80 % power, "
        f"one comparison); with Holm over {r.comparisons} comparisons, below {words.value(scale, r.adjusted)}{unit}, "
        f"since an observed difference then needs {number(r.factor, 2)} standard errors.\n"
    )


def _main(page: BoardPage, found: BoardTable) -> str:
    scale = page.scale
    header = (
        *("rank", "method", f"{words.column(scale)} [95 %]", "Δ concat [95 %]", "p", "P(better)", "seed SD"),
        *("interaction gain [95 %]", "missing AUC [95 %]", "worst group", "parameters", "s / run", "runs", "badges"),
    )
    rows = [
        (
            words.rank(row),
            words.method_link(row),
            words.score(scale, row),
            words.interval(scale, row.difference, sign=True),
            words.p_value(row),
            number(row.p_better, 3),
            words.value(scale, row.seed_sd),
            words.interval(scale, row.gain, sign=True),
            words.interval(scale, row.missing_auc),
            words.value(scale, row.worst_group),
            count(row.parameters),
            number(row.train_seconds, 1),
            f"{row.done}/{row.planned}",
            text(", ".join(row.badges)) or DASH,
        )
        for row in found.rows
    ]
    return table(header, rows, left=2)


def _pictures(page: BoardPage, found: BoardTable) -> str:
    stem = f"figures/{page.name}--{found.variant}"
    shown = [("forest", "Scores with their intervals"), ("pareto", "Score against training time")]
    if any(row.missing_auc for row in found.rows):
        shown.append(("missing", "Score as modalities go missing"))
    return "".join(f"![{title}]({stem}--{kind}.svg)\n" for kind, title in shown) if words.drawn(found.rows) else ""


def _metrics(page: BoardPage, found: BoardTable) -> str:
    others = [m for m in page.protocol.metrics if m != page.protocol.primary]
    if not others:
        return ""
    header = ("method", *(words.column(page.scales[m]) for m in others))
    rows = [(text(row.label), *(words.value(page.scales[m], row.metrics.get(m)) for m in others)) for row in found.rows]
    return f"Other metrics, never used for ranks:\n\n{table(header, rows)}"


def _folds(page: BoardPage, found: BoardTable) -> str:
    if not 1 < page.protocol.folds <= FOLDS_SHOWN:
        return ""
    header = ("method", *(f"fold {fold}" for fold in range(page.protocol.folds)))
    rows = [(text(row.label), *(words.value(page.scale, x) for x in row.folds)) for row in found.rows]
    return f"{words.column(page.scale)} by fold, mean over seeds:\n\n{table(header, rows)}"


def _problems(found: BoardTable) -> str:
    lines = [f"- control {code(slug)} was not run\n" for slug in found.absent]
    lines += [f"- {text(problem)}\n" for problem in found.problems]
    return "Missing and left out:\n\n" + "".join(lines) if lines else ""
