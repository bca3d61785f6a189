"""Quantities that are computed from scores or outputs before any standard error.

Area under the missing-modality curve, and what an interaction gain says.
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
