"""Several runs of one kind, trained as a population; each leaves what `fit` would leave."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from lightning.pytorch.callbacks import EarlyStopping

from mer_bench import recipes
from mer_bench.cli.lightning import Command, instantiate, quiet
from mer_bench.cli.meter import Meter
from mer_bench.cli.scoring import write_diverged, write_results
from mer_bench.data.corpora import register
from mer_bench.data.joined import Joined, join
from mer_bench.data.store import Store
from mer_bench.errors import UserError
from mer_bench.runs import Run, plan
from mer_bench.training.callbacks import write_log
from mer_bench.training.checkpoints import AtomicCheckpoints
from mer_bench.training.population import Member, Population


@dataclass
class Entry:
    """A run of the population, with what was built for it."""

    run: Run
    command: Command
    member: Member


def work(several: Sequence[recipes.Recipe], given: Mapping[str, Any]) -> None:
    """The runs of a sweep that train together, in a process of their own."""
    torch.set_num_threads(given["threads"])
    register(given["trust"])
    runs = [run for recipe in several for run in plan(recipe, given["runs"])]
    execute_together(runs, trusted=given["trust"], width=len(runs))


def execute_together(
    runs: Sequence[Run], *, trusted: Sequence[str] = (), width: int = 16, done: Callable[[Run], None] | None = None
) -> None:
    """Train, score and record several runs; those that have a record are left alone.

    Args:
        runs: of one kind, see `sweep.populations`.
        trusted: packages that settings may name classes of.
        width: how many train side by side.
        done: called after every record.

    Raises:
        UserError: the runs cannot be stacked.
    """
    left = [run for run in runs if not (run.folder / "record.json").is_file()]
    if not left:
        return
    with quiet():
        commands = [_command(run, trusted) for run in left]
        joined, places = _joined(left, commands)
        entries = [Entry(r, c, _member(r, c, place)) for r, c, place in zip(left, commands, places, strict=True)]
        by_name = {entry.member.name: entry for entry in entries}

        def ended(member: Member) -> None:
            entry = by_name.pop(member.name)
            _finish(entry)
            if done is not None:
                done(entry.run)

        first = commands[0]
        population = Population(
            [entry.member for entry in entries],
            joined,
            width=width,
            clip=first.model.clip,
            ended=ended,
            eval_batch=first.datamodule.eval_batch_size,
        )
        population.run()


def _command(run: Run, trusted: Sequence[str]) -> Command:
    """Module and datamodule on the device of the trainer, initialised by the seed of the run."""
    command = instantiate(run.recipe, trusted=trusted)
    if command.model.gradient_hook is not None or command.model.objective.subsets.by_step:
        raise UserError(f"{run.label}: a gradient hook, or a schedule that counts steps, cannot be stacked")
    if not command.model.trainable:
        raise UserError(f"{run.label}: there is nothing to train; such a method runs by itself")
    command.model.to(command.trainer.strategy.root_device)
    return command


def _joined(runs: Sequence[Run], commands: Sequence[Command]) -> tuple[Joined, list[int]]:
    """One store for every fold, end to end, and which of them each run uses; runs of a fold share theirs."""
    of_fold: dict[int, int] = {}
    stores: list[Store] = []
    places: list[int] = []
    for run, command in zip(runs, commands, strict=True):
        data = command.datamodule
        if run.fold not in of_fold:
            of_fold[run.fold] = len(stores)
            data.setup()
            stores.append(data.store)
        data.share(stores[of_fold[run.fold]])
        places.append(of_fold[run.fold])
    device = commands[0].model.device
    return join([store.on(device) for store in stores]), places


def _member(run: Run, command: Command, place: int) -> Member:
    model, data = command.model, command.datamodule
    stops = [c for c in command.trainer.callbacks if isinstance(c, EarlyStopping)]  # type: ignore[attr-defined]
    return Member(
        name=run.key,
        objective=model.objective,
        optimizer=model.configure_optimizers(),
        schedule=model.schedule,
        train=data.train_dataloader(),
        val=data.eval_blocks("val"),
        judge=model,
        store=place,
        epochs=command.trainer.max_epochs or 1,
        patience=stops[0].patience if stops else sys.maxsize,
    )


def _finish(entry: Entry) -> None:
    """What `fit` leaves of a run: settings, log, checkpoint, predictions, record."""
    run, command, member = entry.run, entry.command, entry.member
    model, meter = command.model, Meter(member.seconds)
    model.steps, model.train_seconds = member.steps, member.seconds
    run.folder.mkdir(parents=True, exist_ok=True)
    (run.folder / "config.yaml").write_text(command.parser.dump(command.config, skip_unset=False), encoding="utf-8")
    write_log(run.folder / "metrics.csv", member.log)
    if member.diverged:
        write_diverged(run, command, meter)
        return
    epoch = member.best[0]
    state = {"epoch": epoch, "state_dict": model.state_dict(), "mer_bench": {"steps": member.steps}}
    AtomicCheckpoints().save_checkpoint(state, run.folder / "checkpoints" / "best.ckpt")
    val = {n.removeprefix("val/"): x for n, x in member.log[epoch].items() if n.startswith("val/")}
    val.pop("selection", None)
    chosen = {
        "epoch": epoch,
        "epochs": member.epoch,
        "steps": member.steps,
        "train_seconds": member.seconds,
        "val": val,
        "resumed": False,
        "executor": "stack",
    }
    (run.folder / "trained.json").write_text(json.dumps(chosen))
    print(f"{run.label}: {write_results(run, command, chosen, meter)}", file=sys.stderr)
