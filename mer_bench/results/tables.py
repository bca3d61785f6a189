"""From records to tables. A pure function: the order of the records changes nothing.

One table holds one protocol, one feature set and one variant of the settings; nothing else may be compared.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mer_bench.errors import UserError
from mer_bench.results.rows import Row, Verdicts, make_row
from mer_bench.results.samples import FULL, Design, Entry, Grid, Key, design
from mer_bench.results.schema import ProtocolFacts, Record
from mer_bench.results.statistics import (
    Difference,
    RankInterval,
    Resolution,
    Rule,
    Tested,
    families,
    rank_intervals,
    resolution,
)
from mer_bench.results.statistics.estimates import Array
from mer_bench.results.statistics.ranks import DRAWS

if TYPE_CHECKING:
    from mer_bench.metrics.clusters import ClusterStatistics

REFERENCE = "concat"
CONFIRMATORY = ("foal", "iccl", "jmt", "mmtransmt")
#: controls that are no methods: they show what a score means and are never ranked
CONTROLS = frozenset({"majority", "shuffled", "unimodal"})


@dataclass(frozen=True)
class Table:
    """One comparison.

    Attributes:
        protocol: what was compared.
        modalities: the feature set; runs on one of them alone stand beside it as controls.
        data: fingerprint of the feature file.
        variant: of the settings, the same for all rows.
        rows: ranked ones first, best first.
        resolution: of the differences between ranked methods, before and after Holm over the confirmatory family;
            None with fewer than two ranked methods.
        problems: what was left out, and why; one sentence each.
    """

    protocol: ProtocolFacts
    modalities: tuple[str, ...]
    data: str
    variant: str
    rows: tuple[Row, ...]
    resolution: Resolution | None
    problems: tuple[str, ...]


def make_tables(
    records: Iterable[Record],
    *,
    statistics: Mapping[str, Mapping[str, ClusterStatistics]] | None = None,
    code: str = "",
    draws: int = DRAWS,
) -> list[Table]:
    """Every table that the records make.

    Runs on one modality are controls of each table whose feature set holds it; they have a table of their own only
    where no run had more.

    Args:
        records: in any order, of any protocols.
        statistics: statistics of the primary metric by cluster, by run key and condition. Rule A has no interval
            without them; the other rules do not look at them.
        code: hash of the current code, to mark stale rows; empty marks none.
        draws: bootstrap resamples for rank intervals (rule A).
    """
    groups: dict[tuple[str, str, str, str], list[Entry]] = {}
    for record in sorted(records, key=lambda record: record.record_id):
        settings = record.protocol.name, record.protocol.hash, record.data_fingerprint, record.variant
        groups.setdefault(settings, []).append(Entry(record, (statistics or {}).get(record.run_key, {})))
    found = []
    for settings in sorted(groups):
        same = groups[settings]
        sets = {_modalities(entry) for entry in same}
        wide = {modalities for modalities in sets if len(modalities) > 1} or {tuple(sorted(set().union(*sets)))}
        for modalities in sorted(wide):
            inside = [entry for entry in same if _belongs(_modalities(entry), modalities)]
            found.append(_table(inside, modalities, code, draws))
    return found


def _modalities(entry: Entry) -> tuple[str, ...]:
    return tuple(sorted(entry.record.modalities))


def _belongs(mine: tuple[str, ...], modalities: tuple[str, ...]) -> bool:
    return mine == modalities or (len(mine) == 1 and mine[0] in modalities)


def _table(entries: list[Entry], modalities: tuple[str, ...], code: str, draws: int) -> Table:
    first = entries[0].record
    plan = design(first.protocol)
    rule = plan.rule(entries)
    grids, doubtful = _grids(entries, plan)
    samples, refused = _samples(grids, plan, rule)
    honest = {key: sample for key, sample in samples.items() if _honest(grids[key], code)}
    ranked = {
        key: sample
        for key, sample in honest.items()
        if key[1] == modalities and key[0] not in CONTROLS and first.variant != "paper"
    }
    reference, ambiguous = _reference(honest, modalities)
    differences = {
        key: rule.difference(sample, samples[reference])
        for key, sample in honest.items()
        if reference is not None and key != reference
    }
    pairs = rule.pair_differences({_name(key): sample for key, sample in ranked.items()}).values()
    verdicts = Verdicts(
        samples=samples,
        reference=None if reference is None else samples[reference],
        differences=differences,
        tested=_tested(differences, modalities),
        ranks=_ranks(rule, ranked, draws),
        code=code,
    )
    rows = [make_row(key, grid, plan, rule, verdicts) for key, grid in grids.items() if grid]
    return Table(
        protocol=first.protocol,
        modalities=modalities,
        data=first.data_fingerprint,
        variant=first.variant,
        rows=tuple(sorted(rows, key=lambda row: _place(row, rule))),
        resolution=resolution(pairs, comparisons=len(CONFIRMATORY)) if pairs else None,
        problems=tuple(sorted(doubtful + refused + ambiguous)),
    )


def _grids(entries: Iterable[Entry], plan: Design) -> tuple[dict[Key, Grid], list[str]]:
    """Runs by row. Two records for one place count as none: nobody may choose between them."""
    places: dict[Key, dict[tuple[int, int], list[Entry]]] = {}
    for entry in entries:
        record = entry.record
        key = record.method.slug, _modalities(entry), record.settings_hash
        places.setdefault(key, {}).setdefault((record.fold, record.seed), []).append(entry)
    grids, problems, planned = dict[Key, Grid](), [], set(plan.planned)
    for key in sorted(places):
        for (fold, seed), found in places[key].items():
            where = f"{_name(key)}, fold {fold}, seed {seed}"
            if (fold, seed) not in planned:
                problems.append(f"{where}: the protocol does not plan this run; it is left out")
            elif len(found) > 1:
                problems.append(f"{where}: {len(found)} records for one run; none of them counts")
        grids[key] = {place: found[0] for place, found in places[key].items() if len(found) == 1 and place in planned}
    return grids, problems


def _samples(grids: Mapping[Key, Grid], plan: Design, rule: Rule) -> tuple[dict[Key, Array], list[str]]:
    """Samples of the complete rows; one that cannot carry an interval, or cannot be paired, is named instead."""
    samples, problems = dict[Key, Array](), []
    complete = [
        key
        for key, grid in grids.items()
        if all(place in grid and grid[place].record.status == "ok" for place in plan.planned)
    ]
    for key in sorted(complete, key=lambda key: (key[0] != REFERENCE, key)):
        try:
            sample = plan.sample(grids[key], FULL)
            rule.score(sample)
        except UserError as error:
            problems.append(f"{_name(key)}: no interval: {error}")
            continue
        first = next(iter(samples), key)
        if plan.units(grids[key]) != plan.units(grids[first]):
            problems.append(f"{_name(key)}: no interval: tested on other {plan.protocol.cluster}s than {_name(first)}")
            continue
        samples[key] = sample
    return samples, problems


def _honest(grid: Grid, code: str) -> bool:
    """Its numbers may be compared: chosen without the test part, made by the current code."""
    records = [entry.record for entry in grid.values()]
    return not any(
        record.protocol.legacy or record.selection.rule == "test" or (code and record.code.hash != code)
        for record in records
    )


def _reference(samples: Iterable[Key], modalities: tuple[str, ...]) -> tuple[Key | None, list[str]]:
    """The one complete reference row; none where there are several settings of it."""
    found = [key for key in samples if key[:2] == (REFERENCE, modalities)]
    if len(found) > 1:
        return None, [f"{REFERENCE}: {len(found)} complete rows with different settings; no differences are shown"]
    return (found[0] if found else None), []


def _tested(differences: Mapping[Key, Difference], modalities: tuple[str, ...]) -> dict[Key, Tested]:
    """Confirmatory is a seed method on the table's own feature set, in its only settings; all else is exploratory."""
    own = [key[0] for key in differences if key[1] == modalities]
    names = {key: key[0] if key[1] == modalities and own.count(key[0]) == 1 else _name(key) for key in differences}
    tested = families({name: differences[key].p for key, name in names.items()}, CONFIRMATORY)
    return {key: tested[name] for key, name in names.items()}


def _ranks(rule: Rule, ranked: Mapping[Key, Array], draws: int) -> dict[Key, RankInterval]:
    found = rank_intervals(rule, {_name(key): sample for key, sample in ranked.items()}, draws=draws)
    return {key: found[_name(key)] for key in ranked}


def _name(key: Key) -> str:
    return f"{key[0]} ({', '.join(key[1])}; settings {key[2][:8]})"


def _place(row: Row, rule: Rule) -> tuple[bool, float, str, tuple[str, ...], str]:
    """Ranked rows first, best first; the name decides between equals."""
    quality = row.mean if row.mean is None or rule.higher_is_better else -row.mean
    worst = float("inf") if quality is None else -quality
    return row.rank is None, worst, row.method.slug, row.modalities, row.settings
