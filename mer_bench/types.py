"""What travels through the house: masked tensors, batches, outputs, and what they are made of.

This module does not import torch, so that every light command may use the specs.
Axis names: ``batch`` items (or windows), ``time`` frames or tokens, ``dim`` features.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from torch import Tensor

Kind = Literal["multiclass", "multilabel", "regression"]
Level = Literal["item", "frame"]


class Masked(NamedTuple):
    """Values, some of them absent. One type for inputs, hidden sequences and targets.

    Attributes:
        values: inputs (batch, time, dim); pooled (batch, dim); targets (batch, size) or (batch, time, size).
            Zero wherever the mask is False.
        mask: True where observed; the leading axes of ``values`` (targets: the same shape as ``values``,
            or (batch,) / (batch, time) for class indices, whose values have that shape too).
    """

    values: Tensor
    mask: Tensor


class Batch(NamedTuple):
    """One mini-batch. It holds tensors only.

    Attributes:
        inputs: by modality, values (batch, time, dim) float, mask (batch, time) bool. A lost modality is a row
            with no True. Lengths differ between modalities, except for frame-level tasks, where every modality
            is given on the clock of the labels.
        targets: by task. Multiclass: values (batch,) int64 (or (batch, time)); multilabel and regression: values
            (batch, size) float (or (batch, time, size)). The mask has the shape of the values.
        rows: (batch,) int64, the row of each item in the feature file.
        draws: (batch, n) uniform random numbers in [0, 1) for losses and subset schedules; n may be 0.
    """

    inputs: dict[str, Masked]
    targets: dict[str, Masked]
    rows: Tensor
    draws: Tensor


class Outputs(NamedTuple):
    """What a method returns.

    Attributes:
        logits: by task, (batch, size), or (batch, time, size) for frame-level tasks. Regression: the raw output.
        hidden: named intermediates that auxiliary losses read; the vocabulary stands in `contracts.py`.
    """

    logits: dict[str, Tensor]
    hidden: dict[str, Tensor]


@dataclass(frozen=True)
class FeatureSpec:
    """One modality as the datamodule delivers it.

    Attributes:
        dim: features per frame.
        rate_hz: frames per second; 0 when irregular, or when there is one row per item.
        kind: sequence, utterance (length 1) or signal.
        max_length: the longest item of the whole file, in frames.
    """

    dim: int
    rate_hz: float = 0.0
    kind: Literal["sequence", "utterance", "signal"] = "sequence"
    max_length: int = 1


@dataclass(frozen=True)
class TaskSpec:
    """One thing to predict.

    Attributes:
        kind: multiclass, multilabel or regression.
        names: class names, label names, or names of the dimensions of a regression.
        level: one target per item, or one per frame.
        labels: name of the label table in the feature file (``/labels/<labels>``); empty: the task's own name.
        columns: which columns of that table (by name), for tasks that use part of it; empty means all.
        range: lowest and highest legal value of a regression target, on the scale that methods are trained on.
        weighting: how the protocol treats imbalance: class weights by inverse frequency, or none.
        prior: from the training part of the fold, filled in by the datamodule: class frequencies (multiclass),
            share of positives (multilabel), mean (regression).
        spread: from the training part, regression only: standard deviation of each dimension.
    """

    kind: Kind
    names: tuple[str, ...]
    level: Level = "item"
    labels: str = ""
    columns: tuple[str, ...] = ()
    range: tuple[float, float] | None = None
    weighting: Literal["none", "inverse-frequency"] = "none"
    prior: tuple[float, ...] | None = None
    spread: tuple[float, ...] | None = None

    @property
    def size(self) -> int:
        """Number of outputs."""
        return len(self.names)


Features = Mapping[str, FeatureSpec]
Tasks = Mapping[str, TaskSpec]
