"""Rank-N-Contrast against loops and values worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch

from mer_bench.errors import UserError
from mer_bench.losses.rank import RankNContrast, rank_contrast
from mer_bench.training.subsets import keep
from mer_bench.types import Outputs, TaskSpec
from tests.cases import build, features_of, make_batch, tasks_of

FEATURES = features_of(2)


def naive(z, y, tau: float) -> float:
    """The definition, one anchor, one positive and one rival at a time."""
    total, n = 0.0, len(z)
    for i in range(n):
        for j in (j for j in range(n) if j != i):
            s = {k: -float((z[i] - z[k]).norm()) / tau for k in range(n) if k != i}
            d = {k: float((y[i] - y[k]).abs().sum()) for k in s}
            total -= s[j] - math.log(sum(math.exp(s[k]) for k in s if d[k] >= d[j]))
    return total / (n * (n - 1))


def test_by_hand():
    """Points 0, 1, 3 on a line, targets in the same order: each anchor has one easy and one contested positive."""
    z = torch.tensor([[0.0], [1.0], [3.0]]).double()
    # the farther item competes with nobody and costs nothing, the nearer one with the farther one
    nearer = [(1, 3), (1, 2), (2, 3)]
    expected = sum(a + math.log(math.exp(-a) + math.exp(-b)) for a, b in nearer) / 6
    found = rank_contrast(z, torch.tensor([[0.0], [1.0], [5.0]]).double(), torch.ones(3, dtype=torch.bool))
    assert found.item() == pytest.approx(expected, rel=1e-12)


def test_ties_compete_with_each_other():
    z = torch.randn(6, 4, generator=torch.Generator().manual_seed(0)).double()
    y = torch.tensor([[0.0], [1], [1], [2], [2], [0]]).double()
    assert rank_contrast(z, y, torch.ones(6, dtype=torch.bool)).item() == pytest.approx(naive(z, y, 1.0), rel=1e-12)


def one_item(x, frames, batch, name: str, i: int, m: str):
    """Embedding and target of item i, averaged over its frames where it has any; None if it takes no part."""
    mask, values = batch.targets[name].mask[i], batch.targets[name].values[i].double()
    if not any(b.mask[i].any() for n, b in batch.inputs.items() if m in (n, "fused")):
        return None
    if batch.targets[name].values.is_floating_point():
        columns = [(values[..., k], mask[..., k]) for k in range(values.shape[-1])]
    else:
        columns = [(values, mask)]
    if not all(known.any() for _, known in columns):
        return None
    return x if frames is None else x[frames].mean(0), torch.stack([v[known].mean() for v, known in columns])


@pytest.mark.parametrize("read", ["fused", "<m>"])
@pytest.mark.parametrize("level", ["item", "frame"])
@pytest.mark.parametrize("kind", ["regression", "multiclass"])
def test_equal_to_a_loop(kind, level, read):
    tasks = tasks_of(level, [kind])
    (name,) = tasks
    method = build("concat", FEATURES, tasks).double().eval()
    batch = keep(make_batch(FEATURES, tasks, n=20), dict.fromkeys(FEATURES, torch.arange(20) > 1))
    loss = RankNContrast(task=name, read=read)
    loss.bind(FEATURES, tasks)
    outputs, expected = method(batch), []
    for m in FEATURES if read == "<m>" else ["fused"]:
        seen = torch.stack([x.mask for n, x in batch.inputs.items() if m in (n, "fused")]) if level == "frame" else None
        items = [seen[:, i].any(0) if level == "frame" else None for i in range(20)]
        pairs = [one_item(outputs.hidden[m][i].detach(), items[i], batch, name, i, m) for i in range(20)]
        pairs = [pair for pair in pairs if pair is not None]
        assert 2 < len(pairs) < 20
        expected.append(naive(*(torch.stack(x) for x in zip(*pairs, strict=True)), 2.0))
    assert loss(outputs, batch, method).item() == pytest.approx(sum(expected) / len(expected), rel=1e-9)


def test_finite_gradient_where_embeddings_coincide():
    z = torch.zeros(5, 3, requires_grad=True)
    rank_contrast(z, torch.arange(5.0).unsqueeze(1), torch.ones(5, dtype=torch.bool)).backward()
    assert z.grad.isfinite().all()


def test_fewer_than_two_items_is_zero():
    z = torch.randn(4, 3, requires_grad=True)
    value = rank_contrast(z, torch.randn(4, 1), torch.tensor([True, False, False, False]))
    value.backward()
    assert value == 0 and not z.grad.any()


def test_training_orders_the_embeddings():
    """Twelve free vectors end up on a line in the order of their targets: the loss does what it is for."""
    g = torch.Generator().manual_seed(0)
    z, y = torch.randn(12, 2, generator=g).requires_grad_(), torch.rand(12, 1, generator=g)
    optimizer = torch.optim.Adam([z], 0.1)
    for _ in range(400):
        optimizer.zero_grad()
        rank_contrast(z / 2, y, torch.ones(12, dtype=torch.bool)).backward()
        optimizer.step()
    found, truth = torch.cdist(z, z).detach(), torch.cdist(y, y)
    inside = ~torch.eye(12, dtype=torch.bool)
    assert torch.corrcoef(torch.stack([found[inside], truth[inside]]))[0, 1] > 0.9


@pytest.mark.parametrize(
    ("tasks", "settings", "message"),
    [
        (tasks_of("item", ["multiclass"]), {}, r"ordered classes named in `task`; found mood \(multiclass\)"),
        (tasks_of("item", ["multilabel"]), {"task": "tags"}, r"found tags \(multilabel\)"),
        ({"pain": TaskSpec("multiclass", ("0", "1"))}, {"task": "pian"}, "no task 'pian'; did you mean pain"),
    ],
)
def test_refusals(tasks, settings, message):
    with pytest.raises(UserError, match=message):
        RankNContrast(**settings).bind(FEATURES, tasks)


def test_what_is_not_there_is_said():
    tasks = tasks_of("item", ["regression"])
    loss = RankNContrast(read="encoded")
    loss.bind(FEATURES, tasks)
    with pytest.raises(UserError, match="does not provide 'encoded'"):
        loss(Outputs({}, {}), make_batch(FEATURES, tasks), None)
