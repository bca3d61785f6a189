"""MEM: which negatives are drawn, how often, and the loss against a loop over single items."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from mer_bench.losses.label_matching import LabelMatching, draw, negative_chances
from mer_bench.losses.labels import by_class
from mer_bench.types import Masked
from tests.cases import build, features_of, make_batch, tasks_of
from tests.losses.test_contrastive import COSINES, LABELS

T = math.log(1 / 0.07)


def chances(temperature: float) -> torch.Tensor:
    labels = Masked(torch.tensor(LABELS), torch.ones(4, dtype=torch.bool))
    scores = torch.tensor(COSINES, dtype=torch.float64) / temperature
    return negative_chances(scores, by_class(labels).other, torch.ones(4, dtype=torch.bool))


@pytest.mark.parametrize(
    ("temperature", "row", "expected"),
    [
        (T, 0, [0, 0, 0.4531, 0.5469]),
        (0.07, 0, [0, 0, 0.0008, 0.9992]),
        (T, 2, [0.2887, 0.3757, 0, 0.3356]),
    ],
)
def test_golden_sampling_rows(temperature, row, expected):
    assert chances(temperature)[row].tolist() == pytest.approx(expected, abs=5e-5)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=2, max_size=9).filter(lambda p: sum(p) > 0.1), st.integers(50, 400))
def test_draws_follow_the_chances(weights, n):
    """On n evenly spaced numbers each column is picked as often as its chance says, within one."""
    p = torch.tensor(weights, dtype=torch.float64)
    p = p / p.sum()
    uniform = torch.arange(n, dtype=torch.float64) / n
    index, found = draw(p.expand(n, -1), uniform)
    assert found.all()
    counts = torch.bincount(index, minlength=len(p))
    assert ((counts - n * p).abs() <= 1 + 1e-6).all()
    assert counts[p == 0].sum() == 0


def test_nothing_to_draw_is_said_so():
    index, found = draw(torch.tensor([[0.0, 0.0], [0.0, 1.0]]), torch.tensor([0.3, 0.0]))
    assert found.tolist() == [False, True] and index[1] == 1


def test_largest_uniform_stays_inside():
    p = torch.full((1, 7), 1 / 7)
    p[0, 5:] = 0
    index, found = draw(p, torch.tensor([1 - 2**-24]))
    assert found and index.item() == 4


@pytest.mark.parametrize("n", [2, 3])
def test_equal_to_a_loop_over_single_items(n):
    """Draw, exchange, fuse and compare one item at a time."""
    features, tasks = features_of(n), tasks_of("item")
    method = build("foal", features, tasks).double().eval()
    loss = LabelMatching(temperature=0.5)
    loss.bind(features, tasks)
    names = list(features)
    ordered = [pair for i, a in enumerate(names) for b in names[i + 1 :] for pair in ((a, b), (b, a))]
    assert loss.n_draws == len(ordered)
    batch = make_batch(features, tasks, n=12, draws=loss.n_draws)
    outputs, encoded = method(batch), method.encode(batch)
    labels, known = batch.targets["mood"].values, batch.targets["mood"].mask
    total = 0.0
    for k, (a, b) in enumerate(ordered):
        both = batch.inputs[a].mask.any(1) & batch.inputs[b].mask.any(1) & known
        terms = []
        for i in both.nonzero().flatten().tolist():
            others = [j for j in both.nonzero().flatten().tolist() if labels[j] != labels[i]]
            if not others:
                continue
            z_i, z = outputs.hidden[f"aligned/{a}"][i], outputs.hidden[f"aligned/{b}"]
            p = torch.stack([torch.cosine_similarity(z_i, z[j], dim=0) / 0.5 for j in others]).softmax(0).cumsum(0)
            partner = others[int((p <= batch.draws[i, k]).sum())]

            def single(own: int, other: int, b: str = b) -> dict:
                rows = {m: other if m == b else own for m in names}
                return {m: Masked(x.values[rows[m], None], x.mask[rows[m], None]) for m, x in encoded.items()}

            for other, truth in ((i, 1), (partner, 0)):
                logits = method.fuse(single(i, other)).hidden[f"match/{a}/{b}"]
                terms.append(F.cross_entropy(logits, torch.tensor([truth])))
        total += torch.stack(terms).mean()
    torch.testing.assert_close(loss(outputs, batch, method), total / len(ordered), rtol=1e-10, atol=1e-10)


def test_anchors_without_another_label_are_left_out():
    features, tasks = features_of(2), tasks_of("item")
    method = build("foal", features, tasks).double().eval()
    loss = LabelMatching()
    loss.bind(features, tasks)
    batch = make_batch(features, tasks, n=6, gaps=False, draws=2)
    one_class = Masked(torch.ones(6, dtype=torch.int64), torch.ones(6, dtype=torch.bool))
    alike = batch._replace(targets={**batch.targets, "mood": one_class})
    value = loss(method(alike), alike, method)
    assert value.item() == 0 and value.requires_grad
    # the only other label belongs to an item without a partner modality
    lonely = one_class.values.clone()
    lonely[0] = 0
    odd = batch._replace(targets={**batch.targets, "mood": Masked(lonely, one_class.mask)})
    beta = odd.inputs["beta"]
    masked = Masked(beta.values, beta.mask & (torch.arange(6) > 0).unsqueeze(1))
    odd = odd._replace(inputs={**odd.inputs, "beta": masked})
    assert loss(method(odd), odd, method).item() == 0


def test_sampling_has_no_gradient_but_the_fusion_has():
    features, tasks = features_of(2), tasks_of("item")
    method = build("foal", features, tasks).double()
    loss = LabelMatching()
    loss.bind(features, tasks)
    batch = make_batch(features, tasks, n=12, draws=2)
    loss(method(batch), batch, method).backward()
    trained = {k.split(".")[0] for k, p in method.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
    assert trained == {"encoders", "stacks", "match"}
