"""`mer-bench nightly`: a sweep, the leaderboard from all records, a page on what the night has brought. No torch."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mer_bench.cli import leaderboard, sweep
from mer_bench.data.corpora import register
from mer_bench.errors import UserError
from mer_bench.results import atomic
from mer_bench.results.consolidate import consolidate
from mer_bench.results.record import read_records
from mer_bench.results.summary import SCHEMA, Summary, page, summarise
from mer_bench.sweep.status import standing

INTERRUPTED = 130
_ALARM = (
    "leaderboard: a record was left out, or a control is out of its band; `mer-bench leaderboard --strict` names it"
)


def main(argv: list[str]) -> int:
    """Run the sweep, write the leaderboard and the summary.

    Returns:
        0 when everything planned is recorded and counts; 1 when something failed, diverged, contradicts a record or
        could not be read; 130 when it was interrupted; bad input and a full disk give 2.
    """
    options, rest = split(argv)
    folder = Path(options.summary)
    before = read_summary(folder / "summary.json")
    code = sweep.main([options.name, "--runs", options.runs, *rest])
    if not any(Path(options.runs).glob("*/*/*/record.json")):
        print("no record to make a leaderboard of", file=sys.stderr)
        return code or 1
    alarm = leaderboard.main(["--records", options.runs, "--out", options.out, "--strict"])
    night = look(options, rest, before, [_ALARM] if alarm else [])
    atomic.make_folder(folder)
    atomic.write(folder / "summary.md", page(night).encode())
    atomic.write(folder / "summary.json", (json.dumps(night.plain(), indent=1) + "\n").encode())
    print(f"{night.new} new records, {len(night.changed)} rows new or changed, {len(night.failed)} problems")
    print(f"summary: {folder / 'summary.md'}")
    return INTERRUPTED if code == INTERRUPTED else 1 if code or night.failed else 0


def split(argv: list[str]) -> tuple[argparse.Namespace, list[str]]:
    """Our own options, and those of `sweep`. A name comes first: behind an option, a word is that option's value."""
    named = bool(argv) and not argv[0].startswith("-")
    options, rest = _parser().parse_known_args(argv[1:] if named else argv)
    options.name = argv[0] if named else "nightly"
    return options, rest


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="mer-bench nightly",
        usage="%(prog)s [NAME] [options]",
        description="A sweep (NAME: a file or a name; nightly), the leaderboard from all records, and a one-page "
        "summary. Options of `sweep` are passed on. Exit code 0: all is recorded; 1: something failed, "
        "see the summary; 2: bad input or a full disk, and no summary; 130: interrupted.",
        allow_abbrev=False,
    )
    parser.add_argument("--runs", default="runs", metavar="DIR", help="where runs are kept (runs)")
    parser.add_argument("--out", default="board", metavar="DIR", help="where the leaderboard goes (board)")
    parser.add_argument("--summary", default="night", metavar="DIR", help="summary.md and summary.json (night)")
    return parser


def read_summary(path: Path) -> dict[str, Any] | None:
    """The summary of the night before; None for a first night.

    Raises:
        UserError: the file is not a summary.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: not a summary ({error}); move it away") from None
    if not isinstance(content, dict) or content.get("schema") != SCHEMA:
        raise UserError(f"{path}: not a summary of this version ({SCHEMA}); move it away")
    return content


def look(
    options: argparse.Namespace, rest: list[str], before: dict[str, Any] | None, problems: Sequence[str] = ()
) -> Summary:
    """What is there now, read from files alone."""
    own, overrides = sweep.split([options.name, "--runs", options.runs, *rest])
    given = sweep.options_of(own)
    register(given.trust)
    plan, found = sweep.planned(given, overrides, looking=True)
    records, rejected = read_records(Path(options.runs))
    kept, unusable = consolidate(records)
    failed = [*problems, *(found.broken if found else []), *standing(plan, options.runs).problems]
    failed += [f"{entry.path}: {entry.reason}" for entry in sorted({*rejected, *unusable})]
    return summarise(kept, list(dict.fromkeys(failed)), before, found.line() if found else "")
