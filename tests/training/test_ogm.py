"""Gradient balancing: the factors of the paper, whose gradients they reach, and the module that calls it."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from mer_bench.errors import UserError
from mer_bench.losses.task import task_loss
from mer_bench.module import FusionModule
from mer_bench.training.ogm import OGMGE, factors
from mer_bench.types import TaskSpec
from tests.cases import build, features_of, make_batch, tasks_of, without
from tests.losses.everything import Everything

FEATURES = features_of(2)


def with_gradients(kind: str = "multiclass", *, level: str = "item", n: int = 2, make=None):
    """A method after a backward pass, its outputs and batch, and the gradients as they were."""
    features, tasks = features_of(n), tasks_of(level, [kind])
    torch.manual_seed(0)
    method = (make or (lambda f, t: build("concat", f, t)))(features, tasks).double().eval()
    batch = make_batch(features, tasks, n=16)
    outputs = method(batch)
    ((name, spec),) = tasks.items()
    task_loss(spec).double()(outputs.logits[name], batch.targets[name]).backward()
    return method, outputs, batch, {k: p.grad.clone() for k, p in method.named_parameters() if p.grad is not None}


def test_factors_by_hand():
    """Audio is twice as good as vision: it is slowed by 1 - tanh(0.5 · 2), vision is not."""
    found = factors({"audio": torch.tensor(0.6), "vision": torch.tensor(0.3)}, 0.5)
    assert found["audio"].item() == pytest.approx(1 - math.tanh(1.0)) and found["vision"].item() == 1


def test_factors_of_three_compare_with_the_mean_of_the_others():
    found = factors({m: torch.tensor(s) for m, s in (("a", 0.2), ("b", 0.4), ("c", 0.6))}, 1.0)
    assert [found[m].item() for m in "abc"] == pytest.approx([1, 1, 1 - math.tanh(0.6 / 0.3)])


def test_factors_where_nothing_can_be_compared():
    assert [f.item() for f in factors({"a": torch.tensor(0.5), "b": torch.tensor(0.0)}, 1.0).values()] == [1, 1]


@pytest.mark.parametrize("level", ["item", "frame"])
@pytest.mark.parametrize("kind", ["multiclass", "multilabel", "regression"])
@pytest.mark.parametrize("alone", ["passes", "heads"])
def test_only_encoders_are_scaled_and_by_the_scores_of_each_modality(kind, level, alone):
    make = Everything if alone == "heads" else None
    method, outputs, batch, before = with_gradients(kind, level=level, make=make)
    (name,) = method.tasks
    scores = {}
    for m in FEATURES:
        others = [k for k in FEATURES if k != m]
        logits = outputs.hidden[f"logits/{m}/{name}"] if make else method(without(batch, *others)).logits[name]
        here = batch.inputs[m].mask if level == "frame" else batch.inputs[m].mask.any(1)
        target = batch.targets[name]
        y, x, known = target.values[here], logits[here], target.mask[here]
        likely = {
            "multiclass": lambda x=x, y=y: (-F.cross_entropy(x, y, reduction="none")).exp(),
            "multilabel": lambda x=x, y=y: (-F.binary_cross_entropy_with_logits(x, y, reduction="none")).exp(),
            "regression": lambda x=x, y=y: (-(((x - y) / torch.tensor([0.5, 0.4])) ** 2) / 2).exp(),
        }[kind]()
        scores[m] = likely[known].mean()
    hook = OGMGE(0.7, noise=False, alone=alone)
    hook.bind(method)
    hook(method, outputs, batch, 3)
    expected = factors(scores, 0.7)
    assert sorted(f.item() < 1 for f in expected.values()) == [False, True]
    for key, p in method.named_parameters():
        owner = [m for m in FEATURES if m in key.split(".")]
        scaled = bool(owner) and p.dim() > 1 and p.grad is not None
        if p.grad is not None:
            factor = expected[owner[0]] if scaled else 1.0
            torch.testing.assert_close(p.grad, before[key] * factor, rtol=1e-5, atol=0, msg=key)


def test_noise_has_the_spread_of_the_gradient_and_no_mean():
    method, outputs, batch, before = with_gradients()
    hook, drawn = OGMGE(0.0), {k: [] for k in before}  # alpha 0: nothing is scaled
    hook.bind(method)
    for _ in range(400):
        for key, p in method.named_parameters():
            p.grad = before[key].clone()
        hook(method, outputs, batch, 0)
        for key, p in method.named_parameters():
            drawn[key].append(p.grad - before[key])
    key = "encoders.alpha.frames.project.weight"
    noise = torch.stack(drawn[key])
    assert noise.std().item() == pytest.approx(before[key].std().item(), rel=0.05)
    assert noise.mean(0).abs().max() < 5 * before[key].std() / 20
    assert not torch.stack(drawn["mix.0.weight"]).any()


@pytest.mark.parametrize(("epoch", "changes"), [(1, False), (2, True), (4, True), (5, False)])
def test_only_in_its_epochs(epoch, changes):
    method, outputs, batch, before = with_gradients()
    hook = OGMGE(first=2, last=4)
    hook.bind(method)
    hook(method, outputs, batch, epoch)
    assert changes == any(not torch.equal(p.grad, before[k]) for k, p in method.named_parameters())


@pytest.mark.parametrize("slug", ["concat", "transformer", "foal", "iccl", "gated", "jmt", "mmtransmt"])
def test_finds_the_encoders_of_the_shipped_methods(slug):
    method = build(slug, FEATURES, tasks_of("item"))
    hook = OGMGE()
    hook.bind(method)
    found = [id(p) for parameters in hook.encoders.values() for p in parameters]
    assert all(hook.encoders[m] for m in FEATURES) and len(found) == len(set(found))


def test_refusals():
    with pytest.raises(UserError, match=r"Concat has one modality; remove model\.gradient_hook"):
        OGMGE().bind(build("concat", features_of(1), tasks_of("item")))
    bare = {"degree": TaskSpec("regression", ("v",))}
    with pytest.raises(UserError, match="standard deviation of degree"):
        OGMGE().bind(build("concat", FEATURES, bare))
    method, outputs, batch, _ = with_gradients()
    hook = OGMGE(alone="heads")
    hook.bind(method)
    with pytest.raises(UserError, match=r"Concat does not provide 'logits/alpha/mood'; set .*alone to passes"):
        hook(method, outputs, batch, 0)


def test_the_module_calls_it_between_backward_and_step():
    """One step of plain gradient descent moves every weight by minus the changed gradient."""
    tasks = tasks_of("item", ["multiclass"])
    moved = {}
    for hook in (None, OGMGE(1.0, noise=False)):
        module = FusionModule(
            dict(FEATURES),
            tasks,
            ("mood/ua",),
            lambda f, t: build("concat", f, t).double().eval(),
            optimizer=lambda parameters: torch.optim.SGD(parameters, lr=1.0),
            gradient_hook=hook,
        ).double()
        module._sums, module._total_steps = torch.zeros(2, dtype=torch.float64), 1
        optimizer, before = module.configure_optimizers(), [p.detach().clone() for p in module.method.parameters()]
        module._backward(make_batch(FEATURES, tasks, n=16), optimizer)
        optimizer.step()
        names = [k for k, _ in module.method.named_parameters()]
        steps = [a - p.detach() for a, p in zip(before, module.method.parameters(), strict=True)]
        moved[hook is None] = dict(zip(names, steps, strict=True))
    ratios = {k: (moved[False][k].norm() / moved[True][k].norm()).item() for k in moved[True]}
    slowed = {k.split(".")[1] for k, r in ratios.items() if r < 0.5}
    assert len(slowed) == 1 and slowed < set(FEATURES)
    assert all(r == pytest.approx(1) for k, r in ratios.items() if not k.startswith(f"encoders.{min(slowed)}"))
