"""One line of a table: score, difference, rank, interaction gain, robustness, badges. Pure functions of records."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from mer_bench.results.details import Details, details_of
from mer_bench.results.facts import MethodFacts
from mer_bench.results.samples import PROJECTED, PROJECTION, Design, Entry, Grid, Key
from mer_bench.results.statistics import (
    Difference,
    Estimate,
    RankInterval,
    Rule,
    Tested,
    interaction,
    sign_flip,
    wilcoxon,
)
from mer_bench.results.statistics.estimates import Array

#: status on a card that a reader must see beside the name
_CARDS = {"adapted": "ADAPTED", "feature-level": "FEATURE-LEVEL", "reconstruction": "RECONSTRUCTION"}

#: from so many groups on, the worst tenth says more than the worst one
_MANY = 10


@dataclass(frozen=True)
class Row:
    """One line. Numbers are in the unit and the direction of the primary metric; None: cannot be known.

    Attributes:
        method: from its card.
        modalities: that it used.
        settings: hash of its settings; with method and modalities it names the row.
        mean: of the runs that are done, also where the row is incomplete.
        score: with its interval; complete rows only.
        rank: interval of ranks; None for rows that are not ranked.
        difference: to the reference of the same variant.
        tested: its p value with family and adjustment.
        second_opinions: p values of other tests by name; they decide nothing.
        seed_sd: standard deviation between seeds, folds averaged.
        gain: interaction gain: score minus that of the additive projection.
        missing_auc: area under the missing-modality curve.
        worst_group: score of the worst group, or, of ten or more, the score that one in ten falls short of.
        parameters: the most that a run had.
        train_seconds: in training, on the clock, of all runs together.
        compute_seconds: of processors, and of a GPU where one was held, of all runs together; None where one does not
            say.
        done: runs with a score.
        planned: runs of a complete row.
        badges: what a reader must know, the gravest first.
        details: what its page says beyond the table.
    """

    method: MethodFacts
    modalities: tuple[str, ...]
    settings: str
    mean: float | None
    score: Estimate | None
    rank: RankInterval | None
    difference: Difference | None
    tested: Tested | None
    second_opinions: Mapping[str, float]
    seed_sd: float | None
    gain: Difference | None
    missing_auc: Estimate | None
    worst_group: float | None
    parameters: int
    train_seconds: float
    compute_seconds: float | None
    done: int
    planned: int
    badges: tuple[str, ...]
    details: Details


@dataclass(frozen=True)
class Verdicts:
    """What comes from the table as a whole, by row.

    Attributes:
        samples: of every row that has an interval.
        reference: sample of the reference row; None where it is not complete.
        differences: to the reference.
        tested: their families.
        ranks: of ranked rows.
        stale: run keys of records that older code left.
    """

    samples: Mapping[Key, Array]
    reference: Array | None = None
    differences: Mapping[Key, Difference] = field(default_factory=dict)
    tested: Mapping[Key, Tested] = field(default_factory=dict)
    ranks: Mapping[Key, RankInterval] = field(default_factory=dict)
    stale: Collection[str] = ()


def make_row(key: Key, grid: Grid, plan: Design, rule: Rule, verdicts: Verdicts) -> Row:
    """The row of one method.

    Args:
        key: what names the row.
        grid: its runs, at least one.
        plan: how the protocol's records become samples.
        rule: of the protocol.
        verdicts: of the table.
    """
    entries = [grid[place] for place in sorted(grid)]
    done = [entry for entry in entries if entry.record.status == "ok"]
    sample = verdicts.samples.get(key)
    gain = _gain(grid, plan, rule, sample)
    return Row(
        method=entries[0].record.method,
        modalities=key[1],
        settings=key[2],
        mean=float(np.mean([plan.score(entry) for entry in done])) if done else None,
        score=None if sample is None else rule.score(sample),
        rank=verdicts.ranks.get(key),
        difference=verdicts.differences.get(key),
        tested=verdicts.tested.get(key),
        second_opinions=_second_opinions(plan, sample, verdicts.reference) if key in verdicts.differences else {},
        seed_sd=_seed_sd(done, plan),
        gain=gain,
        missing_auc=_missing_auc(grid, plan, rule, sample),
        worst_group=_worst_group(done, plan),
        parameters=max((entry.record.cost.parameters for entry in done), default=0),
        train_seconds=float(sum(entry.record.cost.train_seconds for entry in done)),
        compute_seconds=_compute_seconds(done),
        done=len(done),
        planned=len(plan.planned),
        badges=_badges(entries, plan, verdicts.stale, gain, unmeasured=sample is None),
        details=details_of(done, plan),
    )


def _compute_seconds(done: Iterable[Entry]) -> float | None:
    """What the runs took of processors: unlike time on the clock, it does not grow with what else a machine does."""
    costs = [entry.record.cost for entry in done]
    known = [cost.cpu_seconds + (cost.gpu_seconds or 0.0) for cost in costs if cost.cpu_seconds is not None]
    return float(sum(known)) if costs and len(known) == len(costs) else None


def _gain(grid: Grid, plan: Design, rule: Rule, sample: Array | None) -> Difference | None:
    """Paired with the projection of the same networks; None where the projection was not scored in every run."""
    if sample is None or not {PROJECTION, PROJECTED} <= plan.shared_conditions(grid):
        return None
    return rule.difference(plan.sample(grid, PROJECTED), plan.sample(grid, PROJECTION), same_runs=True)


def _missing_auc(grid: Grid, plan: Design, rule: Rule, sample: Array | None) -> Estimate | None:
    curve = None if sample is None else plan.robustness(grid, rule)
    return curve[0].score(curve[1]) if curve else None


def _second_opinions(plan: Design, sample: Array | None, reference: Array | None) -> dict[str, float]:
    """Sign-flip and Wilcoxon over subjects, where there are enough of them to say anything (rule C)."""
    if plan.protocol.statistics != "C" or sample is None or reference is None:
        return {}
    return {"sign-flip": sign_flip(sample - reference), "wilcoxon": wilcoxon(sample - reference)}


def _seed_sd(done: Iterable[Entry], plan: Design) -> float | None:
    """Over the seeds that have all their folds; None for fewer than two of them."""
    by_seed: dict[int, list[float]] = {}
    for entry in done:
        by_seed.setdefault(entry.record.seed, []).append(plan.score(entry))
    means = [np.mean(scores) for _, scores in sorted(by_seed.items()) if len(scores) == plan.protocol.folds]
    return float(np.std(means, ddof=1)) if len(means) > 1 else None


def _worst_group(done: Iterable[Entry], plan: Design) -> float | None:
    """Fold by fold, averaged over seeds, then the bad end of the folds. A fold of one subject is a group itself."""
    by_fold: dict[int, list[float]] = {}
    for entry in done:
        groups = entry.record.groups.get(plan.protocol.primary)
        if groups is not None:
            by_fold.setdefault(entry.record.fold, []).append(
                groups.worst if groups.groups < _MANY else groups.worst_decile
            )
        elif plan.protocol.statistics == "C":
            by_fold.setdefault(entry.record.fold, []).append(plan.score(entry))
    if not by_fold:
        return None
    folds = [float(np.mean(scores)) for _, scores in sorted(by_fold.items())]
    share = 10 if len(folds) >= _MANY else 0
    return float(np.percentile(folds, share if plan.higher_is_better else 100 - share))


def _badges(
    entries: list[Entry], plan: Design, stale: Collection[str], gain: Difference | None, *, unmeasured: bool
) -> tuple[str, ...]:
    """Why a row is not ranked, then what its numbers are, then what they say."""
    records = [entry.record for entry in entries]
    failed = Counter(record.status for record in records if record.status != "ok")
    done = len(records) - failed.total()
    found = [f"{status.upper()} {count}" for status, count in sorted(failed.items())]
    found += [f"INCOMPLETE {done}/{len(plan.planned)}"] if len(records) < len(plan.planned) else []
    found += ["NO-INTERVAL"] if unmeasured and done == len(plan.planned) else []
    found += ["TEST-SELECTED"] if any(record.selection.rule == "test" for record in records) else []
    found += ["LEGACY"] if plan.protocol.legacy else []
    found += ["STALE"] if any(record.run_key in stale for record in records) else []
    found += ["SYNTHETIC"] if any(record.synthetic for record in records) else []
    found += sorted({record.variant.upper() for record in records} - {"DEFAULT"})
    found += sorted({_CARDS[record.method.status] for record in records if record.method.status in _CARDS})
    verdict = interaction(gain) if gain else "INTERACTION"
    return (*found, *([verdict] if verdict != "INTERACTION" else []))
