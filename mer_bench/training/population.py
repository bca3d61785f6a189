"""Many runs trained as one: stacked parameters, one forward and backward pass for all of them.

The members share method, shapes and everything else that fixes the sequence of operations; fold, seed, order of the
items, learning rate, weight decay, dropout, early stopping and the best epoch are each member's own. All of them go
through their epochs side by side. A member whose epoch has fewer steps pauses at its end; one that stops leaves its
place to the next in the queue; when the queue is empty, the stack shrinks.

In float64 and without dropout a member equals the run alone (the same batches, draws, rate and order), as the tests
show to 1e-10. Dropout masks differ from those of the run alone, and so does rounding in float32.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

import torch
from torch import Tensor
from torch.func import functional_call, stack_module_state, vmap
from torch.optim import Optimizer
from torch.utils import _pytree as pytree

from mer_bench.data.blocks import EvalBlocks, TrainBlocks, derive
from mer_bench.data.joined import Joined
from mer_bench.data.store import Store
from mer_bench.training.flat import FlatParameters, flat_optimizer
from mer_bench.training.objective import Objective
from mer_bench.training.schedules import Schedule
from mer_bench.training.steps import gather, training_steps, validation_steps
from mer_bench.types import Batch, Masked


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
        name: for messages.
        objective: method and losses, freshly initialised; holds the best weights when the run has ended.
        optimizer: says kind, rate and weight decay.
        schedule: of the rate.
        train: blocks of the training part.
        val: blocks of the validation part.
        judge: scores validation outputs.
        store: which of the joined stores is its own.
        epochs: at most so many.
        patience: epochs without a better one before it stops.
        log: one row per epoch, as `metrics.csv` has them.
        best: (epoch, selection) of the best epoch.
        diverged: the loss was not finite.
        steps: optimiser steps made.
        seconds: its share of the time of its epochs.
    """

    name: str
    objective: Objective
    optimizer: Optimizer
    schedule: Schedule
    train: TrainBlocks
    val: EvalBlocks
    judge: Judge
    store: int
    epochs: int
    patience: int
    log: list[dict[str, float]] = field(default_factory=list)
    best: tuple[int, float] = (-1, -math.inf)
    diverged: bool = False
    steps: int = 0
    seconds: float = 0.0
    waited: int = 0

    @property
    def epoch(self) -> int:
        """Epochs made."""
        return len(self.log)

    @property
    def ended(self) -> bool:
        """Nothing more to train."""
        return self.diverged or self.epoch >= self.epochs or self.waited >= self.patience

    def judge_epoch(self) -> bool:
        """Score the epoch that has ended; True when it is the best so far, or the latest of a fixed number."""
        if not len(self.val):
            self.best = (self.epoch - 1, math.nan)
            return True
        scores = self.judge.judged()
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


class Population:
    """Trains members side by side.

    Args:
        members: all of one kind, see `sweep.populations`; those beyond `width` queue.
        joined: the stores of their folds.
        width: how many are trained at a time.
        clip: largest norm of a member's gradient, or None.
        eval_batch: items per member and forward pass outside training.
        ended: called with every member that has ended, its objective holding the best weights.
    """

    def __init__(
        self,
        members: Sequence[Member],
        joined: Joined,
        *,
        width: int,
        clip: float | None,
        ended: Callable[[Member], None],
        eval_batch: int = 256,
    ) -> None:
        self.queue, self.joined, self.clip = list(members), joined, clip
        self.eval_batch, self.ended = eval_batch, ended
        self.active = [self.queue.pop(0) for _ in range(min(width, len(self.queue)))]
        objectives = [m.objective for m in self.active]
        self.flat = FlatParameters(objectives)
        self.optimizer = flat_optimizer([m.optimizer for m in self.active], self.flat)
        self.best = self.flat.values.detach().clone()
        self.buffers = _buffers(objectives)
        self.skeleton = copy.deepcopy(objectives[0]).to("meta")
        self.device = self.flat.values.device
        self.n_draws = objectives[0].n_draws
        self.fresh = True
        self._loss = vmap(self._one_loss, randomness="different")
        self._logits = vmap(self._one_pass, randomness="different")

    def run(self) -> None:
        """Train until every member has ended."""
        while self.active:
            start = time.perf_counter()
            self._train_epoch()
            self._validate()
            share = (time.perf_counter() - start) / len(self.active)
            for member in self.active:
                member.seconds += share
                member.log[-1]["seconds"] = member.seconds
            self._turn_over()

    # training --------------------------------------------------------------------------------------------------

    def _one_loss(self, parameters: Any, buffers: Any, batch: Batch) -> tuple[Tensor, Tensor]:
        # the number of the step is not the members' own: schedules that look at it are not stacked
        return functional_call(self.skeleton, (parameters, buffers), (batch, 0))

    def _train_epoch(self) -> None:
        """One epoch of every active member."""
        self.skeleton.train()
        torch.manual_seed(derive(*(m.name for m in self.active), *(m.epoch for m in self.active), "stack") % 2**32)
        steps = training_steps(self.active, self.joined, self.n_draws, self.flat.values)
        sums = self.flat.values.new_zeros(len(self.active), 1 + len(self.active[0].objective.names))
        for t, widths in enumerate(steps.widths):
            batch = gather(self.joined, steps.items[t], steps.draws[t], widths)
            stacked = self.flat.stacked()
            total, parts = self._loss(stacked, self.buffers, batch)
            if self.fresh:  # which parameters the losses use does not change
                self.optimizer.reached, self.fresh = self.flat.reached(total.sum(), stacked), False
            total.sum().backward()
            self.optimizer.step(self.flat, steps.rates[t], steps.active[t], self.clip)
            losses = torch.cat((total.detach().unsqueeze(1), parts), 1).to(sums.dtype)
            sums += torch.where(steps.active[t], losses, 0.0)
        for member, count, row in zip(self.active, steps.counts, sums.tolist(), strict=True):
            member.steps += count
            member.diverged = not all(map(math.isfinite, row))
            names = ("train/loss", *(f"train/{name}" for name in member.objective.names))
            means = {name: value / count for name, value in zip(names, row, strict=True)}
            member.log.append({"epoch": member.epoch, "steps": member.steps, "seconds": 0.0, **means})

    # validation ------------------------------------------------------------------------------------------------

    def _one_pass(self, parameters: Any, buffers: Any, batch: Batch) -> dict[str, Tensor]:
        names = [name for name in (*parameters, *buffers) if name.startswith("method.")]
        own = {n.removeprefix("method."): {**parameters, **buffers}[n] for n in names}
        return functional_call(self.skeleton.method, own, (batch,)).logits

    def _validate(self) -> None:
        """Score every member on its validation part, and keep the weights of the better epochs."""
        self.skeleton.eval()
        for items, widths in validation_steps(self.active, self.joined, self.eval_batch):
            views = items.to(self.device)
            with torch.no_grad():
                batch = gather(self.joined, views, self.flat.values.new_zeros(*views.shape, 0), widths)
                logits = self._logits(self.flat.stacked(), self.buffers, batch)
            self._hand_over(items, max(widths.values()), logits, batch)
        better = [k for k, member in enumerate(self.active) if not member.diverged and member.judge_epoch()]
        self.best[better] = self.flat.values.detach()[better]

    def _hand_over(self, items: Tensor, width: int, logits: dict[str, Tensor], batch: Batch) -> None:
        """Give every member the outputs on its own items."""
        for k, member in enumerate(self.active):
            real = int((items[k] != self.joined.nothing).sum())
            if real == 0:
                continue
            own = (items[k, :real] - self.joined.first[member.store]).to(self.device)
            store = cast("Store", member.val.store).on(self.device)  # a population is resident
            rows = {task: store.targets[task].frames(own, width) for task in logits}
            kept = {task: x[k, :real] for task, x in logits.items()}
            targets = {t: pytree.tree_map(lambda x, k=k, n=real: x[k, :n], y) for t, y in batch.targets.items()}
            member.judge.keep("full", rows, kept, targets)

    # places ----------------------------------------------------------------------------------------------------

    def _turn_over(self) -> None:
        """Let go of members that have ended; fill their places, or make the stack smaller."""
        staying = []
        for k, member in enumerate(self.active):
            if not member.ended:
                staying.append(k)
                continue
            if not member.diverged:
                self.flat.write(self.best[k], member.objective)
            self.ended(member)
            if self.queue:
                self._place(k, self.queue.pop(0))
                staying.append(k)
        if len(staying) < len(self.active):
            self.active = [self.active[k] for k in staying]
            self.flat.select(staying)
            self.optimizer.select(staying)
            self.best = self.best[staying]
            self.buffers = {name: x[staying] for name, x in self.buffers.items()}

    def _place(self, k: int, member: Member) -> None:
        """A new member takes row k."""
        self.active[k] = member
        with torch.no_grad():
            self.flat.values[k] = self.best[k] = self.flat.flatten(member.objective)
            for name, x in member.objective.named_buffers():
                self.buffers[name][k] = x
        self.optimizer.reset(k, member.optimizer.param_groups[0])


def _buffers(objectives: Sequence[Objective]) -> dict[str, Tensor]:
    """Buffers and frozen parameters, stacked."""
    parameters, buffers = stack_module_state(list(objectives))
    frozen = {name for name, p in objectives[0].named_parameters() if not p.requires_grad}
    return {**buffers, **{name: parameters[name].detach() for name in frozen}}
