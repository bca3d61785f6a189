"""Many comparisons at once: Holm, bootstrap max-T, and the two families of tests.

Confirmatory: the comparisons that the project announced before it measured anything; Holm holds their family-wise
error at 5 %. Exploratory: all others; their p values are not adjusted and are marked so.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import ArrayLike

from mer_bench.errors import UserError
from mer_bench.results.statistics.estimates import Array, finite

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True)
class Tested:
    """A p value with its family.

    Attributes:
        p: as measured.
        adjusted: after Holm in the confirmatory family; None for exploratory comparisons, which are not adjusted.
        family: which of the two.
    """

    p: float
    adjusted: float | None
    family: Literal["confirmatory", "exploratory"]


def holm(p_values: ArrayLike) -> Array:
    """Holm's step-down adjusted p values, in the order given.

    Raises:
        UserError: a value outside [0, 1] or not finite.
    """
    p = np.atleast_1d(finite(p_values, "p values for Holm"))
    if ((p < 0) | (p > 1)).any():
        raise UserError(f"Holm: p values must lie in [0, 1]; got {p.min()} to {p.max()}.")
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)).clip(max=1.0)
    adjusted = np.empty_like(p)
    adjusted[order] = stepped
    return adjusted


def adjust(p_values: Mapping[Key, float]) -> dict[Key, float]:
    """Holm over everything in a mapping."""
    return dict(zip(p_values, holm(list(p_values.values())).tolist(), strict=True)) if p_values else {}


def families(p_values: Mapping[str, float], confirmatory: Sequence[str]) -> dict[str, Tested]:
    """Put each comparison into its family and adjust the confirmatory ones.

    The family is fixed in advance. A member without a result counts with p = 1, so that no p value gets smaller
    because another method failed.

    Args:
        p_values: by name.
        confirmatory: names of the announced comparisons, measured or not.
    """
    adjusted = adjust({name: p_values.get(name, 1.0) for name in sorted(set(confirmatory))})
    return {
        name: Tested(p, adjusted[name], "confirmatory") if name in adjusted else Tested(p, None, "exploratory")
        for name, p in p_values.items()
    }


def max_t(p_values: Mapping[tuple[str, str], float], resampled: Mapping[str, Array]) -> dict[tuple[str, str], float]:
    """Single-step max-T over pairs of methods.

    Each p value is turned into a normal deviate, so that the degrees of freedom of its own test are kept; the
    resamples give only the joint law of the deviates. With two methods the result is the p value that went in, up to
    the error of the draws.

    Args:
        p_values: unadjusted, by pair.
        resampled: bootstrap scores (draws,) by method, all on the same resampled test sets.

    Returns:
        Adjusted p values by pair, never below the unadjusted ones.
    """
    from scipy.special import ndtri

    if not p_values:
        return {}
    draws = len(next(iter(resampled.values())))
    largest = np.zeros(draws)
    for a, b in p_values:
        gap = resampled[a] - resampled[b]
        spread = gap.std()
        if spread > 0:
            np.maximum(largest, np.abs(gap - gap.mean()) / spread, out=largest)
    largest.sort()
    raw = np.array(list(p_values.values()))
    reached = draws - np.searchsorted(largest, -ndtri(raw / 2))
    return dict(zip(p_values, np.maximum((1 + reached) / (1 + draws), raw).tolist(), strict=True))
