"""Holm, families, joint tests and rank intervals."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mer_bench.errors import UserError
from mer_bench.results.statistics import (
    Folds,
    LeaveOneOut,
    RankInterval,
    SingleSplit,
    families,
    holm,
    max_t,
    rank_intervals,
    resolution,
    wilcoxon,
)
from mer_bench.results.statistics.multiplicity import adjust

A = SingleSplit(higher_is_better=True)
B = Folds(higher_is_better=True, test_to_train=1 / 3)
C = LeaveOneOut(higher_is_better=True)
FEW = 499


def split(seed, skill):
    counts = np.random.default_rng(99).integers(3, 12, 60)
    hits = np.random.default_rng(seed).binomial(counts, skill, (5, 60))
    return np.stack([hits, np.broadcast_to(counts, hits.shape)], axis=-1).astype(float)


def folds(seed, skill, count=5):
    rng = np.random.default_rng(seed)
    return skill + rng.normal(0, 0.01, (count, 3))


METHODS = {"concat": 0.60, "foal": 0.601, "jmt": 0.75, "iccl": 0.60, "majority": 0.30}
TABLES = [
    (A, {name: split(index, skill) for index, (name, skill) in enumerate(METHODS.items())}),
    (B, {name: folds(index, skill) for index, (name, skill) in enumerate(METHODS.items())}),
    (C, {name: folds(index, skill, 25) for index, (name, skill) in enumerate(METHODS.items())}),
]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
@settings(max_examples=60, deadline=None)
def test_holm_equals_statsmodels(p_values):
    multitest = pytest.importorskip("statsmodels.stats.multitest", reason="a test oracle of the [dev] extra")
    np.testing.assert_allclose(holm(p_values), multitest.multipletests(p_values, method="holm")[1], atol=1e-12)


def test_holm_by_hand():
    np.testing.assert_allclose(holm([0.01, 0.04, 0.03]), [0.03, 0.06, 0.06])


def test_holm_over_pairs_equals_scikit_posthocs():
    posthocs = pytest.importorskip("scikit_posthocs", reason="a test oracle of the [dev] extra")
    groups = [folds(index, skill, 25).mean(axis=1) for index, skill in enumerate((0.6, 0.605, 0.62, 0.6))]
    expected = posthocs.posthoc_wilcoxon(groups, p_adjust="holm").to_numpy()
    ours = adjust({(i, j): wilcoxon(groups[i] - groups[j]) for i, j in itertools.combinations(range(4), 2)})
    for (i, j), p in ours.items():
        assert p == pytest.approx(expected[i, j], abs=1e-9)


def test_families_adjust_only_what_was_announced():
    tested = families({"foal": 0.01, "jmt": 0.02, "mult": 0.001}, ["foal", "iccl", "jmt", "mmtransmt"])
    assert tested["mult"].adjusted is None
    assert tested["mult"].family == "exploratory"
    # two of the four were not measured: they count with p = 1
    assert tested["foal"].adjusted == pytest.approx(0.04)
    assert tested["jmt"].adjusted == pytest.approx(0.06)


def test_an_exploratory_method_changes_no_confirmatory_p_value():
    planned = ["foal", "jmt"]
    alone = families({"foal": 0.01, "jmt": 0.2}, planned)
    more = families({"mult": 0.0001, "foal": 0.01, "jmt": 0.2, "tfn": 0.5}, planned)
    assert {name: more[name] for name in planned} == alone


def test_max_t_of_two_methods_is_the_p_value_itself():
    rng = np.random.default_rng(0)
    resampled = {"a": rng.normal(size=20_000), "b": rng.normal(size=20_000)}
    for p in (0.5, 0.05, 0.01):
        assert max_t({("a", "b"): p}, resampled)["a", "b"] == pytest.approx(p, rel=0.15)


def test_max_t_is_milder_than_bonferroni_where_methods_resemble_each_other():
    rng = np.random.default_rng(1)
    shared = rng.normal(size=20_000)
    resampled = {name: 5 * shared + rng.normal(size=20_000) for name in "abcd"}
    pairs = dict.fromkeys(itertools.combinations("abcd", 2), 0.02)
    adjusted = max_t(pairs, resampled)
    assert all(0.02 < p < 6 * 0.02 for p in adjusted.values())
    # independent normal deviates of six comparisons, had they been independent: 1 - .98^6
    assert max(adjusted.values()) < 1 - 0.98**6


def test_max_t_knows_identical_and_certain_pairs():
    resampled = {"a": np.zeros(99), "b": np.zeros(99), "c": np.ones(99)}
    adjusted = max_t({("a", "b"): 1.0, ("a", "c"): 0.0}, resampled)
    assert adjusted == {("a", "b"): 1.0, ("a", "c"): 0.01}
    assert max_t({}, {}) == {}


@pytest.mark.parametrize(("rule", "table"), TABLES)
def test_clear_order_is_found_and_near_methods_share_ranks(rule, table):
    ranks = rank_intervals(rule, table, draws=FEW)
    assert ranks["jmt"] == RankInterval(1, 1)
    assert ranks["majority"] == RankInterval(5, 5)
    assert ranks["concat"] == ranks["iccl"] == RankInterval(2, 4)


@pytest.mark.parametrize(("rule", "table"), TABLES)
def test_names_and_order_change_nothing(rule, table):
    ranks = rank_intervals(rule, table, draws=FEW)
    renamed = {f"z{9 - index}": table[name] for index, name in enumerate(reversed(list(table)))}
    again = rank_intervals(rule, renamed, draws=FEW)
    assert [again[f"z{9 - index}"] for index, name in enumerate(reversed(list(table)))] == [
        ranks[name] for name in reversed(list(table))
    ]


@pytest.mark.parametrize(("rule", "table"), TABLES)
def test_identical_predictions_share_a_rank(rule, table):
    ranks = rank_intervals(rule, {**table, "twin": table["foal"].copy()}, draws=FEW)
    assert ranks["twin"] == ranks["foal"]
    assert ranks["twin"].high - ranks["twin"].low >= 1


@pytest.mark.parametrize(("rule", "table"), TABLES)
def test_a_method_more_leaves_scores_and_pair_p_values_alone(rule, table):
    less = {name: sample for name, sample in table.items() if name != "jmt"}
    assert {name: rule.score(s) for name, s in less.items()} == {name: rule.score(table[name]) for name in less}
    pairs = rule.pair_differences(table)
    assert all(pairs[pair] == difference for pair, difference in rule.pair_differences(less).items())


@pytest.mark.parametrize(("rule", "table"), TABLES)
def test_direction_of_the_metric_turns_the_table_round(rule, table):
    lower = type(rule)(**{**rule.__dict__, "higher_is_better": False})
    up, down = rank_intervals(rule, table, draws=FEW), rank_intervals(lower, table, draws=FEW)
    assert {name: RankInterval(6 - r.high, 6 - r.low) for name, r in up.items()} == down


def test_alpha_decides_what_is_told_apart():
    pair = {"a": folds(1, 0.60), "b": folds(2, 0.613)}
    p = B.difference(pair["a"], pair["b"]).p
    assert 0.06 < p < 0.5
    assert set(rank_intervals(B, pair).values()) == {RankInterval(1, 2)}
    assert rank_intervals(B, pair, alpha=p + 1e-6) == {"a": RankInterval(2, 2), "b": RankInterval(1, 1)}
    assert set(rank_intervals(B, pair, alpha=p - 1e-6).values()) == {RankInterval(1, 2)}


def test_a_table_of_one_has_one_rank():
    assert rank_intervals(B, {"concat": folds(0, 0.5)}) == {"concat": RankInterval(1, 1)}


def test_resolution_before_and_after_adjustment():
    differences = B.pair_differences(TABLES[1][1]).values()
    result = resolution(differences, comparisons=30)
    se = np.median([row.se for row in differences])
    # quantiles of t with 4 degrees of freedom: .975, .80, 1 - .05/60
    assert result.single == pytest.approx((2.776445 + 0.940965) * se, rel=1e-5)
    ends = [extreme(row.se for row in differences) for extreme in (min, max)]
    assert [result.smallest, result.largest] == pytest.approx([(2.776445 + 0.940965) * se for se in ends], rel=1e-5)
    assert result.smallest < result.single < result.largest
    assert result.factor == pytest.approx(7.5287, abs=1e-3)
    assert result.adjusted == pytest.approx((7.528671 + 0.940965) * se, rel=1e-5)


@pytest.mark.parametrize("bad", [[0.5, np.nan], [1.2], []])
def test_bad_p_values_are_refused(bad):
    with pytest.raises(UserError):
        holm(bad)


def test_resolution_needs_a_comparison():
    with pytest.raises(UserError, match="at least two complete methods"):
        resolution([], comparisons=1)
