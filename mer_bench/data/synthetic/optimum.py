"""The best value that any predictor can reach on average, for each metric and each subset of the modalities."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from mer_bench.data.synthetic.blueprint import Table
from mer_bench.data.synthetic.decisions import decide, joint, value_of
from mer_bench.data.synthetic.explained import bin_accuracy, explained, mean_absolute_error, sign_accuracy
from mer_bench.data.synthetic.settings import Settings
from mer_bench.data.synthetic.timeline import Pattern, unit_patterns

CLASS_METRICS = ("wa", "ua", "wf1", "f1_macro")
LABEL_METRICS = ("balanced_accuracy", "f1_macro", "wa")
SCALE_METRICS = ("ccc", "corr", "mae")
SIGN_METRICS = ("acc2_nonneg", "acc2_pos", "f1_nonneg", "f1_pos")
SENTIMENT_METRICS = (*SIGN_METRICS, "acc5", "acc7", "acc7_sdk")
BINS = {  # inner edges of the classes into which sentiment is sorted
    "acc5": (-1.5, -0.5, 0.5, 1.5),
    "acc7": (-2.5, -1.5, -0.5, 0.5, 1.5, 2.5),
    "acc7_sdk": (-2.0, -1.0, 0.0, 1.0, 2.0),  # the seventh, exactly 0, never occurs
}


def metrics_of(table: Table) -> tuple[str, ...]:
    """The metrics whose optimum is stated for a label table."""
    if table.kind == "multiclass":
        return CLASS_METRICS + (("auc",) if len(table.names) == 2 else ())
    if table.kind == "multilabel":
        return LABEL_METRICS
    return SCALE_METRICS + (SENTIMENT_METRICS if table.range == (-3.0, 3.0) else ())


def reveal_rate(settings: Settings, subset: tuple[str, ...]) -> float:
    """ι: the probability that the available modalities of a subset name w."""
    patterns = unit_patterns(settings).items()
    return sum(chance * reveal_chance(settings, _seen(settings, pattern, subset)) for pattern, chance in patterns)


def reveal_chance(settings: Settings, seen: set[str]) -> float:
    """The probability that these modalities, all of them there, name w."""
    redundant, unique, synergy, _ = settings.mixture
    owned = sum(settings.weights[m] for m in seen)
    return redundant * bool(seen) + unique * owned + synergy * (set(settings.pair) <= seen)


def _seen(settings: Settings, pattern: Pattern, subset: tuple[str, ...]) -> set[str]:
    return {m for m, has in zip(settings.modalities, pattern, strict=True) if has and m in subset}


def scale_optimum(settings: Settings, table: Table, metric: str, subset: tuple[str, ...]) -> float:
    """The optimum of one metric of a scale, averaged over what is available.

    CCC and correlation: √(mean η²), reached by E[y | x] / √(mean η²). The others are means over items.
    """
    found = [
        (p, explained(settings, _seen(settings, pattern, subset))) for pattern, p in unit_patterns(settings).items()
    ]
    if metric in ("ccc", "corr"):
        return float(np.sqrt(sum(p * e.share for p, e in found)))
    if metric == "mae":
        return table.sd * sum(p * mean_absolute_error(e) for p, e in found)
    if metric in BINS:
        edges = tuple((edge - table.middle) / table.sd for edge in BINS[metric])
        return sum(p * bin_accuracy(e, edges) for p, e in found)
    return sum(p * sign_accuracy(e) for p, e in found)  # with symmetric classes the weighted F1 has the same optimum


def optimum(settings: Settings, table: Table, metric: str, subset: tuple[str, ...]) -> float:
    """The optimum of one metric on one label table from one subset of the modalities."""
    if table.kind == "regression":
        return scale_optimum(settings, table, metric, subset)
    rate = reveal_rate(settings, subset)
    if table.kind == "multiclass":
        mass = joint(settings, table, 0, rate)
        return value_of(metric, mass, decide(metric, mass))
    each = "f1_positive" if metric == "f1_macro" else metric
    masses = [joint(settings, table, k, rate) for k in range(len(table.names))]
    return float(np.mean([value_of(each, mass, decide(each, mass)) for mass in masses]))


def optima(settings: Settings) -> Mapping[str, dict[str, dict[str, float]]]:
    """By label table, subset (names joined by +) and metric."""
    return {
        name: {
            "+".join(sorted(subset)): {m: round(optimum(settings, table, m, subset), 6) for m in metrics_of(table)}
            for subset in settings.subsets()
        }
        for name, table in settings.profile.tables.items()
    }
