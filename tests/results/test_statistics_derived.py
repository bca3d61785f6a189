"""Missing-modality AUC, additive projection, expected best of n."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mer_bench.errors import UserError
from mer_bench.results.statistics import (
    Folds,
    SingleSplit,
    additive_projection,
    expected_best,
    interaction,
    make_estimate,
    mean,
    missing_auc,
)


def test_auc_by_hand():
    # rates 0, .1, .5: trapezoids .1·(.8+.7)/2 + .4·(.7+.5)/2 = .315, over .5
    scores = [[0.8, 0.8], [0.6, 0.8], [0.5, 0.5]]
    assert missing_auc([0, 0.1, 0.5], scores) == pytest.approx(0.63)


def test_auc_of_a_constant_score_is_that_score_whatever_the_rates():
    scores = np.full((5, 3, 4, 10), 0.7)
    np.testing.assert_allclose(missing_auc([0, 0.1, 0.35, 0.5], scores), np.full((5, 3), 0.7))


def test_auc_feeds_the_rules():
    rng = np.random.default_rng(0)
    rates = [0, 0.25, 0.5]
    scores = 0.7 + rng.normal(0, 0.02, (5, 3, 3, 10))  # fold, seed, rate, mask
    folds = Folds(higher_is_better=True, test_to_train=1 / 3).score(missing_auc(rates, scores))
    assert folds.low < 0.7 < folds.high
    # rule A: the statistics carry rate and mask, the metric reads them
    hits = rng.binomial(10, 0.7, (5, 40, 3, 10))
    statistics = np.stack([hits, np.full_like(hits, 10)], axis=-1).astype(float)
    rule = SingleSplit(higher_is_better=True, metric=lambda sums: missing_auc(rates, mean(sums)))
    result = rule.score(statistics)
    # all rates have the same skill here, and the AUC is linear in the hits: the linear rule on the weighted hits
    weighted = statistics.mean(axis=-2).transpose(3, 0, 1, 2) @ np.array([0.25, 0.5, 0.25])
    linear = SingleSplit(higher_is_better=True).score(np.moveaxis(weighted, 0, -1))
    assert (result.value, result.se) == pytest.approx((linear.value, linear.se), rel=1e-9)


@pytest.mark.parametrize(
    ("rates", "scores"),
    [
        ([0, 0.5, 0.4], np.ones((3, 2))),
        ([0.1], np.ones((1, 2))),
        ([0, 0.5], np.ones((3, 2))),
        ([0, 1], [[1], [np.nan]]),
    ],
)
def test_bad_curves_are_refused(rates, scores):
    with pytest.raises(UserError):
        missing_auc(rates, scores)


def outputs(network, items, partners):
    """Every item with each modality kept and the others taken from a partner; and the partners themselves."""
    modalities = items.shape[1]
    mixed = np.empty((modalities, len(items), len(partners), 1))
    for m, i, c in np.ndindex(*mixed.shape[:3]):
        x = partners[c].copy()
        x[m] = items[i, m]
        mixed[m, i, c] = network(x)
    return mixed, np.array([[network(c)] for c in partners])


@pytest.mark.parametrize("modalities", [2, 3])
def test_projection_of_an_additive_network_is_the_network(modalities):
    rng = np.random.default_rng(0)
    items, partners = rng.normal(size=(6, modalities)), rng.normal(size=(64, modalities))

    def network(x):
        return np.sin(x[0]) + (x[1:] ** 2).sum() - 1

    projected = additive_projection(*outputs(network, items, partners))
    np.testing.assert_allclose(projected[:, 0], [network(x) for x in items], atol=1e-12)


def test_projection_of_a_product_by_hand():
    # f = a·b: f_add = a·mean(b) + mean(a)·b - mean(ab)
    items, partners = np.array([[2.0, 5.0]]), np.array([[1.0, 1.0], [3.0, -1.0]])
    projected = additive_projection(*outputs(lambda x: x[0] * x[1], items, partners))
    assert projected == pytest.approx(np.array([[2 * 0 + 2 * 5 - (-1)]]))


def test_projection_refuses_other_partners():
    with pytest.raises(UserError, match="same partners"):
        additive_projection(np.ones((2, 5, 4, 3)), np.ones((5, 3)))


@pytest.mark.parametrize(
    ("value", "half", "verdict"),
    [
        (0.001, 0.003, "ADDITIVE"),
        (0.004, 0.0005, "ADDITIVE"),
        (0.001, 0.02, "UNRESOLVED"),
        (0.02, 0.01, "INTERACTION"),
        (-0.02, 0.01, "INTERACTION"),
    ],
)
def test_interaction_verdicts(value, half, verdict):
    # 97.5 % quantile of t with 4 degrees of freedom
    assert interaction(make_estimate(value, half / 2.7764451, 4)) == verdict


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=7), st.booleans())
def test_expected_best_equals_the_mean_over_all_subsets(scores, higher):
    best = max if higher else min
    curve = [np.mean([best(c) for c in itertools.combinations(scores, n)]) for n in range(1, len(scores) + 1)]
    np.testing.assert_allclose(expected_best(scores, higher_is_better=higher), curve, atol=1e-9)


def test_expected_best_of_many_trials_stays_finite():
    curve = expected_best(np.linspace(0, 1, 500), higher_is_better=True)
    assert (np.diff(curve) > 0).all()
    assert curve[-1] == pytest.approx(1)
