"""Trials of a search: runs that are trained and validated, and never tested; what they leave is all it knows.

A trial lies in `<runs>/trials/<protocol>/<method>/<key>-<code>/`: its key as any run's, and the hash of the code, so
that trials of other code are not looked at. `rung-<epochs>.json` says how it stood after so many epochs, `trial.json`
how it ended. Searches with other draws, rungs or another cap share trials: a rung is judged by that many epochs,
however far the trial went, and a trial is too large for the cap of the search that looks.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mer_bench import runs
from mer_bench.errors import UserError
from mer_bench.recipes import Recipe
from mer_bench.results import atomic
from mer_bench.results.sources import code_hash, named_modules
from mer_bench.runs import Run
from mer_bench.sweep.space import Draw

#: a trial's last word
END = "trial.json"
STATES = ("ok", "diverged", "too_large", "stopped")


@dataclass(frozen=True)
class Outcome:
    """What a trial left.

    Attributes:
        status: ok, diverged, too_large (more parameters than the cap; not trained), stopped (by the search, as one of
            the worse half).
        score: best value of the primary metric on the validation part so far, higher is better; None without one.
        val: the metrics of that epoch.
        epoch: which it was, from 0.
        epochs: how many were trained.
        parameters: trainable ones.
        seconds: of training.
    """

    status: str
    score: float | None
    val: Mapping[str, float]
    epoch: int | None
    epochs: int
    parameters: int
    seconds: float

    @property
    def rank(self) -> float:
        """The score, or less than any."""
        return -math.inf if self.score is None else self.score


@dataclass(frozen=True)
class Trial:
    """One draw, trained for one fold.

    Attributes:
        number: of the draw.
        draw: values by axis, narrowed where they had to be.
        settings: what it means for the method, by dotted setting.
        run: where it is.
        cap: trainable parameters that the search allows.
        narrowed: the draw had more parameters than the cap, and has a smaller width.
    """

    number: int
    draw: Draw
    settings: Mapping[str, Any]
    run: Run
    cap: int
    narrowed: bool = False

    def outcome(self) -> Outcome | None:
        """How it ended; None before."""
        return outcome(self.run.folder, self.cap, None)

    def standing(self, epochs: int) -> Outcome | None:
        """How it stood after so many epochs, or ended before; None if neither."""
        return outcome(self.run.folder, self.cap, epochs)

    def too_large(self) -> bool:
        """Whether it left word of more parameters than the cap."""
        return any(found.parameters > self.cap for found in map(read, _left(self.run.folder)) if found is not None)

    def pending(self, epochs: int | None) -> Run:
        """The run that takes it so far, or (None) to its end."""
        return dataclasses.replace(self.run, result=END if epochs is None else rung(epochs))


def outcome(folder: Path, cap: int, epochs: int | None) -> Outcome | None:
    """How a trial ended, or stood after so many epochs, for a search with this cap; None where it has to be run.

    Args:
        folder: of the trial.
        cap: trainable parameters.
        epochs: of the rung; None means the end.
    """
    left = [END] if epochs is None else [rung(epochs), END]
    return next((found for name in left if (found := _judged(read(folder / name), cap, epochs)) is not None), None)


def _judged(found: Outcome | None, cap: int, epochs: int | None) -> Outcome | None:
    """What counts of an outcome: whoever left it may have had another cap, or have gone further."""
    if found is None:
        return None
    if found.parameters > cap:
        return Outcome("too_large", None, {}, None, 0, found.parameters, 0.0)
    needed = found.epochs + (found.status == "diverged")  # in the epoch after those that it has
    return None if found.status == "too_large" or (epochs is not None and needed > epochs) else found


def discard(trial: Trial) -> None:
    """Remove what does not count for this search but stands where its result will: a smaller cap, a later epoch."""
    for path in _left(trial.run.folder):
        epochs = None if path.name == END else int(path.stem.removeprefix("rung-"))
        if _judged(read(path), trial.cap, epochs) is None:
            path.unlink(missing_ok=True)


def _left(folder: Path) -> list[Path]:
    return [folder / END, *sorted(folder.glob("rung-*.json"))]


def rung(epochs: int) -> str:
    """The file that says how a trial stood after so many epochs."""
    return f"rung-{epochs}.json"


def root(folder: str) -> str:
    """Where the trials of a folder of runs lie."""
    return str(Path(folder) / "trials")


def trial_run(recipe: Recipe, folder: str) -> Run:
    """The run of a trial.

    Raises:
        UserError: it means several runs.
    """
    found = runs.plan(recipe, folder)
    if len(found) != 1:
        raise UserError(f"{recipe.method}: a trial is one run, this is {len(found)}; name one modality")
    code = code_hash(named_modules(recipe.settings))[:8]
    place = found[0].folder
    return dataclasses.replace(found[0], folder=place.with_name(f"{place.name}-{code}"), result=END)


def read(path: Path) -> Outcome | None:
    """What a trial left; None where there is no such file.

    Raises:
        UserError: the file is not one of a trial.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: not a trial ({error}); delete it and run the search again") from None
    try:
        outcome = Outcome(**found)
    except TypeError:
        raise UserError(f"{path}: not a trial of this version; delete it and run the search again") from None
    if outcome.status not in STATES:
        raise UserError(f"{path}: status is {outcome.status!r}; expected one of {', '.join(STATES)}")
    return outcome


def clear(run: Run) -> None:
    """Remove the checkpoints of a trial that nobody will take further."""
    for path in (run.folder / "checkpoints").glob("*.ckpt"):
        path.unlink()


def write(path: Path, outcome: Outcome) -> None:
    """Leave an outcome, whole or not at all."""
    atomic.make_folder(path.parent)
    atomic.write(path, (json.dumps(dataclasses.asdict(outcome), indent=1) + "\n").encode())
