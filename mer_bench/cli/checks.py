"""Keys of the settings, checked against the signatures of what they configure."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping
from typing import Any

from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import EarlyStopping

from mer_bench.errors import UserError, did_you_mean
from mer_bench.module import FusionModule
from mer_bench.recipes import Settings

#: what the datamodule tells the module, and the module the method
DERIVED = ("features", "tasks", "metrics")
SECTIONS = {"model": FusionModule, "trainer": Trainer, "early_stopping": EarlyStopping}


def check_keys(settings: Settings) -> None:
    """Refuse a key that nothing takes.

    The classes named must have passed the allow-list, for they are imported here.

    Raises:
        UserError: with the dotted place and the nearest keys.
    """
    known = (*SECTIONS, "data", "seed_everything")
    for name, content in settings.items():
        if name not in known:
            raise UserError(f"unknown setting {name}; {did_you_mean(str(name), known)}")
        if name in SECTIONS:
            _check_arguments(SECTIONS[name], content, name)
        else:
            _check_classes(content, name)
    _check_epochs(settings.get("trainer", {}).get("max_epochs"))
    _check_unread(settings.get("model", {}))


def _check_epochs(value: Any) -> None:
    """Schedules of the learning rate are told how long training may take."""
    if isinstance(value, int) and value < 1:
        raise UserError(f"trainer.max_epochs must be at least 1, got {value}")


def _check_unread(model: Any) -> None:
    """Refuse what has no effect where the loss of the fused answer does not count."""
    if not isinstance(model, Mapping):
        return

    def named(key: str) -> str:
        value = model.get(key)
        return str(value.get("class_path", "")) if isinstance(value, Mapping) else ""

    if not named("weighting").endswith(".AuxiliaryOnly"):
        return
    unread = [key for key in ("task_weights", "regression_loss") if model.get(key)]
    if named("subsets").endswith(".JointSubsets"):
        unread.append("subsets")  # auxiliary losses see the first view of a step
    if unread:
        raise UserError(
            f"model.{unread[0]} has no effect with AuxiliaryOnly, under which only model.auxiliary trains the method; "
            "remove it, or set it for the auxiliary loss"
        )


def _check_arguments(owner: Any, arguments: Any, place: str) -> None:
    """Every key of a mapping is a parameter of its owner, and so on below."""
    if not isinstance(arguments, Mapping):
        return
    names = parameters(owner)
    for key, value in arguments.items():
        if key in DERIVED:
            raise UserError(f"{place}.{key}: {key!r} is derived from the data and cannot be set; remove it")
        if names is not None and key not in names:
            raise UserError(f"unknown setting {place}.{key}; {did_you_mean(str(key), names)}")
        _check_classes(value, f"{place}.{key}")


def _check_classes(value: Any, place: str) -> None:
    """Find classes with settings anywhere below, and check those."""
    if isinstance(value, Mapping) and "class_path" in value:
        for key in value:
            if key not in ("class_path", "init_args"):
                raise UserError(f"unknown setting {place}.{key}; {did_you_mean(str(key), ('class_path', 'init_args'))}")
        _check_arguments(load(value["class_path"], place), value.get("init_args"), f"{place}.init_args")
    elif isinstance(value, Mapping):
        for key, below in value.items():
            _check_classes(below, f"{place}.{key}")
    elif isinstance(value, list):
        for i, below in enumerate(value):
            _check_classes(below, f"{place}[{i}]")


def parameters(owner: Any) -> list[str] | None:
    """Names that a class or function takes; None when it takes any."""
    found = inspect.signature(owner).parameters.values()
    if any(p.kind is p.VAR_KEYWORD for p in found):
        return None
    return [p.name for p in found if p.name not in DERIVED]


def load(path: str, place: str) -> Any:
    """Import what a class path names.

    Raises:
        UserError: there is no such module or name in it.
    """
    module, _, name = path.rpartition(".")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError):
        raise UserError(f"{place}.class_path: cannot import {path!r}") from None
