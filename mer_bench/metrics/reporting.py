"""Everything there is to say about one set of predictions, as plain data for JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from mer_bench.errors import UserError
from mer_bench.metrics import counts
from mer_bench.metrics.counts import Floats
from mer_bench.metrics.definitions import METRICS, resolve
from mer_bench.metrics.families import class_confusion, label_tables, mean_defined, value_moments
from mer_bench.metrics.observed import Predictions, Targets, Thresholds, observe_task
from mer_bench.metrics.scorer import TaskScores
from mer_bench.types import TaskSpec


def report(
    tasks: Mapping[str, TaskSpec],
    predictions: Predictions,
    targets: Targets,
    *,
    thresholds: Thresholds | None = None,
) -> dict[str, Any]:
    """All metrics that are defined for each task, with confusion, per-class scores and counts.

    Args:
        tasks: by name.
        predictions: as in `score`.
        targets: as in `score`.
        thresholds: as in `score`.

    Returns:
        By task: ``kind``, ``items`` (rows), ``observed`` (targets), ``metrics`` (value, or None where undefined),
        ``undefined`` (what had to be left out, ``metric`` or ``metric/name``), and by kind

        - multiclass: ``confusion`` (truth before prediction), ``classes`` (by name: support, predicted, recall,
          precision, f1);
        - multilabel: ``labels`` (by name: tp, fp, fn, tn and every metric of that label);
        - regression: ``dimensions`` (by name: items, mean and sd of prediction and truth, every metric).

        Counts of small corpora come close to single people: publish sums over folds only.
    """
    found = {}
    for task in tasks:
        scores = TaskScores(task, observe_task(tasks, task, predictions, targets, thresholds))
        found[task] = _task_report(scores, tasks)
    return found


def _task_report(scores: TaskScores, tasks: Mapping[str, TaskSpec]) -> dict[str, Any]:
    spec, mask = scores.spec, scores.observed.mask
    values = {name: scores.values(name) for name in METRICS if _defined(f"{scores.task}/{name}", tasks)}
    means = {name: _plain(mean_defined(value) if value.ndim else value) for name, value in values.items()}
    parts = {
        name: dict(zip(spec.names, map(_plain, value), strict=True)) for name, value in values.items() if value.ndim
    }
    undefined = [name for name, value in means.items() if value is None]
    undefined += [f"{name}/{key}" for name, part in parts.items() for key, value in part.items() if value is None]
    details = {"multiclass": _classes, "multilabel": _labels, "regression": _dimensions}[spec.kind]
    return {
        "kind": spec.kind,
        "items": len(mask),
        "observed": int(mask.sum()),
        "metrics": means,
        "undefined": undefined,
        **details(scores, parts),
    }


def _defined(metric: str, tasks: Mapping[str, TaskSpec]) -> bool:
    try:
        resolve(metric, tasks)
    except UserError:
        return False
    return True


def _plain(value: Any) -> float | None:
    return None if np.isnan(value) else float(value)


def _classes(scores: TaskScores, parts: dict[str, Any]) -> dict[str, Any]:
    del parts
    confusion = scores.sums(class_confusion)
    columns: dict[str, Floats] = {
        "support": counts.support(confusion),
        "predicted": confusion.sum(axis=0),
        "recall": counts.recall(confusion),
        "precision": counts.precision(confusion),
        "f1": counts.f1_by_class(confusion),
    }
    whole = {"support", "predicted"}
    by_name = {
        name: {key: int(column[k]) if key in whole else _plain(column[k]) for key, column in columns.items()}
        for k, name in enumerate(scores.spec.names)
    }
    return {"confusion": confusion.astype(int).tolist(), "classes": by_name}


def _labels(scores: TaskScores, parts: dict[str, Any]) -> dict[str, Any]:
    by_name = {}
    for table, name in zip(scores.sums(label_tables).astype(int).tolist(), scores.spec.names, strict=True):
        (tn, fp), (fn, tp) = table
        by_name[name] = {"tp": tp, "fp": fp, "fn": fn, "tn": tn} | {key: part[name] for key, part in parts.items()}
    return {"labels": by_name}


def _dimensions(scores: TaskScores, parts: dict[str, Any]) -> dict[str, Any]:
    o, by_name = scores.observed, {}
    items = scores.sums(value_moments)[:, 0].astype(int).tolist()
    for d, name in enumerate(scores.spec.names):
        rows = o.mask[:, d]
        series = {"prediction": o.outputs[rows, d], "truth": o.values[rows, d]}
        stats = {
            f"{which}_{key}": _plain(function(x)) if len(x) else None
            for which, x in series.items()
            for key, function in (("mean", np.mean), ("sd", np.std))
        }
        by_name[name] = {"items": items[d], **stats} | {key: part[name] for key, part in parts.items()}
    return {"dimensions": by_name}
