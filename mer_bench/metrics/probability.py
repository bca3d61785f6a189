"""Metrics of scores and probabilities: ranking (AUC, AUPRC), calibration (ECE, Brier), and thresholds for labels."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mer_bench.errors import UserError
from mer_bench.metrics.counts import Floats, ratio

BINS = 15  # Guo et al. (ICML 2017) use 15 bins


def softmax(logits: ArrayLike) -> Floats:
    """Probabilities of classes, (n, K) to (n, K), without overflow."""
    logits = np.asarray(logits, np.float64)
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True))


def sigmoid(logits: ArrayLike) -> Floats:
    """Probabilities of labels, any shape, without overflow."""
    logits = np.asarray(logits, np.float64)
    small = np.exp(-np.abs(logits))
    return np.asarray(np.where(logits >= 0, 1.0, small) / (1.0 + small))


def auc(scores: ArrayLike, target: ArrayLike) -> float:
    """Area under the ROC curve: P(score of a positive > score of a negative), ties counting 1/2 (Mann-Whitney).

    Higher is better, 0 to 1; guessing gives 1/2. Empty, or only one class in the reference: undefined.

    Args:
        scores: (n,), any monotone function of the probability of being positive.
        target: (n,), 0 or 1.
    """
    scores, positive = np.asarray(scores, np.float64), np.asarray(target) > 0
    _, place, copies = np.unique(scores, return_inverse=True, return_counts=True)
    rank = (np.cumsum(copies) - (copies - 1) / 2)[place]
    p, n = positive.sum(), (~positive).sum()
    return float(ratio(rank[positive].sum() - p * (p + 1) / 2, p * n))


def auprc(scores: ArrayLike, target: ArrayLike) -> float:
    """Average precision: Σ_i (R_i - R_{i-1}) P_i over the distinct scores, from the highest down.

    Source: scikit-learn's `average_precision_score` (no interpolation, which would flatter).
    Higher is better, 0 to 1; guessing gives the share of positives. No positive: undefined (scikit-learn gives 0).
    """
    scores, positive = np.asarray(scores, np.float64), (np.asarray(target) > 0).astype(np.float64)
    levels, place = np.unique(-scores, return_inverse=True)
    hits = np.cumsum(np.bincount(place, positive, len(levels)))
    seen = np.cumsum(np.bincount(place, minlength=len(levels)))
    steps = np.diff(hits, prepend=0.0)
    return float(ratio((steps * ratio(hits, seen, empty=0.0)).sum(), positive.sum()))


def ece(confidence: ArrayLike, correct: ArrayLike, bins: int = BINS) -> float:
    """Expected calibration error: Σ_b n_b / n · |mean confidence - mean correctness| over bins of equal mass.

    Source: Guo et al. (ICML 2017); equal mass (adaptive) bins as in Nixon et al. (CVPR workshops 2019), because equal
    width leaves most bins of a confident network empty. Items of equal confidence share their mean correctness, so that
    their order does not matter (*ours*). Fewer items than bins: one bin an item.
    Lower is better, 0 to 1. Empty: undefined.

    Args:
        confidence: (n,) probability of the predicted class (classes), or of being present (labels).
        correct: (n,) 0 or 1: the prediction is right (classes), or the label is present (labels).
        bins: number of bins.
    """
    confidence, correct = np.asarray(confidence, np.float64), np.asarray(correct, np.float64)
    if not len(confidence):
        return float("nan")
    levels, place, copies = np.unique(confidence, return_inverse=True, return_counts=True)
    shared = np.repeat(np.bincount(place, correct, len(levels)) / copies, copies)
    gaps = np.array_split(np.repeat(levels, copies) - shared, bins)
    return float(sum(abs(gap.sum()) for gap in gaps) / len(confidence))


def brier_parts(probabilities: ArrayLike, target: ArrayLike) -> Floats:
    """Squared error of each item, Σ_k (p_k - [y = k])² (n,); see `brier`."""
    probabilities = np.asarray(probabilities, np.float64)
    truth = np.eye(probabilities.shape[-1])[np.asarray(target, np.int64)]
    return np.asarray(np.square(probabilities - truth).sum(axis=-1))


def brier(probabilities: ArrayLike, target: ArrayLike) -> float:
    """Brier score of classes: mean over items of Σ_k (p_k - [y = k])².

    Source: Brier (1950), the original form, 0 to 2; with two classes it is twice the usual binary one. For labels the
    scorer uses the binary form (p - y)² of each label, 0 to 1. Lower is better. Empty: undefined.
    """
    parts = brier_parts(probabilities, target)
    return float(parts.mean()) if len(parts) else float("nan")


def choose_thresholds(
    metric: str, logits: ArrayLike, target: ArrayLike, mask: ArrayLike | None = None
) -> tuple[float, ...]:
    """The probability above which each label counts as present, best on these (validation) data.

    Candidates lie midway between neighbouring logits, so that every split of the items is tried; of equally good ones
    the nearest to 1/2 wins. A label with only one of present and absent keeps 1/2.

    Args:
        metric: ``f1_macro`` or ``balanced_accuracy``, maximised label by label.
        logits: (n, L).
        target: (n, L), 0 or 1.
        mask: (n, L); all observed by default.
    """
    if metric not in ("f1_macro", "balanced_accuracy"):
        raise UserError(f"thresholds are chosen by f1_macro or balanced_accuracy, not by {metric!r}")
    logits, target = np.asarray(logits, np.float64), np.asarray(target) > 0
    observed = np.ones(target.shape, bool) if mask is None else np.asarray(mask, bool)
    return tuple(
        _best_threshold(metric, logits[observed[:, j], j], target[observed[:, j], j]) for j in range(target.shape[1])
    )


def _best_threshold(metric: str, logits: Floats, positive: NDArray[np.bool_]) -> float:
    if positive.all() or not positive.any():
        return 0.5
    levels, place = np.unique(np.clip(logits, -30.0, 30.0), return_inverse=True)
    # a cut below everything, midway between neighbours, above everything; `sigmoid` stays clear of 0 and 1
    cuts = np.concatenate([[levels[0] - 1.0], (levels[1:] + levels[:-1]) / 2, [levels[-1] + 1.0]])
    present = np.bincount(place, positive, len(levels))
    absent = np.bincount(place, ~positive, len(levels))
    tp = present.sum() - np.concatenate([[0.0], np.cumsum(present)])
    fp = absent.sum() - np.concatenate([[0.0], np.cumsum(absent)])
    if metric == "f1_macro":
        value = 2 * tp / (tp + fp + present.sum())
    else:
        value = (tp / present.sum() + 1 - fp / absent.sum()) / 2
    thresholds = sigmoid(cuts)
    best = value >= value.max() - 1e-12
    return float(thresholds[best][np.abs(thresholds[best] - 0.5).argmin()])
