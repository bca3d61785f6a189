"""Uncertainty of a test set made of clusters (videos, speakers), from additive statistics.

Every metric of this project is a function of sums over items: counts of a confusion matrix, or the moments of truth
and prediction. Keep those sums per seed and cluster, and the metric without one cluster, or over a resampled test
set, costs an addition instead of a pass over the items.

`statistics` has the axes ``seed cluster *parts``; a `Metric` takes ``... *parts`` to ``...``, in float64.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mer_bench.errors import UserError
from mer_bench.results.statistics.estimates import Array, finite

Metric = Callable[[Array], Array]

_CHUNK = 500  # resamples at a time: 500 x 700 clusters is 3 MB


def mean(sums: Array) -> Array:
    """The metric of mean-type scores: `sums` ends in (sum, count)."""
    return np.asarray(sums[..., 0] / sums[..., 1])


def evaluate(metric: Metric, sums: Array, what: str) -> Array:
    """The metric of summed statistics, checked to be finite.

    Raises:
        UserError: the metric is undefined for some of them.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        return finite(metric(sums), what)


def per_seed(statistics: Array, metric: Metric) -> Array:
    """The metric on the whole test set, one value a seed (seed,)."""
    return evaluate(metric, statistics.sum(axis=1), "metric of the whole test set")


def filled(statistics: Array) -> NDArray[np.bool_]:
    """Which clusters have items at all (cluster,)."""
    return np.asarray((np.moveaxis(statistics, 1, 0).reshape(statistics.shape[1], -1) != 0).any(axis=1))


def leave_one_out(statistics: Array, metric: Metric) -> Array:
    """The seed-averaged metric without each cluster in turn (cluster,).

    Raises:
        UserError: without one of the clusters the metric is undefined, for instance because a class is gone.
    """
    rest = statistics.sum(axis=1, keepdims=True) - statistics
    values = evaluate(metric, rest, "metric without one cluster (seed, cluster)")
    return np.asarray(values.mean(axis=0))


def jackknife_deviations(statistics: Array, metric: Metric) -> Array:
    """What each cluster adds to the seed-averaged metric; squares sum to the variance (V-1)/V · Σ_v (θ_(-v) - mean)².

    Args:
        statistics: (seed, cluster, *parts).
        metric: smooth, from summed parts to the score.

    Returns:
        (cluster,) deviations.
    """
    values = leave_one_out(statistics, metric)
    clusters = len(values)
    return np.asarray((values.mean() - values) * np.sqrt((clusters - 1) / clusters))


def as_statistics(values: ArrayLike, what: str, *, seeds: int) -> Array:
    """Check the axes of additive statistics.

    Args:
        values: (seed, cluster, *parts).
        what: whose they are, for the message.
        seeds: the smallest number of seeds that is acceptable.

    Raises:
        UserError: an axis is missing, or there are too few seeds or clusters.
    """
    array = finite(values, what)
    if array.ndim < 3:
        raise UserError(f"{what}: statistics need the axes seed, cluster and parts; got shape {array.shape}.")
    if array.shape[0] < seeds:
        raise UserError(
            f"{what}: {array.shape[0]} seed(s), but one official split needs at least {seeds} to tell luck of training "
            "from skill. Run more seeds."
        )
    if array.shape[1] < 3:
        raise UserError(f"{what}: {array.shape[1]} cluster(s); an interval needs at least 3 independent clusters.")
    return array


def cluster_weights(clusters: int, draws: int, seed: int) -> Iterator[Array]:
    """Weights of resampled test sets, in chunks (draws, cluster); the same for every method.

    Dirichlet weights (Rubin's Bayesian bootstrap) rather than counts: no cluster ever vanishes, so no class does,
    and the metric of a resample is always defined.
    """
    rng = np.random.default_rng([seed, 0])
    for start in range(0, draws, _CHUNK):
        weights = rng.standard_exponential((min(_CHUNK, draws - start), clusters))
        yield weights * (clusters / weights.sum(axis=1, keepdims=True))


def _seed_picks(statistics: Array, draws: int, seed: int) -> NDArray[np.int64]:
    """Which seeds each draw uses: N-1 of N with replacement, which makes the variance of the seed mean unbiased.

    The stream belongs to the content, so that neither the name nor the place of a method changes its draws.
    """
    import hashlib

    content = hashlib.sha256(np.ascontiguousarray(statistics).tobytes()).digest()
    rng = np.random.default_rng([seed, 1, int.from_bytes(content[:8], "big")])
    seeds = len(statistics)
    return rng.integers(seeds, size=(draws, max(seeds - 1, 1)))


def pigeonhole(statistics: Array, metric: Metric, *, draws: int = 9_999, seed: int = 0) -> Array:
    """Bootstrap over clusters and seeds at once (Owen 2007): the metric of each resample (draws,).

    Clusters are shared between methods, seeds are not: the difference of two calls is a paired difference.

    Args:
        statistics: (seed, cluster, *parts).
        metric: from summed parts to the score.
        draws: number of resamples.
        seed: of the random draws.
    """
    seeds, clusters = statistics.shape[:2]
    parts = statistics.shape[2:]
    flat = np.ascontiguousarray(statistics.transpose(1, 0, *range(2, statistics.ndim)).reshape(clusters, -1))
    picks = _seed_picks(statistics, draws, seed)
    result, start = np.empty(draws), 0
    for weights in cluster_weights(clusters, draws, seed):
        rows = slice(start, start + len(weights))
        values = evaluate(metric, (weights @ flat).reshape(len(weights), seeds, *parts), "metric of a resample")
        result[rows] = np.take_along_axis(values, picks[rows], axis=1).mean(axis=1)
        start += len(weights)
    return result
