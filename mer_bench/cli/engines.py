"""Which engine a sweep runs on: its options, and how it is made. Ray and submitit are imported only when asked for."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from typing import Any

from mer_bench.errors import UserError
from mer_bench.runs import Run, check_files
from mer_bench.sweep.agenda import recorded
from mer_bench.sweep.engine import Engine
from mer_bench.sweep.ledger import Ledger
from mer_bench.sweep.local import LocalEngine, slots, visible_gpus
from mer_bench.sweep.populations import EXECUTORS
from mer_bench.sweep.progress import Progress
from mer_bench.sweep.ray import RayEngine
from mer_bench.sweep.slurm import Batch, SlurmEngine, sbatch_script

#: what a child calls, and what the fork server imports for it
TARGET = "mer_bench.cli.fit:work"
TOGETHER = "mer_bench.cli.together:work"
#: runs that train together on a GPU, where nothing else is asked for; on CPUs processes are faster
STACK = 16
PRELOAD = ("mer_bench.cli.warm",)

Maker = Callable[[argparse.Namespace, Ledger, str, Mapping[str, Any]], Engine]


def add_options(parser: argparse.ArgumentParser) -> None:
    """Where and how many at a time."""
    group = parser.add_argument_group("where runs are executed")
    group.add_argument("--engine", choices=tuple(ENGINES), default="local", help="this machine (local), or a cluster")
    group.add_argument("--workers", type=int, metavar="N", help="runs at a time on CPUs (one per core)")
    group.add_argument("--slots-per-gpu", type=int, default=1, metavar="K", help="runs that share a GPU (1)")
    group.add_argument(
        "--stack",
        type=int,
        metavar="K",
        help=f"local: runs that differ in fold, seed or rate only train K at a time together (GPU {STACK}, CPU 1)",
    )
    group.add_argument(
        "--executor",
        choices=EXECUTORS,
        default="auto",
        help="local: how runs train: alone (eager), K as one (stack; methods that cannot be stacked alone), K side by "
        "side (branches), or whichever fits card, device and size",
    )
    group.add_argument("--graphs", action="store_true", help="local: steps of a stack become CUDA graphs")
    group.add_argument("--compile", action="store_true", help="local: the optimiser of a stack is compiled by torch")
    group.add_argument("--cpu", action="store_true", help="leave the GPUs alone")
    group.add_argument("--address", default="", help="ray: of a running cluster (default: one of its own, here)")
    group.add_argument("--jobs", type=int, default=4, metavar="N", help="slurm: jobs of the array (4)")
    group.add_argument("--gpus", type=int, default=0, metavar="N", help="slurm: GPUs of a job (0)")
    group.add_argument("--time", type=int, default=240, metavar="MINUTES", help="slurm: longest time of a job (240)")
    group.add_argument("--partition", default="", metavar="NAME", help="slurm: where to queue")
    group.add_argument(
        "--sbatch",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="slurm: another option, such as account=lab",
    )
    group.add_argument("--print-script", action="store_true", help="slurm: show what would be submitted, and stop")


def launch(
    runs: Mapping[str, Run], options: argparse.Namespace, target: str, settings: Mapping[str, Any], folder: str = ""
) -> bool:
    """Hand runs to the engine.

    Args:
        runs: by key; those that are done are left alone.
        options: of the command line.
        target: ``module:function`` that a child calls.
        settings: for the target, beside those that every target gets.
        folder: where the runs are kept, if not in ``--runs``.

    Returns:
        True when it was interrupted.

    Raises:
        UserError: no place for a run, or a feature file that holds other values than it says.
    """
    refuse_no_room(options)
    waiting = [run for run in runs.values() if not recorded(run)]
    check_files(waiting)
    bar = options.progress == "bar" or (options.progress == "auto" and sys.stderr.isatty())
    given = {"trust": tuple(options.trust), "runs": folder or options.runs, **settings}
    engine = ENGINES[options.engine](options, Ledger(folder or options.runs), target, given)
    progress = Progress(len(runs), len(runs) - len(waiting), bar=bar)
    try:
        return engine.work(runs, progress)
    finally:
        progress.close()


def refuse_no_room(options: argparse.Namespace) -> None:
    """Stop before a plan waits for places that there will never be.

    Raises:
        UserError: a number below 1.
    """
    for name in ("workers", "slots_per_gpu", "stack"):
        number = getattr(options, name)
        if number is not None and number < 1:
            raise UserError(f"--{name.replace('_', '-')} must be at least 1, got {number}")


def script(options: argparse.Namespace) -> str:
    """The batch script that would be submitted.

    Raises:
        UserError: the engine has none.
    """
    if options.engine != "slurm":
        raise UserError(f"--print-script shows what SLURM would get; --engine {options.engine} submits nothing")
    refuse_no_room(options)
    return sbatch_script(Ledger(options.runs), batch(options)).rstrip()


def batch(options: argparse.Namespace) -> Batch:
    """What a job of the array asks for.

    Raises:
        UserError: an option that is no ``KEY=VALUE``, or a number below 1.
    """
    extra = dict(item.partition("=")[::2] for item in options.sbatch)
    if not all(extra) or not all(extra.values()):
        raise UserError(f"--sbatch takes KEY=VALUE, such as account=lab; got {' '.join(options.sbatch)}")
    if min(options.jobs, options.time) < 1:
        raise UserError(f"--jobs and --time must be at least 1, got {options.jobs} and {options.time}")
    return Batch(
        jobs=options.jobs,
        workers=options.workers or 1,
        gpus=0 if options.cpu else options.gpus,
        slots_per_gpu=options.slots_per_gpu,
        minutes=options.time,
        partition=options.partition,
        extra=extra,
    )


def _local(options: argparse.Namespace, ledger: Ledger, target: str, given: Mapping[str, Any]) -> Engine:
    gpus = [] if options.cpu else visible_gpus()
    places = slots(options.workers, gpus, options.slots_per_gpu)
    alone = target != TARGET or given.get("track", "csv") != "csv"  # trials are not tested; a stack is not tracked
    together = gpus or options.executor in ("stack", "branches")
    room = 1 if alone or options.executor == "eager" else options.stack or (STACK if together else 1)
    return LocalEngine(ledger, places, target, given, PRELOAD, room=room, together=TOGETHER, executor=options.executor)


def _ray(options: argparse.Namespace, ledger: Ledger, target: str, given: Mapping[str, Any]) -> Engine:
    share = 0.0 if options.cpu else 1 / options.slots_per_gpu
    return RayEngine(ledger, target, given, PRELOAD, workers=options.workers, gpu=share, address=options.address)


def _slurm(options: argparse.Namespace, ledger: Ledger, target: str, given: Mapping[str, Any]) -> Engine:
    return SlurmEngine(ledger, target, given, PRELOAD, batch(options))


ENGINES: Mapping[str, Maker] = {"local": _local, "ray": _ray, "slurm": _slurm}
