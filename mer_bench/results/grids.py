"""The runs of a table sorted into rows, and the sample of each row that has one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from mer_bench.errors import UserError
from mer_bench.results.samples import FULL, Design, Entry, Grid, Key, unlike
from mer_bench.results.schema import Record
from mer_bench.results.statistics import Rule
from mer_bench.results.statistics.estimates import Array


def used(record: Record) -> tuple[str, ...]:
    """Modalities of a run, sorted."""
    return tuple(sorted(record.modalities))


def given(records: Iterable[Record], modalities: tuple[str, ...]) -> tuple[str, ...]:
    """A feature set in the order in which most runs were given it; as it is where there are none.

    The order belongs to the settings of a run: who repeats one with another order makes another row.
    """
    orders = Counter(
        tuple(feature.modality for feature in record.features)
        for record in records
        if used(record) == tuple(sorted(modalities)) and len(record.features) == len(modalities)
    )
    return max(sorted(orders), key=lambda order: orders[order], default=modalities)


def row_name(key: Key) -> str:
    """How a row is called in messages, and in tests among others of its method."""
    return f"{key[0]} ({', '.join(key[1])}; settings {key[2][:8]})"


def grids_of(entries: Iterable[Entry], plan: Design) -> tuple[dict[Key, Grid], list[str]]:
    """Runs by row. Two records for one place count as none: nobody may choose between them.

    Returns:
        By row, and what was left out.
    """
    places: dict[Key, dict[tuple[int, int], list[Entry]]] = {}
    for entry in entries:
        record = entry.record
        key = record.method.slug, used(record), record.settings_hash
        places.setdefault(key, {}).setdefault((record.fold, record.seed), []).append(entry)
    grids, problems, planned = dict[Key, Grid](), [], set(plan.planned)
    for key in sorted(places):
        for (fold, seed), found in places[key].items():
            where = f"{row_name(key)}, fold {fold}, seed {seed}"
            if (fold, seed) not in planned:
                problems.append(f"{where}: the protocol does not plan this run; it is left out")
            elif len(found) > 1:
                problems.append(f"{where}: {len(found)} records for one run; none of them counts")
        grids[key] = {place: found[0] for place, found in places[key].items() if len(found) == 1 and place in planned}
    return grids, problems


def samples_of(
    grids: Mapping[Key, Grid], plan: Design, rule: Rule, reference: str
) -> tuple[dict[Key, Array], list[str]]:
    """Samples of the complete rows; one that cannot carry an interval, or cannot be paired, is named instead.

    Args:
        grids: by row.
        plan: how the protocol's records become samples.
        rule: of the protocol.
        reference: method whose test clusters decide where rows differ.

    Returns:
        Samples by row, and what was left out.
    """
    samples, problems = dict[Key, Array](), []
    complete = [
        key
        for key, grid in grids.items()
        if all(place in grid and grid[place].record.status == "ok" for place in plan.planned)
    ]
    for key in sorted(complete, key=lambda key: (key[0] != reference, key)):
        try:
            sample = plan.sample(grids[key], FULL)
            rule.score(sample)
        except UserError as error:
            problems.append(f"{row_name(key)}: no interval: {error}")
            continue
        first = next(iter(samples), key)
        mine, others = plan.units(grids[key]), plan.units(grids[first])
        if mine != others:
            reason = unlike(plan.protocol, mine, others)
            problems.append(f"{row_name(key)}: no interval, not paired with {row_name(first)}: {reason}")
            continue
        samples[key] = sample
    return samples, problems
