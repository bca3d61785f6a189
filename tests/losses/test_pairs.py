"""Which items belong together by their labels."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mer_bench.errors import UserError
from mer_bench.losses.labels import (
    by_any_label,
    by_class,
    by_distance,
    by_jaccard,
    by_label_set,
    label_task,
    per_item,
)
from mer_bench.losses.pairs import cosine
from mer_bench.types import Masked, TaskSpec


def test_by_class():
    relation = by_class(Masked(torch.tensor([1, 1, 2]), torch.tensor([True, True, False])))
    assert relation.same.tolist() == [[True, True, False], [True, True, False], [False, False, True]]
    assert torch.equal(relation.other, ~relation.same) and relation.known.tolist() == [True, True, False]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.sets(st.integers(0, 4)), min_size=1, max_size=7))
def test_by_label_set_is_the_jaccard_index(sets):
    values = torch.tensor([[float(k in s) for k in range(5)] for s in sets])
    target = Masked(values, torch.ones_like(values, dtype=torch.bool))
    relation, graded, shared = by_label_set(target), by_jaccard(target), by_any_label(target)
    assert relation.known.all()
    for i, a in enumerate(sets):
        for j, b in enumerate(sets):
            share = len(a & b) / len(a | b) if a | b else 1.0
            assert relation.same[i, j].item() == (share >= 0.5)
            assert relation.other[i, j].item() == (share == 0)
            assert graded.same[i, j].item() == pytest.approx(share)
            assert shared.same[i, j].item() == (share > 0) and shared.other[i, j].item() == (share == 0)


def test_a_partly_labelled_item_is_not_known():
    mask = torch.tensor([[True, True], [True, False]])
    values = torch.tensor([[1.0, 0.0], [1.0, float("nan")]])
    assert by_label_set(Masked(values, mask)).known.tolist() == [True, False]


def test_classes_go_before_labels():
    tasks = {"tags": TaskSpec("multilabel", ("x", "y")), "mood": TaskSpec("multiclass", ("a", "b"))}
    tasks |= {"degree": TaskSpec("regression", ("v",), spread=(1.0,))}
    found = []
    while tasks:
        found.append(label_task(tasks, loss="L")[0])
        del tasks[found[-1]]
    assert found == ["mood", "tags", "degree"]


def test_cosine_keeps_single_precision_under_autocast():
    a, b = torch.randn(4, 8), torch.randn(4, 8)
    with torch.autocast("cpu", torch.bfloat16):
        found = cosine(a, b)
    torch.testing.assert_close(found, torch.cosine_similarity(a[:, None], b[None], dim=-1))


def test_by_distance_is_a_gaussian_of_the_distance_in_standard_deviations():
    g = np.random.default_rng(0)
    y, spread = g.normal(size=(9, 3)), (2.0, 0.0, 0.5)  # a dimension that never varies says nothing
    target = Masked(torch.tensor(y), torch.ones(9, 3, dtype=torch.bool))
    relation = by_distance(target, spread=spread, bandwidth=0.7, apart=1.2)
    scaled = y[:, [0, 2]] / np.array([2.0, 0.5])
    for i in range(9):
        for j in range(9):
            d = np.sqrt(((scaled[i] - scaled[j]) ** 2).mean())
            assert relation.same[i, j].item() == pytest.approx(np.exp(-(d**2) / (2 * 0.7**2)))
            assert relation.other[i, j].item() == (d > 1.2)


def test_a_regression_without_its_spread_is_refused():
    for spread in (None, (0.0,)):
        with pytest.raises(UserError, match="AVEL: measures distances of degree"):
            label_task({"degree": TaskSpec("regression", ("v",), spread=spread)}, loss="AVEL")


def test_windows_are_labelled_by_their_frames():
    """By hand: three windows of four frames, the last one without any label."""
    mask = torch.tensor([[True, True, True, False], [False, True, True, True], [False] * 4])
    classes = TaskSpec("multiclass", ("a", "b", "c"), level="frame")
    found = per_item(classes, Masked(torch.tensor([[2, 1, 2, 0], [0, 1, 0, 2], [1, 1, 1, 1]]), mask))
    assert found.values[:2].tolist() == [2, 0] and found.mask.tolist() == [True, True, False]
    both = torch.stack([mask, mask.clone()], dim=-1)
    both[0, :, 1] = False
    values = torch.tensor([[1.0, 0, 0, 9], [9, 1, 1, 0], [9] * 4]).double().unsqueeze(-1).expand(3, 4, 2)
    mean = per_item(TaskSpec("regression", ("v", "w"), level="frame"), Masked(values, both))
    assert mean.values[:, 0].tolist() == pytest.approx([1 / 3, 2 / 3, 0])
    assert mean.mask.tolist() == [[True, False], [True, True], [False, False]]
    tags = per_item(TaskSpec("multilabel", ("x", "y"), level="frame"), Masked(values, both))
    assert tags.values[:, 0].tolist() == [0, 1, 0] and torch.equal(tags.mask, mean.mask)
