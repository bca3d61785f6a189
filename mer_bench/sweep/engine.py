"""What every engine promises."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

from mer_bench.runs import Run
from mer_bench.sweep.progress import Progress


class Engine(ABC):
    """Takes a plan to its records, wherever the runs are executed."""

    @abstractmethod
    def work(self, plan: Mapping[str, Run], progress: Progress) -> bool:
        """Run what has no record, until nothing is left that this launcher may do.

        Returns:
            True when it was interrupted.

        Raises:
            UserError: it cannot go on, such as on a full disk.
        """


def interrupted_message(done: int, total: int) -> str:
    """What to say after Ctrl-C."""
    return f"stopped; {done} of {total} runs are recorded. The same command goes on from here"
