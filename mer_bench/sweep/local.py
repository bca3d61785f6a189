"""The local engine: a fork server that has imported torch once, and a fresh process for every run.

The server never touches CUDA; a child sees the one device of its slot. Children start in milliseconds, share the
imported code, and end with the launcher. Killing anything at any moment loses at most the current epoch of the runs in
flight: their last checkpoint is whole, and the next launcher goes on from it.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from typing import Any

from mer_bench.runs import Run
from mer_bench.sweep.ledger import ATTEMPTS, BEAT, Ledger
from mer_bench.sweep.progress import Progress
from mer_bench.sweep.worker import Ended, Job
from mer_bench.sweep.worker import main as child_main


@dataclass
class Slot:
    """A place for one run at a time.

    Attributes:
        device: index of the GPU, or None for the CPU.
        threads: CPU threads of its runs.
        usable: False after running out of memory; the others go on.
    """

    device: int | None
    threads: int
    usable: bool = True


@dataclass
class Flight:
    """A run in a slot."""

    run: Run
    slot: Slot
    process: Any
    pipe: Connection
    started: float = field(default_factory=time.monotonic)


def slots(workers: int | None, gpus: Sequence[int], slots_per_gpu: int) -> list[Slot]:
    """Slots of this machine: `slots_per_gpu` on every GPU, or one thread each on the CPU's cores.

    Args:
        workers: CPU only: how many; None means one per core.
        gpus: their indices.
        slots_per_gpu: runs that share one GPU.
    """
    cores = len(os.sched_getaffinity(0))
    if gpus:
        places = [gpu for _ in range(slots_per_gpu) for gpu in gpus]
        return [Slot(gpu, max(1, cores // len(places))) for gpu in places]
    count = workers or cores
    return [Slot(None, max(1, cores // count)) for _ in range(count)]


class LocalEngine:
    """Works a plan off on this machine.

    Args:
        ledger: of the runs' folder.
        places: where runs can be.
        target: ``module:function`` that a child calls.
        options: for the target.
        preload: modules that the fork server imports once.
    """

    def __init__(
        self, ledger: Ledger, places: Sequence[Slot], target: str, options: Mapping[str, Any], preload: Sequence[str]
    ) -> None:
        self.ledger, self.places, self.target, self.options = ledger, list(places), target, dict(options)
        self.context = multiprocessing.get_context("forkserver")
        self.context.set_forkserver_preload(list(preload))
        self.stopping = False

    def work(self, plan: Mapping[str, Run], progress: Progress) -> bool:
        """Run what has no record, until nothing is left that this launcher may do.

        Returns:
            True when it was interrupted.
        """
        self.ledger.prepare()
        left = deque(run for run in plan.values() if not recorded(run))
        flights: list[Flight] = []
        beat = time.monotonic()
        with self._signals():
            while (left or flights) and not self.stopping:
                self._start(left, flights)
                if not flights:  # everything left is claimed by other launchers, or has failed for good
                    left = deque(run for run in left if not recorded(run) and not self._given_up(run))
                    time.sleep(0.5 if left else 0.0)
                    continue
                wait([f.process.sentinel for f in flights], timeout=1.0)
                for flight in [f for f in flights if not f.process.is_alive()]:
                    flights.remove(flight)
                    self._land(flight, left, progress)
                if time.monotonic() - beat > BEAT:
                    beat = time.monotonic()
                    for flight in flights:
                        self.ledger.beat(flight.run.key)
                progress.tick(len(flights))
            for flight in flights:
                flight.process.kill()
                flight.process.join()
                self.ledger.release(flight.run.key)
        return self.stopping

    def _start(self, left: deque[Run], flights: list[Flight]) -> None:
        """Fill the free slots with runs that can be claimed."""
        busy = [id(f.slot) for f in flights]
        for slot in [s for s in self.places if s.usable and id(s) not in busy]:
            for _ in range(len(left)):
                run = left.popleft()
                if recorded(run) or self._given_up(run):
                    continue
                if not self.ledger.claim(run.key):
                    left.append(run)
                    continue
                if recorded(run):  # finished by another launcher between the look and the claim
                    self.ledger.release(run.key)
                    continue
                flights.append(self._launch(run, slot))
                break

    def _launch(self, run: Run, slot: Slot) -> Flight:
        environment = {"OMP_NUM_THREADS": str(slot.threads), "MKL_NUM_THREADS": str(slot.threads)}
        environment["CUDA_VISIBLE_DEVICES"] = "" if slot.device is None else str(slot.device)
        log = run.folder / "log.txt"
        job = Job(self.target, run.recipe, self.options, log, environment, slot.threads, os.getpid())
        receive, send = self.context.Pipe(duplex=False)
        process = self.context.Process(target=child_main, args=(job, send), daemon=True)
        process.start()
        send.close()
        return Flight(run, slot, process, receive)

    def _land(self, flight: Flight, left: deque[Run], progress: Progress) -> None:
        """Take note of how a run ended; one that failed is tried once more."""
        ended = _received(flight)
        key = flight.run.key
        flight.process.join()
        if ended.status == "ok" or recorded(flight.run):
            self.ledger.forgive(key)
            progress.done(flight.run, ended.status, time.monotonic() - flight.started)
        else:
            failure = self.ledger.fail(key, ended.reason)
            if ended.status == "refused":
                failure = self.ledger.fail(key, ended.reason)  # the same input is refused again: no second try
            if ended.status == "oom" and sum(s.usable for s in self.places) > 1:
                flight.slot.usable = False
                progress.note(f"out of memory: {sum(s.usable for s in self.places)} slots are left")
            if failure.attempts < ATTEMPTS:
                left.append(flight.run)
            else:
                progress.failed(flight.run, ended.status, failure.reason)
        self.ledger.release(key)

    def _given_up(self, run: Run) -> bool:
        failure = self.ledger.failure(run.key)
        return failure is not None and failure.attempts >= ATTEMPTS

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """Stop at the first Ctrl-C or SIGTERM."""

        def stop(number: int, frame: object) -> None:
            self.stopping = True

        before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _received(flight: Flight) -> Ended:
    """What the child reported, or what its exit code says."""
    try:
        if flight.pipe.poll():
            return flight.pipe.recv()
    except (EOFError, OSError):
        pass
    finally:
        flight.pipe.close()
    code = flight.process.exitcode
    name = signal.Signals(-code).name if code is not None and code < 0 else f"exit code {code}"
    return Ended("failed", f"the process ended without a word ({name}); see {flight.run.folder / 'log.txt'}")


def recorded(run: Run) -> bool:
    """Whether the run has its result."""
    return (run.folder / run.result).is_file()


def interrupted_message(done: int, total: int) -> str:
    """What to say after Ctrl-C."""
    return f"stopped; {done} of {total} runs are recorded. The same command goes on from here"


def flush() -> None:
    """Give out what is printed before children copy the buffers."""
    sys.stdout.flush()
    sys.stderr.flush()
