"""One run in a process of its own: what the fork server's child does. torch comes in with the target only."""

from __future__ import annotations

import errno
import importlib
import multiprocessing
import os
import shutil
import signal
import sys
import threading
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from mer_bench.errors import Conflict, Diverged, UserError
from mer_bench.recipes import Recipe

#: what systems say when there is no room
FULL = (errno.ENOSPC, errno.EDQUOT)
#: how torch says that the machine has no memory left
_ALLOCATION = ("can't allocate memory", "not enough memory")
#: torch says it in other words; so little room left counts as none
_ROOM = 1 << 20


@dataclass(frozen=True)
class Job:
    """What a child is told.

    Attributes:
        target: ``module:function`` that is called with recipe and options.
        recipe: of the run, or those of several that train as one.
        options: for the target.
        log: file for everything printed.
        environment: variables set before torch starts to work (`CUDA_VISIBLE_DEVICES`, thread counts).
        threads: CPU threads of the run.
    """

    target: str
    recipe: Recipe | list[Recipe]
    options: Mapping[str, Any]
    log: Path
    environment: Mapping[str, str]
    threads: int


@dataclass(frozen=True)
class Ended:
    """How a run ended, and why.

    Attributes:
        status: ok, diverged, refused (bad input; not tried again), oom, disk (no room), conflict (another result is
            recorded), stopped (as it was asked to), or failed.
        reason: in one line.
    """

    status: str
    reason: str = ""


def main(job: Job, report: Connection) -> None:
    """Run the job, print into its log, and report how it ended."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to all; the launcher is the one who stops us
    os.environ.update(job.environment)
    threading.Thread(target=_follow, daemon=True).start()
    try:
        job.log.parent.mkdir(parents=True, exist_ok=True)
        log = job.log.open("a", buffering=1)
    except OSError as error:
        ended = Ended("disk" if error.errno in FULL else "failed", f"{job.log}: cannot be written ({error.strerror})")
    else:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
        sys.stdout, sys.stderr = log, log
        ended = _run(job)
    report.send(ended)
    report.close()
    os._exit(0)  # nothing is left to clean, and interpreter shutdown costs more than the start


def _run(job: Job) -> Ended:
    try:
        module, _, name = job.target.partition(":")
        function = getattr(importlib.import_module(module), name)
        function(job.recipe, {**job.options, "threads": job.threads})
    except KeyboardInterrupt:
        return Ended("stopped")
    except BaseException as error:  # the launcher decides; nothing may leave without a word
        return _explained(error, job.log)
    return Ended("ok")


def _explained(error: BaseException, log: Path) -> Ended:
    """How a run ended that raised."""
    kind = next((status for status, classes in _KINDS.items() if isinstance(error, classes)), "")
    if kind:
        print(f"mer-bench: {kind}: {error}")
        return Ended(kind, str(error))
    if any(isinstance(cause, OSError) and cause.errno in FULL for cause in _causes(error)) or _no_room(log):
        return Ended("disk", f"{log.parent}: no space left on the device")
    traceback.print_exc()
    text = f"{type(error).__name__}: {error}"
    return Ended("oom" if any(map(_no_memory, _causes(error))) else "failed", text)


#: what is said in one line; the first that fits
_KINDS: Mapping[str, type[BaseException]] = {"diverged": Diverged, "conflict": Conflict, "refused": UserError}


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _no_memory(error: BaseException) -> bool:
    """Whether it says that memory ran out, of the device or of the machine."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _ALLOCATION)


def _no_room(log: Path) -> bool:
    try:
        return shutil.disk_usage(log.parent).free < _ROOM
    except OSError:
        return False


def _follow() -> None:
    """End with the launcher: a run must not go on unseen."""
    launcher = multiprocessing.parent_process()
    if launcher is not None:
        wait([launcher.sentinel])
        os._exit(1)
