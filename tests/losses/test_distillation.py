"""Losses on answers and embeddings from a part of the modalities, against torch and loops."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from mer_bench.errors import UserError
from mer_bench.losses.distillation import Imagination, SelfDistillation, UnimodalTask
from mer_bench.losses.task import task_loss
from mer_bench.types import Masked
from tests.cases import features_of, make_batch, tasks_of
from tests.losses.everything import Everything
from tests.losses.test_mutual import divergence

every_level = pytest.mark.parametrize("level", ["item", "frame"])
every_kind = pytest.mark.parametrize("kind", ["multiclass", "multilabel", "regression"])
every_size = pytest.mark.parametrize("n", [2, 3])


def a_case(level: str, n: int = 2, kinds=("multiclass", "multilabel", "regression")):
    features, tasks = features_of(n), tasks_of(level, kinds)
    torch.manual_seed(0)
    method = Everything(features, tasks).double().eval()
    batch = make_batch(features, tasks, n=16)
    return features, tasks, batch, method, method(batch)


def there(batch, m: str, level: str) -> torch.Tensor:
    return batch.inputs[m].mask if level == "frame" else batch.inputs[m].mask.any(1)


def computed(loss, features, tasks, batch, method, outputs) -> torch.Tensor:
    loss.double().bind(features, tasks)
    return loss.double()(outputs, batch, method)


@every_level
@every_kind
@every_size
def test_unimodal_task_is_the_task_loss_of_the_items_that_have_the_modality(kind, level, n):
    case = features, tasks, batch, _, outputs = a_case(level, n, [kind])
    ((name, spec),) = tasks.items()
    expected, target = [], batch.targets[name]
    for m in features:
        here = there(batch, m, level)
        part = Masked(target.values[here], target.mask[here])
        expected.append(task_loss(spec).double()(outputs.hidden[f"logits/{m}/{name}"][here], part))
    torch.testing.assert_close(computed(UnimodalTask(), *case), torch.stack(expected).mean(), rtol=1e-6, atol=0)


@pytest.mark.parametrize("regression", ["l1", "ccc"])
def test_unimodal_task_takes_the_regression_loss_it_is_given(regression):
    case = features, tasks, batch, _, outputs = a_case("item", 2, ["regression"])
    target, expected = batch.targets["degree"], []
    for m in features:
        here = there(batch, m, "item")
        loss = task_loss(tasks["degree"], regression=regression)
        expected.append(
            loss(outputs.hidden[f"logits/{m}/degree"][here], Masked(target.values[here], target.mask[here]))
        )
    torch.testing.assert_close(computed(UnimodalTask(regression=regression), *case), torch.stack(expected).mean())


@every_level
@every_kind
@every_size
@pytest.mark.parametrize("both", [False, True])
def test_self_distillation_is_the_divergence_of_torch(kind, level, n, both):
    case = features, tasks, batch, _, outputs = a_case(level, n, [kind])
    (name,) = tasks
    expected = 0.0
    for m in features:
        here = there(batch, m, level)
        assert here.any() and not here.all()
        full, part = outputs.logits[name][here], outputs.hidden[f"logits/{m}/{name}"][here]
        expected = expected + divergence(kind, full, part).mean() / n
        expected = expected + (divergence(kind, part, full).mean() / n if both else 0.0)
    torch.testing.assert_close(computed(SelfDistillation(both=both), *case), expected)


@pytest.mark.parametrize("both", [False, True])
def test_the_teacher_learns_only_where_both_teach(both):
    case = a_case("item")
    computed(SelfDistillation(both=both), *case).backward()
    method = case[3]
    assert all(p.grad.any() for p in method.alone.parameters())
    assert all((p.grad is not None) == both for p in method.heads.parameters())


@pytest.mark.parametrize("make", [UnimodalTask, SelfDistillation])
def test_tasks_add_up(make):
    features, tasks, batch, method, outputs = a_case("item")
    alone = [computed(make(), features, {name: spec}, batch, method, outputs) for name, spec in tasks.items()]
    torch.testing.assert_close(computed(make(), features, tasks, batch, method, outputs), sum(alone))


@every_level
@every_size
@pytest.mark.parametrize("cycle", [0.0, 0.5])
def test_imagination_is_a_mean_squared_error(level, n, cycle):
    case = features, _, batch, _, outputs = a_case(level, n)
    expected = 0.0
    for m in features:
        others = torch.stack([there(batch, k, level) for k in features if k != m]).any(0)
        here = there(batch, m, level) & others
        assert here.any() and not here.all()
        for kind, weight in (("imagined", 1.0), ("cycled", cycle)):
            error = F.mse_loss(outputs.hidden[f"{kind}/{m}"][here], outputs.hidden[m][here])
            expected = expected + weight * error / n
    torch.testing.assert_close(computed(Imagination(cycle=cycle), *case), expected)


def test_the_imagined_modality_gets_no_gradient_as_a_target():
    features, tasks, batch, method, outputs = a_case("item")
    leaves = {k: x.detach().requires_grad_() for k, x in outputs.hidden.items()}
    computed(Imagination(), features, tasks, batch, method, outputs._replace(hidden=leaves)).backward()
    assert all(leaves[f"{kind}/{m}"].grad.any() for m in features for kind in ("imagined", "cycled"))
    assert all(leaves[m].grad is None for m in features)


def test_without_a_cycle_none_is_asked_for():
    features, tasks, batch, method, outputs = a_case("item")
    hidden = {k: x for k, x in outputs.hidden.items() if not k.startswith("cycled/")}
    fewer = outputs._replace(hidden=hidden)
    assert computed(Imagination(cycle=0.0), features, tasks, batch, method, fewer) > 0
    with pytest.raises(UserError, match="does not provide 'cycled/alpha'"):
        computed(Imagination(), features, tasks, batch, method, fewer)


def test_one_modality_cannot_be_imagined():
    with pytest.raises(UserError, match="Imagination: needs two or more"):
        Imagination().bind(features_of(1), tasks_of("item"))
