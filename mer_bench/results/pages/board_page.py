"""The page of one protocol with one feature set."""

from __future__ import annotations

from mer_bench.results.markdown import DASH, code, count, table, text
from mer_bench.results.model import BoardPage, BoardTable
from mer_bench.results.pages import rows_table, short, words

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
    """The page as markdown: what it says first, then the rows, then what was compared."""
    protocol = page.protocol
    parts = [words.MARK, f"# {words.heading(page)}\n", *_warnings(page, synthetic)]
    if protocol.note:
        parts.append(f"{text(protocol.note)}\n")
    parts.append(f"{_line(page)}\n")
    for found in page.tables:
        parts.append(f"## Settings: {text(found.variant)}\n")
        parts += [f"**Wrong:** {text(alarm)}.\n" for alarm in found.alarms]
        parts.append("".join(f"- {sentence}\n" for sentence in short.sentences(page, found)))
        parts += [*rows_table.tables(page, found), _not_run(page, found), _pictures(page, found)]
        parts += [rows_table.more(page, found), _problems(page, found)]
    parts += ["## What was compared\n", _facts(page), _features(page)]
    parts.append("## Columns\n\n" + "".join(f"- {name}: {said}\n" for name, said in words.COLUMNS.items()))
    parts.append("## Badges\n\n" + (words.legend(row for t in page.tables for row in t.rows) or "None in use.\n"))
    parts.append(f"How the numbers are made: [statistics]({'../' if synthetic else ''}statistics.md).\n")
    return "\n".join(part for part in parts if part)


def _warnings(page: BoardPage, synthetic: bool) -> list[str]:
    found = []
    if synthetic:
        found.append("**Synthetic data.** These numbers say nothing about any corpus.\n")
    if page.protocol.legacy:
        found.append("**Legacy protocol.** It repeats what a paper did, faults included; nothing here is ranked.\n")
    if page.superseded:
        found.append("**Older definition.** The protocol has another definition now; nothing here is ranked.\n")
    return found


def _line(page: BoardPage) -> str:
    """What the numbers are, in one line."""
    protocol, folds = page.protocol, page.protocol.folds
    inputs = ", ".join(f"{text(f.modality)} {f.dim}" for f in page.features)
    return (
        f"{words.column(page.scale)}, {folds} {'fold' if folds == 1 else 'folds'} x {len(protocol.seeds)} seeds, "
        f"{count(max(page.items.get('test', (0,))))} test items{'' if folds == 1 else ' a fold at most'}; "
        f"features: {inputs}; rule {protocol.statistics}. [What was compared](#what-was-compared)"
    )


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
        f"{RULES[protocol.statistics]}; the independent unit is {unit(page)}",
        f"weights: {'; '.join(_SELECTION[rule] for rule in rules) or DASH}",
        f"items: {sizes or DASH}",
        f"protocol {code(protocol.hash)}, feature file {code(page.data[:16])}, newest record {page.newest or DASH}",
        f"to reproduce: `{_command(page)}`",
    ]
    return "".join(f"- {line}\n" for line in lines)


def unit(page: BoardPage) -> str:
    """What the rule takes for independent, and how many there are."""
    protocol, cluster = page.protocol, text(page.protocol.cluster)
    there = f", {' to '.join(map(count, page.clusters))} of them in the test part" if page.clusters else ""
    said = {
        "A": f"the {cluster}{there}",
        "B": f"the fold, {protocol.folds} of them",
        "C": f"the {cluster}, one a fold, {count(protocol.folds)} of them",
    }
    return said[protocol.statistics]


def _command(page: BoardPage) -> str:
    """With the modalities in the order of the runs: another order would make another row."""
    protocol, inputs = page.protocol, ", ".join(feature.modality for feature in page.features)
    return (
        f"mer-bench fit {protocol.corpus}_METHOD --data.protocol {protocol.name} --data.modalities '[{inputs}]' "
        "--data.fold FOLD --seed SEED"
    )


def _features(page: BoardPage) -> str:
    rows = [(text(f.modality), text(f.extractor) or DASH, count(f.dim)) for f in page.features]
    return table(("modality", "features", "dim"), rows, left=2)


def _not_run(page: BoardPage, found: BoardTable) -> str:
    cells = not_run_rows(page, found)
    return "" if cells is None else f"Not run here:\n\n{table(*cells, left=2)}"


def not_run_rows(page: BoardPage, found: BoardTable) -> rows_table.Cells | None:
    """Shipped methods without a run, by what keeps them out; None where there are none."""
    if not found.not_run:
        return None
    planned = page.protocol.folds * len(page.protocol.seeds)
    by_reason: dict[str, list[str]] = {}
    for one in found.not_run:
        inputs = f" ({text(', '.join(one.modalities))})" if len(one.modalities) < len(page.features) else ""
        by_reason.setdefault(one.reason, []).append(f"{code(one.slug)}{inputs}")
    rows: list[tuple[str, ...]] = [
        (
            text(f"does not fit: {reason}") if reason else f"INCOMPLETE 0/{planned}: no run under this definition",
            ", ".join(names),
        )
        for reason, names in sorted(by_reason.items())
    ]
    return ("what keeps it out", "methods"), rows


def _pictures(page: BoardPage, found: BoardTable) -> str:
    stem = f"figures/{page.name}--{found.variant}"
    shown = [("forest", "Scores with their intervals"), ("pareto", "Score against CPU time")]
    if any(row.missing_auc for row in found.rows):
        shown.append(("missing", "Score as modalities go missing"))
    return "".join(f"![{title}]({stem}--{kind}.svg)\n" for kind, title in shown) if words.drawn(found.rows) else ""


def _problems(page: BoardPage, found: BoardTable) -> str:
    lines = [f"- control {code(slug)} was not run\n" for slug in found.absent if not found.not_run]
    lines += [f"- {text(problem)}\n" for problem in found.problems]
    lines += [f"- {text(one.record)}: {text(one.reason)}\n" for one in page.left_out]
    return "Missing and left out:\n\n" + "".join(lines) if lines else ""
