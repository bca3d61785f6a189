"""The command line: a thin dispatcher, one file a command. Only the commands that train import torch."""

from __future__ import annotations

import importlib
import os
import sys

from mer_bench import __version__
from mer_bench.errors import UserError, did_you_mean

#: command -> (module, what it does); the module's `main(argv)` returns the exit code
COMMANDS = {
    "fit": ("mer_bench.cli.fit", "train one run, score it once on the test part, write its record"),
    "validate": ("mer_bench.cli.evaluate", "score a checkpoint on the validation part"),
    "test": ("mer_bench.cli.evaluate", "score a checkpoint on the test part"),
    "predict": ("mer_bench.cli.evaluate", "write a checkpoint's outputs for every item"),
    "prepare": ("mer_bench.cli.prepare", "turn a corpus on disk into a feature file"),
    "data": ("mer_bench.cli.data", "info, check, leakage, synth: look at, check or invent a feature file"),
    "sweep": ("mer_bench.cli.sweep", "protocols x methods x folds x seeds, packed on this machine, resumable"),
    "nightly": ("mer_bench.cli.nightly", "a sweep, the leaderboard, and a page on what the night has brought"),
    "leaderboard": ("mer_bench.cli.leaderboard", "records to markdown pages"),
    "verify": ("mer_bench.cli.verify", "check records: hashes, protocol, seeds, every score again where possible"),
    "rerun": ("mer_bench.cli.rerun", "train one recorded run again and compare the two records"),
    "compare": ("mer_bench.cli.compare", "two methods under one protocol: difference, interval, what would resolve it"),
    "list": ("mer_bench.cli.list", "methods, datasets, protocols, losses, configs, commands"),
}

#: commands that share one file are told which one they are
SHARED = ("validate", "test", "predict")


def usage() -> str:
    """The short help."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {about}" for name, (_, about) in COMMANDS.items()]
    return "\n".join(
        [
            "usage: mer-bench COMMAND [OPTIONS]",
            "",
            "Train, compare and rank fusion methods for multimodal emotion recognition.",
            "",
            "commands:",
            *lines,
            "",
            "`mer-bench COMMAND --help` says more; `mer-bench --version` prints the version.",
            "A first run without data:",
            "  mer-bench data synth iemocap --out features/iemocap.h5",
            "  mer-bench fit --config iemocap_foal.yaml --data.modalities '[audio, vision]'",
        ]
    )


def main(argv: list[str] | None = None) -> int:
    """Run one command.

    Returns:
        0; 2 for bad input, which gets one clear message; 130 after Ctrl-C.
    """
    argv = [*(sys.argv[1:] if argv is None else argv)]  # `list` is a module of this package, once it was called
    if not argv or argv[0] in ("-h", "--help", "help"):
        print(usage())
        return 0
    if argv[0] in ("-V", "--version"):
        print(f"mer-bench {__version__}")
        return 0
    try:
        if argv[0] not in COMMANDS:
            raise UserError(f"no command {argv[0]!r}; {did_you_mean(argv[0], COMMANDS)}")
        module = importlib.import_module(COMMANDS[argv[0]][0])
        return module.main(argv if argv[0] in SHARED else argv[1:]) or 0
    except UserError as error:
        print(f"mer-bench: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("mer-bench: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # `mer-bench list | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
