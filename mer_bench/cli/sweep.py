"""`mer-bench sweep`: a whole night of runs from one command. The launcher itself never imports torch."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from mer_bench import recipes
from mer_bench.cli import engines, search
from mer_bench.cli import options as cli_options
from mer_bench.cli.engines import TARGET, launch
from mer_bench.data.corpora import register
from mer_bench.errors import UserError
from mer_bench.runs import Run
from mer_bench.sweep.agenda import given_up, recorded
from mer_bench.sweep.engine import interrupted_message
from mer_bench.sweep.ledger import Ledger
from mer_bench.sweep.plan import Plan, make_plan, read
from mer_bench.sweep.progress import see_log
from mer_bench.sweep.status import conflicts, report

#: given-up runs that are named at the end
_MOST = 10


def main(argv: list[str]) -> int:
    """Plan, run or report a sweep.

    Returns:
        0; 1 when runs failed; 130 when interrupted.
    """
    status = bool(argv) and argv[0] == "status"
    own, overrides = split(argv[1:] if status else argv)
    options = options_of(own)
    register(options.trust)
    if options.print_script:
        print(engines.script(options))
        return 0
    looking = status or options.dry_run
    plan, found = planned(options, overrides, looking=looking)
    left_out = {**plan.left_out, **(found.left_out if found else {})}
    for (protocol, method), reason in left_out.items():
        print(f"left out: {method} on {protocol}: {reason}", file=sys.stderr)
    if not plan.runs and found is None:
        raise UserError(f"{options.name}: every run of it was left out")
    if looking:
        head, facts = (found.line(), found.facts()) if found else ("", {})
        print(report(plan, options.runs, as_json=options.json, head=head, facts=facts))
        return 0
    if found and found.open:
        print("stopped in the search; the same command goes on from here", file=sys.stderr)
        return 130
    for reason in found.broken if found else ():
        print(reason, file=sys.stderr)
    return work(plan, options) or bool(found and found.broken)


def planned(
    options: argparse.Namespace, overrides: list[tuple[str, str]], *, looking: bool
) -> tuple[Plan, search.Searched | None]:
    """The runs of a sweep, after its search if it has one.

    Args:
        options: of the command line.
        overrides: dotted settings.
        looking: leave the search as it is.
    """
    sweep = read(options.name)
    found = None if sweep.search is None else search.find(sweep, options, overrides, launch, looking=looking)
    return make_plan(sweep, options.runs, overrides, found.configs if found else None), found


def split(argv: list[str]) -> tuple[list[str], list[tuple[str, str]]]:
    """Our own options, and dotted settings for every run."""
    known = [s for action in _parser()._actions for s in action.option_strings]
    return cli_options.split(argv, known)


def options_of(own: list[str]) -> argparse.Namespace:
    """Our own options, read."""
    return _parser().parse_args(own)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="mer-bench sweep",
        description="Run protocols x methods x folds x seeds. What is recorded is not run again; an interrupted sweep "
        "goes on where it stopped. `mer-bench sweep status NAME` tells how far it is.",
        allow_abbrev=False,
    )
    parser.add_argument("name", help="a sweep file, or a name such as smoke or controls")
    parser.add_argument("--runs", default="runs", metavar="DIR", help="where runs are kept (runs)")
    parser.add_argument("--dry-run", action="store_true", help="only say what would be run")
    parser.add_argument("--json", action="store_true", help="status and dry run: machine-readable")
    parser.add_argument("--retry", action="store_true", help="try runs again that were given up")
    parser.add_argument(
        "--track", choices=cli_options.TRACKERS, default="csv", help="as in fit; grouped by sweep, protocol and method"
    )
    parser.add_argument("--trust", action="append", default=[], metavar="PACKAGE", help="as in fit")
    engines.add_options(parser)
    parser.add_argument(
        "--progress", choices=("auto", "bar", "lines"), default="auto", help="a bar, or lines for a log"
    )
    return parser


def work(plan: Plan, options: argparse.Namespace) -> int:
    """Run what is left of a plan."""
    ledger = Ledger(options.runs)
    left = [run for run in plan.runs.values() if not recorded(run)]
    if not left:
        print(f"nothing to do: {len(plan.runs)} of {len(plan.runs)} runs are recorded")
        return shout(plan)
    for run in left:
        recipes.refuse_foreign_classes(run.recipe.settings, options.trust)
    try:
        ledger.prepare()
    except OSError as error:
        raise UserError(
            f"--runs {options.runs}: cannot be written ({error.strerror}); name a folder with room where you may write"
        ) from None
    if options.retry:
        for run in left:
            ledger.forgive(run.key)
    stopped = launch(plan.runs, options, TARGET, {"track": options.track, "group": Path(options.name).stem})
    done = sum(recorded(run) for run in plan.runs.values())
    if stopped:
        print(interrupted_message(done, len(plan.runs)), file=sys.stderr)
        return 130
    failed = [run for run in plan.runs.values() if not recorded(run)]
    tell(failed, ledger)
    print(f"{done} of {len(plan.runs)} runs are recorded, {len(failed)} failed")
    return 1 if shout(plan) or failed else 0


def tell(failed: Sequence[Run], ledger: Ledger) -> None:
    """Name the runs that were given up, why, and what tries them again."""
    found = [(run, failure) for run in failed if (failure := given_up(ledger, run)) is not None]
    for run, failure in found[:_MOST]:
        print(f"given up: {run.label}: {see_log(run, failure.reason)}", file=sys.stderr)
    if len(found) > _MOST:
        print(
            f"... and {len(found) - _MOST} more; `mer-bench sweep status` has all of them with --json", file=sys.stderr
        )
    if found:
        print("runs that were given up are tried again after a change of their code, or with --retry", file=sys.stderr)


def shout(plan: Plan) -> int:
    """Name every run that has two different results; 1 if there is one."""
    found = conflicts(plan.runs.values())
    for path in found:
        print(f"CONFLICT: {path} contradicts the record beside it, which counts", file=sys.stderr)
    return 1 if found else 0
