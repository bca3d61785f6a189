"""How each metric is computed from a task's outputs and targets.

Most metrics are functions of sums over items. A *family* makes such sums for groups of items, one array
``(groups, *parts)`` that adds up over groups; several metrics read the same family. `ADDITIVE` says which family and
function give a metric; `WHOLE` holds those that need all items at once, and the two-pass forms of CCC and correlation,
which are more exact than the sums.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mer_bench.metrics import counts, moments, probability, sentiment
from mer_bench.metrics.counts import Floats, ratio
from mer_bench.metrics.observed import Observed
from mer_bench.types import Kind, TaskSpec

Groups = NDArray[np.int64]
Family = Callable[[Observed, Groups, int], Floats]


def add_up(groups: Groups, count: int, parts: NDArray[Any]) -> Floats:
    """Sum the rows of ``parts`` (n, *parts) by group: (count, *parts)."""
    flat = np.asarray(parts, np.float64).reshape(len(groups), -1)
    sums = [np.bincount(groups, flat[:, j], count) for j in range(flat.shape[1])]
    return np.asarray(np.stack(sums, axis=1), np.float64).reshape(count, *parts.shape[1:])


def class_confusion(o: Observed, groups: Groups, count: int) -> Floats:
    """(groups, K, K), truth before prediction."""
    k = o.spec.size
    cell = (groups * k + o.values) * k + o.predicted
    return np.bincount(cell[o.mask], minlength=count * k * k).reshape(count, k, k).astype(np.float64)


def class_brier(o: Observed, groups: Groups, count: int) -> Floats:
    """(groups, 2): squared error of the class probabilities, items."""
    error = probability.brier_parts(o.probabilities, o.values) * o.mask
    return add_up(groups, count, np.stack([error, o.mask], axis=1))


def label_tables(o: Observed, groups: Groups, count: int) -> Floats:
    """(groups, L, 2, 2)."""
    return _tables(o.values.astype(np.int64), o.predicted, o.mask, groups, count)


def _tables(truth: NDArray[Any], predicted: NDArray[Any], mask: NDArray[Any], groups: Groups, count: int) -> Floats:
    size = truth.shape[1]
    cell = ((groups[:, None] * size + np.arange(size)) * 2 + truth) * 2 + predicted
    return np.bincount(cell[mask], minlength=count * size * 4).reshape(count, size, 2, 2).astype(np.float64)


def label_brier(o: Observed, groups: Groups, count: int) -> Floats:
    """(groups, L, 2): squared error of the label's probability, items."""
    error = np.square(o.probabilities - o.values) * o.mask
    return add_up(groups, count, np.stack([error, o.mask], axis=2))


def label_jaccard(o: Observed, groups: Groups, count: int) -> Floats:
    """(groups, 2): Jaccard index, items."""
    values, counted = counts.jaccard_parts(o.predicted, o.values, o.mask)
    return add_up(groups, count, np.stack([values * counted, counted], axis=1))


def centre(spec: TaskSpec) -> float:
    """Middle of the range of a regression task; 0 where it has none."""
    return sum(spec.range) / 2 if spec.range is not None else 0.0


def value_moments(o: Observed, groups: Groups, count: int) -> Floats:
    """(groups, D, 7): `moments.MOMENTS` of outputs and truth, both less the middle of the task's range.

    The shift keeps the digits that raw sums would lose, and being a constant of the task it leaves the sums additive
    over anything: clusters, folds, seeds.
    """
    x, y = (o.outputs - centre(o.spec)) * o.mask, (o.values - centre(o.spec)) * o.mask
    return add_up(groups, count, np.stack([o.mask, x, y, x * x, y * y, x * y, np.abs(x - y)], axis=2))


def value_polarity(o: Observed, groups: Groups, count: int) -> Floats:
    """(groups, D, 2, 2, 2): table of negative v. non-negative over all, table of negative v. positive without 0."""
    x, y, size = o.outputs, o.values, o.spec.size
    truth = np.stack([y >= 0, y > 0], axis=2).astype(np.int64).reshape(-1, 2 * size)
    predicted = np.stack([x >= 0, x > 0], axis=2).astype(np.int64).reshape(-1, 2 * size)
    mask = np.stack([o.mask, o.mask & (y != 0)], axis=2).reshape(-1, 2 * size)
    return _tables(truth, predicted, mask, groups, count).reshape(count, size, 2, 2, 2)


def value_bins(o: Observed, groups: Groups, count: int) -> Floats:
    """(groups, D, 4): right in five classes, in seven, in the SDK's seven, items."""
    x, y = o.outputs, o.values
    five, seven = (sentiment.rounded(x, limit) == sentiment.rounded(y, limit) for limit in (2, 3))
    sdk = sentiment.sdk_bins(x) == sentiment.sdk_bins(y)
    return add_up(groups, count, np.stack([five & o.mask, seven & o.mask, sdk & o.mask, o.mask], axis=2))


@dataclass(frozen=True)
class Additive:
    """A metric that is a function of sums.

    Attributes:
        family: makes the sums.
        value: from sums (..., *parts) to the metric (...), or (..., size) where ``per_output``.
        per_output: one value for each label or dimension; the metric is their mean.
    """

    family: Family
    value: Callable[[Floats], Floats]
    per_output: bool


def _mean(sums: Floats) -> Floats:
    return ratio(sums[..., 0], sums[..., 1])


ADDITIVE: dict[tuple[str, Kind], Additive] = {
    ("wa", "multiclass"): Additive(class_confusion, counts.wa, False),
    ("ua", "multiclass"): Additive(class_confusion, counts.ua, False),
    ("wf1", "multiclass"): Additive(class_confusion, counts.wf1, False),
    ("f1_macro", "multiclass"): Additive(class_confusion, counts.f1_macro, False),
    ("brier", "multiclass"): Additive(class_brier, _mean, False),
    ("wa", "multilabel"): Additive(label_tables, counts.wa, True),
    ("wf1", "multilabel"): Additive(label_tables, counts.wf1, True),
    ("f1_macro", "multilabel"): Additive(label_tables, counts.f1_positive, True),
    ("balanced_accuracy", "multilabel"): Additive(label_tables, counts.balanced_accuracy, True),
    ("f1_micro", "multilabel"): Additive(label_tables, counts.f1_micro, False),
    ("jaccard", "multilabel"): Additive(label_jaccard, _mean, False),
    ("brier", "multilabel"): Additive(label_brier, _mean, True),
    ("ccc", "regression"): Additive(value_moments, moments.ccc_of, True),
    ("corr", "regression"): Additive(value_moments, moments.corr_of, True),
    ("mae", "regression"): Additive(value_moments, moments.mae_of, True),
    ("acc2_nonneg", "regression"): Additive(value_polarity, lambda s: counts.wa(s[..., 0, :, :]), True),
    ("acc2_pos", "regression"): Additive(value_polarity, lambda s: counts.wa(s[..., 1, :, :]), True),
    ("f1_nonneg", "regression"): Additive(value_polarity, lambda s: counts.wf1(s[..., 0, :, :]), True),
    ("f1_pos", "regression"): Additive(value_polarity, lambda s: counts.wf1(s[..., 1, :, :]), True),
    ("acc5", "regression"): Additive(value_bins, lambda s: ratio(s[..., 0], s[..., 3]), True),
    ("acc7", "regression"): Additive(value_bins, lambda s: ratio(s[..., 1], s[..., 3]), True),
    ("acc7_sdk", "regression"): Additive(value_bins, lambda s: ratio(s[..., 2], s[..., 3]), True),
}


def _class_auc(o: Observed) -> Floats:
    scores = o.outputs[:, 1] - o.outputs[:, 0]
    return np.asarray(probability.auc(scores[o.mask], o.values[o.mask]))


def _class_ece(o: Observed) -> Floats:
    right = o.predicted == o.values
    return np.asarray(probability.ece(o.probabilities.max(axis=1)[o.mask], right[o.mask]))


def _by_label(function: Callable[[Floats, NDArray[Any]], float]) -> Callable[[Observed], Floats]:
    """Apply to (logits, truth) of each label."""
    return lambda o: np.asarray([function(*o.column(j)[:2]) for j in range(o.spec.size)])


def _label_ece(o: Observed) -> Floats:
    columns = (o.column(j) for j in range(o.spec.size))
    return np.asarray([probability.ece(p, truth) for _, truth, p in columns])


WHOLE: dict[tuple[str, Kind], Callable[[Observed], Floats]] = {
    ("auc", "multiclass"): _class_auc,
    ("ece", "multiclass"): _class_ece,
    ("auc", "multilabel"): _by_label(probability.auc),
    ("auprc", "multilabel"): _by_label(probability.auprc),
    ("ece", "multilabel"): _label_ece,
    ("ccc", "regression"): lambda o: moments.ccc(o.outputs, o.values, o.mask),
    ("corr", "regression"): lambda o: moments.corr(o.outputs, o.values, o.mask),
}


def mean_defined(values: Floats) -> Floats:
    """Mean over the last axis of what is not NaN; NaN where nothing is."""
    known = ~np.isnan(values)
    return ratio(np.where(known, values, 0.0).sum(axis=-1), known.sum(axis=-1))
