"""What a night has brought: a page for people and JSON for machines, from records and the night before."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from mer_bench.results.record import Record

SCHEMA = "mer-bench/summary/1"
#: how many of the slowest runs are named
SLOWEST = 10
#: lines of a list on the page; the JSON has all
MOST = 40


@dataclass(frozen=True)
class Row:
    """One line of a leaderboard in short.

    Attributes:
        name: method, protocol, modalities and variant.
        key: tells rows of one name apart: settings and features.
        metric: the primary one.
        score: its mean over folds of the mean over seeds.
        runs: how many there are.
        planned: how many the protocol wants.
    """

    name: str
    key: str
    metric: str
    score: float
    runs: int
    planned: int


@dataclass(frozen=True)
class Summary:
    """One night.

    Attributes:
        records: ids of all records.
        new: how many were not there before.
        rows: every row.
        changed: rows that are new or have another score or number of runs, with the score before (None for a new one).
        failed: what has no record, or none that counts, and why.
        slowest: seconds and name of the slowest new runs.
        seconds: that all new runs took.
        search: what is said of a search; empty without one.
    """

    records: list[str]
    new: int
    rows: list[Row]
    changed: list[tuple[Row, float | None]]
    failed: list[str]
    slowest: list[tuple[float, str]]
    seconds: float
    search: str = ""
    schema: str = field(default=SCHEMA)

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        content = asdict(self)
        content["changed"] = [{**asdict(row), "before": before} for row, before in self.changed]
        return content


def summarise(
    records: Sequence[Record], failed: Sequence[str], before: Mapping[str, Any] | None, search: str = ""
) -> Summary:
    """Compare what is there with the night before.

    Args:
        records: all that count.
        failed: what has no record, one line each.
        before: what `Summary.plain` gave then; None for a first night.
        search: a line on the search.
    """
    known = set((before or {}).get("records", ()))
    scores = {row["name"] + row["key"]: row for row in (before or {}).get("rows", ())}
    rows = make_rows(records)
    changed = []
    for row in rows:
        then = scores.get(row.name + row.key)
        if then is None or (then["score"], then["runs"]) != (row.score, row.runs):
            changed.append((row, None if then is None else then["score"]))
    new = [record for record in records if record.record_id not in known]
    times = sorted(((record.cost.wall_seconds or 0.0, _run(record)) for record in new), reverse=True)
    return Summary(
        records=sorted(record.record_id for record in records),
        new=len(new),
        rows=rows,
        changed=changed,
        failed=list(failed),
        slowest=times[:SLOWEST],
        seconds=round(sum(seconds for seconds, _ in times), 1),
        search=search,
    )


def make_rows(records: Sequence[Record]) -> list[Row]:
    """Rows in the order of their names."""
    groups: dict[tuple[str, str], list[Record]] = defaultdict(list)
    for record in records:
        if record.status == "ok":
            key = f"{record.settings_hash[:12]}-{record.data_fingerprint[:12]}-{record.protocol.hash[:8]}"
            groups[_name(record), key].append(record)
    return [_row(name, key, found) for (name, key), found in sorted(groups.items())]


def _row(name: str, key: str, records: Sequence[Record]) -> Row:
    protocol = records[0].protocol
    folds: dict[int, list[float]] = defaultdict(list)
    for record in sorted(records, key=lambda r: (r.fold, r.seed)):
        folds[record.fold].append(record.metrics["full"][protocol.primary])
    score = statistics.fmean(statistics.fmean(values) for values in folds.values())
    return Row(name, key, protocol.primary, score, len(records), protocol.folds * len(protocol.seeds))


def _name(record: Record) -> str:
    synthetic = "synthetic " if record.synthetic else ""
    return (
        f"{record.method.slug} on {synthetic}{record.protocol.name} ({', '.join(record.modalities)}), {record.variant}"
    )


def _run(record: Record) -> str:
    return f"{_name(record)}, fold {record.fold} seed {record.seed}"


def page(summary: Summary) -> str:
    """The page, in markdown."""
    complete = sum(row.runs >= row.planned for row in summary.rows)
    lines = [
        "# Night",
        "",
        f"{summary.new} new of {len(summary.records)} records, {summary.seconds / 3600:.2f} hours of runs; "
        f"{complete} of {len(summary.rows)} rows are complete; {len(summary.failed)} problems.",
    ]
    lines += [f"\n{summary.search}"] if summary.search else []
    lines += _list("Failed", [f"- {line}" for line in summary.failed])
    changed = [
        f"| {row.name} | {row.metric} | {'' if then is None else f'{then:.4f}'} | {row.score:.4f} "
        f"| {row.runs} of {row.planned} |"
        for row, then in summary.changed
    ]
    head = ["| row | metric | before | now | runs |", "| :-- | :-- | --: | --: | --: |"]
    lines += _list("New and changed rows", changed, head)
    lines += _list("Slowest new runs", [f"- {seconds:.1f} s: {name}" for seconds, name in summary.slowest])
    return "\n".join(lines) + "\n"


def _list(title: str, lines: Sequence[str], head: Sequence[str] = ()) -> list[str]:
    if not lines:
        return ["", f"## {title}", "", "None."]
    more = [f"\n... and {len(lines) - MOST} more in summary.json"] if len(lines) > MOST else []
    return ["", f"## {title}", "", *head, *lines[:MOST], *more]
