"""The local engine: a fork server that has imported torch once, and a fresh process for every run.

The server never touches CUDA; a child sees the one device of its slot. Children start in milliseconds, share the
imported code, and end with the launcher. Killing anything at any moment loses at most the current epoch of the runs in
flight: their last checkpoint is whole, and the next launcher goes on from it.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import wait
from typing import Any, cast

from mer_bench.runs import Run
from mer_bench.sweep.agenda import Agenda
from mer_bench.sweep.child import Child, Forks
from mer_bench.sweep.engine import Engine
from mer_bench.sweep.interrupted import state_of
from mer_bench.sweep.ledger import Ledger
from mer_bench.sweep.loop import GRACE, Place, drive
from mer_bench.sweep.populations import kind
from mer_bench.sweep.progress import Progress
from mer_bench.sweep.worker import Ended, Job


@dataclass(frozen=True)
class Slot:
    """Room for one run at a time.

    Attributes:
        device: name of the GPU as CUDA_VISIBLE_DEVICES takes it, or None for the CPU.
        threads: CPU threads of its runs.
    """

    device: str | None
    threads: int


def slots(workers: int | None, gpus: Sequence[str], slots_per_gpu: int) -> list[Slot]:
    """Slots of this machine: `slots_per_gpu` on every GPU, or single threads on the CPU's cores.

    A CPU run has one thread wherever it runs: models are small, and the number of threads could change a last digit.

    Args:
        workers: CPU only: how many; None means one per core.
        gpus: their names.
        slots_per_gpu: runs that share one GPU.
    """
    cores = usable_cores()
    if gpus:
        places = [gpu for _ in range(slots_per_gpu) for gpu in gpus]
        return [Slot(gpu, max(1, cores // len(places))) for gpu in places]
    return [Slot(None, 1)] * (workers or cores)


def usable_cores() -> int:
    """Cores that this process may use; all of the machine where the system does not say (macOS)."""
    affinity = getattr(os, "sched_getaffinity", None)
    return (os.cpu_count() or 1) if affinity is None else len(affinity(0))


def visible_gpus() -> list[str]:
    """Names of the GPUs that this process was given, or those that the driver lists; no CUDA in this process."""
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    if given is not None:
        return [name.strip() for name in given.split(",") if name.strip() not in ("", "-1")]
    try:
        found = subprocess.run(["nvidia-smi", "--list-gpus"], capture_output=True, text=True, check=True, timeout=20)
    except (OSError, subprocess.SubprocessError):
        return []
    return [str(index) for index in range(len(found.stdout.strip().splitlines()))]


class LocalEngine(Engine):
    """Works a plan off on this machine.

    Args:
        ledger: of the runs' folder.
        slots: where runs can be.
        target: ``module:function`` that a child calls.
        options: for the target.
        preload: modules that the fork server imports once.
        grace: seconds that runs have to stop.
        room: runs that train together in a slot; others of their kind queue for a place.
        together: ``module:function`` that a child calls with the recipes of such runs.
        executor: how they train together, see `sweep.populations`.
    """

    def __init__(
        self,
        ledger: Ledger,
        slots: Sequence[Slot],
        target: str,
        options: Mapping[str, Any],
        preload: Sequence[str],
        grace: float = GRACE,
        room: int = 1,
        together: str = "",
        executor: str = "auto",
    ) -> None:
        self.ledger, self.grace, self.executor = ledger, grace, executor
        forks, given = Forks(preload), {**options, "executor": executor}
        self.places = [_Process(slot, forks, (target, together), given, room) for slot in slots]

    def work(self, plan: Mapping[str, Run], progress: Progress) -> bool:
        """As in `Engine`."""
        self.ledger.prepare()
        return drive(self.places, Agenda(self.ledger, plan, progress, self.executor), _wait, self.grace)


class _Process:
    """A slot, and the process in it."""

    def __init__(
        self, slot: Slot, forks: Forks, targets: tuple[str, str], options: Mapping[str, Any], room: int
    ) -> None:
        self.slot, self.forks, self.options, self.room = slot, forks, options, room
        self.alone, self.together = targets
        self.usable = True
        self.child: Child | None = None

    def start(self, runs: Sequence[Run]) -> None:
        # the last of several that were interrupted goes on from their state
        several = len(runs) > 1 or bool(self.room > 1 and kind(runs[0], self.options["executor"]) and state_of(runs[0]))
        self.child = self.forks.launch(
            Job(
                self.together if several else self.alone,
                [run.recipe for run in runs] if several else runs[0].recipe,
                {**self.options, "room": self.room},
                runs[0].folder / "log.txt",
                environment(self.slot.threads, self.slot.device or ""),
                self.slot.threads,
            )
        )

    def ended(self) -> Ended | None:
        ended = self.child.ended() if self.child else None
        if ended is not None:
            self.child = None
        return ended

    def stop(self) -> None:
        if self.child:
            self.child.stop()

    def kill(self) -> None:
        if self.child:
            self.child.kill()
            self.child = None


def environment(threads: int, devices: str) -> dict[str, str]:
    """Variables of a run: its threads and the one device it sees."""
    return {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads), "CUDA_VISIBLE_DEVICES": devices}


def _wait(places: Sequence[Place], seconds: float) -> None:
    children = [cast(_Process, place).child for place in places]
    wait([child.sentinel for child in children if child], timeout=seconds)
