"""Metrics of classes and labels against scikit-learn and hand-made tables."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sk

from mer_bench.errors import UserError
from mer_bench.metrics import counts, score
from mer_bench.types import TaskSpec

pairs = st.integers(2, 6).flatmap(
    lambda k: st.tuples(
        st.just(k),
        st.lists(st.tuples(st.integers(0, k - 1), st.integers(0, k - 1), st.booleans()), min_size=1, max_size=60),
    )
)


def jaccard(predicted, truth, mask=None) -> float:
    """What a table shows: the one scorer's value, of logits that stand for these predictions."""
    truth, seen = np.asarray(truth), np.ones(np.shape(truth), bool) if mask is None else mask
    spec = TaskSpec("multilabel", tuple(f"label{k}" for k in range(truth.shape[1])))
    outputs, target = {"y": np.where(predicted, 1.0, -1.0)}, {"y": (truth, seen)}
    return score({"y": spec}, ["y/jaccard"], outputs, target, absent_classes=True)["y/jaccard"]


def split(items):
    truth, predicted, mask = (np.array(column) for column in zip(*items, strict=True))
    return truth, predicted, mask.astype(bool)


@given(pairs)
def test_class_metrics_equal_scikit_learn_on_the_observed_items(case):
    k, items = case
    truth, predicted, mask = split(items)
    confusion = counts.confusion_matrix(predicted, truth, k, mask)
    t, p = truth[mask], predicted[mask]
    if not mask.any():
        assert np.isnan([f(confusion) for f in (counts.wa, counts.ua, counts.wf1, counts.f1_macro)]).all()
        return
    labels = list(range(k))
    assert (confusion == sk.confusion_matrix(t, p, labels=labels)).all()
    assert counts.wa(confusion) == pytest.approx(sk.accuracy_score(t, p), abs=1e-9)
    f1 = {kind: sk.f1_score(t, p, labels=labels, average=kind, zero_division=0) for kind in ("weighted", "macro")}
    assert counts.wf1(confusion) == pytest.approx(f1["weighted"], abs=1e-9)
    assert counts.f1_macro(confusion) == pytest.approx(f1["macro"], abs=1e-9)
    with warnings.catch_warnings():  # scikit-learn warns where an absent class is predicted, and leaves it out as we do
        warnings.simplefilter("ignore")
        assert counts.ua(confusion) == pytest.approx(sk.balanced_accuracy_score(t, p), abs=1e-9)
    precision, recall, f1_each, support = sk.precision_recall_fscore_support(t, p, labels=labels, zero_division=0)
    assert np.allclose(counts.precision(confusion), precision, atol=1e-9)
    assert np.allclose(np.nan_to_num(counts.recall(confusion)), recall, atol=1e-9)
    assert np.allclose(counts.f1_by_class(confusion), f1_each, atol=1e-9)
    assert (counts.support(confusion) == support).all()


@given(st.integers(1, 4), st.integers(1, 40), st.integers(0, 2**32 - 1), st.floats(0.0, 0.9))
def test_label_metrics_equal_scikit_learn_label_by_label(size, n, seed, missing):
    rng = np.random.default_rng(seed)
    truth, predicted = (rng.random((2, n, size)) < 0.4).astype(int)
    mask = rng.random((n, size)) >= missing
    table = counts.label_counts(predicted, truth, mask)
    accuracy, f1, weighted, balanced = (
        f(table) for f in (counts.wa, counts.f1_positive, counts.wf1, counts.balanced_accuracy)
    )
    for j in range(size):
        t, p = truth[mask[:, j], j], predicted[mask[:, j], j]
        if not len(t):
            assert np.isnan([accuracy[j], f1[j], weighted[j], balanced[j]]).all()
            continue
        assert accuracy[j] == pytest.approx(sk.accuracy_score(t, p), abs=1e-9)
        assert f1[j] == pytest.approx(sk.f1_score(t, p, zero_division=0), abs=1e-9)
        assert weighted[j] == pytest.approx(sk.f1_score(t, p, average="weighted", zero_division=0), abs=1e-9)
        if 0 < t.sum() < len(t):
            assert balanced[j] == pytest.approx(sk.balanced_accuracy_score(t, p), abs=1e-9)
            tp, tn, pos, neg = (p & t).sum(), ((1 - p) & (1 - t)).sum(), t.sum(), (1 - t).sum()
            assert balanced[j] == pytest.approx((tp * neg / pos + tn) / (2 * neg), abs=1e-9)  # as MulT writes it
        else:
            assert np.isnan(balanced[j])


@given(st.integers(1, 4), st.integers(1, 40), st.integers(0, 2**32 - 1))
def test_pooled_label_metrics_equal_scikit_learn(size, n, seed):
    rng = np.random.default_rng(seed)
    truth, predicted = (rng.random((2, n, size + 1)) < 0.3).astype(int)
    micro = sk.f1_score(truth, predicted, average="micro", zero_division=0)
    samples = sk.jaccard_score(truth, predicted, average="samples", zero_division=0)
    assert counts.f1_micro(counts.label_counts(predicted, truth)) == pytest.approx(micro, abs=1e-9)
    assert jaccard(predicted, truth) == pytest.approx(samples, abs=1e-9)


def test_jaccard_ignores_masked_labels_and_wholly_masked_items():
    truth = np.array([[1, 0, 1], [1, 1, 0], [0, 0, 0]])
    predicted = np.array([[1, 1, 0], [0, 0, 0], [0, 0, 0]])
    mask = np.array([[True, True, False], [False, False, False], [True, True, True]])
    # item 0 without its third label: 1 of 2; item 1 is out; item 2 has nothing on either side: 0
    assert jaccard(predicted, truth, mask) == pytest.approx((1 / 2 + 0) / 2)
    with pytest.raises(UserError):
        jaccard(predicted, truth, np.zeros_like(mask))


def test_ua_leaves_out_an_absent_class_while_macro_f1_counts_it_as_zero():
    confusion = np.array([[8.0, 2.0, 0.0], [0.0, 0.0, 0.0], [1.0, 0.0, 9.0]])
    assert counts.ua(confusion) == pytest.approx((0.8 + 0.9) / 2)
    assert counts.f1_macro(confusion) == pytest.approx((2 * 8 / 19 + 0.0 + 2 * 9 / 19) / 3)


def test_one_class_only():
    confusion = np.array([[3.0, 1.0], [0.0, 0.0]])
    assert (counts.wa(confusion), counts.ua(confusion)) == (0.75, 0.75)
    assert counts.wf1(confusion) == pytest.approx(6 / 7)
    assert counts.f1_macro(confusion) == pytest.approx(3 / 7)


def test_weighted_f1_is_not_symmetric():
    truth, predicted = np.array([0, 0, 0, 1]), np.array([0, 0, 1, 1])
    right = counts.wf1(counts.confusion_matrix(predicted, truth, 2))
    swapped = counts.wf1(counts.confusion_matrix(truth, predicted, 2))
    assert right != pytest.approx(swapped, abs=1e-3)


def test_leading_axes_are_kept():
    rng = np.random.default_rng(0)
    stack = rng.integers(0, 9, size=(3, 2, 4, 4)).astype(float)
    for function in (counts.wa, counts.ua, counts.wf1, counts.f1_macro):
        one_by_one = [[float(function(table)) for table in row] for row in stack]
        assert np.allclose(function(stack), one_by_one, atol=1e-15)
    tables = stack[..., :2, :2]
    assert counts.f1_micro(tables).shape == (3,)
    assert counts.balanced_accuracy(tables).shape == (3, 2)
