"""`mer-bench leaderboard`: records to markdown pages. No torch, no numpy."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from mer_bench.errors import UserError
from mer_bench.results.leaderboard import build, write_pages
from mer_bench.results.record import read_records


def main(argv: list[str]) -> int:
    """Read every record below a folder and write one page for each protocol and feature set.

    Returns:
        0; 2 with ``--strict`` when a record had to be left out.
    """
    parser = argparse.ArgumentParser(
        prog="mer-bench leaderboard",
        description="Make markdown pages from records: one for each protocol and feature set, and an index.",
    )
    parser.add_argument(
        "--records", type=Path, default=Path("runs"), metavar="DIR", help="searched for record.json (runs)"
    )
    parser.add_argument("--out", type=Path, default=Path("board"), metavar="DIR", help="where the pages go (board)")
    parser.add_argument("--strict", action="store_true", help="exit with 2 when a record is left out")
    options = parser.parse_args(argv)

    records, rejected = read_records(options.records)
    if not records and not rejected:
        raise UserError(f"no record.json below {options.records}; `mer-bench fit` leaves one for each finished run")
    pages, left_out = build(records, rejected)
    write_pages(options.out, pages)
    for entry in left_out:
        print(f"left out: {entry.path}: {entry.reason}", file=sys.stderr)
    print(f"{len(records)} records, {len(left_out)} left out; {len(pages)} pages in {options.out}")
    return 2 if options.strict and left_out else 0
