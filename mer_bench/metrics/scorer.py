"""The one scorer: raw outputs in, metrics out, float64 throughout.

Every number of a record or a table comes from here, computed from kept predictions; what was logged while training
does not count.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from mer_bench.errors import UserError
from mer_bench.metrics.counts import Floats
from mer_bench.metrics.definitions import resolve
from mer_bench.metrics.families import ADDITIVE, WHOLE, Family, mean_defined
from mer_bench.metrics.observed import Observed, Predictions, Targets, Thresholds, observe_task
from mer_bench.types import TaskSpec


def score(
    tasks: Mapping[str, TaskSpec],
    metrics: Sequence[str],
    predictions: Predictions,
    targets: Targets,
    *,
    thresholds: Thresholds | None = None,
    absent_classes: bool = False,
) -> dict[str, float]:
    """Compute metrics on one set of items.

    Args:
        tasks: by name.
        metrics: ``task/metric`` or ``task/metric/name``.
        predictions: raw outputs by task, (n, size); any axes between (frames) are flattened.
        targets: values and mask (True = observed) by task; (n,) class indices, or (n, size).
        thresholds: by multilabel task, the probability above which each label counts as present; 1/2 by default.
        absent_classes: allow a class (a label, or its absence) that no observed item has. A whole test part must have
            them all, or averages over classes would mean something else.

    Returns:
        A value for each metric asked for, and for ``task/metric`` of several labels or dimensions also one for each of
        them (``task/metric/name``) where it is defined.

    Raises:
        UserError: a task or metric is not known, items differ in number, a value is impossible, a class is absent, or
            a metric is undefined for these items.
    """
    result: dict[str, float] = {}
    scored: dict[str, TaskScores] = {}
    for metric in metrics:
        task, name, output = resolve(metric, tasks)
        if task not in scored:
            scored[task] = TaskScores(task, observe_task(tasks, task, predictions, targets, thresholds))
            scored[task].check(absent_classes)
        result.update(scored[task].named(name, output))
    return result


class TaskScores:
    """The metrics of one task, each family of sums made once.

    Args:
        task: its name.
        observed: outputs and targets.
    """

    def __init__(self, task: str, observed: Observed) -> None:
        self.task, self.observed, self.spec = task, observed, observed.spec
        self._sums: dict[Family, Floats] = {}

    def sums(self, family: Family) -> Floats:
        """A family over all items, (*parts)."""
        if family not in self._sums:
            everything = np.zeros(len(self.observed.outputs), np.int64)
            self._sums[family] = family(self.observed, everything, 1)[0]
        return self._sums[family]

    def values(self, name: str) -> Floats:
        """A metric, one value or one for each label or dimension; NaN where undefined."""
        whole = WHOLE.get((name, self.spec.kind))
        if whole is not None:
            return whole(self.observed)
        additive = ADDITIVE[name, self.spec.kind]
        return additive.value(self.sums(additive.family))

    def named(self, name: str, output: str = "") -> dict[str, float]:
        """A metric by its full name, and its parts."""
        values, full = self.values(name), f"{self.task}/{name}"
        parts = dict(zip(self.spec.names, values.tolist(), strict=True)) if values.ndim else {}
        if output and not parts:
            raise UserError(f"{full}/{output}: {name} has one value for all of {', '.join(self.spec.names)}")
        if output:
            found = {f"{full}/{output}": parts[output]}
        else:
            found = {full: float(mean_defined(values)) if values.ndim else float(values)}
            if len(parts) > 1:
                found |= {f"{full}/{key}": value for key, value in parts.items() if not np.isnan(value)}
        for key, value in found.items():
            if np.isnan(value):
                raise UserError(
                    f"{key} is undefined for these {int(self.observed.mask.sum())} observed targets: "
                    "they lack a class, or all have the same value"
                )
        return found

    def check(self, absent_classes: bool) -> None:
        """Raise when nothing is observed, or (unless allowed) a class is missing."""
        o, spec = self.observed, self.spec
        if not o.mask.any():
            raise UserError(
                f"task {self.task!r}: none of the {len(o.mask)} items is labelled; there is nothing to score"
            )
        if absent_classes or spec.kind == "regression":
            return
        if spec.kind == "multiclass":
            present = np.bincount(o.values[o.mask], minlength=spec.size) > 0
            lacking = [name for name, here in zip(spec.names, present, strict=True) if not here]
        else:
            sides = ((o.mask & (o.values == side)).any(axis=0) for side in (1, 0))
            wording = ("{}", "absence of {}")
            lacking = [
                text.format(name)
                for text, side in zip(wording, sides, strict=True)
                for name, here in zip(spec.names, side, strict=True)
                if not here
            ]
        if lacking:
            raise UserError(
                f"task {self.task!r}: no labelled item of {', '.join(lacking)} among {int(o.mask.any(axis=-1).sum())}; "
                "averages over classes would mean something else. Check the split and the label filter"
            )


def align_items(predicted: Sequence[str], expected: Sequence[str]) -> NDArray[np.int64]:
    """The row of each expected item among the predicted ones.

    Args:
        predicted: ids of the predictions, in their order.
        expected: ids of the split.

    Returns:
        (n,) rows; ``outputs[rows]`` stands beside the targets of ``expected``.

    Raises:
        UserError: the two do not hold the same items, each once.
    """
    row = {item: index for index, item in enumerate(predicted)}
    wanted = set(expected)
    missing, foreign = [i for i in expected if i not in row], [i for i in predicted if i not in wanted]
    for what, items in (("are missing", missing), ("do not belong to the split", foreign)):
        if items:
            shown = ", ".join(items[:3]) + (", ..." if len(items) > 3 else "")
            raise UserError(f"predictions do not fit the split: {len(items)} items {what} ({shown})")
    for what, ids in (("predictions hold", predicted), ("the split holds", expected)):
        if len(set(ids)) != len(ids):
            seen: set[str] = set()
            twice = next(i for i in ids if i in seen or seen.add(i))  # type: ignore[func-returns-value]
            raise UserError(f"{what} {len(ids) - len(set(ids))} items more than once, the first is {twice}")
    return np.asarray([row[item] for item in expected], np.int64)
