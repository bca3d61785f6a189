"""Sign-flip and Wilcoxon."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from mer_bench.errors import UserError
from mer_bench.results.statistics import sign_flip, wilcoxon


def test_exact_sign_flip_equals_scipy():
    units = np.random.default_rng(0).normal(0.3, 1, 10)
    expected = stats.permutation_test(
        (units,), np.mean, permutation_type="samples", n_resamples=np.inf, alternative="two-sided"
    )
    assert sign_flip(units) == pytest.approx(expected.pvalue)


def test_smallest_p_of_ten_speakers_is_two_in_1024():
    assert sign_flip(np.linspace(1, 2, 10)) == 2 / 1024


def test_drawn_sign_flip_agrees_with_the_exact_one():
    units = np.random.default_rng(1).normal(0.5, 1, 14)
    exact, drawn = sign_flip(units), sign_flip(units, draws=9_999)
    assert drawn != exact
    assert drawn == pytest.approx(exact, abs=4 * (exact * (1 - exact) / 9_999) ** 0.5)


def test_smallest_p_of_a_drawn_test_counts_the_data_themselves():
    assert sign_flip(np.ones(87)) == 1 / 100_000


def test_ties_count_as_reached_whatever_the_order_of_floats():
    # sums of tenths are not exact; the pattern and its mirror tie with the observed one
    units = np.array([0.1, 0.2, -0.3, 0.1, 0.2, -0.3, 0.1])
    shuffled = units[[6, 2, 5, 0, 3, 1, 4]]
    by_hand = np.mean(
        [
            abs(np.dot(signs, [1, 2, -3, 1, 2, -3, 1])) >= 1
            for signs in np.ndindex(*[2] * 7)
            for signs in [2 * np.array(signs) - 1]
        ]
    )
    assert sign_flip(units) == sign_flip(shuffled) == pytest.approx(by_hand)


def test_seeds_are_averaged_first():
    values = np.random.default_rng(2).normal(0.2, 1, (30, 3))
    assert sign_flip(values, draws=999) == sign_flip(values.mean(axis=1), draws=999)
    assert wilcoxon(values) == stats.wilcoxon(values.mean(axis=1)).pvalue


def test_no_difference_anywhere_is_p_1():
    assert sign_flip(np.zeros(30)) == 1.0
    assert wilcoxon(np.zeros((30, 3))) == 1.0
    assert wilcoxon(np.full(30, 1e-17)) == 1.0


@pytest.mark.parametrize("test", [sign_flip, wilcoxon])
@pytest.mark.parametrize("bad", [[0.1], [0.1, np.nan, 0.2], []])
def test_bad_units_are_refused(test, bad):
    with pytest.raises(UserError):
        test(bad)
