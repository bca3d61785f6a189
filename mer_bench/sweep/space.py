"""The space that a search draws from, and its draws: the same for every method.

    search:
      draws: 20                 # how many
      sampler: random           # or tpe (needs optuna)
      seed: 0                   # of the draws
      cap: 2000000              # trainable parameters; a wider draw is narrowed until it fits
      halve: [10]               # after so many epochs the worse half of the draws is stopped; [] for never
      space:                    # what is common to all methods where not given
        model.optimizer.lr: {log: [1.0e-4, 1.0e-2]}
        dropout: {uniform: [0.0, 0.6]}
        width: {scale: [0.25, 0.5, 1, 2]}

A dotted name is a setting. `width` and `dropout` are settings of the method, named by its card (`search`), or `dim` and
`dropout` where the card names none; a method without them draws them in vain.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mer_bench.errors import UserError, did_you_mean
from mer_bench.recipes import Recipe

#: settings of the method that stand for an axis, where its card does not say otherwise
AXES = {"width": ("dim",), "dropout": ("dropout",)}
#: common to all methods; the ranges are ours
COMMON: Mapping[str, Mapping[str, list[float]]] = {
    "model.optimizer.lr": {"log": [1.0e-4, 1.0e-2]},
    "model.optimizer.weight_decay": {"log": [1.0e-4, 0.3]},
    "dropout": {"uniform": [0.0, 0.6]},
    "width": {"scale": [0.25, 0.5, 1.0, 2.0]},
}
SAMPLERS = ("random", "tpe")
_KEYS = ("draws", "sampler", "seed", "cap", "halve", "space")

Draw = Mapping[str, Any]


@dataclass(frozen=True)
class Axis:
    """One dimension of the space.

    Attributes:
        name: a dotted setting, or a key of `AXES`.
        kind: log, uniform, choice, or scale (a factor on the method's own value).
        values: bounds, or what to choose from.
    """

    name: str
    kind: str
    values: tuple[Any, ...]

    def draw(self, source: random.Random) -> Any:
        """One value; numbers to three digits, so that they can be read."""
        return _DRAWS[self.kind](source, self.values)


@dataclass(frozen=True)
class Search:
    """How settings are searched.

    Attributes:
        draws: how many.
        sampler: random or tpe.
        seed: of the draws.
        cap: trainable parameters.
        halve: epochs at which the worse half is stopped.
        axes: of the space.
    """

    draws: int = 20
    sampler: str = "random"
    seed: int = 0
    cap: int = 2_000_000
    halve: tuple[int, ...] = (10,)
    axes: tuple[Axis, ...] = field(default_factory=lambda: _axes(COMMON, Path("search")))

    def draw(self, number: int) -> dict[str, Any]:
        """Draw `number`, by itself: more draws leave the first ones as they are."""
        source = random.Random(f"mer-bench/{self.seed}/{number}")
        return {axis.name: axis.draw(source) for axis in self.axes}

    def narrower(self, draw: Draw) -> dict[str, Any] | None:
        """The draw with the next smaller scale of its width; None when it is the smallest."""
        for axis in self.axes:
            below = [value for value in axis.values if axis.kind == "scale" and value < draw[axis.name]]
            if below:
                return {**draw, axis.name: max(below)}
        return None

    def settings(self, draw: Draw, recipe: Recipe) -> dict[str, Any]:
        """Dotted settings that a draw means for a recipe; what the method lacks is left out.

        A scaled width is a multiple of the method's attention heads, which have to divide it.

        Raises:
            UserError: the card names a setting that the method does not have.
        """
        method = recipe.settings["model"]["method"].get("init_args", {})
        found = {}
        for axis in self.axes:
            for name in targets(axis.name, recipe):
                short = name.removeprefix("model.method.")
                value = draw[axis.name]
                found[name] = _scaled(method[short], value, method.get("heads", 1)) if axis.kind == "scale" else value
        return found

    def plain(self) -> dict[str, Any]:
        """What decides the outcome, as data."""
        axes = {axis.name: [axis.kind, *axis.values] for axis in self.axes}
        kept = {name: getattr(self, name) for name in ("draws", "sampler", "seed", "cap")}
        return {**kept, "halve": list(self.halve), "space": axes}


def _scaled(width: int, factor: float, heads: int) -> int:
    """The width times the factor, to the nearest multiple of `heads`."""
    return heads * max(1, round(width * factor / heads))


def targets(axis: str, recipe: Recipe) -> list[str]:
    """The dotted settings that an axis stands for.

    Raises:
        UserError: the card names a setting that the method does not have.
    """
    if axis not in AXES:
        return [axis]
    method = recipe.settings["model"]["method"].get("init_args", {})
    named = recipe.card.get("search", {}).get(axis)
    for name in named or ():
        if name not in method:
            raise UserError(f"card of {recipe.method}: search.{axis} names {name!r}; {did_you_mean(name, method)}")
    return [f"model.method.{name}" for name in (AXES[axis] if named is None else named) if name in method]


def read(given: Any, path: Path) -> Search:
    """The search that a sweep file describes.

    Raises:
        UserError: an unknown key, or a value that makes no sense.
    """
    where = f"{path}: search"
    given = {} if given is None else given
    if not isinstance(given, dict):
        raise UserError(f"{where} is {given!r}; expected a mapping of {', '.join(_KEYS)}")
    for key in given:
        if key not in _KEYS:
            raise UserError(f"{where}: unknown key {key!r}; {did_you_mean(key, _KEYS)}")
    search = Search(
        draws=given.get("draws", Search.draws),
        sampler=given.get("sampler", Search.sampler),
        seed=given.get("seed", Search.seed),
        cap=given.get("cap", Search.cap),
        halve=_epochs(given.get("halve", Search.halve), where),
        axes=_axes(given.get("space", COMMON), path),
    )
    for name, least in (("draws", 1), ("seed", 0), ("cap", 1)):
        if not _whole(getattr(search, name), least):
            raise UserError(f"{where}.{name} is {getattr(search, name)!r}; expected a whole number from {least}")
    if search.sampler not in SAMPLERS:
        raise UserError(f"{where}.sampler: {search.sampler!r}; {did_you_mean(str(search.sampler), SAMPLERS)}")
    return search


def _epochs(given: Any, where: str) -> tuple[int, ...]:
    valid = isinstance(given, list | tuple) and all(_whole(epoch, 1) for epoch in given)
    if not valid or list(given) != sorted(set(given)):
        raise UserError(f"{where}.halve is {given!r}; expected a list of epochs in rising order, such as [10], or []")
    return tuple(given)


def _axes(given: Any, path: Path) -> tuple[Axis, ...]:
    """The axes in the order of their names, so that the order in the file changes no draw."""
    if not isinstance(given, Mapping) or not given:
        raise UserError(f"{path}: search.space is {given!r}; expected a mapping of settings")
    return tuple(_axis(str(name), given[name], f"{path}: search.space.{name}") for name in sorted(given, key=str))


def _axis(name: str, given: Any, where: str) -> Axis:
    if name not in AXES and "." not in name:
        raise UserError(f"{where}: expected a dotted setting, or one of {', '.join(AXES)}")
    if not isinstance(given, Mapping) or len(given) != 1 or next(iter(given)) not in _DRAWS:
        raise UserError(f"{where} is {given!r}; expected one of {', '.join(_DRAWS)} with its values")
    ((kind, values),) = given.items()
    if not isinstance(values, list) or not values:
        raise UserError(f"{where}.{kind} is {values!r}; expected a list")
    numbers = all(isinstance(v, int | float) and not isinstance(v, bool) and math.isfinite(v) for v in values)
    bounds = kind in ("log", "uniform")
    if kind != "choice" and not numbers:
        raise UserError(f"{where}.{kind} is {values!r}; expected numbers")
    if bounds and (len(values) != 2 or not values[0] < values[1] or (kind == "log" and values[0] <= 0)):
        raise UserError(f"{where}.{kind} is {values!r}; expected the lower and the upper bound")
    if kind == "scale" and (name not in AXES or min(values) <= 0):
        raise UserError(f"{where}.scale: factors above 0 on a setting of the method; expected under width or dropout")
    return Axis(name, kind, tuple(values))


def _whole(value: Any, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _log(source: random.Random, values: tuple[Any, ...]) -> float:
    low, high = map(math.log, values)
    return readable(math.exp(source.uniform(low, high)), values)


def _uniform(source: random.Random, values: tuple[Any, ...]) -> float:
    return readable(source.uniform(*values), values)


def readable(value: float, bounds: Sequence[float]) -> float:
    """The value to three digits, inside the bounds all the same."""
    return min(max(float(f"{value:.3g}"), bounds[0]), bounds[1])


_DRAWS: Mapping[str, Callable[[random.Random, tuple[Any, ...]], Any]] = {
    "log": _log,
    "uniform": _uniform,
    "choice": lambda source, values: source.choice(values),
    "scale": lambda source, values: source.choice(values),
}
