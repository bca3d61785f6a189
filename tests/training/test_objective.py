"""What is minimised: views, tasks, their weights, and what auxiliary losses are given."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from mer_bench.contracts import AuxLoss, FusionMethod
from mer_bench.errors import UserError
from mer_bench.losses.answers import UnimodalAnswers
from mer_bench.losses.mutual import MutualKL
from mer_bench.losses.task import task_loss
from mer_bench.training.objective import Objective, regression_losses
from mer_bench.training.subsets import AllModalities, JointSubsets, ModalityDropout
from mer_bench.training.unweighted import AuxiliaryOnly
from mer_bench.training.weighting import UncertaintyWeighting
from mer_bench.types import Batch, Masked, Outputs, TaskSpec
from tests.cases import build, features_of, make_batch, tasks_of, without

FEATURES = features_of(2)
TASKS = tasks_of("item")


def objective(subsets=None, *, auxiliary=None, task_weights=None, slug="concat", seed=0, **more) -> Objective:
    method = build(slug, FEATURES, TASKS, seed=seed)
    made = Objective(method, FEATURES, TASKS, auxiliary or {}, subsets or AllModalities(), task_weights or {}, **more)
    return made.double().eval()


def batch_for(o: Objective, *, seed: int = 0, **settings) -> Batch:
    return make_batch(FEATURES, TASKS, n=12, draws=o.n_draws, seed=seed, **settings)


def by_task(method: FusionMethod, view: Batch, targets: dict[str, Masked]) -> dict[str, Tensor]:
    logits = method(view).logits
    return {name: task_loss(spec).double()(logits[name], targets[name]) for name, spec in TASKS.items()}


class Reads(AuxLoss):
    """Keeps what it is given; its value is the mean of the first draw."""

    n_draws = 2

    def forward(self, outputs: Outputs, batch: Batch, method: FusionMethod) -> Tensor:
        self.outputs, self.batch = outputs, batch
        return batch.draws[:, 0].mean()


def test_one_view_is_the_weighted_sum_of_the_tasks():
    o = objective(task_weights={"mood": 2.0, "degree": 0.5})
    batch = batch_for(o)
    losses = by_task(o.method, batch, batch.targets)
    total, parts = o(batch, 0)
    torch.testing.assert_close(total, 2 * losses["mood"] + losses["tags"] + 0.5 * losses["degree"])
    assert o.names == ("task/mood", "task/tags", "task/degree")
    torch.testing.assert_close(parts, torch.stack(list(losses.values())).detach())


def test_views_add_up_each_with_the_items_that_it_can_answer():
    """An item without text must not be blamed in the pass that shows text only."""
    o = objective(JointSubsets(1.0, weights={"alpha": 0.5, "beta": 0.25}))
    batch = batch_for(o)
    total, _ = o(batch, 0)
    expected = sum(by_task(o.method, batch, batch.targets).values())
    for m, weight, gone in (("alpha", 0.5, "beta"), ("beta", 0.25, "alpha")):
        alone = without(batch, gone)
        here = batch.inputs[m].mask.any(1) | ~torch.stack([x.mask.any(1) for x in batch.inputs.values()]).any(0)
        targets = {
            name: Masked(t.values, t.mask & here.reshape(-1, *[1] * (t.mask.dim() - 1)))
            for name, t in batch.targets.items()
        }
        assert not here.all()
        expected = expected + weight * sum(by_task(o.method, alone, targets).values())
    torch.testing.assert_close(total, expected)


def test_an_auxiliary_loss_sees_the_first_view_and_what_the_others_gave():
    reads = Reads(weight=3.0)
    o = objective(JointSubsets(), auxiliary={"reads": reads})
    batch = batch_for(o)
    total, parts = o(batch, 0)
    plain, _ = objective(JointSubsets())(batch, 0)
    torch.testing.assert_close(total, plain + 3.0 * batch.draws[:, 0].mean())
    assert o.names[-1] == "auxiliary/reads" and parts[-1] == batch.draws[:, 0].mean()
    torch.testing.assert_close(reads.outputs.logits, o.method(batch).logits)
    for m, gone in (("alpha", "beta"), ("beta", "alpha")):
        expected = o.method(without(batch, gone)).logits
        for task in TASKS:
            torch.testing.assert_close(reads.outputs.hidden[f"view/only_{m}/{task}"], expected[task])
        assert torch.equal(reads.outputs.hidden[f"view/only_{m}/seen"], batch.inputs[m].mask.any(1))
    assert set(reads.outputs.hidden) - set(o.method(batch).hidden) == {
        f"view/only_{m}/{name}" for m in FEATURES for name in (*TASKS, "seen")
    }


def test_with_one_view_nothing_is_added():
    reads = Reads()
    o = objective(auxiliary={"reads": reads})
    o(batch_for(o), 0)
    assert set(reads.outputs.hidden) == {"alpha", "beta", "fused"}


def test_each_part_gets_its_own_draws():
    a, b = Reads(), Reads()
    o = objective(ModalityDropout(0.5), auxiliary={"a": a, "b": b})
    assert o.n_draws == 2 + 2 + 2
    batch = batch_for(o)
    o(batch, 0)
    assert torch.equal(a.batch.draws, batch.draws[:, 2:4]) and torch.equal(b.batch.draws, batch.draws[:, 4:6])


def test_unknown_task_in_the_weights():
    with pytest.raises(UserError, match=r"task_weights: no task 'modd'; did you mean mood"):
        objective(task_weights={"modd": 1.0})


def test_auxiliary_only_is_the_auxiliary_losses_in_value_and_gradient():
    answers = UnimodalAnswers(weight=0.5)
    o = objective(auxiliary={"answers": answers}, weighting=AuxiliaryOnly(), slug="mbt")
    batch = batch_for(o)
    total, parts = o(batch, 0)
    alone = 0.5 * answers(o.method(batch), batch, o.method)
    torch.testing.assert_close(total, alone)
    names, parameters = zip(*o.method.named_parameters(), strict=True)
    for name, found, wanted in zip(
        names, torch.autograd.grad(total, parameters), torch.autograd.grad(alone, parameters), strict=True
    ):
        torch.testing.assert_close(found, wanted, msg=name)
    losses = by_task(o.method, batch, batch.targets)
    torch.testing.assert_close(parts[:-1], torch.stack(list(losses.values())).detach())  # still reported


def test_uncertainty_weighting_by_formula():
    """Kendall et al., equation 10, with s = log σ²: exp(-s) L + s/2 for classes, half of the first for a regression."""
    o = objective(weighting=UncertaintyWeighting(), task_weights={"tags": 0.5})
    s = {"mood": 0.3, "tags": -0.7, "degree": 1.1}
    with torch.no_grad():
        for name, value in s.items():
            o.weighting.log_variance[name].fill_(value)
    batch = batch_for(o)
    losses = by_task(o.method, batch, batch.targets)
    sigma2 = {name: torch.tensor(value, dtype=torch.float64).exp() for name, value in s.items()}
    expected = losses["mood"] / sigma2["mood"] + 0.5 * losses["tags"] / sigma2["tags"]
    expected = expected + losses["degree"] / (2 * sigma2["degree"]) + sum(x.sqrt().log() for x in sigma2.values())
    torch.testing.assert_close(o(batch, 0)[0], expected)


def test_uncertainty_weighting_learns_the_size_of_the_losses():
    """At the optimum exp(-s) = 1 / (2 c L): the weights are among the parameters and settle there."""
    o = objective(weighting=UncertaintyWeighting())
    weights = list(o.weighting.parameters())
    assert len(weights) == 3 and {id(p) for p in weights} <= {id(p) for p in o.parameters()}
    batch = batch_for(o)
    optimizer = torch.optim.LBFGS(weights, max_iter=200, line_search_fn="strong_wolfe", tolerance_grad=1e-12)

    def closure():
        optimizer.zero_grad()
        total = o(batch, 0)[0]
        total.backward()
        return total

    optimizer.step(closure)
    for name, loss in by_task(o.method, batch, batch.targets).items():
        c = 0.5 if TASKS[name].kind == "regression" else 1.0
        assert (2 * c * loss).item() == pytest.approx(o.weighting.log_variance[name].exp().item(), rel=1e-4)


@pytest.mark.parametrize("loss", ["mse", "l1", "huber", "ccc"])
def test_regression_loss_is_the_one_asked_for(loss):
    o = objective(regression={"degree": loss})
    batch = batch_for(o)
    target, found = batch.targets["degree"], o.method(batch).logits["degree"]
    x, y = found[target.mask], target.values[target.mask]
    if loss == "ccc":
        pairs = [(found[target.mask[:, k], k], target.values[target.mask[:, k], k]) for k in range(2)]
        ccc = [
            2
            * ((p - p.mean()) * (t - t.mean())).mean()
            / (p.var(correction=0) + t.var(correction=0) + (p.mean() - t.mean()) ** 2)
            for p, t in pairs
        ]
        expected = 1 - sum(ccc) / 2
    else:
        expected = {"mse": F.mse_loss, "l1": F.l1_loss, "huber": F.huber_loss}[loss](x, y)
    torch.testing.assert_close(o(batch, 0)[1][2], expected.detach())


def test_default_regression_loss_goes_with_the_first_metric_of_the_task():
    spec = TaskSpec("regression", ("x",))
    tasks = {"emotion": TASKS["mood"], "va": spec, "sentiment": spec, "level": spec, "silent": spec}
    metrics = ("emotion/ua", "va/ccc/x", "sentiment/mae", "sentiment/ccc", "level/corr", "va/mae")
    assert regression_losses(tasks, metrics) == {"va": "ccc", "sentiment": "l1", "level": "mse", "silent": "mse"}
    assert set(regression_losses(tasks, metrics, "huber").values()) == {"huber"}


@pytest.mark.filterwarnings("ignore:There is a performance drop")
def test_stackable_with_everything_on():
    """Views, distillation and learned task weights: stacked members equal members alone, gradients too."""

    class Total(nn.Module):
        def __init__(self, o: Objective) -> None:
            super().__init__()
            self.o = o

        def forward(self, batch: Batch) -> Tensor:
            return self.o(batch, 1)[0]

    members = [
        Total(
            objective(
                JointSubsets(), auxiliary={"kl": MutualKL()}, weighting=UncertaintyWeighting(), slug="iccl", seed=k
            )
        )
        for k in range(3)
    ]
    batches = [batch_for(members[0].o, seed=k) for k in range(3)]
    alone = []
    for member, batch in zip(members, batches, strict=True):
        loss = member(batch)
        loss.backward()
        alone.append((loss.detach(), {k: p.grad for k, p in member.named_parameters()}))
    params, buffers = stack_module_state(members)
    skeleton = copy.deepcopy(members[0]).to("meta")
    batch = torch.utils._pytree.tree_map(lambda *x: torch.stack(x), *batches)
    losses = vmap(lambda p, b, x: functional_call(skeleton, (p, b), (x,)))(params, buffers, batch)
    losses.sum().backward()
    for k, (loss, gradients) in enumerate(alone):
        torch.testing.assert_close(losses[k].detach(), loss, rtol=1e-10, atol=1e-10)
        for name, gradient in gradients.items():
            torch.testing.assert_close(params[name].grad[k], gradient, rtol=1e-9, atol=1e-9)
