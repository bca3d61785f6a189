"""`mer-bench fit`: train one run, keep the best epoch by validation, score the test part once, write the record."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mer_bench import recipes
from mer_bench.cli import options as cli_options
from mer_bench.cli.left import keep, taken_up
from mer_bench.cli.meter import Meter
from mer_bench.data.corpora import register
from mer_bench.errors import Diverged, UserError
from mer_bench.protocol import SEARCH
from mer_bench.results.record import read_record
from mer_bench.runs import Run, check_files, numeric, plan
from mer_bench.sweep.interrupted import forget

if TYPE_CHECKING:
    from mer_bench.cli.lightning import Command
    from mer_bench.cli.options import Options


def main(argv: list[str]) -> int:
    """Run what the command line names."""
    options = cli_options.parse("fit", argv)
    if options is None:
        return 0
    if options.help_all:
        return help_all()
    register(options.trust)
    recipe = recipes.resolve(options.configs, options.overrides)
    recipes.refuse_foreign_classes(recipe.settings, options.trust)
    if options.print_config:
        import yaml

        print(yaml.safe_dump(recipe.settings, sort_keys=False), end="")
        return 0
    runs = plan(recipe, options.runs)
    check_files(runs)
    for run in runs:
        execute(run, options)
    return 0


def work(recipe: recipes.Recipe, given: Mapping[str, Any]) -> None:
    """One run of a sweep, in a process of its own."""
    import torch

    torch.set_num_threads(given["threads"])
    kept = {name: given[name] for name in ("runs", "trust", "track", "group") if name in given}
    options = cli_options.Options("fit", (), (), progress="lines", **kept)
    register(options.trust)
    for run in plan(recipe, options.runs):
        execute(run, options)


def help_all() -> int:
    """Every key of the settings with its default: LightningCLI's own help."""
    from mer_bench.cli.lightning import help_text

    print(help_text())
    return 0


def execute(run: Run, options: Options) -> Path | None:
    """Train, score and record one run; a run that has a record is only reported.

    Returns:
        The record's path; None with `--no-test`.
    """
    if options.no_test and run.protocol.selection == "test":
        raise UserError(f"--no-test: {run.protocol.name} chooses the epoch on the test part, which cannot stay locked")
    record = run.folder / "record.json"
    if record.is_file():
        print(f"{run.label}: already recorded in {record}\n{summary(record)}")
        return record
    if run.protocol.name.endswith(SEARCH) and not options.no_test:
        raise UserError(
            f"{run.protocol.name} is for searches only: its test part holds the people of many folds; use "
            f"--data.protocol {run.protocol.name.removesuffix(SEARCH)}, or --no-test"
        )
    from mer_bench.cli.lightning import instantiate, quiet
    from mer_bench.training.callbacks import EpochLog, checkpoints, progress
    from mer_bench.training.seeds import EpochSeeds
    from mer_bench.training.stopping import StopAtEpoch

    meter = Meter()
    run.folder.mkdir(parents=True, exist_ok=True)
    folder = run.folder / "checkpoints"
    savers = checkpoints(folder, run.protocol.selection)
    log = EpochLog(run.folder / "metrics.csv")
    command = instantiate(
        run.recipe,
        trusted=options.trust,
        callbacks=[StopAtEpoch(), EpochSeeds(run.seed), *savers, log, *progress(options.progress)],
    )
    (run.folder / "config.yaml").write_text(command.parser.dump(command.config, skip_unset=False), encoding="utf-8")
    print(f"{run.label}", file=sys.stderr)
    with quiet(), tracked(run, command, options):
        try:
            chosen = train(run, command, options.fresh)
        except Diverged:
            from mer_bench.cli.scoring import write_diverged

            write_diverged(run, command, meter)
            raise
        load_best(command, folder)
        if options.no_test:
            command.trainer.validate(command.model, command.datamodule, verbose=False)
            print(f"{run.label}: trained, the test part stays locked; best checkpoint in {folder / 'best.ckpt'}")
            return None
        from mer_bench.cli.scoring import write_results

        path = write_results(run, command, chosen, meter)
    print(summary(path))
    return path


@contextmanager
def tracked(run: Run, command: Command, options: Options) -> Iterator[None]:
    """Let the tracker of `--track` watch; it ends with the scores of the record, or without any."""
    from mer_bench.training.tracking import TRACKERS, About, Tracked

    group = (*filter(None, [options.group]), run.protocol.name, run.recipe.method)
    facts = {"fold": run.fold, "seed": run.seed, "key": run.key, "variant": run.recipe.card.get("variant", "default")}
    tracker = TRACKERS[options.track](About(run.label, group, run.folder, numeric(run.recipe.settings), facts))
    command.trainer.callbacks.insert(0, Tracked(tracker))  # type: ignore[attr-defined]
    scores: dict[str, float] = {}
    try:
        yield
        record = run.folder / "record.json"
        if record.is_file():
            found = read_record(record).metrics
            scores = {f"test/{where}/{name}": x for where, part in found.items() for name, x in part.items()}
    finally:
        tracker.end(scores)


def train(run: Run, command: Command, fresh: bool) -> dict:
    """Train unless it is done, from where an interrupted run of this code stopped; returns what `trained.json` says."""
    folder = run.folder / "checkpoints"
    done, last = taken_up(run, fresh=fresh), folder / "last.ckpt"
    if not command.model.trainable:  # no checkpoint holds what such a method learns: it does so in every process
        command.model.fit_method(command.datamodule.train_dataloader())
    if done is not None:
        return done
    if not command.model.trainable:
        command.trainer.validate(command.model, command.datamodule, verbose=False)
        seconds = command.model.train_seconds
        chosen = {
            "epoch": 0,
            "epochs": 0,
            "steps": 0,
            "train_seconds": seconds,
            "val": scores(command),
            "resumed": False,
        }
    else:
        resumed = last.is_file()
        if resumed:
            print(f"continuing an interrupted run from {last}", file=sys.stderr)
        try:
            command.trainer.fit(command.model, command.datamodule, ckpt_path=str(last) if resumed else None)
        except SystemExit:  # Lightning's answer to Ctrl-C
            print(f"stopped in epoch {command.trainer.current_epoch + 1}; the same command goes on from the last one")
            raise KeyboardInterrupt from None
        chosen = describe(command, folder / "best.ckpt", resumed)
    chosen = keep(run, chosen)
    forget([run])  # trained with others before, and interrupted
    return chosen


def describe(command: Command, best: Path, resumed: bool) -> dict:
    """Which epoch was kept, and what it scored on the validation part."""
    from mer_bench.training.callbacks import read_log
    from mer_bench.training.checkpoints import load

    if not best.is_file():
        raise UserError("training ended without a best epoch: no validation score was ever finite")
    epoch = load(best)["epoch"]
    log = read_log(best.parent.parent / "metrics.csv")
    row = next(r for r in log if int(r["epoch"]) == epoch)
    val = {name.removeprefix("val/"): float(x) for name, x in row.items() if name.startswith("val/")}
    val.pop("selection", None)
    return {
        "epoch": epoch,
        "epochs": len(log),
        "steps": command.model.steps,
        "train_seconds": command.model.train_seconds,
        "val": val,
        "resumed": resumed,
    }


def scores(command: Command) -> dict[str, float]:
    """Validation metrics of the last validation pass."""
    found = {n.removeprefix("val/"): float(x) for n, x in command.trainer.callback_metrics.items()}
    found.pop("selection", None)
    return found


def load_best(command: Command, folder: Path) -> None:
    """Put the weights of the best epoch back."""
    from mer_bench.training.checkpoints import load

    if command.model.trainable:
        command.model.load_state_dict(load(folder / "best.ckpt")["state_dict"])


def summary(record: Path) -> str:
    """A record in a few lines: validation and test score of the chosen epoch."""
    from mer_bench.cli.scoring import summary_lines

    return summary_lines(record)
