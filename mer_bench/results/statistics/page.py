"""The page `leaderboards/statistics.md`: a pure function of the numbers of `calibration`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from importlib import resources
from typing import Any

from mer_bench.results.statistics.calibration import BOUNDS, FAMILY_BOUND
from mer_bench.results.statistics.estimates import ALPHA, quantile
from mer_bench.results.statistics.worlds import SETTINGS

_INTRODUCTION = """\
# How the numbers are made

A row with all of its planned runs has a score with a 95 % interval, a difference to `concat` with an interval and a
p value, and, where it may be ranked, a range of ranks. This page says how these are computed, and how often each of
them was wrong in simulations where the truth is known.

## What has an interval, and what has none

| number | interval | p value |
| :-- | :-- | :-- |
| score of a complete row: primary metric, nothing missing (`full`) | yes | — |
| its difference to `concat` | yes | yes |
| differences of all pairs of ranked rows | yes | in `board.json`, not adjusted |
| missing-modality AUC, interaction gain | yes, not adjusted | no |
| score of an incomplete row: a mean of the runs that are there | no | no |
| other metrics, single conditions, folds, validation part, worst group, seed SD, cost | no | no |

`mer-bench compare --metric` gives other metrics and conditions an interval, not adjusted, and no p value; on an
official split only the primary metric has one.

## Why not mean ± standard deviation over seeds

Seeds show how much training varies. They do not show how the score would change with other speakers, sessions or
videos, and that is the larger part. The items of one speaker or video resemble each other, folds share training data,
seeds share everything but luck: none of them may be counted as independent. The last columns of the first table show
what happens to those who do.

## The three rules

The protocol decides which rule holds; the data have no say. θ is the score, *t* the quantile of Student's
distribution. Metrics keep their own direction: for MAE, less is better, in every column.

**Rule A, one official split, at least 5 seeds.** Two sources of luck, added:

    SE² = var(seeds) / N  +  (V-1)/V · Σ_v (θ without v - their mean)²     (jackknife over clusters)
    df = SE⁴ / (seed term² / (N-1) + cluster term² / (V-1))               (Satterthwaite)

The V clusters are videos or subjects, the N seeds trainings. For a difference the cluster term is computed on the
difference, video by video, and the seed terms of both methods are added. Every metric gets the jackknife, those that
are means too; the simulations below use the functions that the boards are scored with.

**Rule B, J folds x S seeds.** With d the score, or the difference, of one fold and seed:

    SE² = (1/(JS) + n_test/n_train) · var(all d)        df = J-1

The variance is that of Nadeau and Bengio (2003), which allows for shared training data; n_train counts what was
really trained on, without the validation part. The degrees of freedom are ours: those of the folds.

**Rule C, leave one subject out x S seeds.** With D the mean over seeds, subject by subject:

    SE² = 1.21 · var(D) / J                             df = J-1

The factor is ours and comes from the simulations. From 20 subjects on. A sign-flip test (99,999 draws) and Wilcoxon's
test are shown beside it; they decide nothing.

The interval is θ ± t · SE (95 %), the p value that of difference / SE.

## What is shown, and why

- **P(better)**: the probability that a method is better than the reference, from the same t distribution read as a
  posterior (the correlated t-test of Corani and Benavoli, 2015). **P(within ±m)**: that the two differ by less than
  a margin m that nobody would notice: half a point of a metric in per cent, 0.005 of one in its own unit (MAE, CCC). A
  high p value alone is no evidence of equality; this is.
- **Confirmatory** are only the comparisons that were announced beforehand: the four seed methods against `concat`.
  Their p values are adjusted by Holm; one that was not measured counts with p = 1. **Everything else is exploratory**:
  not adjusted, and marked so.
- **Rank [low-high]**: a method's rank can be anything in this range. All pairs of methods are tested together, so that
  the whole table is right with 95 % confidence: by bootstrap max-T over clusters and seeds under rule A, by Holm over
  all pairs under B and C. Methods whose range includes 1 form the top group. No number is printed in bold.
- **Resolution**: the smallest true difference that the protocol finds in 80 % of studies,
  (t of the test + t of the power) · SE, for one comparison and after adjustment. Every pair of ranked methods has its
  own; a board says the median, the smallest and the largest.
- **Missing-modality AUC**: trapezoid of the score over the rates, divided by their range. The ten stored masks of a
  rate are averaged before any standard error: they are no source of doubt about the method.
- **Interaction gain**: the score of a network minus that of its additive projection (EMAP), same networks, same
  clusters, on the same items: at most 256 of each test part, with 64 partners, chosen by a hash of their ids. ADDITIVE
  only if the whole interval lies within ±m, UNRESOLVED if it reaches further and holds 0.
- **Only the primary metric is tested**, with nothing missing. No other number has a p value.
"""

_NULL = """\
## Measured: two methods of exactly equal skill

Each row is {replicates} simulated studies. A cross-validated world redraws the whole corpus (speakers, dialogues,
items), trains a ridge classifier in every fold and seed, and scores it; an official split redraws test videos,
segments and the luck of training. Bounds: false positives {fp}, coverage of the 95 % interval {coverage}. Rows in
*italics* have no bounds: they show where a rule is cautious, or where it begins to fail.
"""

_AFTER_NULL = """\
"t over seeds": a two-sample t-test over seeds, and mean ± t·sd/√N as an interval. "paired t": a paired t-test over all
fold x seed scores. Both are common in papers; nominal are 5 % and 95 %.
"""

_POWER = """\
## Measured: two methods that do differ

The difference is the mean of all studies; *found* is the share of studies with p ≤ 5 % and the right sign.
"""

_FAMILY = """\
## Measured: tables of equal methods

Share of tables in which the rank intervals claim any order at all; at most {bound} is allowed.
"""

_LIMITS = """\
## What this cannot do

- With five folds the t distribution has 4 degrees of freedom. One comparison needs {one} SE; the first step of Holm
  among 4 comparisons needs {four} SE, among 30 {thirty} SE. Most gains that are published on IEMOCAP are smaller than
  that. More seeds do not help: the folds are what is scarce.
- A bound that holds in these worlds need not hold in every corpus. The worlds have effects of speakers and dialogues,
  uneven clusters and a real learner, but they are simpler than people.
- Rule B is cautious where a fold holds many subjects: it then finds less than it could, and never too much.

Regenerate the numbers with `python -m mer_bench.results.statistics.calibration --out calibration.json`.
"""


def load() -> dict[str, Any]:
    """The committed numbers of the full calibration."""
    text = resources.files(__package__).joinpath("calibration.json").read_text(encoding="utf-8")
    return dict(json.loads(text))


def render(result: Mapping[str, Any]) -> str:
    """The whole page.

    Args:
        result: of `calibration.run`.
    """
    head = _NULL.format(
        replicates=f"{result['null'][0]['replicates']:,}",
        fp=" to ".join(_percent(edge) for edge in BOUNDS["false_positives"]),
        coverage=" to ".join(_percent(edge) for edge in BOUNDS["coverage"]),
    )
    one, four, thirty = (f"{quantile(4, 1 - ALPHA / 2 / comparisons):.1f}" for comparisons in (1, 4, 30))
    parts = [
        _INTRODUCTION,
        head,
        _null_table(result["null"]),
        _AFTER_NULL,
        _POWER,
        _table(
            ("rule and world", "studies", "true difference, points", "found", "coverage of its interval"),
            (
                (r["name"], r["replicates"], _points(r["difference"]), *_shares(r, "found", "coverage"))
                for r in result["power"]
            ),
        ),
        _FAMILY.format(bound=_percent(FAMILY_BOUND)),
        _table(
            ("rule and world", "studies", "methods", "tables with a false claim"),
            ((r["name"], r["replicates"], r["methods"], *_shares(r, "false_claims")) for r in result["families"]),
        ),
        _LIMITS.format(one=one, four=four, thirty=thirty),
    ]
    return "\n".join(parts)


def _null_table(rows: Iterable[Mapping[str, Any]]) -> str:
    gated = {setting.name for setting in SETTINGS if setting.gated}
    columns = ("false_positives", "coverage")
    common = ("seeds_false_positives", "seeds_coverage", "pairs_false_positives")
    return _table(
        (
            "rule and world",
            "false positives",
            "coverage",
            "mean half width, points",
            "t over seeds: false positives",
            "its coverage",
            "paired t: false positives",
        ),
        (
            (
                r["name"] if r["name"] in gated else f"*{r['name']}*",
                *_shares(r, *columns),
                _points(r["half_width"]),
                *_shares(r, *common),
            )
            for r in rows
        ),
    )


def _shares(row: Mapping[str, Any], *columns: str) -> list[str]:
    return ["—" if row[column] is None else _percent(row[column]) for column in columns]


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _points(value: float) -> str:
    return f"{100 * value:.1f}"


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table, the first column to the left and the others to the right."""
    lines = [head, [":--", *["--:"] * (len(head) - 1)], *rows]
    return "".join("| " + " | ".join(map(str, line)) + " |\n" for line in lines)
