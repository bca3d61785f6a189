"""Metrics of regression, from first and second moments over n.

Functions take (n,) or (n, D) arrays and a mask of the same shape, and give a value or (D,) values. `MOMENTS` are sums
that add up over parts of the data; the metrics can be computed from them as well (``*_of``), on arrays with any leading
axes. Where a two-pass computation is possible it is used: sums lose digits when the mean is far larger than the spread.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from mer_bench.metrics.counts import Floats, ratio

#: columns of the additive statistics: count, sums, sums of squares and product, sum of absolute errors
MOMENTS = ("n", "x", "y", "xx", "yy", "xy", "absolute")

# *ours*: a series whose variance is below this share of its mean square is constant. Its spread is then under 1e-7 of
# its size, the resolution of float32 outputs.
_CONSTANT = 1e-14

Column = Callable[[Floats, Floats], float]


def by_column(function: Column, prediction: ArrayLike, target: ArrayLike, mask: ArrayLike | None) -> Floats:
    """Apply a function to the observed pairs of each column; NaN where there is none."""
    x, y = np.asarray(prediction, np.float64), np.asarray(target, np.float64)
    observed = np.ones(y.shape, bool) if mask is None else np.asarray(mask, bool)
    if y.ndim == 1:
        x, y, observed = x[:, None], y[:, None], observed[:, None]
    values = [
        function(x[observed[:, d], d], y[observed[:, d], d]) if observed[:, d].any() else np.nan
        for d in range(y.shape[1])
    ]
    return np.asarray(values if np.ndim(target) > 1 else values[0], np.float64)


def moments(x: Floats, y: Floats) -> tuple[Floats, Floats, Floats, Floats, Floats]:
    """Means, variances and covariance over n, in two passes; exact zero variance for (nearly) constant series."""
    mean_x, mean_y = x.mean(), y.mean()
    var_x, var_y = np.square(x - mean_x).mean(), np.square(y - mean_y).mean()
    var_x = np.where(var_x <= _CONSTANT * np.square(x).mean(), 0.0, var_x)
    var_y = np.where(var_y <= _CONSTANT * np.square(y).mean(), 0.0, var_y)
    return mean_x, mean_y, var_x, var_y, ((x - mean_x) * (y - mean_y)).mean()


def _ccc(mean_x: Floats, mean_y: Floats, var_x: Floats, var_y: Floats, cov: Floats) -> Floats:
    value = ratio(2 * cov, var_x + var_y + np.square(mean_x - mean_y))
    both_constant = (var_x == 0) & (var_y == 0)
    either_constant = (var_x == 0) | (var_y == 0)
    return np.asarray(np.where(both_constant, np.nan, np.where(either_constant, 0.0, np.clip(value, -1.0, 1.0))))


def _corr(mean_x: Floats, mean_y: Floats, var_x: Floats, var_y: Floats, cov: Floats) -> Floats:
    del mean_x, mean_y
    value = np.clip(ratio(cov, np.sqrt(var_x * var_y), empty=0.0), -1.0, 1.0)
    return np.asarray(np.where(var_y == 0, np.nan, np.where(var_x == 0, 0.0, value)))


def ccc(prediction: ArrayLike, target: ArrayLike, mask: ArrayLike | None = None) -> Floats:
    """Concordance correlation coefficient: 2 cov / (var_x + var_y + (mean_x - mean_y)²), moments over n.

    Source: Lin (Biometrics 45, 1989); ABAW's definition, over all valid frames of all recordings put end to end.
    torchmetrics divides by n - 1 and differs for short series.
    Higher is better, -1 to 1. Masked: not counted. Empty: undefined. Constant predictions: 0. Both constant: undefined.
    """
    return by_column(lambda x, y: float(_ccc(*moments(x, y))), prediction, target, mask)


def corr(prediction: ArrayLike, target: ArrayLike, mask: ArrayLike | None = None) -> Floats:
    """Pearson correlation: cov / (sd_x sd_y).

    Higher is better, -1 to 1. Masked: not counted. Empty: undefined. Constant predictions: 0 (*ours*: they tell
    nothing; scipy gives NaN). Constant truth: undefined.
    """
    return by_column(lambda x, y: float(_corr(*moments(x, y))), prediction, target, mask)


def mae(prediction: ArrayLike, target: ArrayLike, mask: ArrayLike | None = None) -> Floats:
    """Mean absolute error: Σ |x - y| / n, on the scale of the labels.

    Lower is better, 0 upwards. Masked: not counted. Empty: undefined. Constant series need no care.
    """
    return by_column(lambda x, y: float(np.abs(x - y).mean()), prediction, target, mask)


def _central(sums: Floats) -> tuple[Floats, Floats, Floats, Floats, Floats]:
    n, x, y, xx, yy, xy, _ = np.moveaxis(sums, -1, 0)
    mean_x, mean_y = ratio(x, n), ratio(y, n)
    var_x, var_y = ratio(xx, n) - mean_x**2, ratio(yy, n) - mean_y**2
    var_x = np.where(var_x <= _CONSTANT * ratio(xx, n), 0.0, var_x)
    var_y = np.where(var_y <= _CONSTANT * ratio(yy, n), 0.0, var_y)
    return mean_x, mean_y, var_x, var_y, ratio(xy, n) - mean_x * mean_y


def ccc_of(sums: Floats) -> Floats:
    """`ccc` from summed `MOMENTS` (..., 7)."""
    return np.asarray(np.where(sums[..., 0] > 0, _ccc(*_central(sums)), np.nan))


def corr_of(sums: Floats) -> Floats:
    """`corr` from summed `MOMENTS` (..., 7)."""
    return np.asarray(np.where(sums[..., 0] > 0, _corr(*_central(sums)), np.nan))


def mae_of(sums: Floats) -> Floats:
    """`mae` from summed `MOMENTS` (..., 7)."""
    return ratio(sums[..., 6], sums[..., 0])
