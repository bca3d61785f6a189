"""Rules A, B and C: worked examples, oracles, and what must not change the result."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from mer_bench.errors import UserError
from mer_bench.results.statistics import Folds, LeaveOneOut, SingleSplit, make_difference, make_estimate, pigeonhole

B = Folds(higher_is_better=True, test_to_train=1 / 3)
C = LeaveOneOut(higher_is_better=True)
A = SingleSplit(higher_is_better=True)


def split(seed=0, seeds=5, clusters=40, skill=0.7):
    """Additive statistics (seed, cluster, (sum, count)) with uneven clusters that all share."""
    counts = np.random.default_rng(99).integers(3, 12, clusters)
    rng = np.random.default_rng(seed)
    hits = rng.binomial(counts, np.clip(skill + rng.normal(0, 0.1, clusters), 0.05, 0.95), (seeds, clusters))
    return np.stack([hits, np.broadcast_to(counts, hits.shape)], axis=-1).astype(float)


def table(seed=0, folds=5, seeds=3, skill=0.6):
    rng = np.random.default_rng(seed)
    return skill + rng.normal(0, 0.03, (folds, 1)) + rng.normal(0, 0.01, (folds, seeds))


def subjects(seed=0, skill=0.7):
    return table(seed, folds=30, seeds=3, skill=skill)


SAMPLES = [(A, split), (B, table), (C, subjects)]


def test_rule_b_worked_by_hand():
    # differences 1, 2, 3 (folds) with one seed: mean 2, variance 1; SE² = (1/3 + 1/2) · 1; df = 2
    rule = Folds(higher_is_better=True, test_to_train=1 / 2)
    result = rule.difference([[1.0], [2.0], [3.0]], np.zeros((3, 1)))
    assert result.value == pytest.approx(2)
    assert result.se == pytest.approx((5 / 6) ** 0.5)
    assert result.df == 2
    assert result.high == pytest.approx(2 + 4.302652729911275 * (5 / 6) ** 0.5)
    assert result.p == pytest.approx(2 * stats.t.sf(2 / (5 / 6) ** 0.5, 2))


def test_rule_c_is_a_one_sample_t_test_with_a_wider_error():
    first, second = subjects(1), subjects(2, skill=0.71)
    result = C.difference(first, second)
    plain = stats.ttest_1samp((first - second).mean(axis=1), 0)
    assert result.df == plain.df == 29
    assert result.value / result.se * 1.1 == pytest.approx(plain.statistic)
    assert result.p == pytest.approx(2 * stats.t.sf(abs(plain.statistic) / 1.1, 29))


def test_rule_a_worked_by_hand():
    # two kinds of seed (0.5, 0.75 three times each over 4 clusters of one item)
    one = np.array([[1, 1, 0, 0], [1, 1, 1, 0]] * 3, float)
    result = A.score(np.stack([one, np.ones_like(one)], axis=-1))
    seed_term = np.var([0.5, 0.75] * 3, ddof=1) / 6
    deviations = np.array([1, 1, 0.5, 0]) - 0.625
    cluster_term = 4 / 3 * (deviations**2).sum() / 16
    total = seed_term + cluster_term
    assert result.value == 0.625
    assert result.se == pytest.approx(total**0.5)
    assert result.df == pytest.approx(total**2 / (seed_term**2 / 5 + cluster_term**2 / 3))


def test_rule_a_difference_pairs_clusters_and_adds_the_seeds_of_both():
    first, second = split(1), split(2)
    result = A.difference(first, second)
    per_seed = [(s[..., 0].sum(1) / s[..., 1].sum(1)) for s in (first, second)]
    rest = [np.delete(s, v, axis=1).sum(axis=1) for v in range(40) for s in (first, second)]
    without = np.array([(one[:, 0] / one[:, 1]).mean() for one in rest]).reshape(40, 2)
    gap = without[:, 0] - without[:, 1]
    expected = sum(np.var(values, ddof=1) / 5 for values in per_seed) + 39 / 40 * ((gap - gap.mean()) ** 2).sum()
    assert result.se == pytest.approx(expected**0.5, rel=1e-10)
    same = A.difference(first, second, same_runs=True)
    paired = np.var(per_seed[0] - per_seed[1], ddof=1) / 5
    assert same.se**2 == pytest.approx(expected - sum(np.var(v, ddof=1) / 5 for v in per_seed) + paired, rel=1e-9)


def test_clusters_without_items_are_no_units():
    """As they are left where small clusters were merged to be published: they add no degree of freedom."""
    samples = split(1), split(2, skill=0.6)
    merged = [np.insert(sample, [0, 7, 40], 0.0, axis=1) for sample in samples]
    assert A.score(merged[0]) == A.score(samples[0])
    assert A.difference(*merged) == A.difference(*samples)
    with pytest.raises(UserError, match="items in different clusters"):
        A.difference(merged[0], np.insert(samples[1], [0, 8, 40], 0.0, axis=1))


def test_seeds_may_differ_in_number_between_methods_of_rule_a():
    assert A.difference(split(1, seeds=5), split(2, seeds=9)).df > 4


def test_bootstrap_agrees_with_rule_a():
    first, second = split(1, seeds=8, clusters=150), split(2, seeds=8, clusters=150)
    one = pigeonhole(first, A.metric, draws=9_999)
    two = pigeonhole(second, A.metric, draws=9_999)
    # the bootstrap counts the seed-by-cluster noise twice, hence a little more
    assert 1.0 < one.std() / A.score(first).se < 1.12
    assert 1.0 < (one - two).std() / A.difference(first, second).se < 1.25
    assert one.mean() == pytest.approx(A.score(first).value, abs=0.1 * one.std())


def test_bayesian_reading_equals_baycomp():
    baycomp = pytest.importorskip("baycomp", reason="baycomp is a test oracle of the [dev] extra")
    first, second = table(3, folds=10, seeds=1), table(4, folds=10, seeds=1, skill=0.605)
    rule = Folds(higher_is_better=True, test_to_train=1 / 9, margin=0.01)  # baycomp: 1/J of the data are test data
    worse, equal, better = baycomp.two_on_single(second.ravel(), first.ravel(), rope=0.01)
    result = rule.difference(first, second)
    assert result.p_within == pytest.approx(equal, abs=1e-9)
    assert result.p_clearly_better == pytest.approx(better, abs=1e-9)
    assert 1 - result.p_within - result.p_clearly_better == pytest.approx(worse, abs=1e-9)


def test_standard_error_over_runs_equals_baycomp_up_to_its_degrees_of_freedom():
    baycomp = pytest.importorskip("baycomp", reason="baycomp is a test oracle of the [dev] extra")
    first, second = table(3, folds=5, seeds=4), table(4, folds=5, seeds=4, skill=0.605)
    mine = Folds(higher_is_better=True, test_to_train=1 / 4).difference(first, second)
    # its order is runs x folds; its posterior has JS-1 degrees of freedom
    less, more = baycomp.two_on_single(second.T.ravel(), first.T.ravel(), runs=4)
    assert more == pytest.approx(stats.t.cdf(mine.value / mine.se, 19), abs=1e-9)
    assert less + more == pytest.approx(1)


@pytest.mark.parametrize(("rule", "sample"), SAMPLES)
def test_identical_predictions_are_no_difference(rule, sample):
    result = rule.difference(sample(7), sample(7))
    assert (result.value, result.p, result.p_better) == (0.0, 1.0, 0.5)


@pytest.mark.parametrize(("rule", "sample"), SAMPLES)
def test_exchanging_two_methods_mirrors_the_difference(rule, sample):
    there, back = rule.difference(sample(1), sample(2)), rule.difference(sample(2), sample(1))
    assert there.value == -back.value
    assert (there.low, there.high) == (-back.high, -back.low)
    assert there.p == back.p
    assert there.p_better == pytest.approx(1 - back.p_better)
    assert there.p_within == pytest.approx(back.p_within)


@pytest.mark.parametrize(("rule", "sample"), SAMPLES)
def test_direction_turns_probabilities_but_not_numbers(rule, sample):
    lower = type(rule)(**{**rule.__dict__, "higher_is_better": False})
    up, down = rule.difference(sample(1), sample(2)), lower.difference(sample(1), sample(2))
    assert (up.value, up.low, up.high, up.p) == (down.value, down.low, down.high, down.p)
    assert up.p_better == pytest.approx(1 - down.p_better)


@pytest.mark.parametrize(("rule", "sample"), SAMPLES)
def test_order_of_units_and_seeds_does_not_matter(rule, sample):
    first, second = sample(1), sample(2)
    rng = np.random.default_rng(0)
    rows, columns = rng.permutation(first.shape[0]), rng.permutation(first.shape[1])
    moved = rule.difference(first[rows][:, columns], second[rows][:, columns])
    still = rule.difference(first, second)
    assert (moved.value, moved.se, moved.p) == pytest.approx((still.value, still.se, still.p), rel=1e-9)


def test_rounding_noise_is_no_difference():
    noise = np.array([[1e-17, 2e-17], [3e-17, 0], [1e-17, 1e-17], [0, 1e-17], [2e-17, 0]])
    result = B.difference(noise, np.zeros((5, 2)))
    assert (result.value, result.se, result.p, result.p_within) == (0.0, 0.0, 1.0, 1.0)


def test_a_constant_difference_is_certain():
    result = B.difference(np.full((5, 2), 0.8), np.full((5, 2), 0.7))
    assert (result.p, result.p_better, result.p_within, result.p_clearly_better) == (0.0, 1.0, 0.0, 1.0)


@given(
    value=st.floats(-1, 1),
    se=st.floats(1e-4, 1),
    df=st.floats(1, 1000),
    margin=st.floats(1e-4, 0.2),
    higher=st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_interval_and_probabilities_against_scipy(value, se, df, margin, higher):
    law = stats.t(df, loc=value, scale=se)
    result = make_difference(value, se, df, higher_is_better=higher, margin=margin)
    assert (result.low, result.high) == pytest.approx(law.interval(0.95), rel=1e-7, abs=1e-9)
    assert result.p == pytest.approx(2 * stats.t.sf(abs(value) / se, df), abs=1e-9)
    assert result.p_better == pytest.approx(law.sf(0) if higher else law.cdf(0), abs=1e-9)
    assert result.p_within == pytest.approx(law.cdf(margin) - law.cdf(-margin), abs=1e-9)
    assert result.p_clearly_better == pytest.approx(law.sf(margin) if higher else law.cdf(-margin), abs=1e-9)
    # p <= 5 % and an interval without 0 are the same statement
    if not 0.0499 < result.p < 0.0501:
        assert (result.p < 0.05) == (result.low > 0 or result.high < 0)


def test_interval_without_spread_is_a_point():
    assert make_estimate(0.5, 0.0, 4).low == make_estimate(0.5, 0.0, 4).high == 0.5


@pytest.mark.parametrize(
    ("rule", "first", "second", "message"),
    [
        (A, split(seeds=4), split(), "at least 5"),
        (A, split(), split(clusters=39), "same test clusters"),
        (A, split() * np.nan, split(), "not finite"),
        (B, table(folds=2), table(folds=2), "at least 3 folds"),
        (B, table(), table(seeds=2), "Run what is missing"),
        (B, np.where(np.eye(5, 3), np.nan, table()), table(), r"not finite, the first at index \[0, 0\]"),
        (B, table()[:, 0], table()[:, 0], r"\(folds, seeds\)"),
        (C, table(folds=19), table(folds=19), "at least 20 folds"),
        (Folds(higher_is_better=True, test_to_train=0.0), table(), table(), "n_test / n_train"),
    ],
)
def test_bad_samples_are_refused_in_one_sentence(rule, first, second, message):
    with pytest.raises(UserError, match=message):
        rule.difference(first, second)


def test_same_runs_need_equal_numbers_of_seeds():
    with pytest.raises(UserError, match="same folds and seeds"):
        A.difference(split(seeds=5), split(seeds=6), same_runs=True)


def test_the_engine_is_light_to_import():
    # `leaderboard` and `list` start fast: scipy is loaded when a quantile is first needed
    code = "import sys, mer_bench.results.statistics; print({'scipy', 'torch', 'pandas'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
