"""Several runs of one kind, trained as a population; each leaves what `fit` would leave."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.callbacks import EarlyStopping

from mer_bench import recipes
from mer_bench.cli.left import discard, keep
from mer_bench.cli.lightning import Command, instantiate, quiet
from mer_bench.cli.meter import Meter
from mer_bench.cli.scoring import write_diverged, write_results
from mer_bench.data.corpora import register
from mer_bench.data.joined import join
from mer_bench.data.store import Store
from mer_bench.errors import UserError
from mer_bench.results.provenance import code
from mer_bench.runs import Run, plan
from mer_bench.sweep import populations
from mer_bench.sweep.interrupted import forget, place_of, point, state_of, sweep_up
from mer_bench.training.branches import Branches
from mer_bench.training.callbacks import write_log
from mer_bench.training.checkpoints import AtomicCheckpoints, load
from mer_bench.training.executors import Executor
from mer_bench.training.faster import note
from mer_bench.training.member import Member
from mer_bench.training.population import EVERY, Maker, Population
from mer_bench.training.stack import Stack
from mer_bench.training.stopping import wish

#: parameters up to which a stack is faster than its members one after another on a CPU (docs/decisions/0050-stacks.md)
SMALL = 100_000


@dataclass
class Entry:
    """A run of the population, with what was built for it."""

    run: Run
    command: Command
    member: Member


@dataclass(frozen=True)
class How:
    """How runs train together.

    Attributes:
        executor: one of `sweep.populations.EXECUTORS`.
        width: how many side by side.
        trusted: packages that settings may name classes of.
        every: seconds between two saves of the state.
        asked: whether to stop.
        graphs: steps of a stack become CUDA graphs.
        compiled: the optimiser of a stack goes through `torch.compile`.
    """

    executor: str = "auto"
    width: int = 16
    trusted: Sequence[str] = ()
    every: float = EVERY
    asked: Callable[[], bool] = lambda: False
    graphs: bool = False
    compiled: bool = False


def work(several: Sequence[recipes.Recipe], given: Mapping[str, Any]) -> None:
    """The runs of a sweep that train together, in a process of their own."""
    torch.set_num_threads(given["threads"])
    register(given["trust"])
    runs = [run for recipe in several for run in plan(recipe, given["runs"])]
    ways = {name: given.get(name, False) for name in ("graphs", "compiled")}
    with wish() as asked:
        execute_together(runs, How(given.get("executor", "auto"), given["room"], given["trust"], asked=asked, **ways))


def execute_together(runs: Sequence[Run], how: How | None = None, done: Callable[[Run], None] | None = None) -> None:
    """Train, score and record several runs; those that have a record are left alone.

    What was interrupted goes on from its last state. A run that fails leaves the others alone.

    Args:
        runs: of one kind, see `sweep.populations`.
        how: the default is 16 at a time, and an executor that fits.
        done: called after every record.

    Raises:
        KeyboardInterrupt: asked to stop; the state is saved.
        Exception: of the run that failed; a `UserError` or `RuntimeError` that tells all of them where several did.
    """
    how = how or How()
    left = [run for run in runs if not (run.folder / "record.json").is_file()]
    groups: dict[Path | None, list[Run]] = {}
    for run in left:
        groups.setdefault(state_of(run), []).append(run)
    failures: list[tuple[Run, Exception]] = []
    with quiet():
        for state, group in groups.items():
            failures += _Together(group, how, done).train(state)
    _raise(failures)


def _raise(failures: Sequence[tuple[Run, Exception]]) -> None:
    if len(failures) == 1:
        raise failures[0][1]
    if failures:
        kind = UserError if all(isinstance(error, UserError) for _, error in failures) else RuntimeError
        told = "; ".join(f"{run.label}: {type(error).__name__}: {error}" for run, error in failures)
        raise kind(f"{len(failures)} runs failed: {told}") from failures[0][1]


class _Together:
    """One population: built, trained, saved and reported."""

    def __init__(self, runs: Sequence[Run], how: How, done: Callable[[Run], None] | None) -> None:
        self.runs, self.how, self.done = runs, how, done
        self.failures: list[tuple[Run, Exception]] = []
        self.entries: dict[str, Entry] = {}
        self.name = populations.executor(runs[0], how.executor)
        self.executor: Executor | None = None

    def train(self, state: Path | None) -> list[tuple[Run, Exception]]:
        """From a saved state or from the start; returns who failed, and why."""
        self._build()
        if not self.entries:
            return self.failures
        members = [entry.member for entry in self.entries.values()]
        maker, how = self._maker(), self.how

        def make(first: Sequence[Member]) -> Executor:
            self.executor = maker(first)
            return self.executor

        population = Population(
            members, make, width=how.width, ended=self._ended, save=self._save, asked=how.asked, every=how.every
        )
        if state is not None:
            self._load(population, state)
        print(f"{len(members)} runs train together, executor {self.name}", file=sys.stderr, flush=True)
        population.run()
        self.failures += [(self.entries[m.name].run, m.error) for m in population.failed if m.error is not None]
        kept = {run.key for run, _ in self.failures}  # those that could not be scored are not trained again
        forget([entry.run for entry in self.entries.values() if entry.run.key not in kept])
        return self.failures

    def _build(self) -> None:
        """Module, datamodule and member of every run, on the device of the trainer, initialised by its own seed."""
        stores: dict[int, tuple[int, Store]] = {}
        for run in self.runs:
            try:
                command = _command(run, self.name, self.how.trusted)
                data = command.datamodule
                if run.fold not in stores:
                    data.setup()
                    stores[run.fold] = len(stores), data.store
                place, store = stores[run.fold]
                data.share(store)  # runs of a fold share theirs
                self.entries[run.key] = Entry(run, command, _member(run, command, place))
            except Exception as error:
                self.failures.append((run, error))
        self.stores = [store for _, store in stores.values()]

    def _maker(self) -> Maker:
        """By card and settings; on a CPU by size too."""
        command = next(iter(self.entries.values())).command
        model, size = command.model, sum(p.numel() for p in command.model.parameters())
        if self.name == "stack" and self.how.executor == "auto" and model.device.type == "cpu" and size > SMALL:
            self.name = "branches"
        if self.name == "branches":
            if self.how.graphs or self.how.compiled:
                note("CUDA graphs and torch.compile are for stacks; branches run plainly")
            return partial(Branches, clip=model.clip)
        return partial(
            Stack,
            joined=join([store.on(model.device) for store in self.stores]),
            clip=model.clip,
            eval_batch=command.datamodule.eval_batch_size,
            graphs=self.how.graphs,
            compiled=self.how.compiled,
        )

    # interruptions ---------------------------------------------------------------------------------------------

    def _save(self, state: dict[str, Any]) -> None:
        path = place_of(self.runs)
        AtomicCheckpoints().save_checkpoint({**state, "code": self._code()}, path)
        if any(state_of(run) != path for run in self.runs):
            point(self.runs, path)
            sweep_up(path.parent.parent)

    def _load(self, population: Population, path: Path) -> None:
        state = load(path)
        if state["code"] != self._code():
            print("other code, or another executor, trained the interrupted runs; they start again", file=sys.stderr)
            return
        if sum(kept["name"] in self.entries for kept in state["active"]) > self.how.width:
            print("fewer runs fit side by side than were saved; they start again", file=sys.stderr)
            return
        population.load(state)
        print(f"continuing {len(self.entries)} interrupted runs from {path}", file=sys.stderr)
        self._save(population.state())

    def _code(self) -> str:
        return code(self.runs[0].recipe.settings, self.name).hash

    # results ---------------------------------------------------------------------------------------------------

    def _ended(self, member: Member) -> None:
        """What `fit` leaves of a run: settings, log, checkpoint, predictions, record."""
        entry = self.entries[member.name]
        _finish(entry, self.executor.told if self.executor else self.name)
        if self.done is not None:
            self.done(entry.run)


def _command(run: Run, executor: str, trusted: Sequence[str]) -> Command:
    command = instantiate(run.recipe, trusted=trusted)
    model = command.model
    if executor == "stack" and (model.gradient_hook is not None or model.objective.subsets.by_step):
        raise UserError(
            f"{run.label}: a gradient hook, or a schedule that counts steps, cannot be stacked; use --executor branches"
        )
    if not model.trainable:
        raise UserError(f"{run.label}: there is nothing to train; such a method runs by itself")
    model.to(command.trainer.strategy.root_device)
    return command


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
        epochs=command.trainer.max_epochs or 1,
        patience=stops[0].patience if stops else sys.maxsize,
        store=place,
        seed=run.seed,
        hook=model.gradient_hook,
        bf16=model.precision == "bf16",
    )


def _finish(entry: Entry, executor: str) -> None:
    run, command, member = entry.run, entry.command, entry.member
    model, meter = command.model, Meter(member.seconds)
    model.steps, model.train_seconds = member.steps, member.seconds
    run.folder.mkdir(parents=True, exist_ok=True)
    (run.folder / "config.yaml").write_text(command.parser.dump(command.config, skip_unset=False), encoding="utf-8")
    rows = [_row(row) for row in member.log]
    write_log(run.folder / "metrics.csv", rows)
    discard(run)  # it trained alone before
    if member.diverged:
        write_diverged(run, command, meter, executor)
        return
    epoch = member.best[0]
    state = {"epoch": epoch, "state_dict": model.state_dict(), "mer_bench": {"steps": member.steps}}
    AtomicCheckpoints().save_checkpoint(state, run.folder / "checkpoints" / "best.ckpt")
    val = {name.removeprefix("val/"): float(x) for name, x in rows[epoch].items() if name.startswith("val/")}
    val.pop("selection", None)
    chosen = {
        "epoch": epoch,
        "epochs": member.epoch,
        "steps": member.steps,
        "train_seconds": member.seconds,
        "val": val,
        "resumed": False,
        "executor": executor,
    }
    keep(run, chosen)
    print(f"{run.label}: {write_results(run, command, chosen, meter)}", file=sys.stderr)


def _row(row: Mapping[str, float]) -> dict[str, Any]:
    """A row of `metrics.csv`, written as `EpochLog` writes it."""
    fixed = {"epoch": int(row["epoch"]), "steps": int(row["steps"]), "seconds": f"{row['seconds']:.3f}"}
    return fixed | {name: f"{x:.9g}" for name, x in row.items() if name not in fixed}
