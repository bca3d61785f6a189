"""The torchmetrics classes equal the scorer, however the data are cut."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchmetrics import Metric, MetricCollection

from mer_bench.errors import UserError
from mer_bench.metrics import METRICS, direction, score
from mer_bench.metrics.streaming import streaming
from tests.metrics.samples import SPECS, draw
from tests.metrics.test_scorer import defined

EVERYTHING = [metric for task in SPECS for metric in defined(task)]


def feed(metric: Metric, sample, cuts):
    for rows in np.split(np.arange(len(sample.outputs)), cuts):
        outputs, values, mask = (torch.from_numpy(a[rows]) for a in (sample.outputs, sample.values, sample.mask))
        metric.update(outputs, values, mask)
    return metric


@pytest.mark.parametrize("name", EVERYTHING)
@settings(max_examples=15)
@given(seed=st.integers(0, 9999), cuts=st.lists(st.integers(0, 60), max_size=4).map(sorted))
def test_streaming_equals_the_scorer(name, seed, cuts):
    task, metric = name.split("/")
    sample = draw(task, 60, seed, missing=0.3)
    expected = score(SPECS, [name], {task: sample.outputs}, {task: sample.target}, absent_classes=True)[name]
    streamed = feed(streaming(metric, SPECS[task]), sample, cuts)
    assert float(streamed.compute()) == pytest.approx(expected, abs=1e-6)
    assert streamed.higher_is_better == (direction(metric) > 0)


@pytest.mark.parametrize("name", ["classes/ua", "labels/f1_macro", "vad/ccc", "labels/auprc"])
def test_frames_reset_and_masked_noise(name):
    task, metric = name.split("/")
    sample = draw(task, 60, 1, missing=0.3)
    streamed = streaming(metric, SPECS[task])
    streamed.update(torch.from_numpy(sample.outputs[:7]), torch.from_numpy(sample.values[:7]))
    streamed.reset()
    mask = torch.from_numpy(sample.mask)
    wide = mask if mask.ndim == 2 else mask[:, None]
    outputs = torch.from_numpy(sample.outputs).where(wide, float("nan"))
    values = torch.from_numpy(sample.values).where(mask, -5)
    frames = [x.reshape(4, 15, *x.shape[1:]) for x in (outputs, values, mask)]
    streamed.update(*frames)
    expected = score(SPECS, [name], {task: sample.outputs}, {task: sample.target})[name]
    assert float(streamed.compute()) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("name", EVERYTHING)
def test_nothing_observed_is_nan_and_not_an_exception(name):
    task, metric = name.split("/")
    sample = draw(task, 8, 0)
    sample.mask[:] = False
    assert np.isnan(float(feed(streaming(metric, SPECS[task]), sample, []).compute()))


def test_two_processes_give_what_one_gives():
    """What a reduction between devices does: sums are added, kept rows put end to end."""
    for name in ("classes/wf1", "vad/corr", "labels/auc"):
        task, metric = name.split("/")
        sample = draw(task, 50, 3)
        one, two = (feed(streaming(metric, SPECS[task]), sample.rows(r), []) for r in (slice(0, 20), slice(20, 50)))
        one._reduce_states({key: getattr(two, key) for key in two._defaults})
        expected = score(SPECS, [name], {task: sample.outputs}, {task: sample.target})[name]
        assert float(one.compute()) == pytest.approx(expected, abs=1e-6)


def test_works_in_a_collection_with_forward():
    sample = draw("classes", 40, 0)
    collection = MetricCollection({name: streaming(name, SPECS["classes"]) for name in ("wa", "ua", "ece")})
    whole = score(
        SPECS, [f"classes/{n}" for n in ("wa", "ua", "ece")], {"classes": sample.outputs}, {"classes": sample.target}
    )
    for rows in (slice(0, 15), slice(15, 40)):
        part = collection(torch.from_numpy(sample.outputs[rows]), torch.from_numpy(sample.values[rows]))
        right = (sample.outputs[rows].argmax(1) == sample.values[rows]).mean()
        assert float(part["wa"]) == pytest.approx(right, abs=1e-6)
    assert {f"classes/{k}": float(v) for k, v in collection.compute().items()} == pytest.approx(whole, abs=1e-6)


def test_thresholds_and_unknown_metrics():
    sample = draw("labels", 50, 0)
    chosen = (0.3, 0.6, 0.7)
    expected = score(
        SPECS, ["labels/f1_macro"], {"labels": sample.outputs}, {"labels": sample.target}, thresholds={"labels": chosen}
    )
    streamed = feed(streaming("f1_macro", SPECS["labels"], chosen), sample, [])
    assert float(streamed.compute()) == pytest.approx(expected["labels/f1_macro"], abs=1e-6)
    with pytest.raises(UserError, match="not defined for regression"):
        streaming("ua", SPECS["vad"])
    assert len(METRICS) == 21
