"""The one place that builds a LightningCLI: from a recipe to module, datamodule and trainer."""

from __future__ import annotations

import copy
import logging
import re
import warnings
from collections.abc import Sequence
from typing import Any

import jsonargparse
from jsonargparse import ArgumentError, set_parsing_settings
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.plugins.environments import LightningEnvironment

from mer_bench.cli.options import refuse_trainer_key
from mer_bench.data.datamodule import MERDataModule
from mer_bench.errors import UserError, did_you_mean
from mer_bench.module import FusionModule
from mer_bench.recipes import ALLOWED, Recipe, Settings, refuse_foreign_classes
from mer_bench.training.checkpoints import AtomicCheckpoints

#: what every run of ours fixes on the Trainer
FIXED = {"logger": False, "enable_model_summary": False, "enable_progress_bar": False}


class Command(LightningCLI):
    """LightningCLI without its sub-commands: it checks and builds, the commands drive."""

    def __init__(self, settings: Settings, callbacks: Sequence[Callback]) -> None:
        self.extra = list(callbacks)
        super().__init__(
            FusionModule,
            MERDataModule,
            subclass_mode_data=True,
            save_config_callback=None,
            seed_everything_default=0,
            parser_kwargs={"exit_on_error": False, "allow_abbrev": False},
            trainer_defaults=FIXED,
            args=settings,
            run=False,
            auto_configure_optimizers=False,
            load_from_checkpoint_support=False,
        )

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Derived sizes come from the data, never from YAML."""
        parser.link_arguments("data.features", "model.features", apply_on="instantiate")
        parser.link_arguments("data.tasks", "model.tasks", apply_on="instantiate")
        parser.link_arguments("data.metrics", "model.metrics", apply_on="instantiate")
        parser.add_lightning_class_args(EarlyStopping, "early_stopping")
        parser.set_defaults({"early_stopping.monitor": "val/selection", "early_stopping.mode": "max"})

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Read the settings as an object; the process's own command line is not looked at."""
        self.config = parser.parse_object(args)

    def instantiate_trainer(self, **kwargs: Any):
        """The trainer with our checkpoint door and callbacks, alone on one device."""
        plugins = [AtomicCheckpoints(), LightningEnvironment()]
        saves = any(isinstance(callback, ModelCheckpoint) for callback in self.extra)
        with quiet():
            return super().instantiate_trainer(
                plugins=plugins, callbacks=self.extra, enable_checkpointing=saves, **kwargs
            )


def allow(trusted: Sequence[str]) -> None:
    """Let jsonargparse import only what a config may name; URLs are off."""
    prefixes = [p.rstrip(".") for p in ALLOWED] + list(trusted) + ["lightning", "torch", "builtins", "typing"]
    set_parsing_settings(
        import_path_denylist=["*"],
        import_path_allowlist=prefixes,
        config_read_mode_urls_enabled=False,
        config_read_mode_fsspec_enabled=False,
    )


def instantiate(recipe: Recipe, *, trusted: Sequence[str] = (), callbacks: Sequence[Callback] = ()) -> Command:
    """Check the settings of a recipe and build what they name.

    Raises:
        UserError: a class that may not be named, an unknown key or a value of the wrong type, in one line.
    """
    settings = copy.deepcopy(recipe.settings)
    refuse_foreign_classes(settings, trusted)
    for key in settings.get("trainer", {}):
        refuse_trainer_key(f"trainer.{key}")
    _refuse_derived(settings)
    settings.setdefault("data", {}).setdefault("init_args", {})["seed"] = int(settings.get("seed_everything", 0))
    allow(trusted)
    try:
        with quiet():
            return Command(settings, callbacks)
    except (ArgumentError, TypeError, KeyError, ValueError) as error:
        raise UserError(explain(error, settings)) from error


def _refuse_derived(settings: Settings) -> None:
    for name in ("features", "tasks", "metrics"):
        for place in (settings.get("model", {}), settings.get("model", {}).get("method", {}).get("init_args", {})):
            if name in place:
                raise UserError(
                    f"model: {name!r} is derived from the data and cannot be set; remove it from the config"
                )


def explain(error: Exception, settings: Settings) -> str:
    """One line out of jsonargparse's nest of messages."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", str(error)) or type(error).__name__
    match = re.search(
        r"[Kk]ey ['\"]?([\w.]+)['\"]? is not expected|[Nn]o action for key \"([\w.]+)\"|Unrecognized arguments: (\S+)|"
        r"[Oo]ption '(\w+)' is not accepted|['\"]?([\w.]+)['\"]? is not expected",
        text,
    )
    if match:
        key = next(g for g in match.groups() if g)
        known = sorted(set(re.findall(r"\b([a-z_]+)\b", " ".join(_known_keys(settings, key)))))
        place = _place_of(settings, key.rsplit(".", 1)[-1])
        return f"unknown setting {place or key!r}; {did_you_mean(key.rsplit('.', 1)[-1], known)}"
    lines = [line.strip(" -") for line in text.splitlines() if line.strip(" -")]
    place = re.search(r'[Pp]arser key "([\w.]+)"', text)
    last = lines[-1] if lines else text
    return f"settings, {place.group(1)}: {last}" if place else f"settings: {last}"


def _place_of(settings: Any, key: str, where: str = "") -> str:
    """Dotted place of a key in the settings."""
    if isinstance(settings, dict):
        for name, value in settings.items():
            here = f"{where}.{name}" if where else str(name)
            if name == key:
                return here
            if found := _place_of(value, key, here):
                return found
    return ""


def _known_keys(settings: Settings, key: str) -> list[str]:
    """Names that could have been meant where a key stands: the parameters of its class, or of the module."""
    place = _place_of(settings, key.rsplit(".", 1)[-1])
    node: Any = settings
    owner = FusionModule if place.startswith("model") else MERDataModule
    for part in place.split(".")[:-1]:
        if isinstance(node, dict) and "class_path" in node:
            owner = jsonargparse.util.import_object(node["class_path"])
        node = node[part]
    if not place.startswith(("model", "data")):
        from lightning.pytorch import Trainer

        owner = Trainer
    import inspect

    return [name for name in inspect.signature(owner.__init__).parameters if name not in ("self", "features", "tasks")]


class quiet:  # noqa: N801 (reads like a statement)
    """Keep Lightning's advice and hardware lines off the screen; real warnings of ours pass."""

    def __enter__(self) -> None:
        self._names = ("lightning.pytorch", "lightning.fabric", "lightning.pytorch.utilities.rank_zero")
        self._levels = {name: logging.getLogger(name).level for name in self._names}
        for name in self._names:
            logging.getLogger(name).setLevel(logging.ERROR)
        self._catch = warnings.catch_warnings()
        self._catch.__enter__()
        warnings.filterwarnings("ignore", module="lightning")
        warnings.filterwarnings("ignore", message=".*GPU available but not used.*")

    def __exit__(self, *exc: object) -> None:
        self._catch.__exit__(*exc)
        for name, level in self._levels.items():
            logging.getLogger(name).setLevel(level)
