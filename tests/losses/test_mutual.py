"""Mutual distillation against torch's distributions."""

from __future__ import annotations

import pytest
import torch
from torch.distributions import Bernoulli, Categorical, Normal, kl_divergence

from mer_bench.errors import UserError
from mer_bench.losses.mutual import MutualKL
from mer_bench.types import Outputs
from tests.cases import build, features_of, make_batch, tasks_of, without

FEATURES = features_of(2)
VIEWS = ("only_alpha", "only_beta")
every_level = pytest.mark.parametrize("level", ["item", "frame"])
every_kind = pytest.mark.parametrize("kind", ["multiclass", "multilabel", "regression"])


def a_step(level: str, kinds=("multiclass", "multilabel", "regression"), *, seed: int = 0):
    """A batch, and outputs as training hands them over, with random logits that can be differentiated."""
    tasks = tasks_of(level, kinds)
    batch = make_batch(FEATURES, tasks, seed=seed)
    g = torch.Generator().manual_seed(seed)
    leading = batch.inputs["alpha"].mask.shape if level == "frame" else batch.rows.shape

    def logits():
        return {
            n: torch.randn(*leading, s.size, generator=g, dtype=torch.float64).requires_grad_()
            for n, s in tasks.items()
        }

    hidden = {}
    for m in FEATURES:
        hidden |= {f"view/only_{m}/{name}": x for name, x in logits().items()}
        hidden[f"view/only_{m}/seen"] = batch.inputs[m].mask.any(1)
    return tasks, batch, Outputs(logits(), hidden)


def bound(tasks, **settings) -> MutualKL:
    loss = MutualKL(**settings)
    loss.bind(FEATURES, tasks)
    return loss


def distributions(kind: str, logits: torch.Tensor):
    return {
        "multiclass": lambda: Categorical(logits=logits),
        "multilabel": lambda: Bernoulli(logits=logits),
        "regression": lambda: Normal(logits, torch.ones_like(logits)),
    }[kind]()


def divergence(kind: str, p: torch.Tensor, q: torch.Tensor) -> torch.Tensor:
    found = kl_divergence(distributions(kind, p), distributions(kind, q))
    return found if kind == "multiclass" else found.mean(-1)


@every_level
@every_kind
@pytest.mark.parametrize("both", [False, True])
def test_equal_to_the_divergence_of_torch(kind, level, both):
    tasks, batch, outputs = a_step(level, [kind])
    (name,) = tasks
    expected = 0.0
    some = torch.stack([x.mask for x in batch.inputs.values()]).any(0) if level == "frame" else None
    for view in VIEWS:
        seen = outputs.hidden[f"view/{view}/seen"]
        counted = seen if level == "item" else some & seen.unsqueeze(1)
        assert counted.any() and not counted.all()
        full, part = outputs.logits[name][counted], outputs.hidden[f"view/{view}/{name}"][counted]
        expected = expected + divergence(kind, full, part).mean()
        if both:
            expected = expected + divergence(kind, part, full).mean()
    found = bound(tasks, both=both)(outputs, batch, None)
    torch.testing.assert_close(found, expected)


def test_tasks_and_views_add_up():
    tasks, batch, outputs = a_step("item")
    alone = [bound({n: s})(outputs, batch, None) for n, s in tasks.items()]
    torch.testing.assert_close(bound(tasks)(outputs, batch, None), sum(alone))


@pytest.mark.parametrize("both", [False, True])
def test_the_teacher_gets_no_gradient(both):
    """One way: none for the full view. Both ways: each side learns, and only as the pupil."""
    tasks, batch, outputs = a_step("item")
    bound(tasks, both=both)(outputs, batch, None).backward()
    for name in tasks:
        assert (outputs.logits[name].grad is not None) == both
        assert all(outputs.hidden[f"view/{v}/{name}"].grad.abs().sum() > 0 for v in VIEWS)


@every_level
def test_items_that_a_view_lost_do_not_count(level):
    tasks, batch, outputs = a_step(level)
    before = bound(tasks)(outputs, batch, None)
    hidden = dict(outputs.hidden)
    for view in VIEWS:
        lost = ~hidden[f"view/{view}/seen"]
        for name in tasks:
            x = hidden[f"view/{view}/{name}"]
            hidden[f"view/{view}/{name}"] = torch.where(lost.reshape(-1, *[1] * (x.dim() - 1)), 1e3, x)
    torch.testing.assert_close(bound(tasks)(outputs._replace(hidden=hidden), batch, None), before)


def test_zero_where_a_view_is_all_there_was():
    """Items that only ever had one modality give the same answer twice, and nothing to learn from."""
    tasks = tasks_of("item")
    method = build("iccl", FEATURES, tasks).double().eval()
    batch = without(make_batch(FEATURES, tasks), "beta")
    outputs = method(batch)
    hidden = {f"view/only_alpha/{n}": x for n, x in method(batch).logits.items()}
    hidden["view/only_alpha/seen"] = batch.inputs["alpha"].mask.any(1)
    value = bound(tasks)(outputs._replace(hidden=hidden), batch, method)
    assert value == 0
    value.backward()


def test_one_view_is_refused():
    tasks, batch, outputs = a_step("item")
    with pytest.raises(UserError, match=r"MutualKL: .*single one; use model\.subsets JointSubsets"):
        bound(tasks)(outputs._replace(hidden={"fused": torch.zeros(6, 2)}), batch, None)


def test_one_modality_is_refused():
    with pytest.raises(UserError, match="MutualKL: needs two or more modalities"):
        MutualKL().bind(features_of(1), tasks_of("item"))


def test_finite_for_logits_that_saturate():
    tasks, batch, outputs = a_step("item")
    far = {n: (x.detach() * 200).requires_grad_() for n, x in outputs.logits.items()}
    hidden = {k: x if k.endswith("seen") else (-200 * x.detach()).requires_grad_() for k, x in outputs.hidden.items()}
    value = bound(tasks)(Outputs(far, hidden), batch, None)
    value.backward()
    assert value.isfinite() and all(x.grad.isfinite().all() for x in hidden.values() if x.requires_grad)
