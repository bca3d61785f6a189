"""Many runs trained side by side, by whichever executor; each with its own epochs, early stop and best weights.

All active members go through their epochs side by side. One that stops leaves its place to the next in the queue; when
the queue is empty, the places become fewer. One that fails leaves, and the others go on as if it had ended.

Between epochs, and when asked to stop inside one, a population can be saved whole: a later one of the same members goes
on from there, and on a CPU gives the same bits as one that was never disturbed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from mer_bench.training.executors import Executor, Keep
from mer_bench.training.member import Member
from mer_bench.types import Masked

#: makes the executor of the first members
Maker = Callable[[Sequence[Member]], Executor]
#: seconds between two saves; more where saving itself takes more than a twentieth of the time
EVERY = 20.0


class Population:
    """Trains members side by side.

    Args:
        members: those beyond `width` queue.
        executor: makes it.
        width: how many are trained at a time.
        ended: called with every member that has ended, its objective holding the best weights. What it raises is the
            member's error.
        save: called with a state now and then, when a member has ended, and before it stops.
        asked: whether to stop after the next step.
        every: seconds between two saves.

    Attributes:
        failed: members that have an error.
    """

    def __init__(
        self,
        members: Sequence[Member],
        executor: Maker,
        *,
        width: int,
        ended: Callable[[Member], None],
        save: Callable[[dict[str, Any]], None] = lambda state: None,
        asked: Callable[[], bool] = lambda: False,
        every: float = EVERY,
    ) -> None:
        self.queue, self.make, self.width = list(members), executor, width
        self.ended, self.save, self.asked, self.every = ended, save, asked, every
        self.executor: Executor | None = None
        self.inside = False
        #: ended and not reported yet, and those whose report failed
        self.finishing: list[Member] = []
        self.untold: list[Member] = []
        self.failed: list[Member] = []

    @property
    def active(self) -> list[Member]:
        """Those that have a place."""
        return self.executor.members if self.executor else []

    def run(self) -> None:
        """Train until every member has ended.

        Raises:
            KeyboardInterrupt: asked to stop; the state is saved.
        """
        if self.executor is None:
            self._open([self.queue.pop(0) for _ in range(min(self.width, len(self.queue)))])
        self.saved, self.pause = time.monotonic(), self.every
        self._report()
        while self.executor is not None:
            self._epoch(self.executor)
            self._turn_over(self.executor)
            if self.finishing or time.monotonic() - self.saved >= self.pause:
                self._save()
            self._report()
            if self.executor is not None and self.asked():
                self._stop()

    def _open(self, members: Sequence[Member]) -> None:
        self.executor = self.make(members) if members else None

    # epochs ----------------------------------------------------------------------------------------------------

    def _epoch(self, executor: Executor) -> None:
        """One epoch of every active member, and its validation."""
        start = time.perf_counter()
        if not self.inside:
            executor.begin()
        self.inside = True
        while executor.step():
            if self.asked():
                self._share(start)
                self._stop()
        executor.end()
        self.inside = False
        executor.validate(self._keep(executor))
        better = [k for k, member in enumerate(executor.members) if self._judged(member)]
        executor.snapshot(better)
        self._share(start)
        for member in executor.members:
            if member.log:
                member.log[-1]["seconds"] = member.seconds

    def _share(self, start: float) -> None:
        """Charge every active member with its share of the time since."""
        for member in self.active:
            member.seconds += (time.perf_counter() - start) / len(self.active)

    def _keep(self, executor: Executor) -> Keep:
        def keep(k: int, rows: dict[str, Tensor], logits: dict[str, Tensor], targets: dict[str, Masked]) -> None:
            member = executor.members[k]
            if not (member.diverged or member.error):
                attempt(member, partial(member.judge.keep, "full", rows, logits, targets))

        return keep

    @staticmethod
    def _judged(member: Member) -> bool:
        """Whether the epoch is its best."""
        return not (member.diverged or member.error) and bool(attempt(member, member.judge_epoch))

    # places ----------------------------------------------------------------------------------------------------

    def _turn_over(self, executor: Executor) -> None:
        """Let go of members that have ended; fill their places, or make them fewer."""
        staying = []
        for k, member in enumerate(executor.members):
            if not member.ended:
                staying.append(k)
                continue
            if member.error is not None:
                self.failed.append(member)
            else:
                if not member.diverged:
                    executor.write_best(k)
                self.finishing.append(member)
            if self.queue:
                executor.place(k, self.queue.pop(0))
                staying.append(k)
        if not staying:
            self.executor = None
        elif len(staying) < len(executor.members):
            executor.select(staying)

    def _report(self) -> None:
        """Hand over those that have ended; a save before has what is needed to do it again."""
        waiting, self.finishing = self.finishing, []
        for number, member in enumerate(waiting):
            attempt(member, partial(self.ended, member))
            if member.error is not None:
                self.failed.append(member)
                self.untold.append(member)
            if self.asked() and number + 1 < len(waiting):  # the last save has the others
                raise KeyboardInterrupt

    # interruptions ---------------------------------------------------------------------------------------------

    def _stop(self) -> None:
        self._save()
        raise KeyboardInterrupt

    def _save(self) -> None:
        start = time.monotonic()
        self.save(self.state())
        self.saved = time.monotonic()
        self.pause = max(self.every, 20 * (self.saved - start))

    def state(self) -> dict[str, Any]:
        """Everything that the rest of the training depends on: plain values and tensors."""
        executor, untold = self.executor, [*self.finishing, *self.untold]
        return {
            "executor": "" if executor is None else executor.name,
            "inside": self.inside,
            "active": [member.progress() for member in self.active],
            "ended": [{**m.progress(), "weights": m.objective.state_dict()} for m in untold],
            "body": {} if executor is None else executor.state(self.inside),
        }

    def load(self, state: dict[str, Any]) -> None:
        """Go on from a saved state, before `run`. Members that it does not know start after the others."""
        by_name = {member.name: member for member in self.queue}
        for kept in state["ended"]:
            if member := by_name.pop(kept["name"], None):
                member.go_on(kept)
                member.objective.load_state_dict(kept["weights"])
                self.finishing.append(member)
        places = [k for k, kept in enumerate(state["active"]) if kept["name"] in by_name]
        active = [by_name.pop(state["active"][k]["name"]) for k in places]
        self.queue = [member for member in self.queue if member.name in by_name]
        if not active:
            return
        self._open(active)
        assert self.executor is not None
        for member, k in zip(active, places, strict=True):
            member.go_on(state["active"][k])
        self.inside = state["inside"]
        self.executor.load(state["body"], places, self.inside)


def attempt(member: Member, what: Callable[[], Any]) -> Any:
    """The result; what it raises becomes the member's error, except where it concerns all of them."""
    try:
        return what()
    except torch.OutOfMemoryError:
        raise
    except Exception as error:
        member.error = error
        return None
