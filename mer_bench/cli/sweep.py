"""`mer-bench sweep`: a whole night of runs from one command. The launcher itself never imports torch."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mer_bench import recipes
from mer_bench.cli import options as cli_options
from mer_bench.cli import search
from mer_bench.data.corpora import register
from mer_bench.errors import UserError
from mer_bench.results.record import read_record
from mer_bench.runs import Run
from mer_bench.sweep.ledger import Ledger
from mer_bench.sweep.local import LocalEngine, interrupted_message, recorded, slots
from mer_bench.sweep.plan import Plan, make_plan, read
from mer_bench.sweep.progress import Progress, clock

#: what a child calls, and what the fork server imports for it
TARGET = "mer_bench.cli.fit:work"
PRELOAD = ("mer_bench.cli.fit", "mer_bench.cli.lightning", "mer_bench.cli.scoring", "mer_bench.training.callbacks")


def main(argv: list[str]) -> int:
    """Plan, run or report a sweep.

    Returns:
        0; 1 when runs failed; 130 when interrupted.
    """
    status = bool(argv) and argv[0] == "status"
    own, overrides = split(argv[1:] if status else argv)
    options = _parser().parse_args(own)
    register(options.trust)
    sweep, looking = read(options.name), status or options.dry_run
    found = None if sweep.search is None else search.find(sweep, options, overrides, launch, looking=looking)
    plan = make_plan(sweep, options.runs, overrides, found.configs if found else None)
    for (protocol, method), reason in {**plan.left_out, **(found.left_out if found else {})}.items():
        print(f"left out: {method} on {protocol}: {reason}", file=sys.stderr)
    if looking:
        print(report(plan, Ledger(options.runs), as_json=options.json, found=found))
        return 0
    if found and found.open:
        print("stopped in the search; the same command goes on from here", file=sys.stderr)
        return 130
    for reason in found.broken if found else ():
        print(reason, file=sys.stderr)
    return work(plan, options) or bool(found and found.broken)


def split(argv: list[str]) -> tuple[list[str], list[tuple[str, str]]]:
    """Our own options, and dotted settings for every run."""
    known = [s for action in _parser()._actions for s in action.option_strings]
    return cli_options.split(argv, known)


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
    parser.add_argument("--workers", type=int, metavar="N", help="runs at a time on a CPU (one per core)")
    parser.add_argument("--slots-per-gpu", type=int, default=1, metavar="K", help="runs that share a GPU (1)")
    parser.add_argument("--cpu", action="store_true", help="leave the GPUs alone")
    parser.add_argument("--retry", action="store_true", help="try runs again that were given up")
    parser.add_argument("--trust", action="append", default=[], metavar="PACKAGE", help="as in fit")
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
        return 0
    for run in left:
        recipes.refuse_foreign_classes(run.recipe.settings, options.trust)
    try:
        ledger.prepare()
    except OSError as error:
        raise UserError(f"--runs {options.runs}: cannot be written ({error.strerror})") from None
    if options.retry:
        for run in left:
            ledger.forgive(run.key)
    stopped = launch(plan.runs, options, TARGET, {})
    done = sum(recorded(run) for run in plan.runs.values())
    if stopped:
        print(interrupted_message(done, len(plan.runs)), file=sys.stderr)
        return 130
    failed = [run for run in plan.runs.values() if not recorded(run)]
    print(f"{done} of {len(plan.runs)} runs are recorded, {len(failed)} failed")
    return 1 if failed else 0


def launch(
    runs: Mapping[str, Run], options: argparse.Namespace, target: str, settings: Mapping[str, Any], folder: str = ""
) -> bool:
    """Hand runs to the engine.

    Args:
        runs: by key; those that are done are left alone.
        options: of the command line.
        target: ``module:function`` that a child calls.
        settings: for the target, beside those that every target gets.
        folder: where the runs are kept, if not in ``--runs``.

    Returns:
        True when it was interrupted.
    """
    left = sum(not recorded(run) for run in runs.values())
    places = slots(options.workers, [] if options.cpu else visible_gpus(), options.slots_per_gpu)
    bar = options.progress == "bar" or (options.progress == "auto" and sys.stderr.isatty())
    progress = Progress(len(runs), len(runs) - left, bar=bar)
    given = {"trust": tuple(options.trust), "runs": folder or options.runs, **settings}
    stopped = LocalEngine(Ledger(folder or options.runs), places, target, given, PRELOAD).work(runs, progress)
    progress.close()
    return stopped


def visible_gpus() -> list[int]:
    """Indices of the GPUs, as the driver lists them, without CUDA in this process."""
    try:
        found = subprocess.run(["nvidia-smi", "--list-gpus"], capture_output=True, text=True, check=True, timeout=20)
    except (OSError, subprocess.SubprocessError):
        return []
    return list(range(len(found.stdout.strip().splitlines())))


def report(plan: Plan, ledger: Ledger, *, as_json: bool, found: search.Searched | None = None) -> str:
    """Where every planned run stands, read from files alone."""
    held = ledger.held()
    states: Counter[str] = Counter()
    seconds: dict[tuple[str, str], list[float]] = {}
    problems: list[str] = []
    left: list[Run] = []
    for run in plan.runs.values():
        state, detail = _state(run, ledger, held, seconds)
        states[state] += 1
        if state in ("failed", "diverged"):
            problems.append(f"{state}: {run.label}: {detail}")
        if state in ("left", "running"):
            left.append(run)
    known = [s for values in seconds.values() for s in values]
    guess = sum(_mean(seconds.get((r.protocol.name, r.recipe.method), known)) for r in left)
    if as_json:
        facts = {"planned": len(plan.runs), **states, "seconds_left": round(guess, 1), "problems": problems}
        facts |= found.facts() if found else {}
        return json.dumps(facts, indent=2)
    parts = ", ".join(f"{states[s]} {s}" for s in ("done", "running", "failed", "diverged", "left") if states[s])
    lines = [found.line()] if found else []
    lines.append(f"{len(plan.runs)} runs: {parts or 'none'}")
    if left and known:
        lines.append(f"about {clock(guess)} of one slot left, by earlier runs")
    for (protocol, method), n in Counter((r.protocol.name, r.recipe.method) for r in left).items():
        lines.append(f"  left: {method} on {protocol}: {n}")
    return "\n".join([*lines, *(f"  {p}" for p in problems)])


def _state(run: Run, ledger: Ledger, held: dict, seconds: dict[tuple[str, str], list[float]]) -> tuple[str, str]:
    path = run.folder / "record.json"
    if path.is_file():
        found = read_record(path)
        if found.cost.wall_seconds is not None:
            seconds.setdefault((run.protocol.name, run.recipe.method), []).append(found.cost.wall_seconds)
        return ("done", "") if found.status == "ok" else (found.status, "see " + str(Path(run.folder) / "log.txt"))
    if run.key in held:
        return "running", ""
    failure = ledger.failure(run.key)
    return ("failed", failure.reason) if failure else ("left", "")


def _mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else 0.0
