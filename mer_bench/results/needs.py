"""What it would take to resolve a difference: more seeds, or more people, under the protocol's own rule.

A difference is found with 80 % power where (t_{.975} + t_{.80}) · SE is not larger than it. The variances are those
that were measured, taken as if they were known: an estimate to plan with, no promise.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mer_bench.results.measured import Group
from mer_bench.results.statistics import Folds, Rule, SingleSplit
from mer_bench.results.statistics.estimates import ALPHA, POWER, Array, quantile
from mer_bench.results.statistics.folds import LOSO_FACTOR
from mer_bench.results.statistics.rule import scatter

LARGEST = 100_000

Spread = tuple[float, float]  # variance of the difference, degrees of freedom
Spreads = Callable[[int, int], Spread]  # from seeds and units


@dataclass(frozen=True)
class Needs:
    """What is missing to tell a difference from none.

    Attributes:
        detectable: the smallest true difference that is found with 80 % power as things stand.
        seeds: of each method, the other counts unchanged; None where no number of seeds is enough.
        units: independent test clusters (or folds, or subjects), the seeds unchanged; None beyond `LARGEST`.
        unit: what these are.
        have: seeds and units now.
    """

    detectable: float
    seeds: int | None
    units: int | None
    unit: str
    have: tuple[int, int]


def needs(group: Group, rule: Rule, first: Array, second: Array, wanted: float, *, same_runs: bool = False) -> Needs:
    """For a wanted difference, in the unit of the metric.

    Args:
        group: whose rule it is.
        rule: with its samples.
        first: sample of one row.
        second: sample of the other.
        wanted: size of the difference, not 0.
        same_runs: both come from the same trained networks, so that their seeds are paired (rule A; see `Rule`).
    """
    kinds: dict[str, Callable[[Rule, Array, Array, bool], tuple[Spreads, int, int]]] = {
        "A": _one_split,
        "B": _folds,
        "C": _subjects,
    }
    statistics = group.plan.protocol.statistics
    spread, seeds, units = kinds[statistics](rule, first, second, same_runs)
    return Needs(
        detectable=_detectable(spread(seeds, units)),
        seeds=_smallest(lambda n: _detectable(spread(n, units)) <= abs(wanted), seeds),
        units=_smallest(lambda n: _detectable(spread(seeds, n)) <= abs(wanted), units),
        unit={"A": group.plan.protocol.cluster, "B": "fold", "C": "subject"}[statistics],
        have=(seeds, units),
    )


def _detectable(spread: Spread) -> float:
    variance, df = spread
    return (quantile(df, 1 - ALPHA / 2) + quantile(df, POWER)) * float(np.sqrt(variance))


def _smallest(enough: Callable[[int], bool], start: int) -> int | None:
    """The smallest count from `start` on that is enough, for a condition that stays true; None up to `LARGEST`."""
    low, high = start, start
    while not enough(high):
        if high >= LARGEST:
            return None
        low, high = high + 1, min(2 * high, LARGEST)
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle + 1, high)
    return high


def _one_split(rule: Rule, first: Array, second: Array, same_runs: bool) -> tuple[Spreads, int, int]:
    """Rule A: seed terms of both methods, cluster term of the paired clusters."""
    assert isinstance(rule, SingleSplit)  # see `Group.sample`
    values = [rule.seed_values(sample) for sample in (first, second)]
    luck = [scatter(values[0] - values[1])] if same_runs else [scatter(one) for one in values]
    deviations = rule.deviations(first) - rule.deviations(second)
    clusters, here = float(np.square(deviations).sum()), len(deviations)

    def spread(seeds: int, units: int) -> Spread:
        terms = [(variance / seeds, seeds - 1) for variance in luck] + [(clusters * here / units, units - 1)]
        total = sum(variance for variance, _ in terms)
        below = sum(variance**2 / df for variance, df in terms)
        return total, total**2 / below if below else float(units - 1)

    return spread, len(first), here


def _folds(rule: Rule, first: Array, second: Array, _: bool) -> tuple[Spreads, int, int]:
    """Rule B: more folds of new people train on more of them, so n_test / n_train falls as they grow."""
    assert isinstance(rule, Folds)  # see `Group.sample`
    variance, folds, ratio = scatter(first - second), len(first), rule.test_to_train

    def spread(seeds: int, units: int) -> Spread:
        return (1 / (units * seeds) + ratio * folds / units) * variance, units - 1

    return spread, first.shape[1], folds


def _subjects(rule: Rule, first: Array, second: Array, _: bool) -> tuple[Spreads, int, int]:
    """Rule C: the luck of seeds is part of the scatter of subjects; it shrinks with more of them."""
    del rule
    differences = first - second
    seeds_now = differences.shape[1]
    luck = float(np.mean([scatter(one) for one in differences])) if seeds_now > 1 else 0.0
    people = max(scatter(differences.mean(axis=1)) - luck / seeds_now, 0.0)

    def spread(seeds: int, units: int) -> Spread:
        return LOSO_FACTOR * (people + luck / seeds) / units, units - 1

    return spread, seeds_now, len(differences)
