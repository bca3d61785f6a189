"""What a launcher has before it: which run comes next, and how the end of one is noted. The same for every engine."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping

from mer_bench.errors import UserError
from mer_bench.results.sources import code_hash, named_modules
from mer_bench.runs import Run
from mer_bench.sweep.ledger import ATTEMPTS, Failure, Ledger
from mer_bench.sweep.populations import kind
from mer_bench.sweep.progress import Progress
from mer_bench.sweep.worker import Ended


class Agenda:
    """The runs of a plan that have no record, and the claims of one launcher on them.

    Args:
        ledger: of the runs' folder.
        plan: all runs by key.
        progress: is told what happens.
        executor: as asked for; decides which runs can train together.
    """

    def __init__(self, ledger: Ledger, plan: Mapping[str, Run], progress: Progress, executor: str = "auto") -> None:
        self.ledger, self.progress, self.executor = ledger, progress, executor
        self.left = deque(run for run in plan.values() if not recorded(run))
        self.trouble = ""

    def next(self) -> Run | None:
        """The next run that is nobody's, now ours; None when there is none at the moment."""
        for _ in range(len(self.left)):
            run = self.left.popleft()
            if recorded(run) or self._given_up(run):
                continue
            if not self.ledger.claim(run.key):
                self.left.append(run)
                continue
            if not recorded(run):
                return run
            self.ledger.release(run.key)  # finished by another launcher between the look and the claim
        return None

    def companions(self, run: Run, count: int) -> list[Run]:
        """Up to `count` runs that can train together with one that is ours; they are ours from now on."""
        wanted, found = kind(run, self.executor) if count > 0 else "", list[Run]()
        for other in [other for other in self.left if wanted and kind(other, self.executor) == wanted]:
            if len(found) == count:
                break
            if recorded(other) or self._given_up(other) or not self.ledger.claim(other.key):
                continue
            self.left.remove(other)
            if recorded(other):
                self.ledger.release(other.key)
            else:
                found.append(other)
        return found

    def settled(self) -> bool:
        """Whether nothing is left: neither to be started nor in the hands of other launchers."""
        self.left = deque(run for run in self.left if not recorded(run) and not self._given_up(run))
        return not self.left

    def beat(self, runs: Iterable[Run]) -> None:
        """Say that our claims are alive."""
        for run in runs:
            self.ledger.beat(run.key)

    def land(self, run: Run, ended: Ended, seconds: float) -> None:
        """Note how a run of ours ended; one that failed is tried once more."""
        if ended.status == "stopped":
            self.left.append(run)
        elif ended.status == "disk":  # every other run would meet the same
            self.trouble = ended.reason
            self.left.append(run)
        elif ended.status == "conflict":
            self.progress.failed(run, ended.status, ended.reason)
        elif recorded(run):
            self.ledger.forgive(run.key)
            self.progress.done(run, ended.status, seconds)
        elif ended.status == "ok":
            self._failed(run, Ended("failed", "it left no result here: other code or features there?"))
        else:
            self._failed(run, ended)
        self.ledger.release(run.key)

    def _failed(self, run: Run, ended: Ended) -> None:
        code = code_of(run)
        failure = self.ledger.fail(run.key, ended.reason, code)
        if ended.status == "refused":
            failure = self.ledger.fail(run.key, ended.reason, code)  # the same input is refused again: no second try
        if failure.attempts < ATTEMPTS:
            self.left.append(run)
        else:
            self.progress.failed(run, ended.status, failure.reason)

    def _given_up(self, run: Run) -> bool:
        return given_up(self.ledger, run) is not None


def recorded(run: Run) -> bool:
    """Whether the run has its result."""
    return (run.folder / run.result).is_file()


def given_up(ledger: Ledger, run: Run) -> Failure | None:
    """Why a run is not tried again without being told; None while it is. What other code did not do, this may."""
    found = ledger.failure(run.key)
    return found if found is not None and found.attempts >= ATTEMPTS and found.code == code_of(run) else None


def code_of(run: Run) -> str:
    """Hash of the sources that a run uses; empty where they cannot be read, which the run itself will say."""
    try:
        return code_hash(named_modules(run.recipe.settings))
    except (UserError, SyntaxError):
        return ""
