"""The SLURM engine: an array of jobs on a shared folder, each of which runs the local engine on the same ledger.

submitit writes the script, submits it and watches the jobs. A job that reaches its time limit is queued again, and its
runs go on from their checkpoints. The launcher only watches: killed, it leaves the array at work.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mer_bench import recipes
from mer_bench.data.corpora import register
from mer_bench.errors import UserError
from mer_bench.merh5 import FeatureFile
from mer_bench.results.record import read_record
from mer_bench.runs import Run
from mer_bench.sweep.agenda import given_up, recorded
from mer_bench.sweep.engine import Engine
from mer_bench.sweep.ledger import Ledger
from mer_bench.sweep.local import LocalEngine, slots, visible_gpus
from mer_bench.sweep.loop import GRACE, signals
from mer_bench.sweep.progress import Progress

#: seconds between two looks at the folder
LOOK = 2.0


@dataclass(frozen=True)
class Batch:
    """What the array asks for.

    Attributes:
        jobs: its size.
        workers: runs at a time in a job without GPUs, and CPUs of each job.
        gpus: of each job.
        slots_per_gpu: runs that share one.
        minutes: longest time of a job.
        partition: where it queues; empty leaves it to the cluster.
        extra: further options of sbatch.
    """

    jobs: int = 4
    workers: int = 1
    gpus: int = 0
    slots_per_gpu: int = 1
    minutes: int = 240
    partition: str = ""
    extra: Mapping[str, str] = field(default_factory=dict)

    @property
    def parameters(self) -> dict[str, Any]:
        """As submitit's SLURM executor takes them."""
        found: dict[str, Any] = {"job_name": "mer-bench", "time": self.minutes, "nodes": 1}
        found["cpus_per_task"] = max(self.workers, self.gpus * self.slots_per_gpu)
        found |= {"gpus_per_node": self.gpus} if self.gpus else {}
        found |= {"partition": self.partition} if self.partition else {}
        return {**found, "additional_parameters": dict(self.extra)}


@dataclass(frozen=True)
class ArrayJob:
    """One job of the array, as it travels to its machine.

    Attributes:
        plan: the runs that had no record when it was submitted, by key.
        runs: their folder.
        target: ``module:function`` that a run calls.
        options: for the target.
        preload: modules that the fork server imports once.
        batch: what the job has.
    """

    plan: Mapping[str, Run]
    runs: str
    target: str
    options: Mapping[str, Any]
    preload: Sequence[str]
    batch: Batch

    def __call__(self) -> bool:
        """Work off what nobody else does; True when interrupted."""
        register(self.options.get("trust", ()))
        gpus = visible_gpus() if self.batch.gpus else []
        places = slots(self.batch.workers, gpus, self.batch.slots_per_gpu)
        engine = LocalEngine(Ledger(self.runs), places, self.target, self.options, self.preload)
        return engine.work(self.plan, Progress(len(self.plan), 0, bar=False))

    def checkpoint(self) -> Any:
        """What submitit queues again at the time limit: the same; the folder says how far it is."""
        return _submitit("submitit.helpers").DelayedSubmission(self)


class SlurmEngine(Engine):
    """Submits the array and watches it.

    Args:
        ledger: of the runs' folder, which every machine of the cluster must see at the same path.
        target: ``module:function`` that a run calls.
        options: for the target.
        preload: modules that fork servers import once.
        batch: what is asked for.
        executor: makes the executor of submitit for a folder; None means SLURM's.
        grace: seconds that jobs have to stop.
        look: seconds between two looks at the folder.
    """

    def __init__(
        self,
        ledger: Ledger,
        target: str,
        options: Mapping[str, Any],
        preload: Sequence[str],
        batch: Batch,
        *,
        executor: Callable[[Path], Any] | None = None,
        grace: float = 3 * GRACE,
        look: float = LOOK,
    ) -> None:
        self.ledger, self.target, self.options, self.preload = ledger, target, dict(options), tuple(preload)
        self.batch, self.grace, self.look = batch, grace, look
        self.executor = executor or self._slurm
        _submitit("submitit")

    def work(self, plan: Mapping[str, Run], progress: Progress) -> bool:
        """As in `Engine`."""
        self.ledger.prepare()
        left = {key: run for key, run in plan.items() if not recorded(run)}
        with signals() as stop:
            jobs = self._submit(left)
            while left and not stop.asked and not all(job.done() for job in jobs):
                self._look(left, progress, jobs)
                time.sleep(self.look)
            if not stop.asked:
                _tell(jobs, progress)
            self._end(jobs, interrupted=stop.asked > 0)
        self._look(left, progress, [])
        return stop.asked > 0

    def _submit(self, plan: Mapping[str, Run]) -> list[Any]:
        runs = self.ledger.root.parent.absolute()
        options = {**self.options, "runs": str(runs)}
        job = ArrayJob(travelling(plan), str(runs), self.target, options, self.preload, self.batch)
        executor = self.executor(_folder(self.ledger))
        with executor.batch():
            return [executor.submit(job) for _ in range(self.batch.jobs)]

    def _look(self, left: dict[str, Run], progress: Progress, jobs: Sequence[Any]) -> None:
        """Tell of runs that have ended since the last look."""
        for key, run in list(left.items()):
            if recorded(run):
                progress.done(run, *_outcome(run))
            elif (failure := given_up(self.ledger, run)) is not None:
                progress.failed(run, "failed", failure.reason)
            else:
                continue
            del left[key]
        progress.tick(sum(not job.done() for job in jobs))

    def _end(self, jobs: Sequence[Any], *, interrupted: bool) -> None:
        """Cancel the array: at once after an interruption, else what is still queued when all runs have ended."""
        if not interrupted:
            _await(jobs, 5.0)
        for job in jobs:
            if not job.done():
                job.cancel(check=False)
        _await(jobs, self.grace)

    def _slurm(self, folder: Path) -> Any:
        try:
            executor = _submitit("submitit").SlurmExecutor(folder)
        except RuntimeError:
            raise UserError(
                "--engine slurm: no `srun` on this machine; run it where jobs are submitted (--print-script shows "
                "what would be submitted)"
            ) from None
        _ask(executor, self.batch)
        return executor


def sbatch_script(ledger: Ledger, batch: Batch) -> str:
    """The script that submitit would hand to sbatch; SLURM need not be there."""
    slurm: Any = _submitit("submitit.slurm.slurm")

    class Anywhere(slurm.SlurmExecutor):
        """The executor on a machine that has no `srun`."""

        @classmethod
        def affinity(cls) -> int:
            """Not asked here."""
            return 1

    executor: Any = Anywhere(_folder(ledger))
    _ask(executor, batch)
    if batch.jobs > 1:
        executor.parameters["map_count"] = batch.jobs
    return executor._make_submission_file_text(executor._submitit_command_str, "array")


def _tell(jobs: Sequence[Any], progress: Progress) -> None:
    """Name the jobs that raised, which no run's failure tells of; those that still work or queue are not asked."""
    for job in jobs:
        error = job.exception() if job.done() else None
        if error is not None:
            lines = [line.strip() for line in str(error).splitlines() if line.strip()]
            progress.note(
                f"job {job.job_id} failed: {lines[0] if lines else type(error).__name__}; see {job.paths.stderr}"
            )


def _await(jobs: Sequence[Any], seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end and not all(job.done(force_check=True) for job in jobs):
        time.sleep(0.2)


def _ask(executor: Any, batch: Batch) -> None:
    try:
        executor.update_parameters(**batch.parameters)
    except (ValueError, TypeError) as error:
        raise UserError(f"--engine slurm: {str(error).splitlines()[0]}") from None


def _folder(ledger: Ledger) -> Path:
    """Scripts, pickles and logs of jobs."""
    return ledger.root.absolute() / "slurm"


def travelling(plan: Mapping[str, Run]) -> dict[str, Run]:
    """The runs with full paths, since a job may start in another folder, and each feature file only once."""
    files: dict[str, FeatureFile] = {}
    found = {}
    for key, run in plan.items():
        place = {"data": {"init_args": {"file": str(run.file.path.absolute())}}}
        recipe = replace(run.recipe, settings=recipes.merge(run.recipe.settings, place))
        file = files.setdefault(run.file.content_sha256, run.file)
        found[key] = replace(run, recipe=recipe, file=file, folder=run.folder.absolute())
    return found


def _outcome(run: Run) -> tuple[str, float]:
    """Status and seconds of a run that is done, for the line about it."""
    try:
        record = read_record(run.folder / run.result)
    except UserError:  # a trial, or something for `sweep status` to name
        return "ok", 0.0
    return record.status, record.cost.wall_seconds or 0.0


def _submitit(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError:
        raise UserError(
            "--engine slurm needs submitit, which is not installed; install the extra: pip install 'mer-bench[slurm]'"
        ) from None
