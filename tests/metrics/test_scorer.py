from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sk

from mer_bench.errors import UserError
from mer_bench.metrics import METRICS, align_items, report, score
from mer_bench.metrics.definitions import resolve
from tests.metrics.samples import SPECS, draw


def defined(task: str) -> list[str]:
    """Every metric that can be asked of a task."""
    names = []
    for name in METRICS:
        try:
            resolve(f"{task}/{name}", SPECS)
        except UserError:
            continue
        names.append(f"{task}/{name}")
    return names


def run(task, sample, metrics=None, **options):
    return score(SPECS, metrics or defined(task), {task: sample.outputs}, {task: sample.target}, **options)


@pytest.mark.parametrize("task", SPECS)
def test_every_metric_is_finite_within_its_bounds_and_a_plain_float(task):
    values = run(task, draw(task, 200, 0, missing=0.2))
    assert set(defined(task)) <= set(values)
    for name, value in values.items():
        low, high = METRICS[name.split("/")[1]].bounds
        assert type(value) is float and low <= value <= high


@given(st.sampled_from(sorted(SPECS)), st.integers(20, 60), st.integers(0, 999), st.randoms(use_true_random=False))
def test_order_and_masked_content_never_matter(task, n, seed, random):
    sample = draw(task, n, seed, missing=0.3)
    order = list(range(n))
    random.shuffle(order)
    noise = np.random.default_rng(seed)
    mask = sample.mask if sample.mask.ndim == 2 else sample.mask[:, None]
    spoilt = draw(task, n, seed, missing=0.3)
    spoilt.outputs = np.where(mask, sample.outputs, noise.choice([np.nan, np.inf, 7.0], size=sample.outputs.shape))
    spoilt.values = np.where(sample.mask, sample.values, -5).astype(sample.values.dtype)
    expected = run(task, sample, absent_classes=True)
    assert run(task, sample.rows(order), absent_classes=True) == pytest.approx(expected, abs=1e-12)
    assert run(task, spoilt, absent_classes=True) == expected


@given(st.sampled_from(sorted(SPECS)), st.integers(0, 999))
def test_masked_items_are_as_if_they_were_not_there(task, seed):
    sample = draw(task, 40, seed)
    keep = np.random.default_rng(seed).random(40) < 0.7
    keep[:4] = True
    masked = draw(task, 40, seed)
    masked.mask[~keep] = False
    assert run(task, masked, absent_classes=True) == pytest.approx(
        run(task, sample.rows(keep), absent_classes=True), abs=1e-12
    )


def test_raw_outputs_become_classes_labels_and_values():
    logits = np.array([[2.0, 1.0], [-1.0, 0.5], [0.0, 0.0], [0.1, 3.0]])
    truth = np.array([0, 1, 1, 1])
    pair = score({"pain": SPECS["pair"]}, ["pain/wa", "pain/ua"], {"pain": logits}, {"pain": (truth, truth >= 0)})
    assert pair == {"pain/wa": 0.75, "pain/ua": pytest.approx((1 + 2 / 3) / 2)}  # the first of equal logits wins
    labels = np.array([[0.01, -0.01, 0.0], [1.0, 1.0, 1.0]])
    target = np.array([[1, 0, 0], [0, 1, 1]])
    found = score(SPECS, ["labels/wa"], {"labels": labels}, {"labels": (target, target >= 0)})
    assert found["labels/wa"] == pytest.approx((1 / 2 + 1 + 1) / 3)  # logit 0 is probability 1/2: not above it


def test_several_outputs_give_the_mean_and_each_by_name():
    sample = draw("vad", 60, 3)
    values = run("vad", sample, ["vad/ccc", "vad/mae/arousal"])
    parts = [values[f"vad/ccc/{name}"] for name in SPECS["vad"].names]
    assert values["vad/ccc"] == pytest.approx(np.mean(parts))
    assert set(values) == {"vad/ccc", *(f"vad/ccc/{n}" for n in SPECS["vad"].names), "vad/mae/arousal"}
    expected = sk.mean_absolute_error(sample.values[:, 1], sample.outputs[:, 1])
    assert values["vad/mae/arousal"] == pytest.approx(expected)
    assert set(run("sentiment", draw("sentiment", 30, 0), ["sentiment/mae"])) == {"sentiment/mae"}


def test_an_undefined_dimension_is_left_out_of_the_mean():
    sample = draw("vad", 30, 1)
    sample.values[:, 2], sample.outputs[:, 2] = 3.0, 3.0
    values = run("vad", sample, ["vad/ccc"])
    assert "vad/ccc/dominance" not in values
    assert values["vad/ccc"] == pytest.approx((values["vad/ccc/valence"] + values["vad/ccc/arousal"]) / 2)
    with pytest.raises(UserError, match="vad/ccc/dominance is undefined"):
        run("vad", sample, ["vad/ccc/dominance"])
    assert report({"vad": SPECS["vad"]}, {"vad": sample.outputs}, {"vad": sample.target})["vad"]["undefined"] == [
        "ccc/dominance",
        "corr/dominance",
    ]


def test_thresholds_by_label():
    sample = draw("labels", 80, 5)
    chosen = (0.2, 0.5, 0.8)
    values = run("labels", sample, ["labels/f1_macro"], thresholds={"labels": chosen})
    for j, name in enumerate(SPECS["labels"].names):
        predicted = 1 / (1 + np.exp(-sample.outputs[:, j].astype(float))) > chosen[j]
        assert values[f"labels/f1_macro/{name}"] == pytest.approx(sk.f1_score(sample.values[:, j], predicted))
    for wrong in ((0.5, 0.5), (0.5, 0.5, 1.0)):
        with pytest.raises(UserError, match="one probability between 0 and 1 for each of joy, anger, fear"):
            run("labels", sample, thresholds={"labels": wrong})


def test_frame_axes_are_flattened():
    sample = draw("vad", 60, 2, missing=0.2)
    framed = score(
        SPECS,
        ["vad/ccc"],
        {"vad": sample.outputs.reshape(4, 15, 3)},
        {"vad": (sample.values.reshape(4, 15, 3), sample.mask.reshape(4, 15, 3))},
    )
    assert framed == run("vad", sample, ["vad/ccc"])


def test_an_absent_class_is_an_error_unless_allowed():
    sample = draw("classes", 40, 0)
    without = sample.rows(sample.values != 2)
    with pytest.raises(UserError, match="no labelled item of neutral among"):
        run("classes", without, ["classes/ua"])
    assert run("classes", without, ["classes/ua"], absent_classes=True)["classes/ua"] > 0
    labels = draw("labels", 40, 0)
    labels.values[:, 1], labels.values[:, 2] = 0, 1
    with pytest.raises(UserError, match="no labelled item of anger, absence of fear"):
        run("labels", labels, ["labels/f1_macro"])
    labels.values[:, 0] = 1
    with pytest.raises(UserError, match="labels/balanced_accuracy is undefined"):
        run("labels", labels, ["labels/balanced_accuracy"], absent_classes=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.__setattr__("outputs", s.outputs[:-1]), "39 predictions for 40 targets"),
        (lambda s: s.__setattr__("outputs", s.outputs[:, :3]), r"outputs of shape \(40, 3\); expected \(items, 4\)"),
        (lambda s: s.outputs.__setitem__((3, 0), np.nan), "1 outputs are not finite, the first in row 3"),
        (lambda s: s.values.__setitem__(5, 4), r"impossible, for instance 4; expected a class index 0..3"),
        (lambda s: s.__setattr__("mask", s.mask.astype(int)), "expected .* a boolean mask"),
        (lambda s: s.mask.__setitem__(slice(None), False), "none of the 40 items is labelled"),
    ],
)
def test_bad_input_is_refused(change, message):
    sample = draw("classes", 40, 0)
    change(sample)
    with pytest.raises(UserError, match=message):
        run("classes", sample, ["classes/ua"])


def test_missing_task_and_impossible_labels():
    sample = draw("labels", 20, 0)
    with pytest.raises(UserError, match="no predictions for task 'vad'"):
        score(SPECS, ["vad/ccc"], {"labels": sample.outputs}, {"labels": sample.target})
    sample.values[3, 1] = 0.5
    with pytest.raises(UserError, match=r"impossible, for instance 0.5; expected 0 or 1"):
        run("labels", sample)
    vad = draw("vad", 20, 0)
    vad.values[0, 0] = np.inf
    with pytest.raises(UserError, match="expected a finite number"):
        run("vad", vad)


def test_items_are_aligned_by_id_and_refused_when_they_differ():
    rows = align_items(["b", "c", "a"], ["a", "b", "c"])
    assert rows.tolist() == [2, 0, 1]
    for predicted, message in [
        (["a", "b"], r"1 items are missing \(c\)"),
        (["a", "b", "c", "d"], r"1 items do not belong to the split \(d\)"),
        (["a", "b", "c", "b"], "1 items more than once, the first is b"),
    ]:
        with pytest.raises(UserError, match=message):
            align_items(predicted, ["a", "b", "c"])


def test_report_agrees_with_scikit_learn():
    classes, labels, vad = draw("classes", 100, 0, missing=0.1), draw("labels", 100, 1), draw("vad", 50, 2)
    samples = {"classes": classes, "labels": labels, "vad": vad}
    found = report(
        {name: SPECS[name] for name in samples},
        {name: s.outputs for name, s in samples.items()},
        {name: s.target for name, s in samples.items()},
    )
    t, p = classes.values[classes.mask], classes.outputs.argmax(1)[classes.mask]
    assert found["classes"]["confusion"] == sk.confusion_matrix(t, p).tolist()
    assert (found["classes"]["items"], found["classes"]["observed"]) == (100, len(t))
    precision, recall, f1, support = sk.precision_recall_fscore_support(t, p)
    for k, name in enumerate(SPECS["classes"].names):
        row = found["classes"]["classes"][name]
        assert (row["support"], row["predicted"]) == (support[k], (p == k).sum())
        assert (row["precision"], row["recall"], row["f1"]) == pytest.approx((precision[k], recall[k], f1[k]))
    joy = found["labels"]["labels"]["joy"]
    t, p = labels.values[:, 0], labels.outputs[:, 0] > 0
    assert [[joy["tn"], joy["fp"]], [joy["fn"], joy["tp"]]] == sk.confusion_matrix(t, p).tolist()
    assert joy["auc"] == pytest.approx(sk.roc_auc_score(t, labels.outputs[:, 0]))
    arousal = found["vad"]["dimensions"]["arousal"]
    assert arousal["truth_mean"] == pytest.approx(vad.values[:, 1].mean(dtype=float))
    assert arousal["ccc"] == run("vad", vad, ["vad/ccc/arousal"])["vad/ccc/arousal"]
    assert found["vad"]["metrics"]["mae"] == run("vad", vad, ["vad/mae"])["vad/mae"]
