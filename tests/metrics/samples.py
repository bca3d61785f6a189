"""Random tasks, outputs and targets for the tests of this folder."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mer_bench.types import TaskSpec

SPECS = {
    "classes": TaskSpec("multiclass", ("angry", "happy", "neutral", "sad")),
    "pair": TaskSpec("multiclass", ("calm", "pain")),
    "labels": TaskSpec("multilabel", ("joy", "anger", "fear")),
    "sentiment": TaskSpec("regression", ("sentiment",), range=(-3.0, 3.0)),
    "vad": TaskSpec("regression", ("valence", "arousal", "dominance"), range=(1.0, 5.0)),
}


@dataclass
class Sample:
    spec: TaskSpec
    outputs: np.ndarray
    values: np.ndarray
    mask: np.ndarray

    def rows(self, chosen) -> Sample:
        return Sample(self.spec, self.outputs[chosen], self.values[chosen], self.mask[chosen])

    @property
    def target(self):
        return self.values, self.mask


def draw(task: str, n: int, seed: int, *, missing: float = 0.0) -> Sample:
    """Outputs that know something of the truth; masked values are zero, as in a batch."""
    spec, rng = SPECS[task], np.random.default_rng([seed, n])
    if spec.kind == "multiclass":
        values = rng.integers(spec.size, size=n)
        values[: spec.size] = np.arange(spec.size)[:n]
        outputs = rng.normal(size=(n, spec.size)) + 1.5 * np.eye(spec.size)[values]
        mask = rng.random(n) >= missing
    elif spec.kind == "multilabel":
        values = (rng.random((n, spec.size)) < 0.3).astype(np.float32)
        values[: min(n, 2)] = [[1.0] * spec.size, [0.0] * spec.size][:n]
        outputs = rng.normal(size=values.shape) + 2 * values - 1
        mask = rng.random(values.shape) >= missing
    else:
        low, high = spec.range
        middle, width = (low + high) / 2, (high - low) / 2
        # halves are frequent, so that rounding and zero matter
        values = np.clip(np.round(2 * rng.normal(middle, width / 2, (n, spec.size))) / 2, low, high).astype(np.float32)
        outputs = 0.5 * (values - middle) + rng.normal(middle, width / 3, values.shape)
        mask = rng.random(values.shape) >= missing
    if missing:
        mask[: spec.size if spec.kind == "multiclass" else 2] = True
    return Sample(spec, outputs.astype(np.float32), np.where(mask, values, 0).astype(values.dtype), mask)
