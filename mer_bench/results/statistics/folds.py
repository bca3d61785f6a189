"""Rules B and C: every item is tested once, in one of several folds.

Folds share training data, so their scores are not independent and the fold x seed scores even less: a paired t-test
over all of them calls equal methods different half of the time (`calibration`).
"""

from __future__ import annotations

from dataclasses import dataclass

from mer_bench.errors import UserError
from mer_bench.results.statistics.estimates import Array, finite
from mer_bench.results.statistics.multiplicity import adjust
from mer_bench.results.statistics.rule import Pair, Rule, Samples, Spread, paired, scatter

MIN_FOLDS = 3
MIN_SUBJECTS = 20  # *ours*, calibrated: with 10 subjects false positives are 8.5 %, with 20 they are 5.6 %
LOSO_FACTOR = 1.21  # *ours*, calibrated: 1.1 on the standard error brings false positives from 6.2 to 3.9 %


@dataclass(frozen=True, kw_only=True)
class Folds(Rule):
    """Rule B: k folds x seeds. A sample holds scores, (fold, seed).

    SE² = (1/(JS) + n_test/n_train) · var(all JS values), after Nadeau and Bengio (2003). df = J-1, those of the
    folds: the textbook's JS-1 doubles the false positives, since seeds do not show what other people would change.

    Attributes:
        test_to_train: n_test / n_train, counting what was really trained on (without the inner validation part),
            averaged over folds.
    """

    test_to_train: float

    def spread(self, sample: Array) -> Spread:
        """Nadeau-Bengio variance with the degrees of freedom of the folds."""
        values = _folds_by_seeds(sample, "rule B", MIN_FOLDS)
        if not 0 < self.test_to_train < float("inf"):
            raise UserError(f"Rule B: n_test / n_train is {self.test_to_train}; expected a positive number.")
        variance = (1 / values.size + self.test_to_train) * scatter(values)
        return Spread(float(values.mean()), variance**0.5, len(values) - 1)

    def contrast(self, first: Array, second: Array, *, same_runs: bool) -> Spread:
        """The spread of the differences. The folds carry it, so it does not matter whether the seeds are paired."""
        return self.spread(paired(first, second))

    def joint_p(self, samples: Samples, *, draws: int, seed: int) -> dict[Pair, float]:
        """Holm over all pairs: so few folds leave a bootstrap nothing to draw from."""
        return adjust({pair: difference.p for pair, difference in self.pair_differences(samples).items()})


@dataclass(frozen=True, kw_only=True)
class LeaveOneOut(Rule):
    """Rule C: one subject a fold x seeds. A sample holds scores, (subject, seed).

    D_j = mean over seeds; SE² = 1.21 · var(D) / J; df = J-1. The factor covers the training data that folds share.
    """

    def spread(self, sample: Array) -> Spread:
        """Variance between subjects, widened."""
        subjects = _folds_by_seeds(sample, "rule C", MIN_SUBJECTS).mean(axis=1)
        variance = LOSO_FACTOR * scatter(subjects) / len(subjects)
        return Spread(float(subjects.mean()), variance**0.5, len(subjects) - 1)

    def contrast(self, first: Array, second: Array, *, same_runs: bool) -> Spread:
        """The spread of the differences, subject by subject."""
        return self.spread(paired(first, second))

    def joint_p(self, samples: Samples, *, draws: int, seed: int) -> dict[Pair, float]:
        """Holm over all pairs."""
        return adjust({pair: difference.p for pair, difference in self.pair_differences(samples).items()})


def _folds_by_seeds(sample: Array, what: str, folds: int) -> Array:
    values = finite(sample, what)
    if values.ndim != 2 or len(values) < folds:
        raise UserError(
            f"{what}: a sample of shape {values.shape}; expected (folds, seeds) with at least {folds} folds. "
            "Run the missing folds, or leave the row without an interval."
        )
    return values
