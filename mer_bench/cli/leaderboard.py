"""`mer-bench leaderboard`: records to pages. No torch."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from mer_bench.data.corpora import register
from mer_bench.errors import UserError

COMMITTED = Path("leaderboards")


def main(argv: list[str]) -> int:
    """Read every record below a folder and write the pages; or look whether they are as they should be.

    Returns:
        0; 2 with ``--strict`` when a record had to be left out, a row cannot be compared or a control is out of its
        band, with ``--check`` when a page differs or a control is out of its band.
    """
    options = _parser().parse_args(argv)
    register(options.trust)
    committed = options.check or options.publish is not None
    records = options.records or (COMMITTED / "records" if committed else Path("runs"))
    out = options.out or (COMMITTED if committed else Path("board"))

    from mer_bench.results import atomic, leakage_summary
    from mer_bench.results.leaderboard import BESIDE, differences, render, write_files
    from mer_bench.results.loading import load
    from mer_bench.results.paper import PUBLISHED, paper_pages
    from mer_bench.results.published import read_published

    if options.publish is not None:
        from mer_bench.results.publish import publish

        copied, known = publish(options.publish, records, options.features)
        print(f"{copied} records copied to {records}, {known} were there already")
    loaded = load(records)
    if options.features is not None:
        atomic.make_folder(out)
        place = out / leakage_summary.NAME
        content, missed = leakage_summary.summarise(options.features, loaded.records, place)
        atomic.write(place, content.encode())
        for line in missed:
            print(f"leakage not looked at: {line}", file=sys.stderr)
    if not loaded.records and not loaded.left_out and not options.check:
        raise UserError(f"no record.json below {records}; `mer-bench fit` leaves one for each finished run")
    current = [record for record in loaded.records if record.run_key not in loaded.stale]
    papers = paper_pages(out, current, loaded.statistics)
    beside = {*papers, *(name for name in BESIDE if (out / name).is_file())}
    published = read_published(out / PUBLISHED) if (out / PUBLISHED).is_file() else None
    leakage = leakage_summary.section(out / leakage_summary.NAME)
    files, alarms, problems = render(loaded, beside=beside, leakage=leakage, published=published)
    files |= papers
    for entry in loaded.left_out:
        print(f"left out: {entry.path}: {entry.reason}", file=sys.stderr)
    for problem in problems:
        print(f"not compared: {problem}", file=sys.stderr)
    for alarm in alarms:
        print(f"control out of its band: {alarm}", file=sys.stderr)
    summary = f"{len(loaded.records)} records, {len(loaded.left_out)} left out"
    if options.check:
        wrong = differences(out, files)
        for line in wrong:
            print(f"{out}: {line}", file=sys.stderr)
        print(f"{summary}; {len(files)} files in {out}, {len(wrong)} not as the records say")
        return 2 if wrong or alarms else 0
    write_files(out, files)
    print(f"{summary}; {len(files)} files in {out}")
    return 2 if options.strict and (loaded.left_out or problems or alarms) else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="mer-bench leaderboard",
        description="Make a leaderboard from records: markdown pages, one HTML file, CSV, JSON and pictures.",
    )
    parser.add_argument(
        "--records",
        type=Path,
        metavar="DIR",
        help="searched for record.json (runs; with --check or --publish, leaderboards/records)",
    )
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="where the pages go (board; with --check or --publish, leaderboards)"
    )
    parser.add_argument(
        "--strict",
        action="store_true",
        help="exit with 2 when a record is left out, a row not compared, or a control out of its band",
    )
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 2 when a page differs")
    parser.add_argument(
        "--publish", type=Path, metavar="RUNS", help="first copy the records of RUNS to DIR, without predictions"
    )
    parser.add_argument(
        "--features",
        type=Path,
        metavar="DIR",
        help="with the feature files: for --publish, and to write what the parts of their protocols share",
    )
    parser.add_argument(
        "--trust", action="append", default=[], metavar="PACKAGE", help="as in fit: corpora of your own"
    )
    return parser
