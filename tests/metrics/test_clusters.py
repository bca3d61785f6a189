"""Sums by cluster give the metric of any part; groups are scored like separate test sets."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mer_bench.errors import UserError
from mer_bench.metrics import METRICS, by_group, cluster_statistics, group_summary, score
from mer_bench.metrics.families import ADDITIVE
from tests.metrics.samples import SPECS, draw

ADDITIVE_OF = [
    (task, name) for task, spec in SPECS.items() for name, kind in ADDITIVE if kind == spec.kind
    if (task, name) not in {("vad", "acc5"), ("vad", "acc7"), ("vad", "acc7_sdk")}
]  # fmt: skip


def arguments(task, sample):
    return {task: sample.outputs}, {task: sample.target}


@pytest.mark.parametrize(("task", "name"), ADDITIVE_OF)
@given(seed=st.integers(0, 9999), n=st.integers(30, 80), clusters=st.integers(1, 7))
def test_pooled_sums_equal_the_direct_computation(task, name, seed, n, clusters):
    sample = draw(task, n, seed, missing=0.2)
    names = np.random.default_rng(seed).integers(clusters, size=n).astype(str)
    statistics = cluster_statistics(SPECS, f"{task}/{name}", *arguments(task, sample), names)
    direct = score(SPECS, [f"{task}/{name}"], *arguments(task, sample), absent_classes=True)[f"{task}/{name}"]
    assert float(statistics.pooled()) == pytest.approx(direct, abs=1e-12)
    assert statistics.clusters == tuple(sorted(set(names)))


@pytest.mark.parametrize(
    ("task", "name"), [("classes", "ua"), ("labels", "f1_macro"), ("vad", "ccc"), ("labels", "jaccard")]
)
def test_weights_are_repeated_clusters(task, name):
    sample = draw(task, 90, 4, missing=0.1)
    names = np.arange(90) % 6
    statistics = cluster_statistics(SPECS, f"{task}/{name}", *arguments(task, sample), names)
    weights = np.array([[2, 0, 1, 1, 0, 3], [1, 1, 1, 1, 1, 1]])
    values = statistics.pooled(weights)
    for row, value in zip(weights, values, strict=True):
        rows = np.concatenate([np.flatnonzero(names == c) for c in range(6) for _ in range(row[c])])
        direct = score(SPECS, [f"{task}/{name}"], *arguments(task, sample.rows(rows)))[f"{task}/{name}"]
        assert value == pytest.approx(direct, abs=1e-12)


def test_frames_may_belong_to_the_cluster_of_their_item():
    sample = draw("vad", 60, 2)
    outputs, values, mask = (a.reshape(4, 15, 3) for a in (sample.outputs, sample.values, sample.mask))
    by_item = cluster_statistics(SPECS, "vad/ccc", {"vad": outputs}, {"vad": (values, mask)}, ["u", "v", "u", "w"])
    by_frame = cluster_statistics(SPECS, "vad/ccc", *arguments("vad", sample), np.repeat(["u", "v", "u", "w"], 15))
    assert (by_item.values == by_frame.values).all() and by_item.clusters == ("u", "v", "w")
    with pytest.raises(UserError, match=r"groups of shape \(3,\) for predictions of shape \(4, 15\)"):
        cluster_statistics(SPECS, "vad/ccc", {"vad": outputs}, {"vad": (values, mask)}, ["u", "v", "w"])


@pytest.mark.parametrize("metric", ["labels/auc", "labels/auprc", "classes/ece", "vad/ccc/arousal"])
def test_metrics_that_are_no_function_of_sums_say_so(metric):
    task = metric.split("/")[0]
    with pytest.raises(UserError, match="not a function of sums"):
        cluster_statistics(SPECS, metric, *arguments(task, draw(task, 20, 0)), ["a"] * 20)


@pytest.mark.parametrize(
    "metric",
    [f"{task}/{name}" for task in ("classes", "labels", "sentiment") for name, m in METRICS.items()
     if SPECS[task].kind in m.kinds and (task, name) != ("classes", "auc")],
)  # fmt: skip
def test_each_group_is_scored_as_a_test_set_of_its_own(metric):
    task = metric.split("/")[0]
    sample = draw(task, 200, 7, missing=0.1)
    groups = np.random.default_rng(0).choice(["ann", "bob", "cyd"], 200)
    found = by_group(SPECS, metric, *arguments(task, sample), groups, minimum=1)
    assert list(found) == ["ann", "bob", "cyd"]
    for name, value in found.items():
        direct = score(SPECS, [metric], *arguments(task, sample.rows(groups == name)), absent_classes=True)
        assert value == pytest.approx(direct[metric], abs=1e-12)


def test_small_groups_are_hidden_and_ua_needs_five_items_of_each_class():
    values = np.array([0] * 6 + [1] * 4 + [0] * 5 + [1] * 5 + [1] * 4)
    groups = ["few of one"] * 10 + ["enough"] * 10 + ["tiny"] * 4
    target = {"pair": (values, np.ones(24, bool))}
    logits = {"pair": np.eye(2)[values]}
    assert by_group(SPECS, "pair/ua", logits, target, groups) == {"enough": 1.0}
    assert by_group(SPECS, "pair/wa", logits, target, groups) == {"enough": 1.0, "few of one": 1.0}
    target["pair"][1][10:] = False
    assert by_group(SPECS, "pair/wa", logits, target, groups) == {"few of one": 1.0}


def test_a_single_dimension_by_group():
    sample = draw("vad", 60, 1)
    groups = np.repeat(["a", "b"], 30)
    found = by_group(SPECS, "vad/mae/valence", *arguments("vad", sample), groups)
    for name, rows in (("a", slice(0, 30)), ("b", slice(30, 60))):
        assert found[name] == pytest.approx(np.abs(sample.outputs - sample.values)[rows, 0].mean(dtype=float))


def test_summary_of_groups_follows_the_direction_and_names_nobody():
    scores = {f"s{i}": float(i) for i in range(11)}
    up, down = group_summary(scores, "emotion/ua"), group_summary(scores, "sentiment/mae")
    assert (up["worst"], up["worst_decile"], up["groups"], up["mean"]) == (0.0, 1.0, 11, 5.0)
    assert (down["worst"], down["worst_decile"]) == (10.0, 9.0)
    assert up["sd"] == pytest.approx(np.std(list(scores.values()), ddof=1))
    assert group_summary({"s1": 0.5}, "emotion/ua") is None
