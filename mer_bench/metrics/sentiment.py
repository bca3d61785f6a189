"""Metrics of sentiment on the scale -3 to 3 (CMU-MOSI and CMU-MOSEI).

Papers mix several definitions under one name; here each has its own. Sources: CMU-MultimodalSDK's README files, MulT's
`eval_metrics.py`, MMSA's `metricsTop.py`. MulT's single "Acc-2" is a third form (strict > 0 on both sides, zeros kept
and counted as negative) and not offered. All take (n,) or (n, D) raw outputs and truth, and a mask.
Masked: not counted. Empty (for the ``_pos`` forms: no item other than 0): undefined.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mer_bench.metrics import counts
from mer_bench.metrics.counts import Floats
from mer_bench.metrics.moments import by_column


def rounded(values: ArrayLike, limit: int) -> NDArray[np.int64]:
    """Clip to [-limit, limit], then round, halves to even (numpy's rule, which MulT and MMSA use)."""
    return np.round(np.clip(np.asarray(values, np.float64), -limit, limit)).astype(np.int64)


def sdk_bins(values: ArrayLike) -> NDArray[np.int64]:
    """The seven bins of the CMU SDK, as -3 to 3: [-3, -2), [-2, -1), [-1, 0), {0}, (0, 1], (1, 2], (2, 3].

    Zero alone is neutral, which outputs of a network practically never are. Values outside the scale fall into the
    outer bins.
    """
    values = np.asarray(values, np.float64)
    up = np.digitize(values, (0.0, 1.0, 2.0), right=True)
    down = np.digitize(-values, (0.0, 1.0, 2.0), right=True)
    return (up - down).astype(np.int64)


def _table(prediction: ArrayLike, target: ArrayLike) -> Floats:
    return counts.confusion_matrix(prediction, target, 2)


def acc2_nonneg(prediction: ArrayLike, target: ArrayLike, mask: ArrayLike | None = None) -> Floats:
    """Accuracy of negative (< 0) against non-negative (>= 0), over all items. Higher is better, 0 to 1."""
    return by_column(lambda x, y: float(counts.wa(_table(x >= 0, y >= 0))), prediction, target, mask)


def f1_nonneg(prediction: ArrayLike, target: ArrayLike, mask: ArrayLike | None = None) -> Floats:
    """Support-weighted F1 of negative against non-negative, truth first. Higher is better, 0 to 1."""
    return by_column(lambda x, y: float(counts.wf1(_table(x >= 0, y >= 0))), prediction, target, mask)


def _without_zero(target: ArrayLike, mask: ArrayLike | None) -> NDArray[np.bool_]:
    chosen = np.asarray(target, np.float64) != 0
    return chosen if mask is None else chosen & np.asarray(mask, bool)


def acc2_pos(prediction: ArrayLike, target: ArrayLike, mask: ArrayLike | None = None) -> Floats:
    """Accuracy of negative against positive (> 0) over items whose truth is not 0. Higher is better, 0 to 1."""
    chosen = _without_zero(target, mask)
    return by_column(lambda x, y: float(counts.wa(_table(x > 0, y > 0))), prediction, target, chosen)


def f1_pos(prediction: ArrayLike, target: ArrayLike, mask: ArrayLike | None = None) -> Floats:
    """Support-weighted F1 of negative against positive, truth first, truth not 0. Higher is better, 0 to 1."""
    chosen = _without_zero(target, mask)
    return by_column(lambda x, y: float(counts.wf1(_table(x > 0, y > 0))), prediction, target, chosen)


def acc5(prediction: ArrayLike, target: ArrayLike, mask: ArrayLike | None = None) -> Floats:
    """Share of items in the same of five classes: clip to [-2, 2], round. Higher is better, 0 to 1."""
    return by_column(lambda x, y: float((rounded(x, 2) == rounded(y, 2)).mean()), prediction, target, mask)


def acc7(prediction: ArrayLike, target: ArrayLike, mask: ArrayLike | None = None) -> Floats:
    """Share of items in the same of seven classes: clip to [-3, 3], round. Higher is better, 0 to 1."""
    return by_column(lambda x, y: float((rounded(x, 3) == rounded(y, 3)).mean()), prediction, target, mask)


def acc7_sdk(prediction: ArrayLike, target: ArrayLike, mask: ArrayLike | None = None) -> Floats:
    """Share of items in the same of the SDK's seven bins (`sdk_bins`). Higher is better, 0 to 1.

    It assigns another class than `acc7` to a third of the clips of MOSEI: never compare the two.
    """
    return by_column(lambda x, y: float((sdk_bins(x) == sdk_bins(y)).mean()), prediction, target, mask)
