"""The search of a sweep: trials, winners, and the configs for the runs that follow. No torch."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from mer_bench import recipes
from mer_bench.errors import UserError
from mer_bench.runs import Run
from mer_bench.sweep import winners
from mer_bench.sweep.file import Sweep
from mer_bench.sweep.ledger import Ledger
from mer_bench.sweep.search import Need, Winner, advance
from mer_bench.sweep.trials import discard, root
from mer_bench.sweep.winners import Family, Key, by_key, families

#: what a child calls
TARGET = "mer_bench.cli.trial:work"

Launch = Callable[[Mapping[str, Run], argparse.Namespace, str, Mapping[str, Any], str], bool]


@dataclass(frozen=True)
class Searched:
    """How a search stands.

    Attributes:
        configs: of every method whose folds all have settings, as a plan takes them.
        broken: why others have none.
        left_out: (protocol, method) and why there was nothing to search.
        trials: how many the search has.
        waiting: trials that go on next, as far as that is known; 0 when the search has ended.
    """

    configs: Mapping[Key, list[str]]
    broken: list[str]
    left_out: Mapping[tuple[str, str], str]
    trials: int
    waiting: int

    @property
    def open(self) -> bool:
        """Whether something is left to do."""
        return self.waiting > 0

    def facts(self) -> dict[str, Any]:
        """For machines."""
        return {"search": {"trials": self.trials, "waiting": self.waiting, "broken": self.broken}}

    def line(self) -> str:
        """For people."""
        state = f"{self.waiting} go on next" if self.open else "nothing is left to do"
        return "\n".join([f"search of {self.trials} trials: {state}", *(f"  {reason}" for reason in self.broken)])


def find(
    sweep: Sweep, options: argparse.Namespace, overrides: list[tuple[str, str]], launch: Launch, *, looking: bool
) -> Searched:
    """Work the search of a sweep off, or only look how far it is.

    Args:
        sweep: with a search.
        options: of the command line.
        overrides: dotted settings of the command line.
        launch: hands runs to the engine.
        looking: read files, run and write nothing.
    """
    found, left_out = families(sweep, options.runs, overrides)
    step = (lambda need: True) if looking else _step(sweep, found, options, launch)
    return _outcome(sweep, options.runs, found, left_out, step, write=not looking)


def _step(sweep: Sweep, found: list[Family], options: argparse.Namespace, launch: Launch) -> Callable[[Need], bool]:
    """What takes trials as far as they are needed, on the engine.

    Raises:
        UserError: a class that may not be named, or a folder that cannot be written.
    """
    assert sweep.search is not None
    cap = sweep.search.cap
    for family in found:
        recipes.refuse_foreign_classes(family.recipe.settings, options.trust)
    folder = root(options.runs)
    ledger = Ledger(folder)
    try:
        ledger.prepare()
    except OSError as error:
        raise UserError(f"--runs {options.runs}: cannot be written ({error.strerror})") from None

    def step(need: Need) -> bool:
        pending = {trial.run.key: trial.pending(need.epochs) for trial in need.trials}
        for trial in need.trials:
            discard(trial)
        if options.retry:
            for key in pending:
                ledger.forgive(key)
        far = "to the end" if need.epochs is None else f"{need.epochs} epochs far"
        print(f"search: {len(pending)} trials {far}", file=sys.stderr)
        return launch(pending, options, TARGET, {"epochs": need.epochs, "cap": cap}, folder)

    return step


def _outcome(
    sweep: Sweep,
    runs: str,
    found: list[Family],
    left_out: Mapping[tuple[str, str], str],
    step: Callable[[Need], bool],
    *,
    write: bool,
) -> Searched:
    assert sweep.search is not None
    owners = [(i, block) for i, family in enumerate(found) for block in family.studies]
    now = advance([study for family in found for study in family.studies.values()], step)
    won: dict[int, dict[int, Winner]] = {i: {} for i in range(len(found))}
    for k, best in now.winners.items():
        i, block = owners[k]
        won[i][block] = best
    configs = []
    for i, family in enumerate(found):
        if len(won[i]) < len(family.studies):
            continue
        if write:
            winners.write(family, won[i], runs, sweep.name)
        if family.written(runs, sweep.name):
            configs.append((family, family.path(runs, sweep.name)))
    total = len(owners) * sweep.search.draws
    waiting = sum(len(need.trials) for need in now.needs.values())
    return Searched(by_key(configs), list(now.broken.values()), left_out, total, waiting)
