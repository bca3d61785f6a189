"""What a row's page says beyond the table: every metric and condition, folds, validation score, confusion. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mer_bench.results.facts import Confusion
from mer_bench.results.samples import FULL, Design, Entry


@dataclass(frozen=True)
class Details:
    """Means over the runs that are done.

    Attributes:
        metrics: under ``full``, by ``task/metric`` and, where reported, by class or dimension.
        conditions: primary metric by condition, as far as every run has it.
        folds: primary metric of each fold over its seeds; None where no run is done.
        validation: primary metric on the validation part, of the chosen epochs; None where there is none.
        confusion: counts of all test parts and seeds together.
        selection: rules by which the epochs were chosen.
        extractors: what made the features that it used, by modality.
        commits: versions of the code, as far as known.
    """

    metrics: Mapping[str, float]
    conditions: Mapping[str, float]
    folds: tuple[float | None, ...]
    validation: float | None
    confusion: Mapping[str, Confusion]
    selection: tuple[str, ...]
    extractors: Mapping[str, str]
    commits: tuple[str, ...]


def details_of(done: Sequence[Entry], plan: Design) -> Details:
    """The details of the finished runs of a row."""
    records = [entry.record for entry in done]
    primary = plan.protocol.primary
    shared = set.intersection(*(set(r.metrics) for r in records)) if records else set()
    named = set.intersection(*(set(r.metrics[FULL]) for r in records)) if records else set()
    by_fold: dict[int, list[float]] = {}
    for entry in done:
        by_fold.setdefault(entry.record.fold, []).append(plan.score(entry))
    values = [r.selection.val_score for r in records]
    known = [value for value in values if value is not None]
    return Details(
        metrics={m: mean([r.metrics[FULL][m] for r in records]) for m in sorted(named)},
        conditions={c: mean([r.metrics[c][primary] for r in records]) for c in sorted(shared)},
        folds=tuple(mean(by_fold[f]) if f in by_fold else None for f in range(plan.protocol.folds)),
        validation=mean(known) if known and len(known) == len(values) else None,
        confusion=_together([r.confusion for r in records]),
        selection=tuple(sorted({r.selection.rule for r in records})),
        extractors={f.modality: f.extractor for r in records[:1] for f in r.features if f.modality in r.modalities},
        commits=tuple(sorted({r.code.commit[:12] for r in records if r.code.commit})),
    )


def _together(parts: Sequence[Mapping[str, Confusion]]) -> dict[str, Confusion]:
    """Sums of counts; only of what every run has, with the same classes."""
    found = {}
    for name in sorted(set.intersection(*map(set, parts)) if parts else ()):
        several = [part[name] for part in parts]
        if len({one.names for one in several}) == 1:
            size = range(len(several[0].names))
            counts = tuple(tuple(sum(one.counts[i][j] for one in several) for j in size) for i in size)
            found[name] = Confusion(several[0].names, counts)
    return found


def mean(values: Sequence[float]) -> float:
    """Exactly rounded sum over number: the order of the values does not matter."""
    return math.fsum(values) / len(values)
