"""Learning-rate schedules as functions of progress: the factor on the base rate at a step of a known total."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod


class Schedule(ABC):
    """A factor by step; told the total number of steps, which the datamodule and the epoch cap decide."""

    @abstractmethod
    def factor(self, step: int, total: int) -> float:
        """The factor on the base learning rate for optimiser step `step` (from 0) of `total`."""


class Constant(Schedule):
    """The base rate throughout."""

    def factor(self, step: int, total: int) -> float:
        """Always 1."""
        return 1.0


class WarmupCosine(Schedule):
    """Linear warm-up, then half a cosine down to a floor (Loshchilov and Hutter, 2017, without restarts).

    Args:
        warmup: share of all steps that warm up.
        floor: factor at the end.
    """

    def __init__(self, warmup: float = 0.1, floor: float = 0.01) -> None:
        self.warmup, self.floor = warmup, floor

    def factor(self, step: int, total: int) -> float:
        """From nearly 0 to 1 in the warm-up, then down to the floor."""
        rise = max(1, round(self.warmup * total))
        if step < rise:
            return (step + 1) / rise
        progress = min(1.0, (step - rise) / max(1, total - rise))
        return self.floor + (1 - self.floor) * 0.5 * (1 + math.cos(math.pi * progress))
