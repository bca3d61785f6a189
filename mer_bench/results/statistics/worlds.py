"""The settings of the calibration: which simulated world is judged by which rule."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from mer_bench.metrics import counts, moments
from mer_bench.results.statistics.estimates import Array
from mer_bench.results.statistics.folds import Folds, LeaveOneOut
from mer_bench.results.statistics.rule import Rule
from mer_bench.results.statistics.simulation import CrossValidation, OfficialSplit
from mer_bench.results.statistics.single_split import SingleSplit


@dataclass(frozen=True)
class Setting:
    """One world, one rule, one metric.

    Attributes:
        name: short and stable; the random stream hangs on it.
        rule: that is judged.
        draw: one simulated study, (method, *sample of the rule).
        by_seed: score of each seed from a sample, for the usual error bar.
        truth: the true score, where it is known in closed form.
        cross_validated: a sample is (fold, seed).
        gated: the bounds apply; if not, the row is there to show where a rule is cautious.
    """

    name: str
    rule: Rule
    draw: Callable[[np.random.Generator], Array]
    by_seed: Callable[[Array], Array]
    truth: float | None = None
    cross_validated: bool = False
    gated: bool = True


def _confusion_of(world: OfficialSplit) -> Callable[[np.random.Generator], Array]:
    return lambda rng: world.draw(rng).confusion


def _moments_of(world: OfficialSplit) -> Callable[[np.random.Generator], Array]:
    return lambda rng: world.draw(rng).moments


def _over_folds(sample: Array) -> Array:
    return np.asarray(sample.mean(axis=0))


def _cross_validated(name: str, rule: Rule, world: CrossValidation, *, gated: bool = True) -> Setting:
    return Setting(name, rule, world.draw, _over_folds, cross_validated=True, gated=gated)


def _folds(world: CrossValidation) -> Folds:
    return Folds(higher_is_better=True, test_to_train=world.test_to_train)


SESSIONS = CrossValidation(folds=5, speakers=2, groups=30, items=37, dialogues=True, held_out=1, seeds=5)
SUBJECTS = CrossValidation(folds=87, speakers=1, groups=1, items=40, dialogues=False, held_out=8, seeds=3)
FEW_SUBJECTS = replace(SUBJECTS, folds=20, held_out=2)
FIVE_FOLDS = CrossValidation(folds=5, speakers=17, groups=17, items=40, dialogues=False, held_out=1, seeds=5)
MOSEI = OfficialSplit(videos=678, segments=4659, uneven=0.93, seeds=5)
MOSI = OfficialSplit(videos=31, segments=686, uneven=0.40, seeds=5)

# the functions that boards are scored with, on the sums that records keep
ACCURACY = SingleSplit(higher_is_better=True, metric=counts.wa)
RECALL = SingleSplit(higher_is_better=True, metric=counts.ua)
ERROR = SingleSplit(higher_is_better=False, metric=moments.mae_of)
CONCORDANCE = SingleSplit(higher_is_better=True, metric=moments.ccc_of)
SUBJECT_RULE = LeaveOneOut(higher_is_better=True)

SETTINGS = (
    Setting("A, 678 videos, 5 seeds, accuracy", ACCURACY, _confusion_of(MOSEI), ACCURACY.seed_values, MOSEI.truth),
    Setting("A, 678 videos, 5 seeds, recall", RECALL, _confusion_of(MOSEI), RECALL.seed_values, MOSEI.truth),
    Setting("A, 678 videos, 5 seeds, CCC", CONCORDANCE, _moments_of(MOSEI), CONCORDANCE.seed_values, MOSEI.true_ccc),
    Setting(
        "A, 678 videos, 10 seeds, accuracy",
        ACCURACY,
        _confusion_of(replace(MOSEI, seeds=10)),
        ACCURACY.seed_values,
        MOSEI.truth,
    ),
    Setting("A, 31 videos, 5 seeds, accuracy", ACCURACY, _confusion_of(MOSI), ACCURACY.seed_values, MOSI.truth),
    Setting("A, 31 videos, 5 seeds, MAE", ERROR, _moments_of(MOSI), ERROR.seed_values, MOSI.true_mae),
    Setting("A, 31 videos, 5 seeds, CCC", CONCORDANCE, _moments_of(MOSI), CONCORDANCE.seed_values, MOSI.true_ccc),
    _cross_validated("B, 5 sessions, 5 seeds, accuracy", _folds(SESSIONS), SESSIONS),
    _cross_validated("B, 85 subjects in 5 folds, 5 seeds, accuracy", _folds(FIVE_FOLDS), FIVE_FOLDS, gated=False),
    _cross_validated("C, 87 subjects, 3 seeds, accuracy", SUBJECT_RULE, SUBJECTS),
    _cross_validated("C, 20 subjects, 3 seeds, accuracy", SUBJECT_RULE, FEW_SUBJECTS, gated=False),
)
POWERED = (
    Setting(SETTINGS[0].name, ACCURACY, _confusion_of(replace(MOSEI, advantage=0.1)), ACCURACY.seed_values),
    _cross_validated("B, 5 sessions, 5 seeds, accuracy", _folds(SESSIONS), replace(SESSIONS, advantage=1.5)),
    _cross_validated("C, 87 subjects, 3 seeds, accuracy", SUBJECT_RULE, replace(SUBJECTS, advantage=1.2)),
)
FAMILIES = (
    Setting(SETTINGS[0].name, ACCURACY, _confusion_of(replace(MOSEI, methods=6)), ACCURACY.seed_values),
    Setting("A, 31 videos, 5 seeds, accuracy", ACCURACY, _confusion_of(replace(MOSI, methods=6)), ACCURACY.seed_values),
    _cross_validated("B, 5 sessions, 5 seeds, accuracy", _folds(SESSIONS), replace(SESSIONS, methods=6)),
    _cross_validated("C, 87 subjects, 3 seeds, accuracy", SUBJECT_RULE, replace(SUBJECTS, methods=6)),
)
