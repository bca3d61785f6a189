"""Quantities that are computed from scores or outputs before any standard error.

Area under the missing-modality curve, the additive projection behind the interaction gain, and the expected best of
n search trials.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from mer_bench.errors import UserError
from mer_bench.results.statistics.estimates import MARGIN, Array, Difference, Estimate, finite

Interaction = Literal["ADDITIVE", "UNRESOLVED", "INTERACTION"]


def missing_auc(rates: ArrayLike, scores: ArrayLike) -> Array:
    """Area under the score as modalities go missing, divided by the range of the rates.

    The stored masks of a rate are averaged first: they are a way to compute one number exactly, not a source of
    uncertainty. The result is a score like any other, so rules A, B and C apply to it.

    Args:
        rates: (rate,), ascending, from 0 (nothing removed) up.
        scores: (..., rate, mask).

    Returns:
        (...) in the unit of the metric.

    Raises:
        UserError: rates that do not ascend, too few of them, or a value that is not finite.
    """
    x, y = finite(rates, "missing rates"), finite(scores, "scores under missing modalities")
    if x.ndim != 1 or len(x) < 2 or (np.diff(x) <= 0).any():
        raise UserError(f"Missing rates must ascend and be at least two; got {x.tolist()}.")
    if y.ndim < 2 or y.shape[-2] != len(x):
        raise UserError(f"Scores of shape {y.shape} for {len(x)} rates; expected (..., rate, mask).")
    return np.asarray(np.trapezoid(y.mean(axis=-1), x, axis=-1) / (x[-1] - x[0]))


def additive_projection(mixed: ArrayLike, partners: ArrayLike) -> Array:
    """The part of a network that adds its modalities up (EMAP, Hessel and Lee 2020).

    f_add(x) = Σ_m mean_c f(x_m, c_-m) - (M-1) · mean_c f(c), with one fixed set of partners c for all items, on
    logits (regression: the raw output). The gain of the network over its projection is what fusion really adds.

    Args:
        mixed: (modality, item, partner, size): outputs with one modality of the item and the others of a partner.
        partners: (partner, size): outputs of the partners themselves.

    Returns:
        (item, size) outputs of the projection.

    Raises:
        UserError: shapes that do not fit, or a value that is not finite.
    """
    f, c = finite(mixed, "mixed outputs"), finite(partners, "outputs of the partners")
    if f.ndim != 4 or c.shape != f.shape[2:]:
        raise UserError(
            f"Additive projection: mixed outputs {f.shape} and partners {c.shape}; expected "
            "(modality, item, partner, size) and (partner, size) with the same partners."
        )
    return np.asarray(f.mean(axis=2).sum(axis=0) - (len(f) - 1) * c.mean(axis=0))


def interaction(gain: Estimate | Difference, *, margin: float = MARGIN) -> Interaction:
    """What an interval of the interaction gain says.

    Args:
        gain: score of the network minus score of its additive projection, paired (`same_runs`).
        margin: half a point.

    Returns:
        ADDITIVE when the whole interval lies within the margin, UNRESOLVED when it reaches outside and holds 0,
        else INTERACTION: the gain itself is shown (a negative one says that the projection was better).
    """
    if -margin <= gain.low and gain.high <= margin:
        return "ADDITIVE"
    return "UNRESOLVED" if gain.low <= 0 <= gain.high else "INTERACTION"


def expected_best(scores: ArrayLike, *, higher_is_better: bool) -> Array:
    """Expected best validation score of n search trials, n = 1 ... T, drawn without replacement.

    E[best of n] = Σ_i v_(i) C(i-1, n-1) / C(T, n), the unbiased form.

    Args:
        scores: (trial,) validation scores of all trials, none left out.
        higher_is_better: direction of the metric.

    Returns:
        (trial,), the last entry being the best of all.
    """
    values = np.sort(finite(scores, "search trials").ravel())
    ordered = values if higher_is_better else values[::-1]
    trials = len(ordered)
    weights = np.full(trials, 1 / trials)
    curve = np.empty(trials)
    for n in range(1, trials + 1):
        curve[n - 1] = weights @ ordered
        # C(i-1, n) / C(T, n+1) from C(i-1, n-1) / C(T, n)
        weights = weights * (np.arange(trials) - n + 1).clip(min=0) / n * (n + 1) / max(trials - n, 1)
    return curve
