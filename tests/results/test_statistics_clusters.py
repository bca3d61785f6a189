"""Additive statistics: the jackknife and the bootstrap against direct recomputation from items."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import recall_score

from mer_bench.errors import UserError
from mer_bench.results.statistics import clusters

SEEDS, CLUSTERS, CLASSES = 3, 12, 3


@pytest.fixture
def items():
    """(cluster, truth, prediction by seed) of 150 items in uneven clusters; each class in several clusters."""
    rng = np.random.default_rng(0)
    cluster = np.sort(np.r_[np.repeat(np.arange(CLUSTERS), 3), rng.integers(CLUSTERS, size=114)])
    truth = rng.integers(CLASSES, size=150)
    wrong = rng.random((SEEDS, 150)) < 0.4
    return cluster, truth, np.where(wrong, rng.integers(CLASSES, size=(SEEDS, 150)), truth)


def confusions(cluster, truth, predicted):
    table = np.zeros((SEEDS, CLUSTERS, CLASSES, CLASSES))
    for seed in range(SEEDS):
        np.add.at(table[seed], (cluster, truth, predicted[seed]), 1)
    return table


def recall(sums):
    return (np.diagonal(sums, axis1=-2, axis2=-1) / sums.sum(axis=-1)).mean(axis=-1)


def ccc(sums):
    n, x, y, xx, yy, xy = np.moveaxis(sums, -1, 0)
    return 2 * (xy / n - x * y / n**2) / (xx / n - (x / n) ** 2 + yy / n - (y / n) ** 2 + (x / n - y / n) ** 2)


def test_jackknife_of_recall_equals_recomputation_from_items(items):
    cluster, truth, predicted = items
    direct = [
        np.mean([recall_score(truth[keep], one[keep], average="macro") for one in predicted])
        for keep in (cluster != out for out in range(CLUSTERS))
    ]
    values = clusters.leave_one_out(confusions(*items), recall)
    np.testing.assert_allclose(values, direct, rtol=0, atol=1e-12)
    variance = (CLUSTERS - 1) / CLUSTERS * np.square(np.array(direct) - np.mean(direct)).sum()
    assert np.square(clusters.jackknife_deviations(confusions(*items), recall)).sum() == pytest.approx(variance, 1e-10)


def test_jackknife_of_ccc_equals_recomputation_from_items():
    rng = np.random.default_rng(1)
    cluster = np.sort(rng.integers(CLUSTERS, size=200))
    x = rng.normal(5, 1, 200)
    y = x + rng.normal(0, 1, (SEEDS, 200))
    parts = np.stack([np.ones_like(y), np.broadcast_to(x, y.shape), y, np.broadcast_to(x**2, y.shape), y**2, x * y], -1)
    statistics = np.stack([parts[:, cluster == v].sum(axis=1) for v in range(CLUSTERS)], axis=1)

    def direct(keep):
        a = x[keep]
        return np.mean(
            [2 * np.cov(a, b, ddof=0)[0, 1] / (a.var() + b.var() + (a.mean() - b.mean()) ** 2) for b in y[:, keep]]
        )

    expected = [direct(cluster != out) for out in range(CLUSTERS)]
    np.testing.assert_allclose(clusters.leave_one_out(statistics, ccc), expected, rtol=0, atol=1e-12)


def test_jackknife_of_a_mean_is_close_to_its_cluster_robust_variance(items):
    api = pytest.importorskip("statsmodels.api", reason="statsmodels is a test oracle of the [dev] extra")
    cluster, truth, predicted = items
    right = (predicted[0] == truth).astype(float)
    fit = api.OLS(right, np.ones((150, 1))).fit(
        cov_type="cluster", cov_kwds={"groups": cluster, "use_correction": False}
    )
    sums = np.stack([np.bincount(cluster, right), np.bincount(cluster)], axis=-1)[None]
    ours = np.square(clusters.jackknife_deviations(sums, clusters.mean)).sum()
    assert ours == pytest.approx(float(fit.bse[0]) ** 2 * CLUSTERS / (CLUSTERS - 1), rel=0.1)


def test_jackknife_of_a_mean_over_equal_clusters_is_the_variance_of_a_mean():
    rng = np.random.default_rng(2)
    hits = rng.integers(0, 21, (SEEDS, 30)).astype(float)
    statistics = np.stack([hits, np.full((SEEDS, 30), 20.0)], axis=-1)
    ours = np.square(clusters.jackknife_deviations(statistics, clusters.mean)).sum()
    assert ours == pytest.approx((hits / 20).mean(axis=0).var(ddof=1) / 30, rel=1e-10)


def test_bootstrap_weights_keep_every_cluster_and_the_size_of_the_test_set():
    weights = np.concatenate(list(clusters.cluster_weights(40, 2_000, seed=3)))
    assert weights.shape == (2_000, 40)
    assert (weights > 0).all()
    np.testing.assert_allclose(weights.sum(axis=1), 40)
    np.testing.assert_allclose(weights.mean(axis=0), 1, atol=0.12)
    # variance of a Dirichlet weight: (V-1)/(V+1)
    assert weights.var() == pytest.approx(39 / 41, abs=0.05)


def test_bootstrap_depends_on_content_and_not_on_what_else_is_drawn(items):
    statistics = confusions(*items)
    other = statistics[:, ::-1].copy()
    first = clusters.pigeonhole(statistics, recall, draws=700, seed=5)
    clusters.pigeonhole(other, recall, draws=700, seed=5)
    assert (clusters.pigeonhole(statistics.copy(), recall, draws=700, seed=5) == first).all()
    assert (clusters.pigeonhole(statistics, recall, draws=700, seed=6) != first).any()


def test_bootstrap_draws_seeds_without_bias_and_apart_for_each_method():
    # equal clusters: all that varies is the seed
    values = np.array([0.1, 0.4, 0.5, 0.7, 0.9])
    first = np.stack([np.repeat(values[:, None] * 10, 8, axis=1), np.full((5, 8), 10.0)], axis=-1)
    second = first + np.array([0.1, 0.0])
    one, two = (clusters.pigeonhole(s, clusters.mean, draws=20_000) for s in (first, second))
    se = values.std(ddof=1) / 5**0.5
    assert one.std() == pytest.approx(se, rel=0.02)
    # the same picks for both would leave no difference at all
    assert (one - two).std() == pytest.approx(2**0.5 * se, rel=0.02)


def test_a_class_that_lives_in_one_cluster_is_named_as_a_reason():
    table = np.ones((5, 4, 2, 2))
    table[:, 1:, 1] = 0
    with pytest.raises(UserError, match="without one cluster"):
        clusters.jackknife_deviations(table, recall)


@pytest.mark.parametrize(
    ("shape", "message"),
    [((5, 9), "axes"), ((4, 9, 2), "at least 5"), ((5, 2, 2), "at least 3 independent"), ((0, 9, 2), "no value")],
)
def test_shapes_that_cannot_carry_an_interval_are_refused(shape, message):
    with pytest.raises(UserError, match=message):
        clusters.as_statistics(np.ones(shape), "foal", seeds=5)
