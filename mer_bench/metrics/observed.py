"""One task's raw outputs beside its targets, checked once and brought to one form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mer_bench.errors import UserError
from mer_bench.metrics.counts import Floats
from mer_bench.metrics.probability import sigmoid, softmax
from mer_bench.types import TaskSpec

Bools = NDArray[np.bool_]
Predictions = Mapping[str, ArrayLike]
Targets = Mapping[str, tuple[ArrayLike, ArrayLike]]
Thresholds = Mapping[str, Sequence[float]]


@dataclass(frozen=True)
class Observed:
    """Outputs and targets of one task; frames count as rows.

    Attributes:
        spec: the task.
        outputs: (n, size) raw outputs, float64; 0 where not observed.
        values: targets, (n,) class indices or (n, size) float64; 0 where not observed.
        mask: shape of the values, True where observed.
        cuts: (size,) logits above which a label counts as present.
    """

    spec: TaskSpec
    outputs: Floats
    values: NDArray[Any]
    mask: Bools
    cuts: Floats

    @cached_property
    def predicted(self) -> NDArray[np.int64]:
        """Class indices (n,), the first of equally high logits; or 0 and 1 of labels (n, size)."""
        if self.spec.kind == "multiclass":
            return np.asarray(self.outputs.argmax(axis=1), np.int64)
        return np.asarray(self.outputs > self.cuts, np.int64)

    @cached_property
    def probabilities(self) -> Floats:
        """Softmax over classes or sigmoid of each label, (n, size)."""
        return softmax(self.outputs) if self.spec.kind == "multiclass" else sigmoid(self.outputs)

    def column(self, index: int) -> tuple[Floats, NDArray[Any], Floats]:
        """Observed outputs, targets and probabilities of one label (m,)."""
        rows = self.mask[:, index]
        return self.outputs[rows, index], self.values[rows, index], self.probabilities[rows, index]


def observe(
    task: str,
    spec: TaskSpec,
    outputs: ArrayLike,
    target: tuple[ArrayLike, ArrayLike],
    thresholds: Sequence[float] | None = None,
) -> Observed:
    """Check and flatten.

    Args:
        task: its name, for messages.
        spec: the task.
        outputs: (..., size) raw outputs: logits, or the values of a regression.
        target: values and mask, True = observed; (...) for class indices, (..., size) otherwise.
        thresholds: probability above which each label counts as present; 1/2 by default.

    Raises:
        UserError: the numbers of items differ, a shape or a value is impossible, or an output is not finite.
    """
    raw, values, mask = np.asarray(outputs, np.float64), np.asarray(target[0]), np.asarray(target[1])
    expected = raw.shape[:-1] if spec.kind == "multiclass" else raw.shape
    if raw.ndim < 2 or raw.shape[-1] != spec.size:
        raise UserError(f"task {task!r}: outputs of shape {raw.shape}; expected (items, {spec.size})")
    if values.shape[:1] != raw.shape[:1]:
        raise UserError(
            f"task {task!r}: {len(raw)} predictions for {len(values) if values.ndim else 0} targets; score only the "
            "items of one split, each exactly once"
        )
    if values.shape != expected or mask.shape != values.shape or mask.dtype != np.bool_:
        raise UserError(
            f"task {task!r}: targets of shape {values.shape} with a mask of shape {mask.shape} and type {mask.dtype}; "
            f"expected {expected} and a boolean mask of that shape"
        )
    raw = raw.reshape(-1, spec.size)
    rows = (-1,) if spec.kind == "multiclass" else (-1, spec.size)
    values, mask = values.reshape(rows), mask.reshape(rows)
    used = np.broadcast_to(mask[:, None], raw.shape) if spec.kind == "multiclass" else mask
    wrong = ~np.isfinite(raw) & used
    if wrong.any():
        raise UserError(
            f"task {task!r}: {int(wrong.sum())} outputs are not finite, the first in row {int(wrong.any(1).argmax())}; "
            "such a run has diverged and has no score"
        )
    _check_values(task, spec, values, mask)
    kind = np.int64 if spec.kind == "multiclass" else np.float64
    return Observed(
        spec, np.where(used, raw, 0.0), np.where(mask, values, 0).astype(kind), mask, cuts_of(task, spec, thresholds)
    )


def observe_task(
    tasks: Mapping[str, TaskSpec],
    task: str,
    predictions: Predictions,
    targets: Targets,
    thresholds: Thresholds | None = None,
) -> Observed:
    """`observe` for one of several tasks.

    Raises:
        UserError: as `observe`, or the task has no predictions or targets.
    """
    for what, names in (("predictions", list(predictions)), ("targets", list(targets))):
        if task not in names:
            raise UserError(f"no {what} for task {task!r}; there are some for {', '.join(names) or 'none'}")
    return observe(task, tasks[task], predictions[task], targets[task], (thresholds or {}).get(task))


def _check_values(task: str, spec: TaskSpec, values: NDArray[Any], mask: Bools) -> None:
    """Raise when an observed target is impossible."""
    seen = values[mask]
    if spec.kind == "multiclass":
        wrong, expected = (
            (seen < 0) | (seen >= spec.size) | (seen != np.round(seen)),
            f"a class index 0..{spec.size - 1}",
        )
    elif spec.kind == "multilabel":
        wrong, expected = (seen != 0) & (seen != 1), "0 or 1"
    else:
        wrong, expected = ~np.isfinite(seen), "a finite number"
    if wrong.any():
        raise UserError(
            f"task {task!r}: {int(wrong.sum())} observed targets are impossible, for instance {seen[wrong][0]}; "
            f"expected {expected} (mask what is not labelled)"
        )


def cuts_of(task: str, spec: TaskSpec, thresholds: Sequence[float] | None) -> Floats:
    """Logits (size,) that belong to probabilities; 0 by default.

    Raises:
        UserError: the task has no labels, or a threshold is not a probability between 0 and 1.
    """
    if thresholds is None:
        return np.zeros(spec.size)
    chosen = np.asarray(thresholds, np.float64)
    if spec.kind != "multilabel" or chosen.shape != (spec.size,) or not ((chosen > 0) & (chosen < 1)).all():
        raise UserError(
            f"task {task!r}: thresholds {list(thresholds)}; only a task of several labels has them, one probability "
            f"between 0 and 1 for each of {', '.join(spec.names)}"
        )
    return np.asarray(np.log(chosen) - np.log1p(-chosen))
