"""One run of a population: what it is made of, how far it is, and what it has found."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.optim import Optimizer

from mer_bench.contracts import GradientHook
from mer_bench.data.blocks import EvalBlocks, TrainBlocks
from mer_bench.training.objective import Objective
from mer_bench.training.schedules import Schedule
from mer_bench.types import Masked

#: what a member has found so far, and a saved population keeps of it
PROGRESS = ("log", "best", "diverged", "steps", "seconds", "waited")


class Judge(Protocol):
    """What a run's module does with validation outputs."""

    def keep(
        self, condition: str, rows: dict[str, Tensor], logits: dict[str, Tensor], targets: dict[str, Masked]
    ) -> None:
        """Keep the outputs of a batch."""

    def judged(self) -> dict[str, float]:
        """Scores of what was kept, `val/selection` among them: higher is better."""


@dataclass
class Member:
    """One run of a population.

    Attributes:
        name: unique in the population.
        objective: method and losses, freshly initialised; holds the best weights when the run has ended.
        optimizer: of the parameters of the objective; a stack reads kind, rate and weight decay off it.
        schedule: of the rate.
        train: blocks of the training part.
        val: blocks of the validation part.
        judge: scores validation outputs.
        epochs: at most so many.
        patience: epochs without a better one before it stops.
        store: a stack only: which of the joined stores is its own.
        seed: of the run.
        hook: changes the gradients of each step; not in a stack.
        bf16: forward passes run under autocast.
        log: one row per epoch, as `metrics.csv` has them.
        best: (epoch, selection) of the best epoch.
        diverged: the loss was not finite.
        steps: optimiser steps made.
        seconds: its share of the time of its epochs.
        waited: epochs since the best one.
        error: why it had to leave; the others go on.
    """

    name: str
    objective: Objective
    optimizer: Optimizer
    schedule: Schedule
    train: TrainBlocks
    val: EvalBlocks
    judge: Judge
    epochs: int
    patience: int
    store: int = 0
    seed: int = 0
    hook: GradientHook | None = None
    bf16: bool = False
    log: list[dict[str, float]] = field(default_factory=list)
    best: tuple[int, float] = (-1, -math.inf)
    diverged: bool = False
    steps: int = 0
    seconds: float = 0.0
    waited: int = 0
    error: Exception | None = None

    @property
    def epoch(self) -> int:
        """Epochs made."""
        return len(self.log)

    @property
    def ended(self) -> bool:
        """Nothing more to train."""
        stopped = self.diverged or self.error is not None
        return stopped or self.epoch >= self.epochs or self.waited >= self.patience

    def close_epoch(self, count: int, means: list[float]) -> None:
        """Write down an epoch: how many steps it had, and the means of the total loss and of its parts."""
        self.steps += count
        self.diverged = not all(map(math.isfinite, means))
        names = ("train/loss", *(f"train/{name}" for name in self.objective.names))
        row = {"epoch": self.epoch, "steps": self.steps, "seconds": 0.0}
        self.log.append({**row, **dict(zip(names, means, strict=True))})

    def judge_epoch(self) -> bool:
        """Score the epoch that has ended; True when it is the best so far, or the latest of a fixed number."""
        if not len(self.val):
            self.best = (self.epoch - 1, math.nan)
            return True
        # in single precision, as Lightning logs them: what is a tie for a run alone is one here
        scores = {name: torch.tensor(x, dtype=torch.float32).item() for name, x in self.judge.judged().items()}
        self.log[-1] |= scores
        selection = scores["val/selection"]
        if selection > self.best[1]:
            self.best, self.waited = (self.epoch - 1, selection), 0
            return True
        if math.isfinite(selection):
            self.waited += 1
        else:  # like early stopping, which sees no hope in such a score; with no epoch to go back to, nothing is left
            self.waited, self.diverged = self.patience, self.best[0] < 0
        return False

    def progress(self) -> dict[str, Any]:
        """What it has found, as plain values."""
        return {"name": self.name, **{name: getattr(self, name) for name in PROGRESS}}

    def go_on(self, progress: dict[str, Any]) -> None:
        """Take up what `progress` gave."""
        for name in PROGRESS:
            setattr(self, name, progress[name])
