"""Tests shown beside the binding one: other assumptions, same question. None of them decides anything."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from mer_bench.errors import UserError
from mer_bench.results.statistics.estimates import CONFIDENCE, Array, finite

SIGN_DRAWS = 99_999
_CHUNK = 4_096


@dataclass(frozen=True)
class Outperformance:
    """P(B > A) over units, after Bouthillier et al. (2021).

    Attributes:
        value: share of units and seeds on which the first method is better; ties count half.
        low: lower end of the bootstrap interval over units.
        high: upper end.
    """

    value: float
    low: float
    high: float

    @property
    def meaningful(self) -> bool:
        """Their rule: at least 3 of 4, and better than a coin beyond doubt."""
        return self.value >= 0.75 and self.low > 0.5


def _units(differences: ArrayLike, what: str) -> Array:
    """One number a unit: seeds, if there is such an axis, are averaged."""
    values = finite(differences, what)
    units = values.reshape(len(values), -1).mean(axis=1)
    if len(units) < 2:
        raise UserError(f"{what}: {len(units)} unit; expected at least 2.")
    return np.where(np.abs(units) < 1e-12, 0.0, units)


def sign_flip(differences: ArrayLike, *, draws: int = SIGN_DRAWS, seed: int = 0) -> float:
    """P value of the sign-flip permutation test on units (subjects, speakers).

    Exact where all 2^J sign patterns are fewer than the draws; else (1 + hits) / (1 + draws).

    Args:
        differences: first minus second, (unit,) or (unit, seed).
        draws: random sign patterns.
        seed: of the draws.

    Raises:
        UserError: fewer than two units, or a value that is not finite.
    """
    units = _units(differences, "sign-flip")
    # averages of rational scores tie often: the tolerance keeps float order from deciding ties
    bar = abs(units.sum()) - 1e-9 * np.abs(units).sum()
    if 2 ** len(units) <= draws + 1:
        codes = np.arange(2 ** len(units))[:, None] >> np.arange(len(units)) & 1
        return float((np.abs((2 * codes - 1) @ units) >= bar).mean())
    rng = np.random.default_rng(seed)
    hits = 0
    for start in range(0, draws, _CHUNK):
        bits = rng.integers(0, 2, size=(min(_CHUNK, draws - start), len(units)), dtype=np.int8)
        hits += int((np.abs((2 * bits - 1) @ units) >= bar).sum())
    return (1 + hits) / (1 + draws)


def wilcoxon(differences: ArrayLike) -> float:
    """P value of Wilcoxon's signed-rank test on units; 1 where no unit differs.

    Args:
        differences: first minus second, (unit,) or (unit, seed).

    Raises:
        UserError: fewer than two units, or a value that is not finite.
    """
    from scipy.stats import wilcoxon as signed_rank

    units = _units(differences, "Wilcoxon")
    return float(signed_rank(units).pvalue) if units.any() else 1.0


def outperformance(
    differences: ArrayLike, *, higher_is_better: bool, draws: int = 9_999, seed: int = 0
) -> Outperformance:
    """Share of (unit, seed) pairs on which the first method is better, with an interval over units.

    Args:
        differences: first minus second, (unit, seed).
        higher_is_better: direction of the metric.
        draws: bootstrap resamples of units.
        seed: of the draws.

    Raises:
        UserError: fewer than two units, or a value that is not finite.
    """
    values = finite(differences, "P(B > A)")
    gains = (values if higher_is_better else -values).reshape(len(values), -1)
    gains = np.where(np.abs(gains) < 1e-12, 0.0, gains)
    wins = _units((gains > 0) + 0.5 * (gains == 0), "P(B > A)")
    picks = np.random.default_rng(seed).integers(len(wins), size=(draws, len(wins)))
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(wins[picks].mean(axis=1), [tail, 1 - tail])
    return Outperformance(float(wins.mean()), float(low), float(high))
