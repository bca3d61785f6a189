"""How often each rule is wrong where the truth is known.

    python -m mer_bench.results.statistics.calibration --out mer_bench/results/statistics/calibration.json

writes the numbers from which `page` makes `leaderboards/statistics.md` (minutes, one core). The tests run a short
form on every commit and the full one with the slow tests, against `BOUNDS`.
"""

from __future__ import annotations

import argparse
import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mer_bench.results.statistics.estimates import ALPHA, Array, quantile
from mer_bench.results.statistics.worlds import FAMILIES, POWERED, SETTINGS, Setting

BOUNDS = {"false_positives": (0.02, 0.065), "coverage": (0.935, 0.975)}
FAMILY_BOUND = 0.065
REPLICATES, FAMILY_REPLICATES, SEED = 3_000, 1_000, 20_251_120
_FAMILY_DRAWS = 999


@dataclass(frozen=True)
class Measured:
    """One rule in one world without a true difference. Shares are between 0 and 1, scores as the metric has them.

    Attributes:
        name: of the setting.
        replicates: simulated studies.
        false_positives: share of studies that call two equal methods different at 5 %.
        coverage: share of 95 % intervals of a score that hold the true score.
        half_width: mean half width of that interval.
        seeds_false_positives: the same as above if one did a t-test over seeds instead.
        seeds_coverage: and for the usual error bar, mean ± t·sd/√N over seeds.
        pairs_false_positives: and for a paired t-test over all fold x seed scores; None where there is one split.
    """

    name: str
    replicates: int
    false_positives: float
    coverage: float
    half_width: float
    seeds_false_positives: float
    seeds_coverage: float
    pairs_false_positives: float | None


@dataclass(frozen=True)
class Powered:
    """A world with a true difference: how often the rule finds it, and whether its interval holds it."""

    name: str
    replicates: int
    difference: float
    found: float
    coverage: float


@dataclass(frozen=True)
class Family:
    """Several equal methods: share of tables whose rank intervals claim any order at all."""

    name: str
    replicates: int
    methods: int
    false_claims: float


def _draws(setting: Setting, replicates: int, seed: int) -> Iterator[Array]:
    """Simulated studies, one at a time; the stream belongs to the setting, so that adding one changes no other."""
    rng = np.random.default_rng([seed, zlib.crc32(setting.name.encode())])
    return (setting.draw(rng) for _ in range(replicates))


def measure(setting: Setting, replicates: int, seed: int = SEED) -> Measured:
    """False positives and coverage of one setting under the null hypothesis."""
    scores, positives, seeds, gaps = [], [], [], []
    for study in _draws(setting, replicates, seed):
        scores.append(setting.rule.score(study[0]))
        positives.append(setting.rule.difference(*study[:2]).p <= ALPHA)
        seeds.append([setting.by_seed(sample) for sample in study])
        if setting.cross_validated:
            gaps.append((study[0] - study[1]).ravel())
    by_seed = np.array(seeds)  # study, method, seed
    # the truth is known, or else the mean of what all equal methods reached in all studies
    truth = by_seed.mean() if setting.truth is None else setting.truth
    return Measured(
        setting.name,
        replicates,
        false_positives=float(np.mean(positives)),
        coverage=float(np.mean([score.low <= truth <= score.high for score in scores])),
        half_width=float(np.mean([score.high - score.low for score in scores]) / 2),
        seeds_false_positives=_two_sample_share(by_seed[:, 0], by_seed[:, 1]),
        seeds_coverage=1 - _t_test_share(by_seed[:, 0] - truth),
        pairs_false_positives=_t_test_share(np.array(gaps)) if gaps else None,
    )


def measure_power(setting: Setting, replicates: int, seed: int = SEED) -> Powered:
    """How often a true difference is found, and how often its interval holds it."""
    differences = [setting.rule.difference(*study[:2]) for study in _draws(setting, replicates, seed)]
    truth = float(np.mean([row.value for row in differences]))
    found = float(np.mean([row.p <= ALPHA and row.value * truth > 0 for row in differences]))
    held = float(np.mean([row.low <= truth <= row.high for row in differences]))
    return Powered(setting.name, replicates, truth, found, held)


def measure_family(setting: Setting, replicates: int, seed: int = SEED) -> Family:
    """Share of tables of equal methods in which any two are told apart."""
    claims, methods = 0, 0
    for study in _draws(setting, replicates, seed):
        methods = len(study)
        samples = {str(index): sample for index, sample in enumerate(study)}
        claims += min(setting.rule.joint_p(samples, draws=_FAMILY_DRAWS, seed=seed).values()) <= ALPHA
    return Family(setting.name, replicates, methods, claims / replicates)


def _t_test_share(values: Array) -> float:
    """Share of rows whose t-test against 0 is significant."""
    count = values.shape[1]
    t = values.mean(axis=1) / (values.std(axis=1, ddof=1) / count**0.5)
    return float((np.abs(t) > quantile(count - 1, 1 - ALPHA / 2)).mean())


def _two_sample_share(first: Array, second: Array) -> float:
    """Share of rows whose two-sample t-test is significant."""
    count = first.shape[1]
    pooled = (first.var(axis=1, ddof=1) + second.var(axis=1, ddof=1)) / count
    t = (first.mean(axis=1) - second.mean(axis=1)) / np.sqrt(pooled)
    return float((np.abs(t) > quantile(2 * count - 2, 1 - ALPHA / 2)).mean())


def run(replicates: int = REPLICATES, family_replicates: int = FAMILY_REPLICATES, seed: int = SEED) -> dict[str, Any]:
    """Everything that the page shows, as plain JSON."""
    return {
        "schema": 1,
        "seed": seed,
        "null": [_plain(measure(setting, replicates, seed)) for setting in SETTINGS],
        "power": [_plain(measure_power(setting, family_replicates, seed)) for setting in POWERED],
        "families": [_plain(measure_family(setting, family_replicates, seed)) for setting in FAMILIES],
    }


def _plain(row: Measured | Powered | Family) -> dict[str, Any]:
    return {key: round(value, 6) if isinstance(value, float) else value for key, value in asdict(row).items()}


def violations(result: Mapping[str, Sequence[Mapping[str, Any]]], *, sigmas: float = 0.0) -> list[str]:
    """What lies outside the bounds, in words; empty when all is well.

    Args:
        result: of `run`, or part of it.
        sigmas: Monte-Carlo standard errors by which the bounds are widened; for short runs.
    """
    gated = {setting.name for setting in SETTINGS if setting.gated}
    checks = [
        (row["name"], quantity, row[quantity], low, high, row["replicates"])
        for row in result.get("null", [])
        if row["name"] in gated
        for quantity, (low, high) in BOUNDS.items()
    ]
    checks += [
        (row["name"], "false_claims", row["false_claims"], 0.0, FAMILY_BOUND, row["replicates"])
        for row in result.get("families", [])
    ]
    found = []
    for name, quantity, value, low, high, replicates in checks:
        slack = sigmas * (high * (1 - high) / replicates) ** 0.5
        if not low - slack <= value <= high + slack:
            found.append(f"{name}: {quantity} is {value:.3f}, bounds {low:.3f} to {high:.3f}")
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the calibration and write its numbers."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--out", type=Path, required=True, help="JSON file to write")
    parser.add_argument("--replicates", type=int, default=REPLICATES)
    parser.add_argument("--family-replicates", type=int, default=FAMILY_REPLICATES)
    options = parser.parse_args(arguments)
    result = run(options.replicates, options.family_replicates)
    beside = options.out.with_name(options.out.name + ".part")
    beside.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    beside.replace(options.out)
    print("\n".join(violations(result)) or "all within bounds")


if __name__ == "__main__":
    main()
