"""Members side by side without vmap: each has its own network, optimiser and steps, exactly those of the run alone.

Whatever a run alone can train goes here too: recurrent layers, gradient hooks, schedules that count steps, any
optimiser. On a GPU every member's steps go to a stream of its own, in turn, so that small kernels of several runs can
overlap. On a CPU a member makes its whole epoch before the next one, and gives the same bits as alone, dropout
included: every member has its own state of the random generators.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from mer_bench.data.blocks import Block, derive
from mer_bench.training.executors import Executor, Keep, autocast, random_state, set_random_state
from mer_bench.training.member import Member


class Branch:
    """One member: its steps, sums and random numbers.

    Args:
        member: the run.
        clip: largest norm of its gradient, or None.
        device: where it is.
    """

    def __init__(self, member: Member, clip: float | None, device: torch.device) -> None:
        self.member, self.clip, self.device = member, clip, device
        self.stream = torch.cuda.Stream(device) if device.type == "cuda" else None
        self.best = _copied(member.objective.state_dict())
        self.sums = torch.zeros(1 + len(member.objective.names), device=device)
        self.steps: list[tuple[Block, int]] = []
        self.at = 0
        self.random = random_state(device)

    def table(self) -> None:
        """The steps of its next epoch."""
        self.member.objective.train()
        self.member.train.set_epoch(self.member.epoch)
        blocks = [block.to(self.device) for block in self.member.train]
        self.steps = [(block, s) for block in blocks for s in range(len(block))]

    def begin(self) -> None:
        """As a run alone begins an epoch (`training.seeds`)."""
        self.table()
        torch.manual_seed(derive(self.member.seed, self.member.epoch, "global") % 2**32)
        self.random, self.at = random_state(self.device), 0
        self.sums.zero_()
        if self.stream is not None:
            self.stream.wait_stream(torch.cuda.current_stream(self.device))

    @property
    def through(self) -> bool:
        """Whether its epoch is over."""
        return self.at == len(self.steps) or self.member.error is not None

    def step(self) -> None:
        """As `FusionModule` makes a step."""
        member, (block, s) = self.member, self.steps[self.at]
        number, total = member.steps + self.at, len(self.steps) * member.epochs
        for group in member.optimizer.param_groups:
            group["lr"] = group["base_lr"] * member.schedule.factor(number, total)
        member.optimizer.zero_grad(set_to_none=True)
        batch = block.batch(s, member.objective.n_draws)
        with autocast(member.bf16, self.device):
            loss, parts, outputs, view = member.objective.evaluate(batch, number)
        loss.backward()
        if member.hook is not None:
            member.hook(member.objective.method, outputs, view, member.epoch)
        if self.clip is not None:
            torch.nn.utils.clip_grad_norm_(member.objective.parameters(), self.clip)
        self.sums += torch.cat((loss.detach().view(1), parts))
        member.optimizer.step()
        self.at += 1

    def state(self, inside: bool) -> dict[str, Any]:
        """Everything that its next steps depend on."""
        found: dict[str, Any] = {
            "objective": self.member.objective.state_dict(),
            "optimizer": self.member.optimizer.state_dict(),
            "best": self.best,
        }
        return found | ({"at": self.at, "sums": self.sums, "random": self.random} if inside else {})

    def load(self, state: Mapping[str, Any], inside: bool) -> None:
        """Go on from there."""
        self.member.objective.load_state_dict(state["objective"])
        self.member.optimizer.load_state_dict(state["optimizer"])
        for name, x in self.best.items():
            x.copy_(state["best"][name])
        if inside:
            self.table()
            self.at, self.random = state["at"], dict(state["random"])
            self.sums.copy_(state["sums"])


class Branches(Executor):
    """Every member by itself.

    Args:
        members: of any kind.
        clip: largest norm of a member's gradient, or None.
    """

    name = "branches"

    def __init__(self, members: Sequence[Member], *, clip: float | None) -> None:
        super().__init__(members)
        self.clip = clip
        self.branches = [Branch(member, clip, self.device) for member in members]
        self.next = 0
        #: whose random numbers the global generators give
        self.drawing: Branch | None = None

    def begin(self) -> None:
        """As in `Executor`."""
        self.drawing = None
        for branch in self.branches:
            self._try(branch, branch.begin)

    def step(self) -> bool:
        """One step of one member: on a GPU in turn, on a CPU of the first that is not through."""
        open_ = [k for k, branch in enumerate(self.branches) if not branch.through]
        if not open_:
            return False
        k = open_[0] if self.device.type == "cpu" else next((k for k in open_ if k >= self.next), open_[0])
        self.next = k + 1
        branch = self.branches[k]
        self._draw_for(branch)
        with torch.cuda.stream(branch.stream):  # on a CPU there is none, and nothing happens
            self._try(branch, branch.step)
        return True

    def _draw_for(self, branch: Branch | None) -> None:
        """Let the global generators go on where this member left them."""
        if branch is self.drawing:
            return
        if self.drawing is not None:
            self.drawing.random = random_state(self.device)
        if branch is not None:
            set_random_state(branch.random, self.device)
        self.drawing = branch

    def _try(self, branch: Branch, what: Callable[[], None]) -> None:
        """What one member raises is its own, but for a lack of memory."""
        try:
            what()
        except torch.OutOfMemoryError:
            raise
        except Exception as error:
            branch.member.error = error

    def end(self) -> None:
        """As in `Executor`."""
        for branch in self.branches:
            if branch.stream is not None:
                torch.cuda.current_stream(self.device).wait_stream(branch.stream)
        for branch in self.branches:
            if branch.member.error is None:
                branch.member.close_epoch(branch.at, (branch.sums / max(1, branch.at)).tolist())

    def validate(self, keep: Keep) -> None:
        """As in `Executor`."""
        for k, branch in enumerate(self.branches):
            if branch.member.error is None and not branch.member.diverged:
                self._try(branch, partial(self._validate, k, branch, keep))

    def _validate(self, k: int, branch: Branch, keep: Keep) -> None:
        objective = branch.member.objective.eval()
        for block in branch.member.val:
            block = block.to(self.device)
            batch = block.batch(0)
            with torch.no_grad(), autocast(branch.member.bf16, self.device):
                logits = objective.method(batch).logits
            keep(k, {task: block.frames(0, task) for task in logits}, logits, batch.targets)

    def snapshot(self, places: Sequence[int]) -> None:
        """As in `Executor`."""
        for k in places:
            self.branches[k].best = _copied(self.members[k].objective.state_dict())

    def write_best(self, place: int) -> None:
        """As in `Executor`."""
        self.members[place].objective.load_state_dict(self.branches[place].best)

    def place(self, place: int, member: Member) -> None:
        """As in `Executor`."""
        self.members[place], self.branches[place] = member, Branch(member, self.clip, self.device)

    def select(self, places: Sequence[int]) -> None:
        """As in `Executor`."""
        self.members = [self.members[k] for k in places]
        self.branches = [self.branches[k] for k in places]

    def state(self, inside: bool) -> dict[str, Any]:
        """As in `Executor`."""
        self._draw_for(None)
        return {"branches": [branch.state(inside) for branch in self.branches]}

    def load(self, state: dict[str, Any], places: Sequence[int], inside: bool) -> None:
        """As in `Executor`."""
        for branch, k in zip(self.branches, places, strict=True):
            branch.load(state["branches"][k], inside)


def _copied(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: x.detach().clone() for name, x in state.items()}
