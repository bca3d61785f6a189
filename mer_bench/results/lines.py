"""One line of a table: what the runs of one method come to. Pure; no statistics."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from mer_bench.metrics.definitions import direction
from mer_bench.results.facts import Feature, MethodFacts, ProtocolFacts
from mer_bench.results.schema import Record

#: badges of a card's status; faithful methods need none
_STATUS = {"faithful": ""}


@dataclass(frozen=True)
class Line:
    """One row of a table.

    Attributes:
        method: what was trained.
        modalities: that it used.
        settings: first digits of the settings' hash where the table has several of the same method, else empty.
        control: a single modality of a wider feature set.
        rank: place among the complete lines, from 1, equal scores sharing one; None where it is not ranked.
        means: by ``task/metric``: over seeds, then folds.
        cells: primary metric of each run, by fold and seed.
        folds: primary metric of each fold, over seeds; None where no run is done.
        spread: standard deviation (n - 1) of the folds' means, or of the seeds where there is one fold.
        gain: better than the best single modality by this much, whichever way the metric points; over the folds and
            seeds that this line has, which the other must have too.
        parameters: the most that a run had.
        train_seconds: mean of a run.
        done: planned runs with a score.
        planned: runs of a complete line.
        extra: runs with a seed that the protocol does not plan; they are not counted.
        badges: what a reader must know.
    """

    method: MethodFacts
    modalities: tuple[str, ...]
    settings: str
    control: bool
    rank: int | None
    means: Mapping[str, float]
    cells: Mapping[tuple[int, int], float]
    folds: tuple[float | None, ...]
    spread: float | None
    gain: float | None
    parameters: int | None
    train_seconds: float | None
    done: int
    planned: int
    extra: int
    badges: tuple[str, ...]

    @property
    def complete(self) -> bool:
        """Every planned run has a score."""
        return self.done == self.planned


def used_features(record: Record) -> tuple[Feature, ...]:
    """The features that a run used, sorted."""
    used = [feature for feature in record.features if feature.modality in record.modalities]
    return tuple(sorted(used, key=lambda feature: feature.modality))


def make_line(protocol: ProtocolFacts, runs: list[Record], settings: str, control: bool) -> Line:
    """The line of runs that differ in fold and seed only; gain and rank come with the table."""
    planned = [run for run in runs if run.seed in protocol.seeds]
    done = [run for run in planned if run.status == "ok"]
    folds = {metric: _fold_means(protocol, done, metric) for metric in protocol.metrics}
    primary = folds[protocol.primary]
    total = protocol.folds * len(protocol.seeds)
    return Line(
        method=min((run.method for run in runs), key=lambda m: (m.title, m.status, m.year or 0)),
        modalities=tuple(feature.modality for feature in used_features(runs[0])),
        settings=settings,
        control=control,
        rank=None,
        means={metric: mean(_known(values)) for metric, values in folds.items() if _known(values)},
        cells={(run.fold, run.seed): run.metrics["full"][protocol.primary] for run in done},
        folds=primary,
        spread=_spread(_known(primary) if protocol.folds > 1 else [r.metrics["full"][protocol.primary] for r in done]),
        gain=None,
        parameters=max((run.cost.parameters for run in done), default=None),
        train_seconds=mean([run.cost.train_seconds for run in done]) if done else None,
        done=len(done),
        planned=total,
        extra=len(runs) - len(planned),
        badges=_badges(protocol, planned, len(done), total, runs),
    )


def _badges(
    protocol: ProtocolFacts, planned: list[Record], done: int, total: int, runs: list[Record]
) -> tuple[str, ...]:
    failed = Counter(run.status for run in planned if run.status != "ok")
    found = [f"INCOMPLETE {done}/{total}"] if done < total else []
    found += [f"{status.upper()} {number}" for status, number in sorted(failed.items())]
    found += ["TEST-SELECTED"] if any(run.selection.rule == "test" for run in runs) else []
    found += ["MIXED-CODE"] if len({run.code.hash for run in planned}) > 1 else []
    found += ["LEGACY"] if protocol.legacy else []
    found += ["PAPER-SETTINGS"] if any(run.variant == "paper" for run in runs) else []
    found += ["SYNTHETIC"] if any(run.synthetic for run in runs) else []
    found += sorted({_STATUS.get(run.method.status, run.method.status.upper()) for run in runs} - {""})
    return tuple(found)


def _fold_means(protocol: ProtocolFacts, done: list[Record], metric: str) -> tuple[float | None, ...]:
    values: dict[int, list[float]] = defaultdict(list)
    for run in done:
        values[run.fold].append(run.metrics["full"][metric])
    return tuple(mean(values[fold]) if fold in values else None for fold in range(protocol.folds))


def _known(values: Iterable[float | None]) -> list[float]:
    return [value for value in values if value is not None]


def mean(values: Sequence[float]) -> float:
    """Exactly rounded sum over number: the order of the values does not matter."""
    return math.fsum(values) / len(values)


def _spread(values: Sequence[float]) -> float | None:
    if len(values) < 2:
        return None
    centre = mean(values)
    return math.sqrt(math.fsum((value - centre) ** 2 for value in values) / (len(values) - 1))


def with_gain(lines: list[Line], protocol: ProtocolFacts) -> list[Line]:
    """Gain over the best single modality, for lines that are not one themselves."""
    return [line if line.control else replace(line, gain=_gain(line, lines, protocol)) for line in lines]


def _gain(line: Line, lines: list[Line], protocol: ProtocolFacts) -> float | None:
    best, sign = best_single(lines, protocol, line.cells), direction(protocol.primary)
    return None if best is None else sign * (over(line, line.cells) - over(best, line.cells))


def best_single(lines: Iterable[Line], protocol: ProtocolFacts, cells: Collection[tuple[int, int]]) -> Line | None:
    """The single modality with the best mean test score over given folds and seeds; the first by name among equals.

    Lines that lack one of these runs do not take part.
    """
    able = [line for line in lines if line.control and cells and set(cells) <= line.cells.keys()]
    sound = [line for line in able if "TEST-SELECTED" not in line.badges]
    sign = -direction(protocol.primary)
    return min(
        sound,
        key=lambda line: (sign * over(line, cells), line.method.slug, line.modalities, line.settings),
        default=None,
    )


def over(line: Line, cells: Iterable[tuple[int, int]]) -> float:
    """Primary metric of a line over some of its runs: mean over seeds, then folds."""
    folds: dict[int, list[float]] = defaultdict(list)
    for fold, seed in cells:
        folds[fold].append(line.cells[fold, seed])
    return mean([mean(values) for values in folds.values()])


#: a line that has one of these is shown without a rank
UNRANKED = ("INCOMPLETE", "TEST-SELECTED", "LEGACY", "PAPER-SETTINGS")


def ranked(lines: list[Line], protocol: ProtocolFacts) -> tuple[Line, ...]:
    """Ranked lines, best first; then the rest, complete ones first, single modalities before broken rows."""
    sign, primary = direction(protocol.primary), protocol.primary

    def place(line: Line) -> tuple[int, float, str, tuple[str, ...], str]:
        score = round(-sign * line.means[primary], 12) if primary in line.means else math.inf
        group = 0 if _may_rank(line) else 1 if line.complete else 2
        return group, score, line.method.slug, line.modalities, line.settings

    ordered = sorted(lines, key=place)
    scores = [round(line.means[primary], 12) for line in ordered if _may_rank(line)]  # equal up to rounding errors
    return tuple(
        replace(line, rank=scores.index(round(line.means[primary], 12)) + 1) if _may_rank(line) else line
        for line in ordered
    )


def _may_rank(line: Line) -> bool:
    return not line.control and not any(badge.startswith(UNRANKED) for badge in line.badges)
