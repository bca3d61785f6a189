"""Metrics of classes and labels, all of them functions of counts.

Counts are float64, truth before prediction: ``[..., truth, predicted]``. A task with K classes has one table
(..., K, K); a task with L labels has one table of 2 x 2 a label (..., L, 2, 2), index 1 meaning present. Leading axes
(clusters, resamples) are kept, so the same functions serve a whole test set and ten thousand resamples of it. Counts
add up: tables of parts of the data may be summed.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


def ratio(above: ArrayLike, below: ArrayLike, empty: float = np.nan) -> Floats:
    """Division with a stated value where the denominator is 0."""
    above, below = np.asarray(above, np.float64), np.asarray(below, np.float64)
    safe = np.where(below == 0, 1.0, below)
    return np.asarray(np.where(below == 0, empty, above / safe))


def confusion_matrix(prediction: ArrayLike, target: ArrayLike, classes: int, mask: ArrayLike | None = None) -> Floats:
    """Counts of (truth, prediction) pairs.

    Args:
        prediction: (n,) class indices.
        target: (n,) class indices.
        classes: number of classes K.
        mask: (n,) True where observed; all by default.

    Returns:
        (K, K); all zero when nothing is observed.
    """
    prediction, target = np.asarray(prediction), np.asarray(target)
    observed = np.ones(target.shape, bool) if mask is None else np.asarray(mask, bool)
    pairs = target[observed].astype(np.int64) * classes + prediction[observed].astype(np.int64)
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes).astype(np.float64)


def label_counts(prediction: ArrayLike, target: ArrayLike, mask: ArrayLike | None = None) -> Floats:
    """One table of 2 x 2 for each label.

    Args:
        prediction: (n, L), 0 or 1.
        target: (n, L), 0 or 1.
        mask: (n, L) True where observed; all by default.

    Returns:
        (L, 2, 2).
    """
    prediction, target = np.asarray(prediction), np.asarray(target)
    observed = np.ones(target.shape, bool) if mask is None else np.asarray(mask, bool)
    columns = range(target.shape[1])
    return np.stack([confusion_matrix(prediction[:, j], target[:, j], 2, observed[:, j]) for j in columns])


def support(confusion: Floats) -> Floats:
    """Reference items of each class (..., K)."""
    return np.asarray(confusion.sum(axis=-1))


def _hits(confusion: Floats) -> Floats:
    return np.diagonal(confusion, axis1=-2, axis2=-1)


def wa(confusion: Floats) -> Floats:
    """Accuracy: Σ_c n_cc / n. "WA" in the IEMOCAP literature; not the weighted accuracy of Tong et al.

    Higher is better, 0 to 1. Masked: not counted. Empty: undefined. Single class: the share of items given that class.
    """
    return ratio(_hits(confusion).sum(axis=-1), confusion.sum(axis=(-2, -1)))


def recall(confusion: Floats) -> Floats:
    """n_cc / n_c. for each class (..., K); undefined for a class that the reference lacks."""
    return ratio(_hits(confusion), support(confusion))


def precision(confusion: Floats) -> Floats:
    """n_cc / n_.c for each class (..., K); 0 for a class that is never predicted."""
    return ratio(_hits(confusion), confusion.sum(axis=-2), empty=0.0)


def f1_by_class(confusion: Floats) -> Floats:
    """2 n_cc / (n_c. + n_.c) for each class (..., K); 0 for a class absent from both counts."""
    return ratio(2 * _hits(confusion), support(confusion) + confusion.sum(axis=-2), empty=0.0)


def ua(confusion: Floats) -> Floats:
    """Unweighted accuracy: recall averaged over the classes present in the reference.

    Source: usual on IEMOCAP since Schuller et al. (Interspeech 2009 Emotion Challenge); equals scikit-learn's
    `balanced_accuracy_score`. torchmetrics' macro accuracy differs when an absent class is predicted.
    Higher is better, 0 to 1. Masked: not counted. Empty: undefined. Single class: the recall of that class.
    """
    present = support(confusion) > 0
    recalls = np.where(present, recall(confusion), 0.0)
    return ratio(recalls.sum(axis=-1), present.sum(axis=-1))


def wf1(confusion: Floats) -> Floats:
    """F1 averaged over classes, weighted by the reference's support: Σ_c n_c. F1_c / n.

    Source: ERC literature on IEMOCAP; scikit-learn's ``average="weighted"`` with the truth first. Not symmetric: code
    of the field that passes predictions as truth (MulT, MISA) gets another number.
    Higher is better, 0 to 1. Masked: not counted. Empty: undefined. Single class: F1 of that class.
    """
    weights = support(confusion)
    return ratio((weights * f1_by_class(confusion)).sum(axis=-1), weights.sum(axis=-1))


def f1_macro(confusion: Floats) -> Floats:
    """F1 averaged over all K classes; a class absent from both counts gives 0.

    Source: ABAW's expression score. Higher is better, 0 to 1. Masked: not counted. Empty: undefined. Single class: at
    most 1/K.
    """
    total = confusion.sum(axis=(-2, -1))
    return ratio(np.where(total > 0, f1_by_class(confusion).mean(axis=-1), 0.0), total > 0)


def f1_positive(counts: Floats) -> Floats:
    """F1 of the present side of each label, 2 TP / (2 TP + FP + FN) (..., L). Their mean is a task's `f1_macro`.

    Source: ABAW's action unit score (mean over the units). Higher is better, 0 to 1. Masked: not counted. Empty:
    undefined. A label that is neither present nor predicted gives 0.
    """
    observed = counts.sum(axis=(-2, -1)) > 0
    return np.asarray(np.where(observed, f1_by_class(counts)[..., 1], np.nan))


def f1_micro(counts: Floats) -> Floats:
    """F1 of the present side with TP, FP and FN summed over labels (...).

    Source: multi-label work on MOSEI (TAILOR, Zhang et al., 2022). Higher is better, 0 to 1. Masked: not counted.
    Empty: undefined. Nothing present and nothing predicted: 0.
    """
    pooled = counts.sum(axis=-3)
    return f1_positive(pooled)


def balanced_accuracy(counts: Floats) -> Floats:
    """(TP / P + TN / N) / 2 of each label (..., L).

    Source: "weighted accuracy" of Tong et al. (ACL 2017), used for the emotions of MOSEI; MulT's code writes it as
    (TP · N/P + TN) / 2N. Higher is better, 0 to 1; guessing gives 1/2. Masked: not counted. Empty, or only one of
    present and absent in the reference: undefined.
    """
    return np.asarray(recall(counts).mean(axis=-1))


def jaccard_parts(prediction: ArrayLike, target: ArrayLike, mask: ArrayLike | None = None) -> tuple[Floats, Floats]:
    """Jaccard index of each item (n,), and 1 for items with an observed label (n,); see `jaccard`."""
    predicted, target = np.asarray(prediction) > 0, np.asarray(target) > 0
    observed = np.ones(target.shape, bool) if mask is None else np.asarray(mask, bool)
    both = (predicted & target & observed).sum(axis=1)
    either = ((predicted | target) & observed).sum(axis=1)
    counted = np.asarray(observed.any(axis=1), np.float64)
    return ratio(both, either, empty=0.0), counted


def jaccard(prediction: ArrayLike, target: ArrayLike, mask: ArrayLike | None = None) -> float:
    """Mean over items of |predicted and true| / |predicted or true|.

    Source: called "accuracy" in multi-label work on MOSEI (TAILOR's code); an item with no label on either side gives 0
    there and here (scikit-learn's default for ``average="samples"``), so that a perfect score may stay below 1.
    Higher is better, 0 to 1. Masked labels are ignored inside an item; items without any observed label, entirely.
    Empty: undefined.

    Args:
        prediction: (n, L), 0 or 1.
        target: (n, L), 0 or 1.
        mask: (n, L); all observed by default.
    """
    values, counted = jaccard_parts(prediction, target, mask)
    return float(ratio((values * counted).sum(), counted.sum()))
