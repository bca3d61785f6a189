"""`mer-bench prepare`: turn a corpus on disk into a feature file."""

from __future__ import annotations

import argparse
import importlib
import math
from pathlib import Path
from typing import Any

from mer_bench.errors import UserError
from mer_bench.prepare import CORPORA, Request, report_path
from mer_bench.prepare.child import prepare_apart


def parser(corpus: str = "") -> argparse.ArgumentParser:
    """The options of the command; for `table` the help explains the YAML file."""
    options = argparse.ArgumentParser(
        prog="mer-bench prepare",
        description="Turn a corpus on disk into a checked feature file. The layout is recognised; every repair and "
        "everything left out is counted, on screen and in FILE's name with .report.json.",
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter if corpus == "table" else argparse.HelpFormatter,
        epilog=importlib.import_module(CORPORA["table"]).__doc__ if corpus == "table" else None,
    )
    several: dict[str, Any] = {"action": "append", "default": []}
    options.add_argument("corpus", metavar="CORPUS", help=f"one of: {', '.join(sorted(CORPORA))}")
    options.add_argument(
        "--from",
        "--spec",
        dest="source",
        metavar="PATH",
        type=Path,
        required=True,
        help="what you have; for `table` a YAML file, which `prepare table --help` explains",
    )
    options.add_argument("--out", metavar="FILE", type=Path, help="the feature file to write; an old one is replaced")
    options.add_argument("--labels", metavar="PATH", type=Path, help="labels, where they lie elsewhere")
    options.add_argument(
        "--features",
        metavar="NAME=PATH",
        type=named_path,
        **several,
        help="features of modality NAME, where they lie elsewhere; may be given several times",
    )
    options.add_argument(
        "--align",
        choices=("word", "none"),
        default="",
        help="rows of the features: one per word (the mean of its frames; the default), or each on its own clock",
    )
    options.add_argument(
        "--rate",
        metavar="NAME=HZ",
        type=named_text,
        **several,
        help="affwild2, iemocap: rows per second of modality NAME. affwild2: such rows are joined by time; `video=HZ` "
        "or `video=FILE` (a CSV with columns video, fps) for the frames of the videos, where their names do not tell",
    )
    options.add_argument(
        "--fitted-on",
        metavar="NAME=SPLIT",
        type=named_text,
        **several,
        help="the extractor of modality NAME was trained with labels of the training part of SPLIT, a split of the new "
        "file with one fold; `none`: it saw no label of this corpus",
    )
    options.add_argument(
        "--memory",
        metavar="GB",
        type=float,
        default=0.0,
        help="most memory that the conversion may take (nine tenths of the machine's); it runs in a process of its own",
    )
    options.add_argument("--text", action="store_true", help="keep transcripts in the file (licensed material)")
    options.add_argument("--dry-run", action="store_true", help="read and check everything, write nothing")
    return options


def named_path(text: str) -> tuple[str, Path]:
    """``audio=covarep.csd`` as name and path."""
    name, sign, path = text.partition("=")
    if not (name and sign and path):
        raise argparse.ArgumentTypeError(f"{text!r}: expected NAME=PATH, for instance audio=covarep.csd")
    return name, Path(path)


def named_text(text: str) -> tuple[str, str]:
    """``audio=100`` as name and text."""
    name, sign, value = text.partition("=")
    if not (name and sign and value):
        raise argparse.ArgumentTypeError(f"{text!r}: expected NAME=VALUE, for instance audio=100")
    return name, value


def named(pairs: list[tuple[str, Path]]) -> dict[str, Path]:
    """The pairs by name.

    Raises:
        UserError: one name twice, or a path that is not there.
    """
    for name, path in pairs:
        if sum(name == other for other, _ in pairs) > 1:
            raise UserError(f"--features: {name} is given twice")
        if not path.exists():
            raise UserError(f"--features {name}: no such file or folder: {path}")
    return dict(pairs)


def main(argv: list[str]) -> int:
    """Run the command.

    Raises:
        UserError: bad input; nothing is written then.
    """
    options = parser(argv[0] if argv else "").parse_args(argv)
    if options.out is None and not options.dry_run:
        raise UserError(f"prepare {options.corpus}: --out FILE is missing (or --dry-run, which only reports)")
    if not 0 <= options.memory < math.inf:
        raise UserError(f"--memory {options.memory:g}: expected a number of gigabytes above 0")
    out = None if options.dry_run else options.out
    features, rate = named(options.features), dict(options.rate)
    request = Request(
        options.source, options.text, options.labels, features, options.align, rate, dict(options.fitted_on)
    )
    report = prepare_apart(options.corpus, request, out, options.memory)
    print("\n".join(report.lines()))
    if out is not None:
        print(f"{'report':<11} {report_path(out)}")
    return 0
