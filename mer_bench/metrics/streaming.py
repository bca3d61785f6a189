"""The same metrics as `torchmetrics.Metric`, to watch a run inside anyone's LightningModule.

    recall = streaming("ua", TaskSpec("multiclass", ("angry", "happy", "neutral", "sad")))
    recall.update(logits, target, mask)     # any number of batches, devices, frame axes
    recall.compute()

They equal the scorer to 1e-6 however the data are cut into batches. Final scores come from the scorer all the same.
This file alone in its room imports torch; nothing imports it unasked. States are float64, which Apple's GPUs lack.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchmetrics import Metric

from mer_bench.metrics import families
from mer_bench.metrics.definitions import METRICS, resolve
from mer_bench.metrics.families import ADDITIVE, WHOLE, mean_defined
from mer_bench.metrics.observed import cuts_of, observe
from mer_bench.types import TaskSpec


def streaming(name: str, spec: TaskSpec, thresholds: Sequence[float] | None = None, **settings: Any) -> StreamingMetric:
    """The torchmetrics class of a metric.

    Args:
        name: as in `METRICS`.
        spec: the task.
        thresholds: of a multilabel task, as in `score`.
        **settings: of `torchmetrics.Metric` (``sync_on_compute``, ``dist_sync_fn``, ...).

    Raises:
        UserError: the metric is not known or not defined for the task.
    """
    resolve(f"task/{name}", {"task": spec})
    kind = SummedMetric if (name, spec.kind) in ADDITIVE else KeptMetric
    return kind(name, spec, thresholds, **settings)


class StreamingMetric(Metric, ABC):
    """A metric over batches of raw outputs, targets and masks. Undefined (nothing yet, one class only): NaN.

    Args:
        name: as in `METRICS`.
        spec: the task.
        thresholds: of a multilabel task, as in `score`.
        **settings: of `torchmetrics.Metric`.
    """

    full_state_update = False
    is_differentiable = False

    def __init__(self, name: str, spec: TaskSpec, thresholds: Sequence[float] | None = None, **settings: Any) -> None:
        super().__init__(**settings)
        self.name, self.spec, self.thresholds = name, spec, thresholds
        self.cuts = cuts_of("task", spec, thresholds).tolist()

    @property
    def higher_is_better(self) -> bool:  # type: ignore[override]
        """Direction of the metric."""
        return METRICS[self.name].higher_is_better

    def update(self, outputs: Tensor, target: Tensor, mask: Tensor | None = None) -> None:
        """Take one batch.

        Args:
            outputs: (..., size) raw outputs.
            target: (...) class indices, or (..., size).
            mask: shape of the target, True = observed; all by default.
        """
        observed = torch.ones_like(target, dtype=torch.bool) if mask is None else mask
        size = self.spec.size
        rows = (-1,) if self.spec.kind == "multiclass" else (-1, size)
        self.take(outputs.detach().reshape(-1, size).double(), target.reshape(rows), observed.reshape(rows))

    @abstractmethod
    def take(self, outputs: Tensor, target: Tensor, mask: Tensor) -> None:
        """Add rows to the state."""

    def compute(self) -> Tensor:
        """The metric over everything taken so far: the mean over labels or dimensions where there are several."""
        values = self.values()
        return torch.tensor(float(mean_defined(values)) if values.ndim else float(values))

    @abstractmethod
    def values(self) -> np.ndarray:
        """One value, or one for each label or dimension."""


class SummedMetric(StreamingMetric):
    """A metric that is a function of sums: constant memory, one small reduction between devices."""

    sums: Tensor

    def __init__(self, name: str, spec: TaskSpec, thresholds: Sequence[float] | None = None, **settings: Any) -> None:
        super().__init__(name, spec, thresholds, **settings)
        self.additive = ADDITIVE[name, spec.kind]
        self.family = _FAMILIES[self.additive.family]
        rows = torch.zeros((1,) if spec.kind == "multiclass" else (1, spec.size))
        nothing = self._sum(torch.zeros(1, spec.size).double(), rows, rows > 0)
        self.add_state("sums", default=nothing, dist_reduce_fx="sum")

    def _sum(self, outputs: Tensor, target: Tensor, mask: Tensor) -> Tensor:
        used = mask if mask.ndim > 1 else mask[:, None]
        return self.family(self, outputs.where(used, 0.0), target.where(mask, 0), mask)

    def take(self, outputs: Tensor, target: Tensor, mask: Tensor) -> None:
        """Add the sums of these rows; no host sync."""
        self.sums = self.sums + self._sum(outputs, target, mask)

    def values(self) -> np.ndarray:
        """The scorer's function of the sums."""
        return self.additive.value(self.sums.cpu().numpy())


class KeptMetric(StreamingMetric):
    """A metric that needs all items at once (AUC, AUPRC, ECE): keeps them."""

    outputs: list[Tensor]
    targets: list[Tensor]
    masks: list[Tensor]

    def __init__(self, name: str, spec: TaskSpec, thresholds: Sequence[float] | None = None, **settings: Any) -> None:
        super().__init__(name, spec, thresholds, **settings)
        for state in ("outputs", "targets", "masks"):
            self.add_state(state, default=[], dist_reduce_fx="cat")

    def take(self, outputs: Tensor, target: Tensor, mask: Tensor) -> None:
        """Keep these rows."""
        self.outputs.append(outputs)
        self.targets.append(target)
        self.masks.append(mask)

    def values(self) -> np.ndarray:
        """The scorer's function of everything kept; NaN before the first row."""
        parts = [_joined(state) for state in (self.outputs, self.targets, self.masks)]
        if not len(parts[0]):
            return np.asarray(np.nan)
        return WHOLE[self.name, self.spec.kind](
            observe("task", self.spec, parts[0], (parts[1], parts[2]), self.thresholds)
        )


def _joined(state: list[Tensor] | Tensor) -> np.ndarray:
    """All rows of a state, which torchmetrics hands over as a list, or as one tensor after a reduction."""
    parts = [state] if torch.is_tensor(state) else list(state)
    return torch.cat(parts).cpu().numpy() if parts else np.zeros(0)


# the families of `families`, over all rows at once, as tensor operations ---------------------------------------------


def _pairs(truth: Tensor, predicted: Tensor, mask: Tensor, size: int) -> Tensor:
    """Tables of counts (..., size, size) from indices and mask (n, ...)."""
    rows = torch.nn.functional.one_hot(truth.long(), size).double() * mask[..., None]
    columns = torch.nn.functional.one_hot(predicted.long(), size).double()
    return torch.einsum("n...t,n...p->...tp", rows, columns)


def _class_confusion(metric: SummedMetric, outputs: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    return _pairs(target, outputs.argmax(dim=1), mask, metric.spec.size)


def _class_brier(metric: SummedMetric, outputs: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    truth = torch.nn.functional.one_hot(target.long(), metric.spec.size)
    error = (outputs.softmax(dim=1) - truth).square().sum(dim=1)
    return torch.stack([(error * mask).sum(), mask.double().sum()])


def _present(metric: SummedMetric, outputs: Tensor) -> Tensor:
    return outputs > torch.tensor(metric.cuts, dtype=outputs.dtype, device=outputs.device)


def _label_tables(metric: SummedMetric, outputs: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    return _pairs(target, _present(metric, outputs), mask, 2)


def _label_brier(metric: SummedMetric, outputs: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    error = (outputs.sigmoid() - target).square() * mask
    return torch.stack([error.sum(dim=0), mask.double().sum(dim=0)], dim=1)


def _label_jaccard(metric: SummedMetric, outputs: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    predicted, truth = _present(metric, outputs) & mask, (target > 0) & mask
    both, either = (predicted & truth).sum(dim=1), (predicted | truth).sum(dim=1)
    return torch.stack([(both.double() / either.clamp(min=1)).sum(), mask.any(dim=1).double().sum()])


def _value_moments(metric: SummedMetric, outputs: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    centre = families.centre(metric.spec)
    x, y = (outputs - centre) * mask, (target.double() - centre) * mask
    return torch.stack([mask.double(), x, y, x * x, y * y, x * y, (x - y).abs()], dim=2).sum(dim=0)


def _value_polarity(metric: SummedMetric, outputs: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    nonneg = _pairs(target >= 0, outputs >= 0, mask, 2)
    positive = _pairs(target > 0, outputs > 0, mask & (target != 0), 2)
    return torch.stack([nonneg, positive], dim=1)


def _value_bins(metric: SummedMetric, outputs: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    truth = target.double()
    five, seven = ((outputs.clamp(-k, k).round() == truth.clamp(-k, k).round()) & mask for k in (2, 3))
    sdk = (_sdk_bins(outputs) == _sdk_bins(truth)) & mask
    return torch.stack([five, seven, sdk, mask], dim=2).double().sum(dim=0)


def _sdk_bins(values: Tensor) -> Tensor:
    edges = torch.tensor([0.0, 1.0, 2.0], dtype=values.dtype, device=values.device)
    return torch.bucketize(values.contiguous(), edges) - torch.bucketize((-values).contiguous(), edges)


_FAMILIES: dict[families.Family, Callable[[SummedMetric, Tensor, Tensor, Tensor], Tensor]] = {
    families.class_confusion: _class_confusion,
    families.class_brier: _class_brier,
    families.label_tables: _label_tables,
    families.label_brier: _label_brier,
    families.label_jaccard: _label_jaccard,
    families.value_moments: _value_moments,
    families.value_polarity: _value_polarity,
    families.value_bins: _value_bins,
}
