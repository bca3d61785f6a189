"""Missing-modality AUC and interaction gain."""

from __future__ import annotations

import numpy as np
import pytest

from mer_bench.errors import UserError
from mer_bench.results.statistics import (
    Folds,
    SingleSplit,
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
    # the AUC is linear in the hits: the same rule on the weighted hits
    weighted = statistics.mean(axis=-2).transpose(3, 0, 1, 2) @ np.array([0.25, 0.5, 0.25])
    plain = SingleSplit(higher_is_better=True).score(np.moveaxis(weighted, 0, -1))
    assert (result.value, result.se) == pytest.approx((plain.value, plain.se), rel=1e-9)


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
