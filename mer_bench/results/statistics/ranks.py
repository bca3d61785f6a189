"""What a table may claim: which ranks a method may hold, and which differences the protocol can see at all."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from mer_bench.errors import UserError
from mer_bench.results.statistics.estimates import ALPHA, POWER, Difference, quantile
from mer_bench.results.statistics.rule import Rule

DRAWS = 9_999


@dataclass(frozen=True)
class RankInterval:
    """The ranks that a method may hold: all between `low` and `high` are compatible with the data."""

    low: int
    high: int


@dataclass(frozen=True)
class Resolution:
    """The smallest true difference that a protocol finds with 80 % power.

    Attributes:
        single: for one comparison; the median over the pairs of a table, each of which has its own.
        smallest: of the pair that needs least.
        largest: of the pair that needs most.
        adjusted: for the first step of Holm among `comparisons`, in the unit of the metric.
        comparisons: size of that family.
        factor: standard errors that an observed difference needs after adjustment.
    """

    single: float
    smallest: float
    largest: float
    adjusted: float
    comparisons: int
    factor: float


def rank_intervals(
    rule: Rule, samples: Mapping[str, ArrayLike], *, alpha: float = ALPHA, draws: int = DRAWS, seed: int = 0
) -> dict[str, RankInterval]:
    """Simultaneous rank intervals: [1 + number surely better, k - number surely worse].

    With probability 1 - alpha no method is placed wrongly against any other. Methods whose interval contains 1
    form the top group.

    Args:
        rule: of the protocol.
        samples: by method, all complete.
        alpha: family-wise error over all pairs.
        draws: bootstrap resamples (rule A only).
        seed: of the draws.

    Raises:
        UserError: see `Rule.difference`.
    """
    arrays = {name: np.asarray(sample, np.float64) for name, sample in samples.items()}
    sign = 1 if rule.higher_is_better else -1
    quality = {name: sign * rule.score(sample).value for name, sample in arrays.items()}
    better, worse = dict.fromkeys(arrays, 0), dict.fromkeys(arrays, 0)
    for pair, p in rule.joint_p(arrays, draws=draws, seed=seed).items():
        if p <= alpha:
            loser, winner = sorted(pair, key=quality.__getitem__)
            better[loser] += 1
            worse[winner] += 1
    return {name: RankInterval(1 + better[name], len(arrays) - worse[name]) for name in arrays}


def resolution(
    differences: Iterable[Difference], *, comparisons: int, alpha: float = ALPHA, power: float = POWER
) -> Resolution:
    """What a table cannot resolve: (t_{1-alpha/2} + t_{power}) · SE of its comparisons, median and ends.

    Args:
        differences: those of the table.
        comparisons: size of the family that Holm adjusts for.
        alpha: two-sided error.
        power: wanted probability of finding the difference.

    Raises:
        UserError: there is no difference to look at, or the family is empty.
    """
    rows = list(differences)
    if not rows or comparisons < 1:
        raise UserError("Resolution: no comparison; a table needs at least two complete methods.")

    def needed(level: float) -> list[float]:
        return [(quantile(row.df, 1 - level / 2) + quantile(row.df, power)) * row.se for row in rows]

    factor = float(np.median([quantile(row.df, 1 - alpha / comparisons / 2) for row in rows]))
    single, adjusted = needed(alpha), needed(alpha / comparisons)
    return Resolution(
        single=float(np.median(single)),
        smallest=min(single),
        largest=max(single),
        adjusted=float(np.median(adjusted)),
        comparisons=comparisons,
        factor=factor,
    )
