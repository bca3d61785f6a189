"""From records to tables. A pure function: the order of the records changes nothing.

One table holds one protocol, one feature set and one variant of the settings; nothing else may be compared.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mer_bench.results.bands import out_of_band
from mer_bench.results.facts import ProtocolFacts
from mer_bench.results.grids import given, grids_of, row_name, samples_of, used
from mer_bench.results.rows import Row, Verdicts, make_row
from mer_bench.results.samples import Entry, Grid, Key, design
from mer_bench.results.schema import Record
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
_LAST = "9999"  # after every date
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
        pairs: differences of all ranked rows, first minus second, by their names (`grids.row_name`).
        problems: what was left out, and why; one sentence each.
        alarms: controls that are not where they must be; one sentence each.
    """

    protocol: ProtocolFacts
    modalities: tuple[str, ...]
    data: str
    variant: str
    rows: tuple[Row, ...]
    resolution: Resolution | None
    pairs: Mapping[tuple[str, str], Difference]
    problems: tuple[str, ...]
    alarms: tuple[str, ...]


def make_tables(
    records: Iterable[Record],
    *,
    statistics: Mapping[str, Mapping[str, ClusterStatistics]] | None = None,
    stale: Collection[str] = (),
    draws: int = DRAWS,
) -> list[Table]:
    """Every table that the records make.

    Runs on one modality are controls of each table whose feature set holds it; they have a table of their own only
    where no run had more.

    Args:
        records: in any order, of any protocols.
        statistics: statistics of the primary metric by cluster, by run key and condition. Rule A has no interval
            without them; the other rules do not look at them.
        stale: run keys of records that older code left; rows with one of them are marked and not ranked.
        draws: bootstrap resamples for rank intervals (rule A).
    """
    groups: dict[tuple[str, str, str, str], list[Record]] = {}
    for record in records:
        settings = record.protocol.name, record.protocol.hash, record.data_fingerprint, record.variant
        groups.setdefault(settings, []).append(record)
    found = []
    for settings in sorted(groups):
        same = groups[settings]
        sets = {used(record) for record in same}
        wide = {modalities for modalities in sets if len(modalities) > 1} or {tuple(sorted(set().union(*sets)))}
        for modalities in sorted(wide):
            inside = [record for record in same if _belongs(used(record), modalities)]
            found.append(make_table(inside, modalities, statistics=statistics, stale=stale, draws=draws))
    return found


def _belongs(mine: tuple[str, ...], modalities: tuple[str, ...]) -> bool:
    return mine == modalities or (len(mine) == 1 and mine[0] in modalities)


def make_table(
    records: Iterable[Record],
    modalities: tuple[str, ...],
    *,
    statistics: Mapping[str, Mapping[str, ClusterStatistics]] | None = None,
    stale: Collection[str] = (),
    draws: int = DRAWS,
) -> Table:
    """The table of records that belong together.

    Args:
        records: of one protocol, one feature file and one variant; at least one.
        modalities: the feature set, sorted. Rows that use others stand beside it, unranked.
        statistics: see `make_tables`.
        stale: see `make_tables`.
        draws: see `make_tables`.
    """
    ordered = sorted(records, key=lambda record: record.record_id)
    entries = [Entry(record, (statistics or {}).get(record.run_key, {})) for record in ordered]
    first = ordered[0]
    plan = design(first.protocol)
    rule = plan.rule(entries)
    grids, doubtful = grids_of(entries, plan)
    samples, refused = samples_of(grids, plan, rule, REFERENCE)
    honest = {key: sample for key, sample in samples.items() if _honest(grids[key], stale)}
    ranked = {
        key: sample
        for key, sample in honest.items()
        if key[1] == modalities and key[0] not in CONTROLS and first.variant != "paper"
    }
    reference, ambiguous = _reference(honest, grids, modalities)
    differences = {
        key: rule.difference(sample, samples[reference])
        for key, sample in honest.items()
        if reference is not None and key != reference
    }
    pairs = rule.pair_differences({row_name(key): sample for key, sample in ranked.items()})
    verdicts = Verdicts(
        samples=samples,
        reference=None if reference is None else samples[reference],
        differences=differences,
        tested=_tested(differences, modalities),
        ranks=_ranks(rule, ranked, draws),
        stale=frozenset(stale),
    )
    rows = {key: make_row(key, grid, plan, rule, verdicts) for key, grid in grids.items() if grid}
    return Table(
        protocol=first.protocol,
        modalities=modalities,
        data=first.data_fingerprint,
        variant=first.variant,
        rows=tuple(sorted(rows.values(), key=lambda row: _place(row, rule))),
        resolution=resolution(pairs.values(), comparisons=len(CONFIRMATORY)) if pairs else None,
        pairs=pairs,
        alarms=tuple(out_of_band(first.protocol, rows, samples, rule)),
        problems=tuple(sorted(doubtful + refused + ambiguous)),
    )


def _honest(grid: Grid, stale: Collection[str]) -> bool:
    """Its numbers may be compared: chosen without the test part, made by the current code."""
    records = [entry.record for entry in grid.values()]
    return not any(
        record.protocol.legacy or record.selection.rule == "test" or record.run_key in stale for record in records
    )


def _reference(
    samples: Iterable[Key], grids: Mapping[Key, Grid], modalities: tuple[str, ...]
) -> tuple[Key | None, list[str]]:
    """The complete reference row that differences are to; of several, the one that a later one cannot displace.

    That is the one given its inputs in the order of most runs, then the one that was begun first: nothing that depends
    on scores. Which was taken is said on the page.
    """
    found = [key for key in samples if key[:2] == (REFERENCE, modalities)]
    if len(found) < 2:
        return (found[0] if found else None), []
    order = given((entry.record for grid in grids.values() for entry in grid.values()), modalities)

    def place(key: Key) -> tuple[bool, str, Key]:
        records = [entry.record for entry in grids[key].values()]
        mine = tuple(feature.modality for feature in records[0].features)
        return mine != order, min(record.finished_utc or _LAST for record in records), key

    first = min(found, key=place)
    return first, [
        f"{REFERENCE}: {len(found)} complete rows with different settings; differences are to {row_name(first)}, which "
        "has its inputs in the order of most runs, or was there first"
    ]


def _tested(differences: Mapping[Key, Difference], modalities: tuple[str, ...]) -> dict[Key, Tested]:
    """Confirmatory is a seed method on the table's own feature set, in its only settings; all else is exploratory."""
    own = [key[0] for key in differences if key[1] == modalities]
    names = {key: key[0] if key[1] == modalities and own.count(key[0]) == 1 else row_name(key) for key in differences}
    tested = families({name: differences[key].p for key, name in names.items()}, CONFIRMATORY)
    return {key: tested[name] for key, name in names.items()}


def _ranks(rule: Rule, ranked: Mapping[Key, Array], draws: int) -> dict[Key, RankInterval]:
    found = rank_intervals(rule, {row_name(key): sample for key, sample in ranked.items()}, draws=draws)
    return {key: found[row_name(key)] for key in ranked}


def _place(row: Row, rule: Rule) -> tuple[bool, float, str, tuple[str, ...], str]:
    """Ranked rows first, best first; the name decides between equals."""
    quality = row.mean if row.mean is None or rule.higher_is_better else -row.mean
    worst = float("inf") if quality is None else -quality
    return row.rank is None, worst, row.method.slug, row.modalities, row.settings
