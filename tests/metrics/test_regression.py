"""Regression and sentiment metrics against scipy, torchmetrics and plain loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats
from sklearn import metrics as sk
from torchmetrics.functional import concordance_corrcoef

from mer_bench.errors import UserError
from mer_bench.metrics import moments, score, sentiment
from mer_bench.types import TaskSpec

# multiples of 1/16 in [-3, 3]: exact in float32, with many ties, zeros and halves
grid = st.integers(-48, 48).map(lambda i: i / 16)
series = st.integers(2, 50).flatmap(lambda n: hnp.arrays(np.float64, (2, n), elements=grid))


def scored(metric: str, x, y, mask=None) -> float:
    """What a table shows: the one scorer's value of a regression with one output, NaN where it says undefined."""
    x, y = (np.asarray(values, np.float64).reshape(-1, 1) for values in (x, y))
    seen = np.ones(y.shape, bool) if mask is None else np.asarray(mask, bool).reshape(y.shape)
    return score({"y": TaskSpec("regression", ("y",))}, [f"y/{metric}"], {"y": x}, {"y": (y, seen)})[f"y/{metric}"]


@given(series)
def test_corr_equals_scipy(xy):
    x, y = xy
    assume(np.ptp(x) and np.ptp(y))
    assert moments.corr(x, y) == pytest.approx(stats.pearsonr(x, y).statistic, abs=1e-9)


@given(series)
def test_ccc_equals_the_formula_with_moments_over_n(xy):
    x, y = xy
    assume(np.ptp(x) and np.ptp(y))
    expected = 2 * np.cov(x, y, ddof=0)[0, 1] / (np.var(x) + np.var(y) + (x.mean() - y.mean()) ** 2)
    assert moments.ccc(x, y) == pytest.approx(expected, abs=1e-9)


@given(series)
def test_torchmetrics_ccc_differs_by_its_moments_over_n_minus_1(xy):
    x, y = xy
    n, cov = len(x), np.cov(x, y)[0, 1]
    assume(np.ptp(x) and np.ptp(y) and abs(cov) > 1e-3)
    theirs = float(concordance_corrcoef(torch.from_numpy(x), torch.from_numpy(y)))
    # the squared bias is not a moment over n - 1, so against it their (co)variances weigh n / (n - 1) times more
    bias = (x.mean() - y.mean()) ** 2
    assert 1 / moments.ccc(x, y) - 1 / theirs == pytest.approx(bias / (n - 1) / (2 * cov), abs=1e-7, rel=1e-7)


@given(series)
def test_mae_equals_scikit_learn(xy):
    assert scored("mae", *xy) == pytest.approx(sk.mean_absolute_error(xy[1], xy[0]), abs=1e-9)


def test_perfect_opposite_and_shifted_series():
    y = np.array([-1.0, 0.0, 2.0])
    assert moments.ccc(y, y) == pytest.approx(1.0)
    assert moments.corr(5 * y + 3, y) == pytest.approx(1.0)
    assert moments.ccc(-y + 2 * y.mean(), y) == pytest.approx(-1.0)
    assert moments.ccc(y + 1, y) == pytest.approx(2 * y.var() / (2 * y.var() + 1))


@pytest.mark.parametrize("value", [0.0, 0.1, -2.7, 1e6])
def test_constant_predictions_score_zero_and_both_constant_is_undefined(value):
    constant, y = np.full(7, value, np.float32), np.arange(7.0)
    assert moments.ccc(constant, y) == 0.0
    assert moments.corr(constant, y) == 0.0
    assert moments.ccc(y, constant) == 0.0
    assert np.isnan(moments.corr(y, constant))
    assert np.isnan(moments.ccc(constant, constant))
    assert scored("mae", constant, constant) == 0.0


def test_float32_jitter_is_still_constant():
    y = np.arange(6.0)
    jitter = np.float32(0.7) + np.array([0, 1, 0, 1, 1, 0]) * np.spacing(np.float32(0.7))
    assert moments.corr(jitter.astype(np.float32), y) == 0.0


def test_a_large_offset_does_not_eat_the_digits():
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(2, 500)) * 0.1
    assert moments.corr(x + 1e4, y + 1e4) == pytest.approx(float(moments.corr(x, y)), abs=1e-9)


@given(st.integers(1, 40), st.integers(0, 2**32 - 1))
def test_masked_values_never_matter(n, seed):
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(2, n, 2))
    mask = rng.random((n, 2)) < 0.6
    noise_x, noise_y = np.where(mask, x, rng.normal(size=x.shape) * 99), np.where(mask, y, -55.0)
    functions = (moments.ccc, moments.corr)
    for function in functions:
        values = function(noise_x, noise_y, mask)
        for d in range(2):
            kept = mask[:, d]
            alone = function(x[kept, d], y[kept, d]) if kept.any() else np.nan
            assert values[d] == pytest.approx(float(alone), abs=1e-12, nan_ok=True)


@pytest.mark.parametrize(
    "metric", ["mae", "acc7", "acc7_sdk", "acc5", "acc2_nonneg", "acc2_pos", "f1_nonneg", "f1_pos"]
)
def test_masked_values_never_matter_to_the_scorer(metric):
    rng = np.random.default_rng(3)
    x, y = np.round(rng.normal(size=(2, 40)) * 4) / 4
    mask = rng.random(40) < 0.6
    alone = scored(metric, x[mask], y[mask])
    assert scored(metric, np.where(mask, x, 99.0), np.where(mask, y, -2.0), mask) == pytest.approx(alone, abs=1e-12)


def test_nothing_observed_is_undefined():
    nothing = np.zeros((0, 1))
    for function in (moments.ccc, moments.corr):
        assert np.isnan(function(nothing, nothing)).all()


# sentiment ------------------------------------------------------------------------------------------------------


def rounded(value: float, limit: int) -> int:
    """Half to even by integer arithmetic."""
    value = max(-limit, min(limit, value))
    below = math.floor(value)
    rest = value - below
    return below if rest < 0.5 or (rest == 0.5 and below % 2 == 0) else below + 1


def sdk_class(value: float) -> int:
    """The SDK's seven bins, as its README lists them."""
    if value < -2:
        return -3
    if -2 <= value < -1:
        return -2
    if -1 <= value < 0:
        return -1
    if value == 0:
        return 0
    if 0 < value <= 1:
        return 1
    return 2 if value <= 2 else 3


@given(series)
def test_sentiment_metrics_equal_plain_loops(xy):
    x, y = xy * 1.25  # some outputs lie outside the scale
    y = np.clip(y, -3, 3)
    pairs = list(zip(x, y, strict=True))
    n = len(pairs)
    assert scored("acc7", x, y) == pytest.approx(sum(rounded(a, 3) == rounded(b, 3) for a, b in pairs) / n)
    assert scored("acc5", x, y) == pytest.approx(sum(rounded(a, 2) == rounded(b, 2) for a, b in pairs) / n)
    assert scored("acc7_sdk", x, y) == pytest.approx(sum(sdk_class(a) == sdk_class(b) for a, b in pairs) / n)
    assert scored("acc2_nonneg", x, y) == pytest.approx(sk.accuracy_score(y >= 0, x >= 0))
    f1 = sk.f1_score(y >= 0, x >= 0, average="weighted", zero_division=0)
    assert scored("f1_nonneg", x, y) == pytest.approx(f1, abs=1e-9)
    away = y != 0
    if not away.any():
        for metric in ("acc2_pos", "f1_pos"):
            with pytest.raises(UserError, match="undefined"):
                scored(metric, x, y)
        return
    assert scored("acc2_pos", x, y) == pytest.approx(sk.accuracy_score(y[away] > 0, x[away] > 0))
    f1 = sk.f1_score(y[away] > 0, x[away] > 0, average="weighted", zero_division=0)
    assert scored("f1_pos", x, y) == pytest.approx(f1, abs=1e-9)


def test_the_three_ways_to_binarise_differ():
    truth, output = np.array([0.0, 1.0, -1.0, -1.0]), np.array([-0.5, 1.0, -1.0, 0.0])
    assert scored("acc2_nonneg", output, truth) == 0.5  # 0 is positive on both sides
    assert scored("acc2_pos", output, truth) == 1.0  # the zero truth is out, an output of 0 is not positive


def test_halves_round_to_even():
    assert sentiment.rounded([0.5, 1.5, 2.5, -0.5, -1.5, 9.0], 3).tolist() == [0, 2, 2, 0, -2, 3]
