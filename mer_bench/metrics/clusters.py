"""Sums by cluster, from which metrics of any part of the data, or of a resample, can be computed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mer_bench.errors import UserError
from mer_bench.metrics.counts import Floats
from mer_bench.metrics.definitions import resolve
from mer_bench.metrics.families import ADDITIVE, Additive, mean_defined
from mer_bench.metrics.observed import Predictions, Targets, Thresholds, observe_task
from mer_bench.types import TaskSpec


@dataclass(frozen=True)
class ClusterStatistics:
    """Sums by cluster (speaker, video, subject) from which a metric can be computed for any part or resample.

    Attributes:
        metric: ``task/metric``.
        clusters: their names, sorted.
        values: (cluster, *parts), float64; they add up over clusters.
        additive: what they are.
    """

    metric: str
    clusters: tuple[str, ...]
    values: Floats
    additive: Additive

    def value(self, sums: Floats) -> Floats:
        """From summed statistics (..., *parts) to the metric (...); NaN where undefined."""
        value = self.additive.value(sums)
        return mean_defined(value) if self.additive.per_output else value

    def pooled(self, weights: ArrayLike | None = None) -> Floats:
        """The metric of all clusters together, or of weighted ones: weights (..., cluster) give (...)."""
        chosen = np.ones(len(self.clusters)) if weights is None else np.asarray(weights, np.float64)
        return self.value(np.tensordot(chosen, self.values, axes=1))


def cluster_statistics(
    tasks: Mapping[str, TaskSpec],
    metric: str,
    predictions: Predictions,
    targets: Targets,
    clusters: Sequence[str] | NDArray[Any],
    *,
    thresholds: Thresholds | None = None,
) -> ClusterStatistics:
    """Additive statistics of a metric by cluster.

    Args:
        tasks: by name.
        metric: ``task/metric``.
        predictions: as in `score`.
        targets: as in `score`.
        clusters: name of each row's cluster; with frame axes, one for each item or one for each frame.
        thresholds: as in `score`.

    Raises:
        UserError: as `score`; or the metric is not a function of sums (auc, auprc, ece).
    """
    task, name, output = resolve(metric, tasks)
    additive = ADDITIVE.get((name, tasks[task].kind))
    if additive is None or output:
        raise UserError(
            f"{metric} is not a function of sums over items; take the bootstrap over whole clusters instead"
        )
    observed = observe_task(tasks, task, predictions, targets, thresholds)
    names, groups = index_groups(clusters, np.shape(predictions[task])[:-1])
    return ClusterStatistics(metric, names, additive.family(observed, groups, len(names)), additive)


def index_groups(groups: Sequence[str] | NDArray[Any], shape: tuple[int, ...]) -> tuple[tuple[str, ...], Any]:
    """Sorted names, and the index of each row's group, repeated over frame axes where given by item.

    Raises:
        UserError: their number is not that of the items.
    """
    names, index = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
    index = index.reshape(np.shape(groups))
    if index.shape != shape:
        if index.shape != shape[:1]:
            raise UserError(f"groups of shape {index.shape} for predictions of shape {shape}; expected one an item")
        index = np.broadcast_to(index.reshape(-1, *[1] * (len(shape) - 1)), shape)
    return tuple(names.tolist()), index.reshape(-1).astype(np.int64)
