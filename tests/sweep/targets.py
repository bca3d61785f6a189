"""What the children of the engine tests run in place of a fit: quick, and free of torch."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

from mer_bench.errors import UserError
from mer_bench.results import atomic
from mer_bench.runs import plan


def record(recipe, options) -> None:
    """Note the execution, take a moment, publish once."""
    (run,) = plan(recipe, options["runs"])
    note = Path(options["runs"]) / "executed.log"
    with note.open("a") as log:
        log.write(f"{run.key}\n")
    time.sleep(options.get("seconds", 0.02))
    run.folder.mkdir(parents=True, exist_ok=True)
    content = json.dumps({"key": run.key, "threads": options["threads"], "gpu": os.environ["CUDA_VISIBLE_DEVICES"]})
    assert atomic.create(run.folder / "record.json", content.encode()), "recorded twice"


def fails_once(recipe, options) -> None:
    """Crash at the first try."""
    (run,) = plan(recipe, options["runs"])
    tried = run.folder / "tried"
    if not tried.exists():
        run.folder.mkdir(parents=True, exist_ok=True)
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
    flag = Path(options["runs"]) / "full"
    try:
        flag.touch(exist_ok=False)
    except FileExistsError:
        record(recipe, options)
        return
    raise type("OutOfMemoryError", (RuntimeError,), {})("device is full")
