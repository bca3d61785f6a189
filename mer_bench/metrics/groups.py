"""Scores of groups of items (speakers, sessions, subjects), and what may be said of them in public."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mer_bench.metrics.clusters import index_groups
from mer_bench.metrics.counts import Floats
from mer_bench.metrics.definitions import METRICS, direction, resolve
from mer_bench.metrics.families import ADDITIVE, class_confusion, label_tables, mean_defined
from mer_bench.metrics.observed import Observed, Predictions, Targets, Thresholds, observe_task
from mer_bench.metrics.scorer import TaskScores
from mer_bench.types import TaskSpec

MINIMUM = 5  # *ours*: below this a group's score is noise, and close to a single person's data


def by_group(
    tasks: Mapping[str, TaskSpec],
    metric: str,
    predictions: Predictions,
    targets: Targets,
    groups: Sequence[str] | NDArray[Any],
    *,
    minimum: int = MINIMUM,
    thresholds: Thresholds | None = None,
) -> dict[str, float]:
    """A metric within each group.

    Args:
        tasks: by name.
        metric: ``task/metric``.
        predictions: as in `score`.
        targets: as in `score`.
        groups: name of each item's group (or of each frame's).
        minimum: groups with fewer observed items are left out. For metrics that average over classes (`ua`, macro F1,
            balanced accuracy, AUC) this holds for each class of the group.
        thresholds: as in `score`.

    Returns:
        The value by group name, sorted; groups for which it is undefined are left out.
    """
    task, name, output = resolve(metric, tasks)
    observed = observe_task(tasks, task, predictions, targets, thresholds)
    names, index = index_groups(groups, np.shape(predictions[task])[:-1])
    values = _values(task, name, observed, index, len(names))
    if values.ndim > 1:
        values = values[:, observed.spec.names.index(output)] if output else mean_defined(values)
    enough = _smallest(observed, index, len(names), METRICS[name].per_class) >= minimum
    return {names[g]: float(values[g]) for g in range(len(names)) if enough[g] and not np.isnan(values[g])}


def _values(task: str, name: str, observed: Observed, index: NDArray[Any], count: int) -> Floats:
    """(groups,) or (groups, size)."""
    additive = ADDITIVE.get((name, observed.spec.kind))
    if additive is not None:
        return additive.value(additive.family(observed, index, count))
    return np.stack([TaskScores(task, _rows(observed, index == g)).values(name) for g in range(count)])


def _rows(observed: Observed, rows: NDArray[np.bool_]) -> Observed:
    return replace(observed, outputs=observed.outputs[rows], values=observed.values[rows], mask=observed.mask[rows])


def _smallest(observed: Observed, index: NDArray[Any], count: int, per_class: bool) -> NDArray[Any]:
    """Observed items of each group, or of its rarest class (groups,)."""
    if not per_class:
        seen = observed.mask if observed.mask.ndim == 1 else observed.mask.any(axis=1)
        return np.bincount(index[seen], minlength=count)
    family = class_confusion if observed.spec.kind == "multiclass" else label_tables
    support = family(observed, index, count).sum(axis=-1)
    return np.asarray(support.reshape(count, -1).min(axis=1))


def group_summary(scores: Mapping[str, float], metric: str) -> dict[str, float] | None:
    """What of group scores may be published: no name, no single group but the worst.

    Args:
        scores: from `by_group`.
        metric: ``metric`` or ``task/metric``, for its direction.

    Returns:
        ``groups`` (number), ``mean``, ``sd`` (over groups, n - 1), ``worst``, and ``worst_decile`` (the score that one
        group in ten falls short of); None for fewer than two groups.
    """
    values = np.asarray([scores[name] for name in sorted(scores)], np.float64)
    if len(values) < 2:
        return None
    bad_side = 10 if direction(metric) > 0 else 90
    return {
        "groups": len(values),
        "mean": float(values.mean()),
        "sd": float(values.std(ddof=1)),
        "worst": float(values.min() if direction(metric) > 0 else values.max()),
        "worst_decile": float(np.percentile(values, bad_side)),
    }
