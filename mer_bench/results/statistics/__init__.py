"""Statistics of the leaderboard: numpy and scipy only, pure functions of arrays.

Choose the rule that the protocol names, give it samples, read estimates:

    rule = Folds(higher_is_better=True, test_to_train=1 / 3)
    rule.score(ua)                      # (fold, seed) -> Estimate
    rule.difference(ua, ua_of_concat)   # -> Difference
    rank_intervals(rule, {"foal": ua, "concat": ua_of_concat})

What the rules are, and how well they hold: `leaderboards/statistics.md`, made by `page` from `calibration`.
"""

from __future__ import annotations

from mer_bench.results.statistics.clusters import mean, pigeonhole
from mer_bench.results.statistics.derived import interaction, missing_auc
from mer_bench.results.statistics.estimates import MARGIN, Difference, Estimate, make_difference, make_estimate
from mer_bench.results.statistics.folds import Folds, LeaveOneOut
from mer_bench.results.statistics.multiplicity import Tested, families, holm, max_t
from mer_bench.results.statistics.ranks import RankInterval, Resolution, rank_intervals, resolution
from mer_bench.results.statistics.rule import Rule
from mer_bench.results.statistics.second_opinion import sign_flip, wilcoxon
from mer_bench.results.statistics.single_split import SingleSplit

__all__ = [
    "MARGIN",
    "Difference",
    "Estimate",
    "Folds",
    "LeaveOneOut",
    "RankInterval",
    "Resolution",
    "Rule",
    "SingleSplit",
    "Tested",
    "families",
    "holm",
    "interaction",
    "make_difference",
    "make_estimate",
    "max_t",
    "mean",
    "missing_auc",
    "pigeonhole",
    "rank_intervals",
    "resolution",
    "sign_flip",
    "wilcoxon",
]
