"""The one place that builds a LightningCLI: from a recipe to module, datamodule and trainer."""

from __future__ import annotations

import copy
import logging
import re
import warnings
from collections.abc import Sequence
from typing import Any, ClassVar

from jsonargparse import ArgumentError, set_parsing_settings
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.plugins.environments import LightningEnvironment

from mer_bench.cli.checks import check_keys
from mer_bench.cli.options import refuse_trainer_key
from mer_bench.data.datamodule import MERDataModule
from mer_bench.errors import UserError
from mer_bench.module import FusionModule
from mer_bench.recipes import ALLOWED, Recipe, Settings, refuse_foreign_classes
from mer_bench.training.checkpoints import AtomicCheckpoints

#: what every run of ours fixes on the Trainer
FIXED = {"logger": False, "enable_model_summary": False, "enable_progress_bar": False}


class Command(LightningCLI):
    """LightningCLI without its sub-commands: it checks and builds, the commands drive.

    Every command of a process has the same parser: to learn all signatures takes longer than many a run.
    """

    _learned: ClassVar[LightningArgumentParser | None] = None

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

    def setup_parser(self, add_subcommands: bool, main_kwargs: dict, subparser_kwargs: dict) -> None:
        """Make the parser, once."""
        if Command._learned is None:
            super().setup_parser(add_subcommands, main_kwargs, subparser_kwargs)
            Command._learned = self.parser
        self.parser = Command._learned

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Derived sizes come from the data, never from YAML."""
        parser.link_arguments("data.features", "model.features", apply_on="instantiate")
        parser.link_arguments("data.tasks", "model.tasks", apply_on="instantiate")
        parser.link_arguments("data.metrics", "model.metrics", apply_on="instantiate")
        parser.add_lightning_class_args(EarlyStopping, "early_stopping")
        parser.set_defaults({"early_stopping.monitor": "val/selection", "early_stopping.mode": "max"})

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Read the settings as an object; the process's own command line is not looked at."""
        try:
            self.config = parser.parse_object(args)
        except (TypeError, KeyError, ValueError) as error:
            raise UserError(explain(error)) from error

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """The trainer with our checkpoint door and callbacks, alone on one device."""
        plugins = [AtomicCheckpoints(), LightningEnvironment()]
        saves = any(isinstance(callback, ModelCheckpoint) for callback in self.extra)
        try:
            with quiet():
                trainer = super().instantiate_trainer(
                    plugins=plugins, callbacks=self.extra, enable_checkpointing=saves, **kwargs
                )
        except (TypeError, KeyError, ValueError) as error:  # Lightning's word on its own settings
            raise UserError(explain(error)) from error
        if self.datamodule.protocol.selection == "fixed":  # nothing to stop by
            kept = [callback for callback in trainer.callbacks if not isinstance(callback, EarlyStopping)]  # type: ignore[attr-defined]
            trainer.callbacks = kept  # type: ignore[attr-defined]
        return trainer


class Rehearsal(Command):
    """Reads settings and builds nothing; a process that is forked from this one knows what jsonargparse has learnt."""

    def __init__(self, settings: Settings) -> None:
        allow(())
        super().__init__({name: content for name, content in settings.items() if name != "seed_everything"}, ())

    def _set_seed(self) -> None:
        pass

    def instantiate_classes(self) -> None:
        """Leave it at that."""


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
        UserError: a class that may not be named, an unknown key or a value of the wrong type, in one line. What a
            constructor of ours raises beside that is a fault of its code, and comes out as it is.
    """
    settings = copy.deepcopy(recipe.settings)
    refuse_foreign_classes(settings, trusted)
    for key in settings.get("trainer", {}):
        refuse_trainer_key(f"trainer.{key}")
    check_keys(settings)
    settings.setdefault("data", {}).setdefault("init_args", {})["seed"] = int(settings.get("seed_everything", 0))
    allow(trusted)
    try:
        with quiet():
            return Command(settings, callbacks)
    except ArgumentError as error:
        raise UserError(explain(error)) from error
    except (TypeError, KeyError, ValueError) as error:  # jsonargparse wraps what a constructor raises
        if (ours := ours_in(error)) is None:
            raise
        raise UserError(str(ours)) from error


def explain(error: BaseException) -> str:
    """One line out of jsonargparse's nest of messages; a message of ours inside it comes out as it is."""
    if (ours := ours_in(error)) is not None:
        return str(ours)
    lines = [line.strip(" -") for line in re.sub(r"\x1b\[[0-9;]*m", "", str(error)).splitlines()]
    lines = [line for line in lines if line and not line.startswith("Given value")]
    place = re.search(r'[Pp]arser key "([\w.]+)"', str(error))
    last = lines[-1] if lines else type(error).__name__
    return f"settings, {place.group(1)}: {last}" if place else f"settings: {last}"


def ours_in(error: BaseException) -> UserError | None:
    """The message of ours that was wrapped, if any was."""
    inner: BaseException | None = error
    while inner is not None and not isinstance(inner, UserError):
        inner = inner.__cause__ or inner.__context__
    return inner


def help_text() -> str:
    """Every key of the settings with its default, for one data set and method."""
    parser = LightningArgumentParser()
    parser.add_lightning_class_args(FusionModule, "model")
    parser.add_lightning_class_args(MERDataModule, "data")
    parser.add_lightning_class_args(Trainer, "trainer")
    parser.add_lightning_class_args(EarlyStopping, "early_stopping")
    return parser.format_help()


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
        self._catch.__exit__(None, None, None)
        for name, level in self._levels.items():
            logging.getLogger(name).setLevel(level)
