"""Ranking, calibration and thresholds against scikit-learn and plain loops."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from mer_bench.errors import UserError
from mer_bench.metrics import probability, score
from mer_bench.types import TaskSpec

scored = st.lists(st.tuples(st.integers(-6, 6), st.booleans()), min_size=1, max_size=60).map(
    lambda items: (np.array([a / 2 for a, _ in items]), np.array([b for _, b in items]))
)


@given(scored)
def test_auc_and_auprc_equal_scikit_learn_with_ties(case):
    scores, positive = case
    if positive.all() or not positive.any():
        assert np.isnan(probability.auc(scores, positive))
    else:
        assert probability.auc(scores, positive) == pytest.approx(sk.roc_auc_score(positive, scores), abs=1e-9)
    if not positive.any():
        assert np.isnan(probability.auprc(scores, positive))  # scikit-learn gives 0 there, with a warning
    else:
        expected = sk.average_precision_score(positive, scores)
        assert probability.auprc(scores, positive) == pytest.approx(expected, abs=1e-9)


@given(st.integers(2, 5), st.integers(1, 40), st.integers(0, 2**32 - 1))
def test_brier_equals_scikit_learn(classes, n, seed):
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(n, classes)) * 3
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    truth = rng.integers(classes, size=n)
    expected = np.mean([(p[i, k] - (truth[i] == k)) ** 2 for i in range(n) for k in range(classes)]) * classes
    spec = TaskSpec("multiclass", tuple(f"class{k}" for k in range(classes)))
    target = {"y": (truth, np.ones(n, bool))}
    brier = score({"y": spec}, ["y/brier"], {"y": logits}, target, absent_classes=True)["y/brier"]
    assert brier == pytest.approx(expected, abs=1e-12)
    if classes == 2:
        assert brier == pytest.approx(2 * sk.brier_score_loss(truth == 1, p[:, 1]), abs=1e-9)


@given(st.integers(15, 80), st.integers(0, 2**32 - 1))
def test_ece_equals_a_loop_over_sorted_bins(n, seed):
    rng = np.random.default_rng(seed)
    confidence, correct = rng.permutation(np.linspace(0.3, 0.99, n)), rng.random(n) < 0.6
    order = sorted(range(n), key=lambda i: confidence[i])
    sizes = [n // 15 + (b < n % 15) for b in range(15)]
    total, start = 0.0, 0
    for size in sizes:
        chosen = order[start : start + size]
        gap = sum(confidence[i] for i in chosen) / size - sum(correct[i] for i in chosen) / size
        total, start = total + size / n * abs(gap), start + size
    assert probability.ece(confidence, correct) == pytest.approx(total, abs=1e-12)


@given(scored, st.randoms(use_true_random=False))
def test_ece_does_not_depend_on_the_order_of_equally_confident_items(case, random):
    scores, correct = case
    confidence = probability.sigmoid(scores)
    order = list(range(len(scores)))
    random.shuffle(order)
    again = probability.ece(confidence[order], correct[order])
    assert probability.ece(confidence, correct) == pytest.approx(again, abs=1e-12)


def test_ece_of_a_constant_predictor_is_its_overconfidence():
    assert probability.ece(np.full(40, 0.7), np.arange(40) < 22) == pytest.approx(0.7 - 22 / 40)
    assert np.isnan(probability.ece([], []))


def test_probabilities_survive_large_logits():
    with np.errstate(all="raise", under="ignore"):
        assert probability.softmax([[1e4, 0.0], [0.0, 1e4]]).tolist() == [[1.0, 0.0], [0.0, 1.0]]
        assert probability.sigmoid([-1e4, 0.0, 1e4]).tolist() == [0.0, 0.5, 1.0]


@pytest.mark.parametrize("metric", ["f1_macro", "balanced_accuracy"])
@settings(max_examples=25)
@given(seed=st.integers(0, 2**32 - 1), n=st.integers(2, 30))
def test_chosen_thresholds_are_the_best_there_are(metric, seed, n):
    rng = np.random.default_rng(seed)
    target = np.vstack([[1, 0], [0, 1], rng.random((n, 2)) < 0.3]).astype(int)
    logits = np.round(rng.normal(size=target.shape) * 2 + target, 1)
    judge = {"f1_macro": sk.f1_score, "balanced_accuracy": sk.balanced_accuracy_score}[metric]
    chosen = probability.choose_thresholds(metric, logits, target)
    for j in range(2):
        cut = np.log(chosen[j] / (1 - chosen[j]))
        grid = [-99.0, *sorted(set(logits[:, j]))]
        best = max(judge(target[:, j], logits[:, j] > g) for g in grid)
        assert judge(target[:, j], logits[:, j] > cut) == pytest.approx(best, abs=1e-12)


def test_thresholds_keep_a_half_where_there_is_nothing_to_choose():
    logits = np.array([[1.0, -3.0], [2.0, 1.0]])
    assert probability.choose_thresholds("f1_macro", logits, np.array([[1, 0], [1, 0]])) == (0.5, 0.5)
    with pytest.raises(UserError, match="not by 'ua'"):
        probability.choose_thresholds("ua", logits, np.array([[1, 0], [1, 0]]))
