"""Members as one: stacked parameters, one forward and backward pass for all of them, one flat optimiser.

They share method, shapes and everything else that fixes the sequence of operations; fold, seed, order of the items,
learning rate and weight decay are each member's own. A member whose epoch has fewer steps pauses at its end.

In float64 and without dropout a member equals the run alone (the same batches, draws, rate and order), as the tests
show to 1e-10. Dropout masks differ from those of the run alone, and so does rounding in float32.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor
from torch.func import functional_call, stack_module_state, vmap
from torch.utils import _pytree as pytree

from mer_bench.data.blocks import derive
from mer_bench.data.joined import Joined
from mer_bench.data.store import Store
from mer_bench.training.executors import Executor, Keep, autocast, random_state, set_random_state
from mer_bench.training.faster import Compiled, Replayed
from mer_bench.training.flat import FlatParameters, flat_optimizer
from mer_bench.training.member import Member
from mer_bench.training.objective import Objective
from mer_bench.training.steps import Steps, gather, training_steps, validation_steps
from mer_bench.types import Batch

Widths = dict[str, int]


class Stack(Executor):
    """All members in every operation.

    Args:
        members: of one kind, see `sweep.populations`.
        joined: the stores of their folds.
        clip: largest norm of a member's gradient, or None.
        eval_batch: items per member and forward pass outside training.
        graphs: steps become CUDA graphs.
        compiled: the optimiser's update goes through `torch.compile`.
    """

    name = "stack"

    def __init__(
        self,
        members: Sequence[Member],
        *,
        joined: Joined,
        clip: float | None,
        eval_batch: int = 256,
        graphs: bool = False,
        compiled: bool = False,
    ) -> None:
        super().__init__(members)
        self.joined, self.clip, self.eval_batch = joined, clip, eval_batch
        objectives = [m.objective for m in members]
        self.flat = FlatParameters(objectives)
        self.optimizer = flat_optimizer([m.optimizer for m in members], self.flat)
        self.buffers = _buffers(objectives)
        self.best = self.flat.values.detach().clone()
        self.best_buffers = {name: x.clone() for name, x in self.buffers.items()}
        self.skeleton = copy.deepcopy(objectives[0]).to("meta")
        self.n_draws, self.names = objectives[0].n_draws, objectives[0].names
        self.fresh = True
        self.sums = self._no_sums()
        self._loss = vmap(self._one_loss, randomness="different")
        self._logits = vmap(self._one_pass, randomness="different")
        self.replayed = Replayed(self._step, self.device, self._forget) if graphs else None
        self.compiled = Compiled(self.optimizer.update) if compiled else None
        if self.compiled:
            self.optimizer.update = self.compiled  # type: ignore[assignment,method-assign]

    @property
    def told(self) -> str:
        """As in `Executor`."""
        ways = (("graphs", self.replayed and self.replayed.on), ("compile", self.compiled and self.compiled.fast))
        return "-".join((self.name, *(name for name, on in ways if on)))

    # training --------------------------------------------------------------------------------------------------

    def _one_loss(self, parameters: Any, buffers: Any, batch: Batch) -> tuple[Tensor, Tensor]:
        # the number of the step is not the members' own: schedules that look at it are not stacked
        with autocast(self.members[0].bf16, self.device):
            return functional_call(self.skeleton, (parameters, buffers), (batch, 0))

    def _no_sums(self) -> Tensor:
        return self.flat.values.new_zeros(len(self.members), 1 + len(self.names))

    def _table(self) -> Steps:
        self.skeleton.train()
        return training_steps(self.members, self.joined, self.n_draws, self.flat.values)

    def begin(self) -> None:
        """The table of the epoch, and the seed of its dropout masks, which depends on who is in the stack."""
        who = (*(m.name for m in self.members), *(m.epoch for m in self.members))
        torch.manual_seed(derive(*who, "stack") % 2**32)
        self.table, self.at = self._table(), 0
        self.sums.zero_()

    def step(self) -> bool:
        """One step of every member that has one left."""
        t, table = self.at, self.table
        if t == len(table.widths):
            return False
        step = self.replayed or self._step
        step(table.items[t], table.draws[t], table.rates[t], table.active[t], widths=table.widths[t])
        self.at += 1
        return True

    def _step(self, items: Tensor, draws: Tensor, rate: Tensor, active: Tensor, *, widths: Widths) -> None:
        batch = gather(self.joined, items, draws, widths)
        stacked = self.flat.stacked()
        total, parts = self._loss(stacked, self.buffers, batch)
        if self.fresh:  # which parameters the losses use does not change
            self.optimizer.reached, self.fresh = self.flat.reached(total.sum(), stacked), False
        total.sum().backward()
        self.optimizer.step(self.flat, rate, active, self.clip)
        losses = torch.cat((total.detach().unsqueeze(1), parts), 1).to(self.sums.dtype)
        self.sums += torch.where(active, losses, 0.0)

    def _forget(self) -> None:
        self.flat.values.grad = None

    def end(self) -> None:
        """As in `Executor`."""
        for member, count, row in zip(self.members, self.table.counts, self.sums.tolist(), strict=True):
            member.close_epoch(count, [value / count for value in row])

    # validation ------------------------------------------------------------------------------------------------

    def _one_pass(self, parameters: Any, buffers: Any, batch: Batch) -> dict[str, Tensor]:
        names = [name for name in (*parameters, *buffers) if name.startswith("method.")]
        own = {n.removeprefix("method."): {**parameters, **buffers}[n] for n in names}
        with autocast(self.members[0].bf16, self.device):
            return functional_call(self.skeleton.method, own, (batch,)).logits

    def validate(self, keep: Keep) -> None:
        """As in `Executor`."""
        self.skeleton.eval()
        for items, widths in validation_steps(self.members, self.joined, self.eval_batch):
            views = items.to(self.device)
            with torch.no_grad():
                batch = gather(self.joined, views, self.flat.values.new_zeros(*views.shape, 0), widths)
                logits = self._logits(self.flat.stacked(), self.buffers, batch)
            self._hand_over(items, max(widths.values()), logits, batch, keep)

    def _hand_over(self, items: Tensor, width: int, logits: dict[str, Tensor], batch: Batch, keep: Keep) -> None:
        """Give every member the outputs on its own items."""
        for k, member in enumerate(self.members):
            real = int((items[k] != self.joined.nothing).sum())
            if real == 0:
                continue
            own = (items[k, :real] - self.joined.first[member.store]).to(self.device)
            store = cast("Store", member.val.store).on(self.device)  # a stack is resident
            rows = {task: store.targets[task].frames(own, width) for task in logits}
            kept = {task: x[k, :real] for task, x in logits.items()}
            targets = {t: pytree.tree_map(lambda x, k=k, n=real: x[k, :n], y) for t, y in batch.targets.items()}
            keep(k, rows, kept, targets)

    # places ----------------------------------------------------------------------------------------------------

    def snapshot(self, places: Sequence[int]) -> None:
        """As in `Executor`."""
        index = list(places)
        self.best[index] = self.flat.values.detach()[index]
        for name, x in self.buffers.items():
            self.best_buffers[name][index] = x[index]

    def write_best(self, place: int) -> None:
        """As in `Executor`."""
        objective = self.members[place].objective
        self.flat.write(self.best[place], objective)
        with torch.no_grad():
            for name, x in objective.named_buffers():
                x.copy_(self.best_buffers[name][place])

    def place(self, place: int, member: Member) -> None:
        """As in `Executor`."""
        self.members[place] = member
        with torch.no_grad():
            self.flat.values[place] = self.best[place] = self.flat.flatten(member.objective)
            for name, x in {**_frozen(member.objective), **dict(member.objective.named_buffers())}.items():
                self.buffers[name][place] = self.best_buffers[name][place] = x
        self.optimizer.reset(place, member.optimizer.param_groups[0])

    def select(self, places: Sequence[int]) -> None:
        """As in `Executor`."""
        index = list(places)
        self.members = [self.members[k] for k in index]
        self.flat.select(index)
        self.optimizer.select(index)
        self.best, self.sums = self.best[index], self._no_sums()
        self.buffers = {name: x[index] for name, x in self.buffers.items()}
        self.best_buffers = {name: x[index] for name, x in self.best_buffers.items()}
        if self.replayed:
            self.replayed.reset()

    # interruptions ---------------------------------------------------------------------------------------------

    def _tensors(self) -> dict[str, Tensor]:
        """By name, (members, ...) each: everything that a member carries from step to step."""
        found = {"values": self.flat.values.detach(), "best": self.best, "steps": self.optimizer.steps}
        found |= {f"optimizer/{name}": x for name, x in self.optimizer.state.items()}
        found |= {f"buffers/{name}": x for name, x in self.buffers.items()}
        return found | {f"best_buffers/{name}": x for name, x in self.best_buffers.items()}

    def state(self, inside: bool) -> dict[str, Any]:
        """As in `Executor`."""
        found: dict[str, Any] = {"tensors": self._tensors()}
        if inside:
            found |= {"at": self.at, "sums": self.sums, "random": random_state(self.device)}
        return found

    def load(self, state: dict[str, Any], places: Sequence[int], inside: bool) -> None:
        """As in `Executor`."""
        index = list(places)
        for name, x in self._tensors().items():
            x.copy_(state["tensors"][name][index])
        if inside:
            self.table, self.at = self._table(), state["at"]
            self.sums.copy_(state["sums"][index])
            set_random_state(state["random"], self.device)


def _frozen(objective: Objective) -> dict[str, Tensor]:
    return {name: p.detach() for name, p in objective.named_parameters() if not p.requires_grad}


def _buffers(objectives: Sequence[Objective]) -> dict[str, Tensor]:
    """Buffers and frozen parameters, stacked."""
    parameters, buffers = stack_module_state(list(objectives))
    return {**buffers, **{name: parameters[name].detach() for name in _frozen(objectives[0])}}
