"""Rule A: one official split, several seeds.

Two sources of luck: which clusters (videos, speakers) the official test set happens to hold, and the seeds of
training. An interval over seeds alone gets worse with every seed that is added.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mer_bench.errors import UserError
from mer_bench.results.statistics import clusters
from mer_bench.results.statistics.estimates import Array
from mer_bench.results.statistics.multiplicity import max_t
from mer_bench.results.statistics.rule import Pair, Rule, Samples, Spread, paired, scatter

MIN_SEEDS = 5


@dataclass(frozen=True, kw_only=True)
class SingleSplit(Rule):
    """Rule A. A sample holds additive statistics, (seed, cluster, *parts).

    SE² = var(seeds)/N + cluster variance; degrees of freedom by Satterthwaite. For a difference the cluster term is
    that of the same clusters under both methods, and the seed terms of both are added.

    Attributes:
        metric: from summed statistics (..., *parts) to the score (...). Its cluster variance is that of the
            delete-one-cluster jackknife, whatever the metric: a mean gets no formula of its own.
    """

    metric: clusters.Metric = clusters.mean

    def deviations(self, sample: Array) -> Array:
        """What each cluster that has items adds to the seed-averaged score; squares sum to the cluster variance.

        Where small clusters were merged to be published, those without anything of their own are no units.
        """
        return clusters.jackknife_deviations(sample[:, clusters.filled(sample)], self.metric)

    def seed_values(self, sample: Array, what: str = "rule A") -> Array:
        """Score of each seed on the whole test set."""
        return clusters.per_seed(clusters.as_statistics(sample, what, seeds=MIN_SEEDS), self.metric)

    def spread(self, sample: Array) -> Spread:
        """Seed term and cluster term of one method."""
        values = self.seed_values(sample)
        return _sum_of_terms(values.mean(), [_seed_term(values), _cluster_term(self.deviations(sample))])

    def contrast(self, first: Array, second: Array, *, same_runs: bool) -> Spread:
        """Paired clusters; seeds paired only if they are the same runs."""
        a, b = self.seed_values(first, "first method"), self.seed_values(second, "second method")
        if first.shape[1:] != second.shape[1:]:
            raise UserError(
                f"The two methods have statistics of {first.shape[1]} and {second.shape[1]} clusters (shapes "
                f"{first.shape}, {second.shape}); a paired difference needs the same test clusters in the same order."
            )
        if not np.array_equal(clusters.filled(first), clusters.filled(second)):
            raise UserError("The two methods have items in different clusters; a paired difference needs the same.")
        seeds = [_seed_term(paired(a, b))] if same_runs else [_seed_term(a), _seed_term(b)]
        both = _cluster_term(self.deviations(first) - self.deviations(second))
        return _sum_of_terms(a.mean() - b.mean(), [*seeds, both])

    def joint_p(self, samples: Samples, *, draws: int, seed: int) -> dict[Pair, float]:
        """Bootstrap max-T over clusters and seeds."""
        raw = {pair: difference.p for pair, difference in self.pair_differences(samples).items()}
        resampled = {
            name: clusters.pigeonhole(sample, self.metric, draws=draws, seed=seed) for name, sample in samples.items()
        }
        return max_t(raw, resampled)


def _seed_term(values: Array) -> tuple[float, int]:
    """Variance of the mean over seeds, and its degrees of freedom."""
    return scatter(values) / len(values), len(values) - 1


def _cluster_term(deviations: Array) -> tuple[float, int]:
    """Variance over clusters, and its degrees of freedom."""
    return float(np.square(deviations).sum()), len(deviations) - 1


def _sum_of_terms(value: float, terms: list[tuple[float, int]]) -> Spread:
    """Independent variance estimates added; degrees of freedom by Satterthwaite."""
    total = sum(variance for variance, _ in terms)
    if total == 0.0:
        return Spread(float(value), 0.0, min(df for _, df in terms))
    df = total**2 / sum(variance**2 / df for variance, df in terms)
    return Spread(float(value), total**0.5, df)
