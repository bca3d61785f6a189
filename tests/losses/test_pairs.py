"""Which items belong together by their labels."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mer_bench.losses.pairs import by_class, by_label_set, cosine, label_task
from mer_bench.types import Masked, TaskSpec


def test_by_class():
    relation = by_class(Masked(torch.tensor([1, 1, 2]), torch.tensor([True, True, False])))
    assert relation.same.tolist() == [[True, True, False], [True, True, False], [False, False, True]]
    assert torch.equal(relation.other, ~relation.same) and relation.known.tolist() == [True, True, False]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.sets(st.integers(0, 4)), min_size=1, max_size=7))
def test_by_label_set_is_the_jaccard_index(sets):
    values = torch.tensor([[float(k in s) for k in range(5)] for s in sets])
    relation = by_label_set(Masked(values, torch.ones_like(values, dtype=torch.bool)))
    assert relation.known.all()
    for i, a in enumerate(sets):
        for j, b in enumerate(sets):
            share = len(a & b) / len(a | b) if a | b else 1.0
            assert relation.same[i, j].item() == (share >= 0.5)
            assert relation.other[i, j].item() == (share == 0)


def test_a_partly_labelled_item_is_not_known():
    mask = torch.tensor([[True, True], [True, False]])
    values = torch.tensor([[1.0, 0.0], [1.0, float("nan")]])
    assert by_label_set(Masked(values, mask)).known.tolist() == [True, False]


def test_classes_go_before_labels():
    tasks = {"tags": TaskSpec("multilabel", ("x", "y")), "mood": TaskSpec("multiclass", ("a", "b"))}
    assert label_task(tasks, loss="L") == ("mood", by_class)
    assert label_task({"tags": tasks["tags"]}, loss="L") == ("tags", by_label_set)


def test_cosine_keeps_single_precision_under_autocast():
    a, b = torch.randn(4, 8), torch.randn(4, 8)
    with torch.autocast("cpu", torch.bfloat16):
        found = cosine(a, b)
    torch.testing.assert_close(found, torch.cosine_similarity(a[:, None], b[None], dim=-1))
