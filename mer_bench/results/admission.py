"""What may be ranked: completeness and uniqueness of rows, and a fence around what is too good to be believed.

The fence (*ours*, after the reference convergence points of MLPerf): a row that is more than three standard errors
better than the best of the others, or whose gap between validation and test lies more than three standard deviations
from theirs, waits until somebody has looked for the leak. Nobody accuses a method of anything by that.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, NamedTuple

import numpy as np

from mer_bench.errors import UserError
from mer_bench.metrics.definitions import direction
from mer_bench.results.claims import FULL
from mer_bench.results.grids import row_name, samples_of, used
from mer_bench.results.measured import Group, Row, Sums, groups
from mer_bench.results.schema import Record
from mer_bench.results.tables import CONTROLS, REFERENCE

SIGMAS = 3.0
OTHERS = 5  # rows that make a band of gaps
BUDGET = 20  # draws of a search

Level = Literal["FAIL", "QUARANTINE", "NOTE"]


class Finding(NamedTuple):
    """What a reader should know.

    Attributes:
        level: ``FAIL`` is wrong, ``QUARANTINE`` waits for an audit, ``NOTE`` keeps a row from being ranked, or less.
        place: which record or row.
        text: what it is.
    """

    level: Level
    place: str
    text: str


def rows(records: Iterable[Record]) -> Iterator[Finding]:
    """Completeness, uniqueness and unity of every row."""
    found: dict[tuple[str, ...], list[Record]] = defaultdict(list)
    for record in sorted(records, key=lambda record: record.record_id):
        family = record.protocol.name, record.protocol.hash, record.data_fingerprint, record.variant
        found[*family, record.method.slug, *used(record), record.settings_hash].append(record)
    for key in sorted(found):
        mine = found[key]
        place = f"{key[0]}: {row_name((mine[0].method.slug, used(mine[0]), mine[0].settings_hash))}"
        yield from (Finding(level, place, text) for level, text in _row(mine))


def _row(mine: Sequence[Record]) -> Iterator[tuple[Level, str]]:
    protocol = mine[0].protocol
    planned = {(fold, seed) for fold in range(protocol.folds) for seed in protocol.seeds}
    places = Counter((record.fold, record.seed) for record in mine)
    for (fold, seed), times in sorted(places.items()):
        if times > 1:
            yield "FAIL", f"{times} records for fold {fold}, seed {seed}; expected one"
    for fold, first, second in _without_effect(mine):
        yield "FAIL", f"fold {fold}: seeds {first} and {second} left the same predictions, so the seed has no effect"
    done = {(record.fold, record.seed) for record in mine if record.status == "ok"} & planned
    if len(done) < len(planned):
        yield "NOTE", f"INCOMPLETE {len(done)}/{len(planned)}: not ranked"
    failed = [record for record in mine if record.status != "ok"]
    if failed:
        yield "NOTE", f"{len(failed)} of {len(planned)} runs failed, and have no score: not ranked"
    if places.keys() - planned:
        yield "NOTE", f"{len(places.keys() - planned)} runs that the protocol does not plan: not counted"
    # runs that trained together name one module more
    if len({record.code.hash for record in mine}) > len({record.code.modules for record in mine}):
        yield "NOTE", "its runs come from different versions of the code"
    if any(record.code.dirty for record in mine):
        yield "NOTE", "made from code with uncommitted changes: it cannot be looked up"
    trials = mine[0].variant.removeprefix("tuned-")
    if trials.isdigit() and int(trials) > BUDGET:
        yield "NOTE", f"{trials} draws of a search, more than the common {BUDGET}: not comparable with other rows"


def _without_effect(mine: Sequence[Record]) -> Iterator[tuple[int, int, int]]:
    """Pairs of seeds of a trained method whose predictions are the same file."""
    seen: dict[tuple[int, str], int] = {}
    for record in sorted(mine, key=lambda record: (record.fold, record.seed)):
        sha = record.files.get("predictions.npz", "")
        if record.cost.steps == 0 or not sha:
            continue
        first = seen.setdefault((record.fold, sha), record.seed)
        if first != record.seed:
            yield record.fold, first, record.seed


def fence(records: Iterable[Record], sums: Sums) -> Iterator[Finding]:
    """Rows that do not pair with the others, are too good, or too different between validation and test."""
    kept = list(records)
    for name in sorted({record.protocol.name for record in kept}):
        for synthetic in (False, True):
            for group in groups(kept, sums, name, synthetic=synthetic):
                yield from _unpaired(group)
                yield from _fence(group)


def _unpaired(group: Group) -> Iterator[Finding]:
    """Complete rows that cannot be compared, as the leaderboard says it."""
    rule = group.plan.rule(entry for grid in group.grids.values() for entry in grid.values())
    for problem in samples_of(group.grids, group.plan, rule, REFERENCE)[1]:
        yield Finding("NOTE", group.plan.protocol.name, problem)


def _fence(group: Group) -> Iterator[Finding]:
    complete = [Row(key, grid) for key, grid in group.grids.items() if not group.lacking(key)]
    by_inputs: dict[tuple[str, ...], list[Row]] = defaultdict(list)
    for row in complete:
        if row.key[0] not in CONTROLS:
            by_inputs[row.key[1]].append(row)
    for mine in by_inputs.values():
        if any(row.key[0] == REFERENCE for row in mine):
            yield from _too_good(group, mine)
            yield from _gaps(group, mine)


def _too_good(group: Group, rows_: Sequence[Row]) -> Iterator[Finding]:
    metric = group.plan.protocol.primary
    try:
        scores = sorted(rows_, key=lambda row: -direction(metric) * group.score(row, metric, FULL).value)
        if len(scores) < 2 or scores[0].key[0] == REFERENCE:
            return
        d = group.difference(metric, (scores[0], FULL), (scores[1], FULL))
    except UserError:
        return  # without an interval, or a pair, there is no fence; a note says why there is none
    if d.se > 0 and abs(d.value) > SIGMAS * d.se:
        text = f"{metric} is {abs(d.value) / d.se:.1f} standard errors better than the next row, {scores[1].name}"
        yield Finding("QUARANTINE", f"{group.plan.protocol.name}: {scores[0].name}", text)


def _gaps(group: Group, rows_: Sequence[Row]) -> Iterator[Finding]:
    gaps = {row.name: gap for row in rows_ if (gap := _gap(group, row)) is not None}
    for name, gap in gaps.items():
        others = np.array([other for label, other in gaps.items() if label != name])
        if len(others) < OTHERS:
            return
        band = SIGMAS * others.std(ddof=1)
        if abs(gap - others.mean()) > band > 0:
            text = f"validation minus test is {gap:+.4f}; the others lie within {others.mean():+.4f} ± {band:.4f}"
            yield Finding("QUARANTINE", f"{group.plan.protocol.name}: {name}", text)


def _gap(group: Group, row: Row) -> float | None:
    """Mean of validation minus test score over the runs; None where a run has no validation score."""
    primary = group.plan.protocol.primary
    pairs = [(e.record.selection.val_score, e.record.metrics[FULL][primary]) for e in row.grid.values()]
    known = [(val, test) for val, test in pairs if val is not None]
    return float(np.mean([val - test for val, test in known])) if len(known) == len(pairs) else None
