"""One run in a process of its own: what the fork server's child does. torch comes in with the target only."""

from __future__ import annotations

import importlib
import os
import sys
import threading
import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from mer_bench.errors import Diverged, UserError
from mer_bench.recipes import Recipe


@dataclass(frozen=True)
class Job:
    """What a child is told.

    Attributes:
        target: ``module:function`` that is called with recipe and options.
        recipe: of the run.
        options: for the target.
        log: file for everything printed.
        environment: variables set before torch starts to work (`CUDA_VISIBLE_DEVICES`, thread counts).
        threads: CPU threads of the run.
        launcher: process that must stay alive.
    """

    target: str
    recipe: Recipe
    options: Mapping[str, Any]
    log: Path
    environment: Mapping[str, str]
    threads: int
    launcher: int


@dataclass(frozen=True)
class Ended:
    """How a run ended: ok, diverged, refused (bad input; not tried again), oom, or failed; and why."""

    status: str
    reason: str = ""


def main(job: Job, report: Connection) -> None:
    """Run the job, print into its log, and report how it ended."""
    os.environ.update(job.environment)
    threading.Thread(target=_follow, args=(job.launcher,), daemon=True).start()
    job.log.parent.mkdir(parents=True, exist_ok=True)
    with job.log.open("a", buffering=1) as log:
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
    except Diverged as error:
        print(f"mer-bench: {error}")
        return Ended("diverged", str(error))
    except UserError as error:
        print(f"mer-bench: error: {error}")
        return Ended("refused", str(error))
    except BaseException as error:  # the launcher decides; nothing may leave without a word
        traceback.print_exc()
        text = f"{type(error).__name__}: {error}"
        return Ended("oom" if type(error).__name__ == "OutOfMemoryError" else "failed", text)
    return Ended("ok")


def _follow(launcher: int) -> None:
    """End with the launcher: a run must not go on unseen."""
    while True:
        try:
            os.kill(launcher, 0)
        except ProcessLookupError:
            os._exit(1)
        except PermissionError:
            pass
        time.sleep(1.0)
