"""How far a sweep is, read from files alone: nothing here writes, and a damaged file is a line, not an end."""

from __future__ import annotations

import functools
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mer_bench.errors import UserError
from mer_bench.results.provenance import is_stale
from mer_bench.results.record import Record, read_record
from mer_bench.runs import Run
from mer_bench.sweep.agenda import given_up
from mer_bench.sweep.ledger import Ledger
from mer_bench.sweep.plan import Plan
from mer_bench.sweep.progress import clock, see_log

#: in this order they are shown
STATES = ("done", "running", "failed", "diverged", "oom", "timeout", "unusable", "left")
_MOST = 20  # problems shown in full; --json has all
_stale = functools.cache(is_stale)  # reads sources; many records share theirs


@dataclass
class Standing:
    """Where every planned run stands.

    Attributes:
        states: how many are done, running, failed, ...
        problems: one line each.
        left: runs without a record.
        stale: (method, protocol, what has changed) of records that today's code or data would not repeat.
        seconds: of finished runs, by protocol and method.
    """

    states: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    left: list[Run] = field(default_factory=list)
    stale: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    seconds: dict[tuple[str, str], list[float]] = field(default_factory=dict)

    @property
    def seconds_left(self) -> float:
        """Of one slot, by the mean of finished runs of the same pair, or of all where it has none; 0 if unknown."""
        known = [s for values in self.seconds.values() for s in values]
        return sum(_mean(self.seconds.get((r.protocol.name, r.recipe.method), known)) for r in self.left)


def report(plan: Plan, runs: str, *, as_json: bool, head: str = "", facts: Mapping[str, Any] | None = None) -> str:
    """Counts, time left, and what is wrong, as text or JSON.

    Args:
        plan: of the sweep.
        runs: folder of the runs.
        as_json: for machines.
        head: a line to begin the text with.
        facts: more for the JSON.
    """
    found = standing(plan, runs)
    stale = [f"{n} of {method} on {where}: {why}" for (method, where, why), n in sorted(found.stale.items())]
    if as_json:
        content: dict[str, Any] = {"planned": len(plan.runs), **found.states}
        content |= {"seconds_left": round(found.seconds_left, 1), "problems": found.problems, "stale": stale}
        return json.dumps({**content, **(facts or {})}, indent=2)
    parts = ", ".join(f"{found.states[state]} {state}" for state in STATES if found.states[state])
    lines = [head] if head else []
    lines.append(f"{len(plan.runs)} runs: {parts or 'none'}")
    if found.left and found.seconds:
        lines.append(f"about {clock(found.seconds_left)} of one slot left, by earlier runs")
    for (protocol, method), n in Counter((r.protocol.name, r.recipe.method) for r in found.left).items():
        lines.append(f"  left: {method} on {protocol}: {n}")
    lines += [f"  stale: {line}" for line in stale]
    lines += [f"  {problem}" for problem in found.problems[:_MOST]]
    if len(found.problems) > _MOST:
        lines.append(f"  ... and {len(found.problems) - _MOST} more; --json shows all")
    return "\n".join(lines)


def standing(plan: Plan, runs: str) -> Standing:
    """Look at every planned run, and at records that the plan has outgrown."""
    ledger = Ledger(runs)
    held, found = ledger.held(), Standing()
    for run in plan.runs.values():
        if (run.folder / run.result).is_file():
            _recorded(run, found)
            continue
        failure = given_up(ledger, run)
        state = "running" if run.key in held else "failed" if failure is not None else "left"
        found.states[state] += 1
        if failure is not None and state == "failed":
            found.problems.append(f"failed: {run.label}: {see_log(run, failure.reason)}")
        if state != "failed":
            found.left.append(run)
    found.problems += [f"CONFLICT: {path}" for path in conflicts(plan.runs.values())]
    _outgrown(plan, found)
    return found


def conflicts(runs: Iterable[Run]) -> list[Path]:
    """Results that contradict the record of their run."""
    return sorted(path for run in runs for path in run.folder.glob("conflict-*.json"))


def _recorded(run: Run, found: Standing) -> None:
    path, pair = run.folder / "record.json", (run.protocol.name, run.recipe.method)
    if run.result != path.name:  # a trial: it has no record to be read
        found.states["done"] += 1
        return
    try:
        record = read_record(path)
    except UserError as error:
        found.states["unusable"] += 1
        found.problems.append(f"unusable: {error}; move it away, and the sweep runs it again")
        return
    if record.cost.wall_seconds is not None:
        found.seconds.setdefault(pair, []).append(record.cost.wall_seconds)
    found.states["done" if record.status == "ok" else record.status] += 1
    if record.status != "ok":
        found.problems.append(f"{record.status}: {run.label}: see {run.folder / 'log.txt'}")
    if _stale(record.code):
        found.stale[run.recipe.method, run.protocol.name, "recorded with other code; move them away to run again"] += 1


def _outgrown(plan: Plan, found: Standing) -> None:
    """Records of runs that have no record under today's data: same settings and place, other features."""
    wanted: Mapping[tuple[str, str, int, int, tuple[str, ...]], Run] = {
        (run.protocol.name, run.recipe.method, run.fold, run.seed, tuple(run.modalities)): run for run in found.left
    }
    planned = {run.folder for run in plan.runs.values()}
    for folder in {run.folder.parent for run in found.left}:
        for path in sorted(folder.glob("*/record.json")):
            record = None if path.parent in planned else _read(path)
            if record is None:
                continue
            name = record.protocol.name
            run = wanted.get((name, record.method.slug, record.fold, record.seed, record.modalities))
            if run is not None and record.data_fingerprint != run.file.content_sha256:
                found.stale[run.recipe.method, run.protocol.name, "recorded on other features; run anew here"] += 1


def _read(path: Path) -> Record | None:
    try:
        return read_record(path)
    except UserError:
        return None


def _mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else 0.0
