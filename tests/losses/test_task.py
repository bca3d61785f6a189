"""Task losses against torch, numpy and loops."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from mer_bench.errors import UserError
from mer_bench.losses.task import task_loss
from mer_bench.types import Masked, TaskSpec

CLASSES = TaskSpec("multiclass", ("a", "b", "c"))
LABELS = TaskSpec("multilabel", ("a", "b", "c"))
DIMENSIONS = TaskSpec("regression", ("v", "w", "u"))
LEADING = [(8,), (4, 5)]


def logits_and_mask(leading, last=(3,), *, seed=0):
    g = torch.Generator().manual_seed(seed)
    logits = torch.randn(*leading, 3, generator=g, dtype=torch.float64)
    mask = torch.rand(*leading, *last, generator=g) > 0.3
    return logits, mask, g


@pytest.mark.parametrize("leading", LEADING)
def test_cross_entropy_over_what_is_observed(leading):
    logits, mask, g = logits_and_mask(leading, ())
    index = torch.where(mask, torch.randint(0, 3, leading, generator=g), -100)
    expected = F.cross_entropy(logits[mask], index[mask])
    torch.testing.assert_close(task_loss(CLASSES)(logits, Masked(index, mask)), expected)


@pytest.mark.parametrize("prior", [(0.5, 0.3, 0.2), (0.75, 0.25, 0.0)])
def test_class_weights_by_inverse_frequency(prior):
    spec = TaskSpec("multiclass", ("a", "b", "c"), weighting="inverse-frequency", prior=prior)
    loss = task_loss(spec).double()
    # N / (K n_k), K counting the classes that occur; their mean over the training part is one
    seen = sum(p > 0 for p in prior)
    assert loss.weight.tolist() == pytest.approx([1 / (seen * p) if p else 0 for p in prior])
    assert float(loss.weight @ torch.tensor(prior, dtype=torch.float64)) == pytest.approx(1)
    logits, mask, g = logits_and_mask((50,), ())
    index = torch.randint(0, 3, (50,), generator=g)
    each = F.cross_entropy(logits, index, weight=loss.weight, reduction="none")
    torch.testing.assert_close(loss(logits, Masked(index, mask)), each[mask].sum() / mask.sum())


@pytest.mark.parametrize("leading", LEADING)
def test_binary_cross_entropy(leading):
    logits, mask, g = logits_and_mask(leading)
    truth = torch.randint(0, 2, mask.shape, generator=g).double()
    expected = F.binary_cross_entropy_with_logits(logits[mask], truth[mask])
    spoilt = torch.where(mask, truth, float("nan"))
    torch.testing.assert_close(task_loss(LABELS)(logits, Masked(spoilt, mask)), expected)


def test_label_weights_by_inverse_frequency():
    prior = (0.1, 0.5, 0.0)
    spec = TaskSpec("multilabel", ("a", "b", "c"), weighting="inverse-frequency", prior=prior)
    loss = task_loss(spec).double()
    positive, negative = loss.positive.tolist(), loss.negative.tolist()
    assert positive == pytest.approx([5, 1, 0]) and negative == pytest.approx([1 / 1.8, 1, 1])
    for p, plus, minus in zip(prior, positive, negative, strict=True):
        assert p * plus + (1 - p) * minus == pytest.approx(1)
    logits, truth = torch.randn(1, 3).double(), torch.tensor([[1.0, 0.0, 0.0]]).double()
    each = F.binary_cross_entropy_with_logits(logits, truth, reduction="none")[0]
    expected = (each * torch.tensor([5, 1, 1])).mean()
    torch.testing.assert_close(loss(logits, Masked(truth, torch.ones(1, 3, dtype=torch.bool))), expected)


@pytest.mark.parametrize("leading", LEADING)
@pytest.mark.parametrize(("name", "function"), [("mse", F.mse_loss), ("l1", F.l1_loss), ("huber", F.huber_loss)])
def test_pointwise_errors(leading, name, function):
    logits, mask, g = logits_and_mask(leading)
    truth = torch.randn(mask.shape, generator=g, dtype=torch.float64)
    spoilt = torch.where(mask, truth, float("inf"))
    loss = task_loss(DIMENSIONS, regression=name)(logits, Masked(spoilt, mask))
    torch.testing.assert_close(loss, function(logits[mask], truth[mask]))


@pytest.mark.parametrize("leading", [(30,), (6, 9)])
def test_ccc_pools_what_is_observed(leading):
    logits, mask, g = logits_and_mask(leading)
    truth = torch.where(mask, 0.5 * logits + torch.randn(mask.shape, generator=g, dtype=torch.float64), float("nan"))
    cccs = []
    for k in range(3):
        p, t = (x[..., k][mask[..., k]].numpy() for x in (logits, truth))
        cccs.append(2 * np.cov(p, t, bias=True)[0, 1] / (p.var() + t.var() + (p.mean() - t.mean()) ** 2))
    loss = task_loss(DIMENSIONS, regression="ccc")(logits, Masked(truth, mask))
    assert loss.item() == pytest.approx(1 - np.mean(cccs), rel=1e-9)


def test_ccc_ignores_dimensions_without_observations():
    logits, mask, g = logits_and_mask((30,))
    truth = torch.randn(30, 3, generator=g, dtype=torch.float64)
    loss = task_loss(DIMENSIONS, regression="ccc")
    mask[:, 1] = False
    two = Masked(truth[:, [0, 2]], mask[:, [0, 2]])
    torch.testing.assert_close(loss(logits, Masked(truth, mask)), loss(logits[:, [0, 2]], two))


@pytest.mark.parametrize(
    ("spec", "regression"),
    [(CLASSES, "mse"), (LABELS, "mse"), *((DIMENSIONS, name) for name in ("mse", "l1", "huber", "ccc"))],
)
@pytest.mark.parametrize("leading", LEADING)
def test_nothing_observed_is_zero_with_a_graph(spec, regression, leading):
    logits = torch.randn(*leading, 3, requires_grad=True)
    shape = leading if spec.kind == "multiclass" else (*leading, 3)
    values = torch.full(shape, -100) if spec.kind == "multiclass" else torch.full(shape, float("nan"))
    loss = task_loss(spec, regression=regression)(logits, Masked(values, torch.zeros(shape, dtype=torch.bool)))
    loss.backward()
    assert loss.item() == 0 and torch.equal(logits.grad, torch.zeros_like(logits))


@pytest.mark.parametrize("spec", [CLASSES, LABELS, DIMENSIONS])
def test_gradient_only_where_observed(spec):
    logits, mask, g = logits_and_mask((8,), () if spec.kind == "multiclass" else (3,))
    logits.requires_grad_()
    values = torch.randint(0, 2, mask.shape, generator=g)
    values = values if spec.kind == "multiclass" else values.double()
    task_loss(spec)(logits, Masked(values, mask)).backward()
    assert torch.equal(logits.grad[~mask], torch.zeros_like(logits.grad[~mask]))
    assert (logits.grad[mask] != 0).all()


def test_half_precision_logits_give_single_precision_losses():
    for spec in (CLASSES, LABELS, DIMENSIONS):
        shape = (4,) if spec.kind == "multiclass" else (4, 3)
        values = torch.zeros(shape, dtype=torch.int64 if spec.kind == "multiclass" else torch.float32)
        loss = task_loss(spec)(torch.randn(4, 3).bfloat16(), Masked(values, torch.ones(shape, dtype=torch.bool)))
        assert loss.dtype == torch.float32


def test_refusals():
    with pytest.raises(UserError, match="training prior"):
        task_loss(TaskSpec("multiclass", ("a", "b"), weighting="inverse-frequency"))
    with pytest.raises(UserError, match="no class weights"):
        task_loss(TaskSpec("regression", ("v",), weighting="inverse-frequency", prior=(0.0,)))
