"""Fresh processes from a server that has imported torch once: a run starts in milliseconds and shares nothing."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
import types
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from mer_bench.sweep.worker import Ended, Job, main

#: imported by the server first; see there
DEAF = "mer_bench.sweep.deaf"
_main = threading.Lock()


class Forks:
    """The fork server of this process. It never touches CUDA; it ends with this process, whatever happens to it.

    Args:
        preload: modules that it imports once.
    """

    def __init__(self, preload: Sequence[str]) -> None:
        self.context = multiprocessing.get_context("forkserver")
        self.context.set_forkserver_preload([DEAF, *preload])

    def launch(self, job: Job) -> Child:
        """Start a job."""
        receive, send = self.context.Pipe(duplex=False)
        process = self.context.Process(target=main, args=(job, send), daemon=True)
        with _no_main_module():
            process.start()
        send.close()
        return Child(process, receive, job.log)


class Child:
    """A run in its process."""

    def __init__(self, process: Any, pipe: Connection, log: Path) -> None:
        self.process, self.pipe, self.log = process, pipe, log
        self.killed_before = killed_for_memory()

    @property
    def sentinel(self) -> int:
        """Ready when the process has ended."""
        return self.process.sentinel

    def ended(self) -> Ended | None:
        """What the run reported, or what its exit code says; None while it goes on."""
        if self.process.is_alive():
            return None
        self.process.join()
        try:
            if self.pipe.poll():
                return self.pipe.recv()
        except (EOFError, OSError):
            pass
        finally:
            self.pipe.close()
        code = self.process.exitcode
        if code == -signal.SIGKILL and killed_for_memory() > self.killed_before:
            return Ended("oom", f"the system had no memory left and ended the process; see {self.log}")
        name = signal.Signals(-code).name if code is not None and code < 0 else f"exit code {code}"
        return Ended("failed", f"the process ended without a word ({name}); see {self.log}")

    def stop(self) -> None:
        """Ask for a checkpoint and an end."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.process.pid, signal.SIGTERM)

    def kill(self) -> None:
        """End it at once."""
        self.process.kill()
        self.process.join()
        self.pipe.close()


def killed_for_memory(counters: Path = Path("/proc/vmstat")) -> int:
    """How many processes Linux has ended since it started because memory ran out; 0 where nothing says so."""
    try:
        lines = counters.read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith("oom_kill "))


@contextlib.contextmanager
def _no_main_module() -> Iterator[None]:
    """Hide the script of this process: multiprocessing would have every child run it again before the job."""
    with _main:
        script = sys.modules["__main__"]
        sys.modules["__main__"] = types.ModuleType("__main__")
        try:
            yield
        finally:
            sys.modules["__main__"] = script
