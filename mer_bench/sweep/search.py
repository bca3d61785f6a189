"""Settings for every fold from the inner validation of that fold alone, equal effort for every method.

A study is one method on one feature set and one fold of the search (a test fold, or a block of many; see
`protocol.searched`). It knows nothing but what its trials left on disk, so a killed search goes on where it stopped.
All draws are trained as far as the first rung; the better half goes on. That is decided by scores alone, never by who
was first, so the winner does not depend on how many trials ran at a time.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from mer_bench import recipes
from mer_bench.errors import UserError
from mer_bench.protocol import Protocol
from mer_bench.recipes import Recipe
from mer_bench.results.canonical import digest
from mer_bench.runs import numeric
from mer_bench.sweep.space import AXES, Draw, Search, targets
from mer_bench.sweep.tpe import propose
from mer_bench.sweep.trials import Outcome, Trial, root, trial_run

#: draws that TPE makes at a time; ours. The first batch is that of the random search.
BATCH = 5


@dataclass(frozen=True)
class Need:
    """Trials that must go on.

    Attributes:
        trials: which.
        epochs: how far; None means to their end.
    """

    trials: Sequence[Trial]
    epochs: int | None


@dataclass(frozen=True)
class Study:
    """The search of one method's settings for one fold of the search.

    Attributes:
        search: space and budget.
        recipe: with everything but the chosen settings; its modalities spelt out.
        protocol: that is searched for.
        place: protocol of the search.
        fold: of the search.
        runs: folder of the runs.
    """

    search: Search
    recipe: Recipe
    protocol: Protocol
    place: Protocol
    fold: int
    runs: str

    @property
    def label(self) -> str:
        """How it is called in messages."""
        data = self.recipe.settings["data"]["init_args"]
        return f"{self.recipe.method} on {self.place.name} ({', '.join(data['modalities'])}) fold {self.fold}"

    @cached_property
    def _made(self) -> dict[str, Trial]:
        return {}

    def trial(self, number: int, draw: Draw, narrowed: bool = False) -> Trial:
        """The trial of a draw, narrower if it was found to have too many parameters."""
        name = repr((number, draw))
        if name not in self._made:
            self._made[name] = self._make(number, draw, narrowed)
        made = self._made[name]
        smaller = self.search.narrower(draw) if made.too_large() else None
        return made if smaller is None else self.trial(number, smaller, narrowed=True)

    def _make(self, number: int, draw: Draw, narrowed: bool) -> Trial:
        settings = self.search.settings(draw, self.recipe)
        full = copy.deepcopy(self.recipe.settings)
        chosen = {"data.protocol": self.place.name, "data.fold": self.fold, "seed_everything": self.protocol.seeds[0]}
        for key, value in {**chosen, **settings}.items():
            recipes.set_dotted(full, key, value)
        run = trial_run(dataclasses.replace(self.recipe, settings=full), root(self.runs))
        return Trial(number, draw, settings, run, self.search.cap, narrowed)

    def state(self) -> Need | list[tuple[Trial, Outcome]]:
        """What has to be done next, or every trial with its outcome."""
        finished: list[tuple[Trial, Outcome]] = []
        while len(finished) < self.search.draws:
            batch = [self.trial(len(finished) + i, draw) for i, draw in enumerate(self._proposed(finished))]
            found = self._halved(batch)
            if isinstance(found, Need):
                return found
            finished += found
        return finished

    def _proposed(self, finished: Sequence[tuple[Trial, Outcome]]) -> list[Draw]:
        left = self.search.draws - len(finished)
        if self.search.sampler == "random":
            return [self.search.draw(i) for i in range(left)]
        if not finished:
            return [self.search.draw(i) for i in range(min(BATCH, left))]
        axes = [axis for axis in self.search.axes if targets(axis.name, self.recipe)]
        told = [(trial.draw, outcome.score) for trial, outcome in finished]
        return propose(self.search, axes, told, min(BATCH, left))

    def _halved(self, batch: Sequence[Trial]) -> Need | list[tuple[Trial, Outcome]]:
        """The outcomes of a batch, those of the worse half as they stood when they were stopped."""
        alive, stopped = list(batch), dict[int, Outcome]()
        for epochs in self.search.halve:
            standing = [(trial, trial.standing(epochs)) for trial in alive]
            waiting = [trial for trial, found in standing if found is None]
            if waiting:
                return Need(waiting, epochs)
            ranked = sorted(((t, s) for t, s in standing if s), key=lambda pair: (-pair[1].rank, pair[0].number))
            half = (len(ranked) + 1) // 2
            stopped |= {trial.number: found for trial, found in ranked[half:]}
            alive = [trial for trial, _ in ranked[:half]]
        waiting = [trial for trial in alive if trial.outcome() is None]
        if waiting:
            return Need(waiting, None)
        ended = {trial.number: found for trial in alive if (found := trial.outcome()) is not None}
        return [(trial, (ended | stopped)[trial.number]) for trial in batch]

    @cached_property
    def name(self) -> str:
        """Names the search: what it starts from, its space and budget, code and data."""
        one = self.trial(0, self.search.draw(0)).run
        content = {
            "code": one.folder.name.rpartition("-")[2],
            "data": one.file.content_sha256,
            "protocol": self.place.hash,
            "search": self.search.plain(),
            "settings": numeric(self.recipe.settings),
        }
        return digest(content)[:16]


@dataclass(frozen=True)
class Winner:
    """What a study ends with.

    Attributes:
        trial: the best one.
        outcome: its own.
        finished: all of them.
    """

    trial: Trial
    outcome: Outcome
    finished: Sequence[tuple[Trial, Outcome]]

    @property
    def trials(self) -> list[dict[str, Any]]:
        """All of them, as data."""
        return [_plain(trial, outcome) for trial, outcome in self.finished]

    @property
    def ledger(self) -> str:
        """Sha256 of the trials."""
        return digest(self.trials)


@dataclass(frozen=True)
class Progressed:
    """How far studies are, by their index.

    Attributes:
        winners: of those that have ended.
        broken: why others never will.
        needs: what the rest waits for.
    """

    winners: dict[int, Winner]
    broken: dict[int, str]
    needs: dict[int, Need]


def winner(study: Study, finished: Sequence[tuple[Trial, Outcome]]) -> Winner:
    """The trial with the best validation score; of equals the first.

    Raises:
        UserError: none has a score.
    """
    scored = [(trial, outcome) for trial, outcome in finished if outcome.status == "ok"]
    if not scored:
        states = ", ".join(sorted({outcome.status for _, outcome in finished}))
        raise UserError(
            f"search of {study.label}: none of {len(finished)} draws has a score ({states}); "
            f"narrow search.space, or raise search.cap ({study.search.cap} parameters)"
        )
    trial, outcome = max(scored, key=lambda pair: (pair[1].rank, -pair[0].number))
    return Winner(trial, outcome, finished)


def _plain(trial: Trial, outcome: Outcome) -> dict[str, Any]:
    return {
        "number": trial.number,
        "key": trial.run.key,
        "draw": dict(trial.draw),
        "narrowed": trial.narrowed,
        "settings": dict(trial.settings),
        **dataclasses.asdict(outcome),
    }


def advance(studies: Sequence[Study], run: Callable[[Need], bool]) -> Progressed:
    """Take every study to its end, those that wait for the same rung together.

    Args:
        studies: all of them.
        run: takes trials so far; True when it was interrupted, or when nothing is to be run.
    """
    now = Progressed({}, {}, {})
    before: dict[int, Need] = {}
    while True:
        now.needs.clear()
        for i in set(range(len(studies))) - now.winners.keys() - now.broken.keys():
            try:
                state = studies[i].state()
                if isinstance(state, Need):
                    now.needs[i] = state
                else:
                    now.winners[i] = winner(studies[i], state)
            except UserError as error:
                now.broken[i] = str(error)
        for i in [i for i in now.needs if i in before and _same(before[i], now.needs[i])]:
            failed = now.needs.pop(i)
            now.broken[i] = f"search of {studies[i].label}: {len(failed.trials)} trials failed; see {_log(failed)}"
        if not now.needs:
            return now
        epochs = min((need.epochs for need in now.needs.values()), key=lambda e: (e is None, e or 0))
        before = {i: need for i, need in now.needs.items() if need.epochs == epochs}
        if run(Need([trial for need in before.values() for trial in need.trials], epochs)):
            return now


def _log(need: Need) -> str:
    return str(need.trials[0].run.folder / "log.txt")


def _same(one: Need, other: Need) -> bool:
    """Whether some of the trials that were run are waited for again."""
    ran = {trial.run.folder for trial in one.trials}
    return one.epochs == other.epochs and any(trial.run.folder in ran for trial in other.trials)


def has_axes(search: Search, recipe: Recipe) -> bool:
    """Whether a method has anything to search."""
    trained = recipe.card.get("trainable", True)
    return trained and any(axis.name not in AXES or targets(axis.name, recipe) for axis in search.axes)
