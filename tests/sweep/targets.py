"""What the children of the engine tests run in place of a fit: quick, and free of torch."""

from __future__ import annotations

import dataclasses
import errno
import os
import time
from pathlib import Path

from mer_bench.errors import UserError
from mer_bench.results import atomic
from mer_bench.results.record import write_record
from mer_bench.runs import Run, plan
from tests.results.factory import make


def finished(run: Run, value: float = 0.5, **changes):
    """A record of the run, as if it had been trained."""
    made = make(run.recipe.method, 0, run.seed, value, data_fingerprint=run.file.content_sha256)
    protocol = dataclasses.replace(made.protocol, folds=max(made.protocol.folds, run.protocol.folds))
    cost = dataclasses.replace(made.cost, wall_seconds=4.0)
    return dataclasses.replace(
        made, **{"run_key": run.key, "fold": run.fold, "protocol": protocol, "cost": cost} | changes
    )


def note(recipe, options) -> Run:
    """Say that a run begins, in a file that all engines of a test share."""
    (run,) = plan(recipe, options["runs"])
    with Path(options["notes"]).open("a") as log:
        log.write(f"{run.key}\n")
    return run


def record(recipe, options) -> None:
    """Note the execution, take a moment, publish once."""
    run = note(recipe, options)
    time.sleep(options.get("seconds", 0.02))
    atomic.make_folder(run.folder)
    seen = f"{options['threads']} {os.environ['OMP_NUM_THREADS']} [{os.environ['CUDA_VISIBLE_DEVICES']}]"
    atomic.write(run.folder / "seen.txt", seen.encode())
    write_record(run.folder, finished(run))


def long(recipe, options) -> None:
    """Works in steps that it keeps; asked to stop, it ends between two. Goes on where it stopped."""
    import signal

    run = note(recipe, options)
    asked: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: asked.append(number))
    kept = run.folder / "checkpoints" / "last.ckpt"
    step = int(kept.read_text()) if kept.is_file() else 0
    while step < 20:
        if asked:
            raise KeyboardInterrupt
        time.sleep(options.get("seconds", 0.02))
        step += 1
        atomic.make_folder(kept.parent)
        atomic.write(kept, str(step).encode())
        with (kept.parent.parent / "steps.txt").open("a") as log:
            log.write(f"{step}\n")
    write_record(run.folder, finished(run))


def fails_once(recipe, options) -> None:
    """Crash at the first try."""
    (run,) = plan(recipe, options["runs"])
    tried = Path(f"{options['notes']}-{run.key[:16]}")
    if not tried.exists():
        tried.touch()
        raise RuntimeError("first try")
    record(recipe, options)


def fold_one_fails(recipe, options) -> None:
    """One fold always crashes, one is refused, one dies without a word; the others are fine."""
    fold = recipe.settings["data"]["init_args"]["fold"]
    if fold == 1:
        raise RuntimeError("always\nbroken")
    if fold == 2:
        raise UserError("bad input")
    if fold == 3:
        os.kill(os.getpid(), 9)
    record(recipe, options)


def out_of_memory(recipe, options) -> None:
    """The first run to come runs out of memory."""
    try:
        Path(f"{options['notes']}-full").touch(exist_ok=False)
    except FileExistsError:
        record(recipe, options)
        return
    raise type("OutOfMemoryError", (RuntimeError,), {})("device is full")


def no_room(recipe, options) -> None:
    """The disk is full, as long as a file says so."""
    if Path(f"{options['notes']}-no-room").exists():
        try:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError:
            raise RuntimeError("[enforce fail at inline_container.cc] PytorchStreamWriter failed") from None
    record(recipe, options)


def contradicts(recipe, options) -> None:
    """Another launcher finishes the same run first, with another result."""
    run = note(recipe, options)
    write_record(run.folder, finished(run, 0.25))
    write_record(run.folder, finished(run, 0.75))
