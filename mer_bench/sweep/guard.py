"""Nothing is left behind: a small process that outlives its parent just long enough to end what that had started.

Ray's own agents stay when a driver is killed. The guard notes every process below the driver, with its time of birth so
that a later one with its number is never touched. It learns of the driver's end by the end of its standard input.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mer_bench.sweep.ledger import alive, born

#: seconds between two looks, and those that processes have to end by themselves
LOOK, GRACE = 1.0, 8.0


@contextmanager
def guarded() -> Iterator[None]:
    """Whatever this process starts inside ends with it, even when it is killed."""
    command = [sys.executable, "-m", "mer_bench.sweep.guard", str(os.getpid())]
    guard = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)
    try:
        yield
    finally:
        assert guard.stdin is not None
        guard.stdin.close()
        guard.wait()


def watch(parent: int) -> None:
    """Note the processes below the parent until it is gone, then end those that stay."""
    known: dict[int, int | None] = {}
    while not select.select([sys.stdin], [], [], LOOK)[0]:
        known |= {pid: born(pid) for pid in below(parent) if pid not in known}
    end = time.monotonic() + GRACE
    while time.monotonic() < end and left(known):
        time.sleep(0.1)
    for pid in left(known):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def left(known: dict[int, int | None]) -> list[int]:
    """Which of them are still there."""
    return [pid for pid, start in known.items() if start is not None and alive(pid, start)]


def below(pid: int) -> list[int]:
    """Children of a process, and theirs; this one left out."""
    found, waiting = [], [pid]
    while waiting:
        for path in Path(f"/proc/{waiting.pop()}/task").glob("*/children"):
            with suppress(OSError):
                children = [int(word) for word in path.read_text().split() if int(word) != os.getpid()]
                found += children
                waiting += children
    return found


if __name__ == "__main__":
    watch(int(sys.argv[1]))
