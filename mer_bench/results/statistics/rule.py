"""What a rule is: how a score, or a difference between two methods, gets its standard error.

A rule follows from the design of the protocol, never from the data: `SingleSplit` (A), `Folds` (B) and `LeaveOneOut`
(C). Each has its own kind of sample, said in its docstring. All are calibrated by `calibration`.
"""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from mer_bench.errors import UserError
from mer_bench.results.statistics.estimates import (
    CONFIDENCE,
    MARGIN,
    Array,
    Difference,
    Estimate,
    make_difference,
    make_estimate,
)

Pair = tuple[str, str]
Samples = Mapping[str, Array]


class Spread(NamedTuple):
    """Value, standard error, degrees of freedom."""

    value: float
    se: float
    df: float


@dataclass(frozen=True, kw_only=True)
class Rule(ABC):
    """From samples to estimates.

    Attributes:
        higher_is_better: direction of the metric.
        margin: differences below this are of no practical interest, in the unit of the metric.
        confidence: coverage of the intervals.
    """

    higher_is_better: bool
    margin: float = MARGIN
    confidence: float = CONFIDENCE

    @abstractmethod
    def spread(self, sample: Array) -> Spread:
        """Of one sample."""

    @abstractmethod
    def contrast(self, first: Array, second: Array, *, same_runs: bool) -> Spread:
        """Of first minus second."""

    @abstractmethod
    def joint_p(self, samples: Samples, *, draws: int, seed: int) -> dict[Pair, float]:
        """P values of all pairs, adjusted to hold together."""

    def score(self, sample: ArrayLike) -> Estimate:
        """Score of one method with its interval.

        Args:
            sample: see the rule.

        Raises:
            UserError: too few seeds, folds or clusters, or a value that is not finite.
        """
        return make_estimate(*self.spread(np.asarray(sample, np.float64)), confidence=self.confidence)

    def difference(self, first: ArrayLike, second: ArrayLike, *, same_runs: bool = False) -> Difference:
        """First minus second, on the same folds, clusters or subjects.

        Args:
            first: sample of one method.
            second: sample of the other.
            same_runs: both come from the same trained networks (a network and its additive projection), so that
                their seeds are paired too. Only rule A makes a difference between the two.

        Raises:
            UserError: as `score`, or samples of different units.
        """
        a, b = np.asarray(first, np.float64), np.asarray(second, np.float64)
        return make_difference(
            *self.contrast(a, b, same_runs=same_runs),
            higher_is_better=self.higher_is_better,
            margin=self.margin,
            confidence=self.confidence,
        )

    def pair_differences(self, samples: Samples) -> dict[Pair, Difference]:
        """Every pair of methods once, names in alphabetical order."""
        return {(a, b): self.difference(samples[a], samples[b]) for a, b in itertools.combinations(sorted(samples), 2)}


def scatter(values: Array) -> float:
    """Unbiased variance of all the values; exactly 0 for equal ones."""
    return float(values.var(ddof=1)) if np.ptp(values) else 0.0


def paired(first: Array, second: Array) -> Array:
    """First minus second.

    Raises:
        UserError: the two were not measured on the same units.
    """
    if first.shape != second.shape:
        raise UserError(
            f"The two methods have samples of shape {first.shape} and {second.shape}; a difference needs the same "
            "folds and seeds (or subjects) of both. Run what is missing."
        )
    return first - second
