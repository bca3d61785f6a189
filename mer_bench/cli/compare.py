"""`mer-bench compare`: two methods under one protocol, with everything that the records know. No torch."""

from __future__ import annotations

import argparse
import re
from collections.abc import Collection
from pathlib import Path

from mer_bench.data.corpora import find_protocol, register
from mer_bench.errors import UserError, did_you_mean
from mer_bench.results.claims import FULL, Side

_SIDE = re.compile(r"([^:@]+)(?::([^:@]+))?(?:@([^:@]+))?")
PUBLISHED, OWN = Path("leaderboards/records"), Path("runs")


def main(argv: list[str]) -> int:
    """Print the comparison."""
    parser = argparse.ArgumentParser(
        prog="mer-bench compare",
        description="Difference of two methods under one protocol: interval, p, probabilities, by fold, cluster and "
        "class, and what it would take to resolve it.",
        epilog="A side is METHOD, METHOD:audio+text, or METHOD:audio+text@no_audio; without modalities it is the "
        "widest set that was run.",
    )
    parser.add_argument("first", metavar="A", help="a method")
    parser.add_argument("second", metavar="B", help="what it is compared with, such as concat")
    parser.add_argument("--protocol", required=True, metavar="NAME", help="see `mer-bench list protocols`")
    parser.add_argument("--metric", default="", metavar="TASK/METRIC", help="the protocol's primary one by default")
    parser.add_argument(
        "--seeds",
        type=int,
        nargs="+",
        default=[],
        metavar="N",
        help="only these of the protocol's seeds, where the others have not been run yet",
    )
    parser.add_argument("--records", type=Path, metavar="DIR", help=f"searched for records ({PUBLISHED}, else {OWN})")
    parser.add_argument("--synthetic", action="store_true", help="compare runs on invented data instead of real ones")
    parser.add_argument("--trust", action="append", default=[], metavar="PACKAGE", help="use the corpus it defines too")
    options = parser.parse_args(argv)
    register(options.trust)

    protocol = find_protocol(options.protocol)
    metric = options.metric or protocol.primary
    if metric.rpartition("/")[0] not in protocol.metrics and metric not in protocol.metrics:
        near = did_you_mean(metric, protocol.metrics)
        raise UserError(f"--metric {metric}: {protocol.name} reports no such metric; {near}")
    if foreign := sorted({*options.seeds} - {*protocol.seeds}):
        planned = ", ".join(map(str, protocol.seeds))
        raise UserError(f"--seeds {foreign[0]}: {protocol.name} does not plan it; expected some of {planned}")
    folder = options.records or (PUBLISHED if PUBLISHED.is_dir() else OWN)
    sides = side(options.first), side(options.second)
    seeds = frozenset(options.seeds)
    print(compare(folder, protocol.name, metric, *sides, synthetic=options.synthetic, seeds=seeds))
    return 0


def compare(
    folder: Path,
    protocol: str,
    metric: str,
    first: Side,
    second: Side,
    *,
    synthetic: bool = False,
    seeds: Collection[int] = (),
) -> str:
    """The comparison as text, of these seeds only where some are given.

    Raises:
        UserError: no records of the protocol, or a side that is not complete.
    """
    from mer_bench.results.compare import pair, report
    from mer_bench.results.measured import groups
    from mer_bench.results.record import read_runs
    from mer_bench.results.sums import sums_beside

    found, rejected = read_runs(folder)
    mine = [(place, record) for place, record in found if record.protocol.name == protocol]
    sums, problems = sums_beside(mine)
    made = groups([record for _, record in mine], sums, protocol, synthetic=synthetic, seeds=seeds)
    if not made:
        kind = "synthetic data" if synthetic else "real data; --synthetic takes invented ones"
        unread = f"; {len(rejected)} records cannot be read, see `mer-bench verify {folder}`" if rejected else ""
        raise UserError(f"{folder}: no record of {protocol} on {kind}{unread}")
    text = report(pair(made, metric, first, second))
    return "\n".join([text, *(f"left out: {problem}" for problem in problems)])


def side(given: str) -> Side:
    """A side from its spelling on the command line.

    Raises:
        UserError: it has another form.
    """
    found = _SIDE.fullmatch(given)
    if not found:
        raise UserError(f"{given!r}: expected METHOD, METHOD:audio+text or METHOD:audio+text@condition")
    method, modalities, condition = found.groups()
    return Side(method, tuple(modalities.split("+")) if modalities else (), condition or FULL)
