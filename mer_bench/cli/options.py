"""Options that `fit` and its sisters understand themselves; everything dotted belongs to the settings. No torch."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import NoReturn

from mer_bench.errors import UserError, did_you_mean

HELP = """usage: mer-bench {command} --config NAME [OPTIONS] [--SECTION.KEY VALUE ...]

{about}

  --config NAME      a YAML file, or <dataset>_<method> such as iemocap_foal; may be repeated, later ones on top.
                     `mer-bench {command} iemocap_foal` is the short form.
  --seed N           seed of the run (the same as --seed_everything N)
  --runs DIR         where runs are kept (default: runs)
  --trust PACKAGE    let the config name classes of one more package, and use the corpus it defines
  --progress KIND    auto (a bar in a terminal, lines elsewhere), bar, lines, none
{own}
  --print-config     print the full settings and stop
  --help-all         every key of the settings, with defaults

Frequent keys:
  --data.fold N  --data.modalities '[audio, text]'  --data.root DIR  --data.protocol NAME  --data.batch_size N
  --model.method.KEY VALUE   settings of the method     --model.auxiliary.NAME.weight W   weight of an auxiliary loss
  --model.optimizer.lr R     --model.clip NORM          --model.precision bf16            --trainer.max_epochs N
"""

OWN = {
    "fit": (
        "Train one run, keep the best epoch by the protocol's validation metric, score the test part once, and write "
        "the record.",
        "  --no-test          leave the test part locked; no record is written\n"
        "  --track KIND       csv (always there), wandb or tensorboard beside it; a run's key does not know of it\n"
        "  --fresh            do not continue an interrupted run, start it again",
    ),
    "validate": ("Score a checkpoint on the validation part.", "  --ckpt_path FILE   the checkpoint"),
    "test": ("Score a checkpoint on the test part, under every condition.", "  --ckpt_path FILE   the checkpoint"),
    "predict": (
        "Write a checkpoint's raw outputs for every item of the feature file.",
        "  --ckpt_path FILE   the checkpoint\n  --out FILE         the .npz to write",
    ),
}

#: what may watch a run; see `training.tracking`
TRACKERS = ("csv", "wandb", "tensorboard")

#: settings of Lightning's Trainer that our step replaces, with the option to use instead
REPLACED = {
    "precision": "--model.precision bf16",
    "gradient_clip_val": "--model.clip NORM",
    "gradient_clip_algorithm": "--model.clip NORM",
    "accumulate_grad_batches": "--data.batch_size N",
    "max_steps": "--trainer.max_epochs N",
    "min_steps": "--trainer.max_epochs N",
}


@dataclass(frozen=True)
class Options:
    """What the command line said beside the settings."""

    command: str
    configs: tuple[str, ...]
    overrides: tuple[tuple[str, str], ...]
    runs: str = "runs"
    trust: tuple[str, ...] = ()
    progress: str = "auto"
    no_test: bool = False
    fresh: bool = False
    track: str = "csv"
    group: str = ""
    ckpt_path: str = ""
    out: str = ""
    print_config: bool = False
    help_all: bool = False


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UserError(f"{self.prog}: {message}")


def parse(command: str, argv: list[str]) -> Options | None:
    """Read the command line; None after `--help`.

    Raises:
        UserError: an unknown option, with the nearest ones, or no config.
    """
    parser = _Parser(prog=f"mer-bench {command}", add_help=False, allow_abbrev=False)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--config", "-c", action="append", default=[])
    parser.add_argument("--seed", default=None)
    parser.add_argument("--runs", default="runs")
    parser.add_argument("--trust", action="append", default=[])
    parser.add_argument("--progress", choices=("auto", "bar", "lines", "none"), default="auto")
    parser.add_argument("--print-config", action="store_true")
    parser.add_argument("--help", "-h", action="store_true")
    parser.add_argument("--help-all", action="store_true")
    if command == "fit":
        parser.add_argument("--no-test", action="store_true")
        parser.add_argument("--fresh", action="store_true")
        parser.add_argument("--track", choices=TRACKERS, default="csv")
    else:
        parser.add_argument("--ckpt_path", default="")
    if command == "predict":
        parser.add_argument("--out", default="")
    own = [s for action in parser._actions for s in action.option_strings]
    plain, overrides = split(argv, own)
    given = vars(parser.parse_args(plain))
    if given.pop("help"):
        about, extra = OWN[command]
        print(HELP.format(command=command, about=about, own=extra), end="")
        return None
    if (seed := given.pop("seed")) is not None:
        overrides.append(("seed_everything", seed))
    configs = (*given.pop("config"), *given.pop("names"))
    if not configs and not given["help_all"]:
        raise UserError(f"mer-bench {command}: no --config given; `mer-bench list configs` shows what there is")
    _refuse_replaced(overrides)
    return Options(command, configs, tuple(overrides), **{**given, "trust": tuple(given["trust"])})


def split(argv: list[str], own: list[str]) -> tuple[list[str], list[tuple[str, str]]]:
    """Part the command line in our options and (dotted key, value) pairs.

    Raises:
        UserError: an option that is neither ours nor dotted, or without a value.
    """
    plain: list[str] = []
    overrides: list[tuple[str, str]] = []
    words = iter(argv)
    for word in words:
        name, equals, value = word.partition("=")
        if not word.startswith("--") or name in own:
            plain.append(word)
            continue
        key = name[2:]
        if "." not in key and key not in ("seed_everything", "model", "data"):
            raise UserError(f"no option {name}; {did_you_mean(name, own)} (settings are dotted, such as --data.fold 1)")
        if not equals:
            value = next(words, "")
            if not value:
                raise UserError(f"{name} needs a value")
        overrides.append((key, value))
    return plain, overrides


def _refuse_replaced(overrides: list[tuple[str, str]]) -> None:
    for key, _ in overrides:
        refuse_trainer_key(key)


def refuse_trainer_key(key: str) -> None:
    """Refuse a Trainer setting that our own step replaces."""
    name = key.removeprefix("trainer.")
    if key.startswith("trainer.") and name in REPLACED:
        raise UserError(f"--{key} has no effect here: training makes its own steps; use {REPLACED[name]}")
