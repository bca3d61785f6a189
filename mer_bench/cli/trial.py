"""One trial of a search: train, validate, leave the validation score. The test part stays locked."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from mer_bench.data.corpora import register
from mer_bench.errors import Diverged
from mer_bench.metrics.definitions import direction
from mer_bench.recipes import Recipe
from mer_bench.runs import Run
from mer_bench.sweep import trials
from mer_bench.sweep.trials import Outcome


def work(recipe: Recipe, given: Mapping[str, Any]) -> None:
    """Take a trial to its end, or as many epochs far as `given` says; in a process of its own."""
    import torch

    torch.set_num_threads(given["threads"])
    register(given["trust"])
    run = trials.trial_run(recipe, given["runs"])
    end, epochs = run.folder / trials.END, given["epochs"]
    outcome = trials.outcome(run.folder, given["cap"], epochs)
    if outcome is None:
        outcome = execute(run, given["trust"], given["cap"], epochs)
        if outcome.status != "stopped":
            trials.write(end, outcome)
            trials.clear(run)
    if epochs is not None:
        trials.write(run.folder / trials.rung(epochs), outcome)


def execute(run: Run, trust: tuple[str, ...], cap: int, epochs: int | None) -> Outcome:
    """Train from the last checkpoint on.

    Args:
        run: the trial.
        trust: packages that its config may name.
        cap: trainable parameters; a larger one is not trained.
        epochs: where to stop; None means where training ends by itself. A trial that went further before is not
            trained: its log says how it stood.

    Returns:
        With the status `stopped` if it would have gone on.
    """
    from mer_bench.cli.lightning import instantiate, quiet
    from mer_bench.training.callbacks import EpochLog, checkpoints, progress, read_log
    from mer_bench.training.seeds import EpochSeeds
    from mer_bench.training.stopping import StopAfter, StopAtEpoch

    run.folder.mkdir(parents=True, exist_ok=True)
    folder = run.folder / "checkpoints"
    stop = StopAfter(epochs)
    latest = checkpoints(folder)[-1:]  # a trial is not tested, so nobody needs the best epoch's weights
    log = EpochLog(run.folder / "metrics.csv")
    callbacks = [StopAtEpoch(), EpochSeeds(run.seed), *latest, log, stop, *progress("lines")]
    command = instantiate(run.recipe, trusted=trust, callbacks=callbacks)
    parameters = sum(p.numel() for p in command.model.parameters() if p.requires_grad)
    if parameters > cap:
        return Outcome("too_large", None, {}, None, 0, parameters, 0.0)
    rows = read_log(run.folder / "metrics.csv")[:epochs]
    if epochs is not None and len(rows) == epochs:
        return described(run, "stopped", rows, parameters, float(rows[-1]["seconds"]))
    print(f"trial of {run.label}", file=sys.stderr)
    last, status = folder / "last.ckpt", ""
    try:
        with quiet():
            command.trainer.fit(command.model, command.datamodule, ckpt_path=str(last) if last.is_file() else None)
    except Diverged:
        status = "diverged"
    except SystemExit:  # Lightning's answer to Ctrl-C
        raise KeyboardInterrupt from None
    status = status or ("stopped" if stop.cut else "ok")
    return described(run, status, read_log(run.folder / "metrics.csv"), parameters, command.model.train_seconds)


def described(run: Run, status: str, log: Sequence[Mapping[str, Any]], parameters: int, seconds: float) -> Outcome:
    """The best epoch of a log, on the validation part."""
    sign, name = direction(run.protocol.primary), f"val/{run.protocol.primary}"
    scored = [(sign * float(row[name]), row) for row in log if row.get(name) not in (None, "", "nan")]
    best = max(scored, key=lambda pair: pair[0], default=None)  # the first of equals, as the checkpoint of a run
    val = {} if best is None else {n.removeprefix("val/"): float(x) for n, x in best[1].items() if n.startswith("val/")}
    val.pop("selection", None)
    lost = status == "diverged"
    return Outcome(
        status=status,
        score=None if lost or best is None else best[0],
        val=val,
        epoch=None if best is None else int(best[1]["epoch"]),
        epochs=len(log),
        parameters=parameters,
        seconds=round(seconds, 3),
    )
