"""From the records of one table row to the sample that its rule wants.

The records of a row form a `Grid`, one for each planned (fold, seed). A `Design` reads a grid the way the protocol's
rule does: additive statistics by cluster under rule A, scores under B and C.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mer_bench.errors import UserError
from mer_bench.metrics.definitions import direction
from mer_bench.results.facts import ProtocolFacts
from mer_bench.results.schema import Record
from mer_bench.results.statistics import Folds, LeaveOneOut, Rule, SingleSplit, mean, missing_auc
from mer_bench.results.statistics.estimates import Array

if TYPE_CHECKING:
    from mer_bench.metrics.clusters import ClusterStatistics

FULL = "full"
#: the additive projection of the network, and the network itself, on the items chosen for it; see `scores`
PROJECTION, PROJECTED = "emap", "emap_full"


class Entry(NamedTuple):
    """One run of a row.

    Attributes:
        record: what the run left.
        sums: statistics of the primary metric by cluster, by condition; rule A needs them.
    """

    record: Record
    sums: Mapping[str, ClusterStatistics]


Key = tuple[str, tuple[str, ...], str]  # method, modalities, settings hash: what makes a row
Grid = Mapping[tuple[int, int], Entry]  # by fold and seed


def missing_curve(conditions: Collection[str]) -> dict[float, tuple[str, ...]]:
    """Condition names by rate, from 0 (``full``, as often as there are masks) up; empty where a mask is missing."""
    by_rate: dict[float, list[str]] = {}
    for name in sorted(conditions):
        kind, _, rest = name.partition("_")
        if kind == "missing":
            by_rate.setdefault(float(rest.split("_")[0]), []).append(name)
    masks = max(map(len, by_rate.values()), default=0)
    if not masks or FULL not in conditions or any(len(found) < masks for found in by_rate.values()):
        return {}
    return {0.0: (FULL,) * masks} | {rate: tuple(by_rate[rate]) for rate in sorted(by_rate)}


@dataclass(frozen=True)
class Design(ABC):
    """How a protocol's records become samples.

    Attributes:
        protocol: whose records these are.
    """

    protocol: ProtocolFacts

    @property
    def higher_is_better(self) -> bool:
        """Direction of the primary metric."""
        return direction(self.protocol.primary) > 0

    @property
    def planned(self) -> list[tuple[int, int]]:
        """Every (fold, seed) of a complete row."""
        return [(fold, seed) for fold in range(self.protocol.folds) for seed in self.protocol.seeds]

    def score(self, entry: Entry, condition: str = FULL) -> float:
        """Primary metric of a finished run."""
        return entry.record.metrics[condition][self.protocol.primary]

    def shared_conditions(self, grid: Grid) -> set[str]:
        """Conditions that every run can contribute to a sample."""
        return set.intersection(*(set(self.conditions(entry)) for entry in grid.values()))

    @abstractmethod
    def conditions(self, entry: Entry) -> Collection[str]:
        """Conditions that a run can contribute to a sample."""

    @abstractmethod
    def units(self, grid: Grid) -> tuple[str, ...]:
        """Names of what a paired difference pairs, beside folds and seeds."""

    @abstractmethod
    def rule(self, entries: Iterable[Entry]) -> Rule:
        """The protocol's rule, with what it must know of the runs."""

    @abstractmethod
    def sample(self, grid: Grid, condition: str) -> Array:
        """The sample of one condition.

        Raises:
            UserError: a run lacks what the rule needs.
        """

    @abstractmethod
    def robustness(self, grid: Grid, rule: Rule) -> tuple[Rule, Array] | None:
        """Rule and sample of the area under the missing-modality curve; None where no curve was measured."""


class OneSplit(Design):
    """Rule A: (seed, cluster, *parts)."""

    def conditions(self, entry: Entry) -> Collection[str]:
        """Those with statistics by cluster."""
        return entry.sums.keys()

    def units(self, grid: Grid) -> tuple[str, ...]:
        """The test clusters."""
        return grid[self.planned[0]].sums[FULL].clusters

    def rule(self, entries: Iterable[Entry]) -> SingleSplit:
        """Rule A; the statistics know their metric. Without any there is no sample that the rule could be used on."""
        known = (entry.sums[FULL].value for entry in entries if FULL in entry.sums)
        return SingleSplit(higher_is_better=self.higher_is_better, metric=next(known, mean))

    def sample(self, grid: Grid, condition: str) -> Array:
        """Statistics of all seeds, for the same clusters."""
        found = []
        for fold, seed in self.planned:
            sums = grid[fold, seed].sums
            if condition not in sums:
                raise UserError(
                    f"seed {seed} has no statistics by {self.protocol.cluster} for {condition!r}, which an official "
                    "split needs; they are made from predictions and labels, so keep both at hand"
                )
            found.append(sums[condition])
        for one in found[1:]:
            if one.clusters != found[0].clusters:
                reason = unlike(self.protocol, one.clusters, found[0].clusters)
                raise UserError(f"its seeds cannot be taken together: {reason}")
        return np.stack([one.values for one in found])

    def robustness(self, grid: Grid, rule: Rule) -> tuple[Rule, Array] | None:
        """The curve stands behind the cluster axis, so that the area is a metric like any other."""
        curve = missing_curve(self.shared_conditions(grid))
        if not curve:
            return None
        rates, metric = list(curve), grid[self.planned[0]].sums[FULL].value
        parts = [np.stack([self.sample(grid, name) for name in names], axis=2) for names in curve.values()]

        def area(sums: Array) -> Array:
            return missing_auc(rates, metric(sums))

        return SingleSplit(higher_is_better=rule.higher_is_better, metric=area), np.stack(parts, axis=2)


class ManyFolds(Design):
    """Rules B and C: (fold, seed)."""

    def conditions(self, entry: Entry) -> Collection[str]:
        """Those with a score."""
        return [name for name, values in entry.record.metrics.items() if self.protocol.primary in values]

    def units(self, grid: Grid) -> tuple[str, ...]:
        """Folds and seeds are all there is to pair."""
        del grid
        return ()

    def rule(self, entries: Iterable[Entry]) -> Rule:
        """Rule C needs nothing else; rule B the sizes of the parts, the mean over folds."""
        if self.protocol.statistics == "C":
            return LeaveOneOut(higher_is_better=self.higher_is_better)
        sizes = {entry.record.fold: entry.record.items for entry in entries if _has_sizes(entry)}
        ratios = [sizes[fold]["test"] / sizes[fold]["train"] for fold in sorted(sizes)]
        return Folds(higher_is_better=self.higher_is_better, test_to_train=sum(ratios) / max(len(ratios), 1))

    def sample(self, grid: Grid, condition: str) -> Array:
        """Scores of all folds and seeds."""
        entries = [grid[place] for place in self.planned]
        if self.protocol.statistics == "B" and not all(map(_has_sizes, entries)):
            raise UserError("a record does not state how many items were trained on and tested")
        flat = np.array([self.score(entry, condition) for entry in entries])
        return flat.reshape(self.protocol.folds, len(self.protocol.seeds))

    def robustness(self, grid: Grid, rule: Rule) -> tuple[Rule, Array] | None:
        """The area of each fold and seed."""
        curve = missing_curve(self.shared_conditions(grid))
        if not curve:
            return None
        scores = [np.stack([self.sample(grid, name) for name in names], axis=-1) for names in curve.values()]
        return rule, missing_auc(list(curve), np.stack(scores, axis=-2))


def unlike(protocol: ProtocolFacts, first: Sequence[str], second: Sequence[str]) -> str:
    """Why two sets of test clusters do not pair; published names that share nothing were made with two keys."""
    if set(first).isdisjoint(second) and len(set(first)) == len(set(second)):
        return (
            f"no {protocol.cluster} has the same name in both, as after publishing with two keys; remove the published "
            f"records of {protocol.name} and publish all of its runs again"
        )
    return f"they were tested on different sets of {protocol.cluster}s"


def _has_sizes(entry: Entry) -> bool:
    return entry.record.items.get("train", 0) > 0 and entry.record.items.get("test", 0) > 0


def design(protocol: ProtocolFacts) -> Design:
    """The design that the protocol's rule asks for."""
    designs: dict[str, Callable[[ProtocolFacts], Design]] = {"A": OneSplit, "B": ManyFolds, "C": ManyFolds}
    return designs[protocol.statistics](protocol)
