"""From records to boards: what may stand in one table, and one line for each method in it. Pure; no statistics.

A board is one protocol, one feature set and one feature file; its tables are the variants of the settings. Runs on a
single modality of a board's feature set stand in it as control lines: the best of them is what fusion has to beat.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from mer_bench.metrics.definitions import direction
from mer_bench.results.canonical import digest
from mer_bench.results.facts import Feature, MethodFacts, ProtocolFacts
from mer_bench.results.record import Rejected
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
        folds: primary metric of each fold, over seeds; None where no run is done.
        spread: standard deviation (n - 1) of the folds' means, or of the seeds where there is one fold.
        gain: better than the best single modality by this much, whichever way the metric points.
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


@dataclass(frozen=True)
class Board:
    """One page.

    Attributes:
        protocol: what is compared.
        features: the feature set.
        data: fingerprint of the feature file.
        synthetic: invented data.
        tables: lines by variant: ranked ones, controls, the rest.
        selection: how weights were chosen, in the records' words.
    """

    protocol: ProtocolFacts
    features: tuple[Feature, ...]
    data: str
    synthetic: bool
    tables: Mapping[str, tuple[Line, ...]]
    selection: tuple[str, ...]

    @property
    def identity(self) -> str:
        """Hash of what makes it a board of its own."""
        return digest([repr(self.protocol), repr(self.features), self.data, self.synthetic])


def consolidate(records: Iterable[Record]) -> tuple[list[Record], list[Rejected]]:
    """One record for each run.

    Copies count once. Of two records of a run with the same numbers the one with the smaller id stays; with different
    numbers none does, since nobody may choose.

    Returns:
        Records in an order that depends on their content only, and those left out.
    """
    runs: dict[str, dict[str, Record]] = defaultdict(dict)
    for record in records:
        runs[record.run_key][record.record_id] = record
    kept, rejected = [], []
    for found in runs.values():
        first, *others = (found[key] for key in sorted(found))
        if all(other.numbers() == first.numbers() for other in others):
            kept.append(first)
            rejected += [Rejected(_place(o), f"repeats run {o.run_key[:16]} with the same result") for o in others]
        else:
            reason = f"CONFLICT: {len(found)} records of run {first.run_key[:16]} with different results; none counts"
            rejected += [Rejected(_place(record), reason) for record in (first, *others)]
    return sorted(kept, key=lambda record: record.record_id), sorted(rejected)


def _place(record: Record) -> str:
    return f"{record.protocol.name}/{record.method.slug}/{record.run_key[:16]} (record {record.record_id[:16]})"


def make_boards(records: Sequence[Record]) -> list[Board]:
    """Every board that the records make, each run counted once (see `consolidate`)."""
    families: dict[tuple[ProtocolFacts, str, bool], list[Record]] = defaultdict(list)
    for record in records:
        families[record.protocol, record.data_fingerprint, record.synthetic].append(record)
    boards = []
    for (protocol, data, synthetic), family in families.items():
        sets = {used_features(record) for record in family}
        wide = {features for features in sets if len(features) > 1}
        alone = {features for features in sets - wide if not any(set(features) <= set(other) for other in wide)}
        for features in wide | alone:
            inside = [record for record in family if _belongs(used_features(record), features)]
            boards.append(_board(protocol, features, data, synthetic, inside))
    return sorted(boards, key=lambda b: (b.synthetic, b.protocol.name, len(b.features), b.identity))


def used_features(record: Record) -> tuple[Feature, ...]:
    """The features that a run used, sorted."""
    used = [feature for feature in record.features if feature.modality in record.modalities]
    return tuple(sorted(used, key=lambda feature: feature.modality))


def _belongs(mine: tuple[Feature, ...], features: tuple[Feature, ...]) -> bool:
    return mine == features or (len(mine) == 1 and mine[0] in features)


def _board(
    protocol: ProtocolFacts, features: tuple[Feature, ...], data: str, synthetic: bool, records: list[Record]
) -> Board:
    variants: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        variants[record.variant].append(record)
    own = [record for record in records if used_features(record) == features]
    return Board(
        protocol=protocol,
        features=features,
        data=data,
        synthetic=synthetic,
        tables={name: _table(protocol, features, variants[name]) for name in sorted(variants)},
        selection=tuple(sorted({_selection(record) for record in own})),
    )


def _selection(record: Record) -> str:
    rule = record.selection.rule
    words = {
        "validation": f"best epoch by {record.selection.metric} on the validation part of the fold",
        "fixed": "last of a fixed number of epochs",
        "none": "nothing to train",
        "test": "best epoch on the reported part (TEST-SELECTED)",
    }
    return words[rule]


def _table(protocol: ProtocolFacts, features: tuple[Feature, ...], records: list[Record]) -> tuple[Line, ...]:
    rows: dict[tuple[str, tuple[Feature, ...], str], list[Record]] = defaultdict(list)
    for record in records:
        rows[record.method.slug, used_features(record), record.settings_hash].append(record)
    copies = Counter((slug, used) for slug, used, _ in rows)
    lines = []
    for (slug, used, settings), runs in rows.items():
        tag = settings[:8] if copies[slug, used] > 1 else ""
        lines.append(_line(protocol, runs, tag, control=used != features))
    lines = _with_gain(lines, protocol)
    return _ranked(lines, protocol)


def _line(protocol: ProtocolFacts, runs: list[Record], settings: str, control: bool) -> Line:
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


def _with_gain(lines: list[Line], protocol: ProtocolFacts) -> list[Line]:
    """Gain of complete lines over the best complete single modality."""
    best, primary = best_single(lines, protocol), protocol.primary
    if best is None:
        return lines
    sign, beaten = direction(primary), best.means[primary]
    return [
        replace(line, gain=sign * (line.means[primary] - beaten)) if line.complete and not line.control else line
        for line in lines
    ]


def best_single(lines: Iterable[Line], protocol: ProtocolFacts) -> Line | None:
    """The complete line of a single modality with the best mean test score; the first by name among equals."""
    single = [line for line in lines if line.control and line.complete and "TEST-SELECTED" not in line.badges]
    sign = -direction(protocol.primary)
    return min(
        single,
        key=lambda line: (sign * line.means[protocol.primary], line.method.slug, line.modalities, line.settings),
        default=None,
    )


#: a line that has one of these is shown without a rank
UNRANKED = ("INCOMPLETE", "TEST-SELECTED", "LEGACY", "PAPER-SETTINGS")


def _ranked(lines: list[Line], protocol: ProtocolFacts) -> tuple[Line, ...]:
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
