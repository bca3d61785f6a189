"""A number with its uncertainty: score and difference, both from Student's t.

The same location-scale t distribution is read in two ways: as a test (interval, p value) and as the posterior of the
correlated t-test of Corani and Benavoli (2015), whose probabilities of "better" and "practically equal" stand beside
the p value. Nothing here knows where value, standard error and degrees of freedom come from; see `rules`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mer_bench.errors import UserError

Array = NDArray[np.float64]

CONFIDENCE = 0.95
ALPHA = 0.05
POWER = 0.80
MARGIN = 0.005  # half a point of a metric that is shown in per cent
ROUNDING = 1e-12  # metrics are of order one: anything smaller is the order in which floats were added


@dataclass(frozen=True)
class Estimate:
    """A score, or a difference without a direction.

    Attributes:
        value: the point estimate, in the unit of the metric.
        se: its standard error.
        df: degrees of freedom of the t distribution.
        low: lower end of the confidence interval.
        high: upper end.
    """

    value: float
    se: float
    df: float
    low: float
    high: float


@dataclass(frozen=True)
class Difference:
    """One method minus another on the same units.

    Attributes:
        value: first minus second, in the unit of the metric, whatever its direction.
        se: standard error of the difference.
        df: degrees of freedom.
        low: lower end of the confidence interval.
        high: upper end.
        p: two-sided p value of "no difference", not adjusted.
        p_better: probability that the first is better, in the metric's own direction.
        p_within: probability that they differ by less than the margin.
        p_clearly_better: probability that the first is better by more than the margin.
    """

    value: float
    se: float
    df: float
    low: float
    high: float
    p: float
    p_better: float
    p_within: float
    p_clearly_better: float


def finite(values: ArrayLike, what: str) -> Array:
    """The values as float64.

    Args:
        values: numbers of any shape.
        what: what they are, for the message.

    Raises:
        UserError: one of them is NaN or infinite, or there is none.
    """
    array = np.asarray(values, dtype=np.float64)
    if array.size == 0:
        raise UserError(f"{what}: no value at all; expected a score for every unit and seed.")
    bad = np.argwhere(~np.isfinite(array))
    if len(bad):
        raise UserError(
            f"{what}: {len(bad)} of {array.size} values are not finite, the first at index {bad[0].tolist()}; "
            "a run is missing or its metric is undefined. Repeat it, or leave the row unranked."
        )
    return array


def quantile(df: float, probability: float) -> float:
    """Quantile of Student's t with `df` degrees of freedom."""
    from scipy.special import stdtrit

    return float(stdtrit(df, probability))


def _below(threshold: float, value: float, se: float, df: float) -> float:
    """P(X < threshold) for X = value + se * t_df; a point mass counts half on the threshold itself."""
    from scipy.special import stdtr

    if se == 0.0:
        return 0.5 * (float(value < threshold) + float(value <= threshold))
    return float(stdtr(df, (threshold - value) / se))


def _clean(value: float, se: float) -> tuple[float, float]:
    """Rounding noise is no effect and no uncertainty."""
    return (0.0 if abs(value) < ROUNDING else float(value)), (0.0 if se < ROUNDING else float(se))


def make_estimate(value: float, se: float, df: float, *, confidence: float = CONFIDENCE) -> Estimate:
    """The interval value ± t·se.

    Args:
        value: point estimate.
        se: standard error, not negative.
        df: degrees of freedom, positive.
        confidence: coverage of the interval.
    """
    value, se = _clean(value, se)
    half = quantile(df, 0.5 + confidence / 2) * se
    return Estimate(value, se, float(df), value - half, value + half)


def make_difference(
    value: float,
    se: float,
    df: float,
    *,
    higher_is_better: bool,
    margin: float = MARGIN,
    confidence: float = CONFIDENCE,
) -> Difference:
    """Interval, p value and probabilities of a difference.

    Without any uncertainty (se = 0) equal methods get p = 1 and P(better) = 1/2, unequal ones p = 0.

    Args:
        value: first minus second, in the unit of the metric.
        se: standard error.
        df: degrees of freedom.
        higher_is_better: direction of the metric.
        margin: differences below this are of no practical interest.
        confidence: coverage of the interval.
    """
    plain = make_estimate(value, se, df, confidence=confidence)
    gain = plain.value if higher_is_better else -plain.value
    worse_side = _below(-abs(gain), 0.0, plain.se, df)
    p = min(1.0, 2 * worse_side)
    at_low, at_high = (_below(edge, gain, plain.se, df) for edge in (-margin, margin))
    return Difference(
        value=plain.value,
        se=plain.se,
        df=plain.df,
        low=plain.low,
        high=plain.high,
        p=p,
        p_better=1.0 - _below(0.0, gain, plain.se, df),
        p_within=at_high - at_low,
        p_clearly_better=1.0 - at_high,
    )
