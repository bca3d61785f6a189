"""What a subset of the modalities knows of a scale, and the optimum of each metric that follows from it.

A scale is y = √α_R r + Σ √α_m u_m + √α_S s_a s_b + √α_0 ε with Σα = 1, s = ±1 and the rest N(0, 1). A subset that
sees the share η² of its variance has CCC* = r* = η and, with all parts Gaussian, MAE* = √(2 (1 - η²) / π) and a sign
accuracy of 1/2 + arcsin(η) / π. Where the product of signs takes part (α_S > 0) neither y nor the residual is Gaussian,
and the last two are integrated exactly.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from mer_bench.data.synthetic.latents import gains
from mer_bench.data.synthetic.settings import Settings

Reals = NDArray[np.float64]


@dataclass(frozen=True)
class Explained:
    """What a subset knows of a scale of unit variance: y = g + t√α_S + noise.

    Attributes:
        gauss: variance of g, the Gaussian part that is seen.
        sign: standard deviation of the product of signs, √α_S.
        both: whether the product is seen.
        rest: variance of the Gaussian part that is not seen.
    """

    gauss: float
    sign: float
    both: bool
    rest: float

    @property
    def share(self) -> float:
        """η²: the share of variance that is explained."""
        return self.gauss + self.both * self.sign**2


def explained(settings: Settings, seen: set[str]) -> Explained:
    """What the available modalities know."""
    share = gains(settings)
    weights = dict(zip(settings.modalities, share.unique, strict=True))
    gauss = share.redundant * bool(seen) + sum(float(weights[m]) for m in seen)
    rest = max(1.0 - gauss - share.synergy, 0.0)
    return Explained(gauss, float(np.sqrt(share.synergy)), set(settings.pair) <= seen, rest)


def mean_absolute_error(e: Explained) -> float:
    """E|y - E[y | x]|: √(2 (1 - η²) / π) when the residual is Gaussian, else the mean of a folded normal."""
    spread = np.sqrt(e.rest)
    if e.both or e.sign == 0:
        return float(spread * np.sqrt(2 / np.pi))
    ratio = e.sign / max(spread, 1e-12)
    return float(spread * np.sqrt(2 / np.pi) * np.exp(-(ratio**2) / 2) + e.sign * (1 - 2 * ndtr(-ratio)))


@cache
def sign_accuracy(e: Explained) -> float:
    """P(the sign of E[y | x] is that of y); 1/2 + arcsin(η)/π when all is Gaussian."""
    mean, hidden = _means(e)
    right = np.mean([ndtr(_over(np.abs(mean) + t * np.sign(mean), e.rest)) for t in hidden], axis=0)
    return float(right.mean()) if e.share > 0 else 0.5


@cache
def bin_accuracy(e: Explained, edges: tuple[float, ...]) -> float:
    """P(y lies in its likeliest bin); edges in standard deviations of y."""
    return float(bin_chances(e, _means(e)[0], np.array(edges)).max(axis=-1).mean())


def bin_chances(e: Explained, mean: Reals, edges: Reals) -> Reals:
    """(..., bins) probability that y lies in each bin, given E[y | x]."""
    hidden = (0.0,) if e.both else (-e.sign, e.sign)
    below = np.mean([ndtr(_over(edges - mean[..., None] - t, e.rest)) for t in hidden], axis=0)
    closed = np.concatenate([np.zeros((*mean.shape, 1)), below, np.ones((*mean.shape, 1))], axis=-1)
    return np.diff(closed, axis=-1)


def _means(e: Explained) -> tuple[Reals, tuple[float, ...]]:
    """Equally likely values of E[y | x] (quantile midpoints), and what a hidden product of signs may add."""
    nodes = 20001
    gauss = np.sqrt(e.gauss) * ndtri((np.arange(nodes) + 0.5) / nodes)
    if e.both:
        return np.concatenate([gauss - e.sign, gauss + e.sign]), (0.0,)
    return gauss, (-e.sign, e.sign)


def _over(distance: Reals, variance: float) -> Reals:
    """Distance in standard deviations; without variance, infinite but for no distance at all."""
    return distance / max(np.sqrt(variance), 1e-9)
