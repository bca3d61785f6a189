"""Two rows of one protocol side by side: what `compare` prints and claims are held against.

Only records of the same protocol, feature file and variant of the settings meet; a row counts when it is complete.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mer_bench.data.corpora import protocols
from mer_bench.errors import UserError, did_you_mean
from mer_bench.metrics.definitions import direction
from mer_bench.results.claims import Side
from mer_bench.results.facts import ProtocolFacts
from mer_bench.results.grids import grids_of, row_name
from mer_bench.results.samples import Design, Entry, Grid, Key, design, unlike
from mer_bench.results.schema import Record
from mer_bench.results.statistics import Difference, Estimate, Rule, SingleSplit
from mer_bench.results.statistics.estimates import Array

if TYPE_CHECKING:
    from mer_bench.metrics.clusters import ClusterStatistics

Sums = Mapping[str, Mapping[str, "ClusterStatistics"]]


@dataclass(frozen=True)
class Row:
    """One complete row.

    Attributes:
        key: method, modalities, settings.
        grid: its runs by fold and seed.
    """

    key: Key
    grid: Grid

    @property
    def name(self) -> str:
        """For people."""
        return row_name(self.key)


@dataclass(frozen=True)
class Group:
    """The rows of one protocol, feature file and variant.

    Attributes:
        plan: of the protocol.
        grids: runs by row.
        variant: of the settings.
        data: fingerprint of the feature file.
    """

    plan: Design
    grids: Mapping[Key, Grid]
    variant: str
    data: str

    def find(self, side: Side) -> Row:
        """The one complete row that a side means.

        Raises:
            UserError: there is none, it lacks runs, or there are several.
        """
        wanted = tuple(sorted(side.modalities))
        mine = [key for key in self.grids if key[0] == side.method and wanted in ((), key[1])]
        if not mine:
            raise UserError(f"no run of {self._unknown(side.method, wanted)}")
        complete = [key for key in mine if not self.lacking(key)]
        if not complete:
            fullest = min(mine, key=lambda key: len(self.lacking(key)))
            planned, lacking = self.plan.planned, self.lacking(fullest)
            whole = sorted({seed for _, seed in planned} - {seed for _, seed in lacking})
            have = f"; it has every fold of seeds {', '.join(map(str, whole))}" if whole else ""
            raise UserError(
                f"{side.method} under {self.plan.protocol.name}: {len(planned) - len(lacking)} of {len(planned)} runs; "
                f"expected all{have}"
            )
        width = max(len(key[1]) for key in complete)
        widest = [key for key in complete if len(key[1]) == width]
        if len(widest) > 1:
            names = "; ".join(map(row_name, widest))
            raise UserError(f"{side.method} under {self.plan.protocol.name} means several rows: {names}")
        return Row(widest[0], self.grids[widest[0]])

    def _unknown(self, method: str, wanted: tuple[str, ...]) -> str:
        """What is not there, and what is."""
        sets = sorted({" + ".join(key[1]) for key in self.grids if key[0] == method})
        if sets:
            return f"{method} on {' + '.join(wanted)} under {self.plan.protocol.name}; it was run on {', '.join(sets)}"
        return f"{method} under {self.plan.protocol.name}; {did_you_mean(method, {key[0] for key in self.grids})}"

    def lacking(self, key: Key) -> list[tuple[int, int]]:
        """Planned folds and seeds of a row that have no score."""
        grid = self.grids[key]
        return [place for place in self.plan.planned if place not in grid or grid[place].record.status != "ok"]

    def score(self, row: Row, metric: str, condition: str) -> Estimate:
        """Score of a row with its interval.

        Raises:
            UserError: the rule has no interval for it.
        """
        rule, sample = self.sample(row, metric, condition)
        return rule.score(sample)

    def difference(self, metric: str, left: tuple[Row, str], right: tuple[Row, str]) -> Difference:
        """First minus second, each a row and a condition.

        Raises:
            UserError: the rule has no interval for it, or the two were not tested on the same units.
        """
        rule, first = self.sample(left[0], metric, left[1])
        _, second = self.sample(right[0], metric, right[1])
        first_units, second_units = self.plan.units(left[0].grid), self.plan.units(right[0].grid)
        if first_units != second_units:
            reason = unlike(self.plan.protocol, first_units, second_units)
            raise UserError(f"{left[0].name} and {right[0].name}: {reason}")
        return rule.difference(first, second, same_runs=left[0].key == right[0].key)

    def sample(self, row: Row, metric: str, condition: str) -> tuple[Rule, Array]:
        """What the protocol's rule wants of a row.

        Raises:
            UserError: a run lacks it.
        """
        kinds: dict[str, Callable[[Row, str, str], tuple[Rule, Array]]] = {
            "A": self._by_cluster,
            "B": self._by_fold,
            "C": self._by_fold,
        }
        return kinds[self.plan.protocol.statistics](row, metric, condition)

    def _by_cluster(self, row: Row, metric: str, condition: str) -> tuple[Rule, Array]:
        """(seed, cluster, mask, *parts): the masks of a missing rate are averaged, after the metric."""
        if metric != self.plan.protocol.primary:
            raise UserError(
                f"{metric}: on an official split only the primary metric ({self.plan.protocol.primary}) has an interval"
            )
        first = row.grid[self.plan.planned[0]].sums
        names = masks_of(first, condition)
        if not names:
            raise UserError(f"{row.name}: no statistics by {self.plan.protocol.cluster} for {condition!r}")
        value = first[names[0]].value
        stacked = np.stack([self.plan.sample(row.grid, name) for name in names], axis=2)

        def over_masks(sums: Array) -> Array:
            return np.asarray(value(sums).mean(axis=-1))

        return SingleSplit(higher_is_better=direction(metric) > 0, metric=over_masks), stacked

    def _by_fold(self, row: Row, metric: str, condition: str) -> tuple[Rule, Array]:
        rule = self.plan.rule(row.grid.values())
        flat = [_score(row.grid[place].record, metric, condition) for place in self.plan.planned]
        sample = np.array(flat).reshape(self.plan.protocol.folds, len(self.plan.protocol.seeds))
        return dataclasses.replace(rule, higher_is_better=direction(metric) > 0), sample


def _score(record: Record, metric: str, condition: str) -> float:
    """Of one run; the mean over the masks of a missing rate."""
    found = [record.metrics[name].get(metric) for name in masks_of(record.metrics, condition)]
    values = [value for value in found if value is not None]
    if not values or len(values) < len(found):
        raise UserError(
            f"fold {record.fold}, seed {record.seed} of {record.method.slug} has no {metric} for {condition}"
        )
    return float(np.mean(values))


def masks_of(names: Iterable[str], condition: str) -> list[str]:
    """The names under which a condition stands: its own, or one for each mask of a missing rate."""
    found = set(names)
    if condition in found:
        return [condition]
    return sorted(name for name in found if name.rpartition("_")[0] == condition and condition.startswith("missing_"))


def superseded(facts: ProtocolFacts) -> bool:
    """Whether a shipped protocol of this name has another definition now; protocols of others are not judged."""
    known = protocols().get(facts.name)
    return known is not None and known.hash != facts.hash


def groups(
    records: Iterable[Record], sums: Sums, protocol: str, *, synthetic: bool = False, seeds: Collection[int] = ()
) -> list[Group]:
    """Everything that was run under a protocol, what may be compared together.

    The present definition of the protocol comes first, then default settings, then most runs.

    Args:
        records: in any order.
        sums: statistics by cluster, by run key and condition; rule A needs them.
        protocol: its name.
        synthetic: take invented data instead of real ones.
        seeds: only these, as if the protocol planned no others; all that it plans where empty.
    """
    found: dict[tuple[str, str, str], list[Entry]] = {}
    for record in sorted(records, key=lambda record: record.record_id):
        wanted = not seeds or record.seed in seeds
        if record.protocol.name == protocol and record.synthetic == synthetic and wanted:
            place = record.protocol.hash, record.data_fingerprint, record.variant
            found.setdefault(place, []).append(Entry(record, sums.get(record.run_key, {})))
    made = []
    for (_, data, variant), entries in sorted(found.items()):
        facts = entries[0].record.protocol
        plan = design(dataclasses.replace(facts, seeds=tuple(sorted(seeds))) if seeds else facts)
        order = superseded(plan.protocol), variant != "default", -len(entries)
        made.append((order, Group(plan, grids_of(entries, plan)[0], variant, data)))
    return [group for _, group in sorted(made, key=lambda item: item[0])]
