"""What holds for every auxiliary loss: the contract of `AuxLoss`, over everything in `mer_bench/losses`."""

from __future__ import annotations

import copy
import inspect
from functools import cache

import pytest
import torch
from torch import nn
from torch.func import functional_call, stack_module_state, vmap

from mer_bench.contracts import AuxLoss, FusionMethod
from mer_bench.errors import UserError
from mer_bench.training.objective import with_other_views
from mer_bench.training.subsets import JointSubsets
from mer_bench.types import Batch, Features, Masked, Outputs, Tasks
from tests.cases import (
    build,
    features_of,
    loss_classes,
    make_batch,
    method_class,
    polluted,
    recipes,
    slugs,
    supported,
    take,
    tasks_of,
    without,
)
from tests.losses.everything import Everything

TASKS = tasks_of("item")
every_loss = pytest.mark.parametrize("name", sorted(loss_classes()))
# what takes pairs of modalities says so by its argument; a new loss need not be entered in either of these
PAIRED = sorted(name for name, make in loss_classes().items() if "between" in inspect.signature(make).parameters)
every_paired_loss = pytest.mark.parametrize("name", PAIRED)
# these take no pairs, and say that an item with a single modality teaches them nothing
NEED_TWO = {"ContrastivePrediction", "GeneratedLabels", "GraphDistillation", "Imagination", "MutualKL"}
KINDS = ("multiclass", "multilabel", "regression")
every_size = pytest.mark.parametrize("n", [2, 3])


class Joined(nn.Module):
    """A method and a loss as one module, as training uses them: all modalities, and beside them each one alone."""

    def __init__(self, method: FusionMethod, loss: AuxLoss, features: Features, tasks: Tasks = TASKS) -> None:
        super().__init__()
        self.method, self.loss, self.schedule = method, loss, JointSubsets()
        for part in (loss, self.schedule):
            part.bind(features, tasks)

    def forward(self, batch: Batch) -> torch.Tensor:
        names, _, views = zip(*self.schedule.views(batch, 0), strict=True)
        outputs = with_other_views(names, views, [self.method(view) for view in views])
        return self.loss(outputs, batch, self.method)


def joined(name: str, n: int, *, seed: int = 0, tasks: Tasks = TASKS) -> Joined:
    """The loss with the smallest method that provides what it reads, in double precision and evaluation mode.

    Where no shipped method does, a test method that provides everything stands in.
    """
    slug = provider(name, n, tuple(tasks.items()))
    method = make(slug, features_of(n), tasks, seed)
    return Joined(method, loss_classes()[name](), features_of(n), tasks).double().eval()


EVERYTHING = "everything"


@cache
def provider(name: str, n: int, tasks: tuple) -> str:
    """Slug of a method that provides what the loss reads and learns from it."""
    features, wanted = features_of(n), dict(tasks)
    level, reasons = next(iter(wanted.values())).level, []
    loss = loss_classes()[name]()
    loss.bind(features, wanted)
    batch = make_batch(features, wanted, draws=loss.double().eval().n_draws)
    fitting = [s for s in slugs() if supported(s, level, n)]
    fitting = [s for s in fitting if method_class(s).supports(features, wanted) is None]
    for slug in (*sorted(fitting, key=parts), EVERYTHING):
        method, outputs = answered(slug, n, tasks)
        try:
            value = loss(outputs, batch, method)
        except UserError as error:
            reasons.append(f"{slug}: {error}")
        else:
            if value.requires_grad:  # not of features as they came in
                return slug
    raise AssertionError(f"nothing provides what {name} reads; " + "; ".join(reasons))


@cache
def answered(slug: str, n: int, tasks: tuple) -> tuple[FusionMethod, Outputs]:
    """A method and what it makes of the batch of `provider`, whose draws only losses read."""
    method = make(slug, features_of(n), dict(tasks), 0)
    schedule = JointSubsets()
    schedule.bind(method.features, method.tasks)
    names, _, views = zip(*schedule.views(make_batch(method.features, method.tasks), 0), strict=True)
    return method, with_other_views(names, views, [method(view) for view in views])


def make(slug: str, features: Features, tasks: Tasks, seed: int) -> FusionMethod:
    """A shipped method or the one that provides everything, in double precision and evaluation mode."""
    if slug != EVERYTHING:
        return build(slug, features, tasks, seed=seed).double().eval()
    torch.manual_seed(seed)
    return Everything(features, tasks).double().eval()


@cache
def parts(slug: str) -> int:
    """How many parameters a method has, which is what its steps cost at this size."""
    level = "item" if supported(slug, "item", 2) else "frame"
    tasks = tasks_of(level, recipes()[slug]["card"]["tasks"])
    return len(list(build(slug, features_of(2), tasks).parameters()))


def batch_for(model: Joined, n: int, *, size: int = 12, seed: int = 0) -> Batch:
    return make_batch(features_of(n), TASKS, n=size, seed=seed, draws=model.loss.n_draws)


@every_loss
@every_size
def test_scalar_finite_and_differentiable(name, n):
    model = joined(name, n)
    value = model(batch_for(model, n))
    assert value.shape == () and value.isfinite() and value > 0
    value.backward()
    reached = [p for p in model.method.parameters() if p.grad is not None and p.grad.abs().sum() > 0]
    assert reached


@every_loss
@every_size
def test_weight_is_not_applied_inside(name, n):
    model = joined(name, n)
    batch = batch_for(model, n)
    before = model(batch)
    model.loss.weight = 17.0
    torch.testing.assert_close(model(batch), before, rtol=0, atol=0)


@every_loss
@every_size
def test_zero_with_a_graph_when_nothing_qualifies(name, n):
    model = joined(name, n)
    batch = batch_for(model, n)
    nothing = without(batch, *batch.inputs)
    lonely = without(batch, *list(batch.inputs)[1:])
    for empty in (nothing, polluted(nothing), *([lonely] if name in NEED_TWO or name in PAIRED else [])):
        model.zero_grad()
        value = model(empty)
        assert value.item() == 0
        value.backward()
        assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


@every_loss
@every_size
def test_absent_items_do_not_count(name, n):
    """Items that lack a partner or, where labels are read, a label change nothing, whatever they contain."""
    model = joined(name, n)
    batch = batch_for(model, n)
    value = model(batch)
    torch.testing.assert_close(model(polluted(batch)), value, rtol=1e-10, atol=1e-10)
    more = batch_for(model, n, size=20, seed=9)
    absent = without(more, *more.inputs)
    both = torch.utils._pytree.tree_map(lambda a, b: torch.cat([a, b]), batch, polluted(absent))
    torch.testing.assert_close(model(both), value, rtol=1e-10, atol=1e-10)


@every_loss
@every_size
def test_order_of_items_does_not_matter_to_losses_without_draws(name, n):
    model = joined(name, n)
    batch = batch_for(model, n)
    if model.loss.n_draws:
        pytest.skip("a draw picks by position, so another order is another draw")
    order = torch.randperm(12, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(model(take(batch, order)), model(batch), rtol=1e-10, atol=1e-10)


@every_loss
@every_size
def test_random_only_through_draws(name, n):
    model = joined(name, n)
    batch = batch_for(model, n)
    state = torch.get_rng_state()
    first = model(batch)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(5)
    torch.testing.assert_close(model(batch), first, rtol=0, atol=0)
    assert batch.draws.shape[1] == model.loss.n_draws
    if model.loss.n_draws:
        other = model(batch._replace(draws=1 - batch.draws.clamp(min=1e-6)))
        assert other != first


@every_loss
@every_size
@pytest.mark.parametrize("bf16", [False, True], ids=["fp32", "bf16"])
def test_two_steps_are_finite(name, n, bf16):
    model = joined(name, n).float().train()
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2, fused=True)
    batch = make_batch(features_of(n), TASKS, n=12, draws=model.loss.n_draws, dtype=torch.float32)
    for b in (batch, without(batch, *batch.inputs), batch):
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            value = model(b)
        assert value.dtype == torch.float32 and value.isfinite()
        value.backward()
        optimizer.step()
    assert all(p.isfinite().all() for p in model.parameters())


@every_paired_loss
def test_pairs_that_are_not_there_are_refused(name):
    """A modality that is not offered is refused, and so is a run with one modality."""
    make = loss_classes()[name]
    with pytest.raises(UserError, match="'delta'"):
        make(between=[("gamma", "delta")]).bind(features_of(3), TASKS)
    with pytest.raises(UserError, match="two different modalities"):
        make().bind(features_of(1), TASKS)


@every_loss
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("level", ["item", "frame"])
def test_every_kind_of_task_works_or_is_refused_by_name(name, kind, level):
    tasks = tasks_of(level, [kind])
    if (said := refusal(name, tasks)) is not None:
        assert said.startswith(f"{name}: ") and "emove this loss" in said
        return
    model = joined(name, 2, tasks=tasks)
    batch = make_batch(features_of(2), tasks, n=48, draws=model.loss.n_draws)
    value = model(batch)
    assert value > 0
    torch.testing.assert_close(model(polluted(batch)), value, rtol=1e-10, atol=1e-10)


def refusal(name: str, tasks: Tasks) -> str | None:
    """What the loss says against tasks that it cannot learn from; None where it can."""
    try:
        loss_classes()[name]().bind(features_of(2), tasks)
    except UserError as error:
        return str(error)
    return None


@every_loss
def test_a_refusal_is_of_the_kind_and_spares_one(name):
    refused = {level: [kind for kind in KINDS if refusal(name, tasks_of(level, [kind]))] for level in ("item", "frame")}
    assert refused["item"] == refused["frame"] and len(refused["item"]) < len(KINDS)
    known = {"RankNContrast": ["multiclass", "multilabel"], "Evidential": ["regression"]}
    assert refused["item"] == known.get(name, refused["item"])


@every_paired_loss
def test_a_method_without_the_hidden_names_is_refused_with_what_it_has(name):
    method = build("concat", features_of(2), TASKS).double()
    loss = loss_classes()[name]()
    loss.bind(features_of(2), TASKS)
    batch = make_batch(features_of(2), TASKS, draws=loss.n_draws)
    with pytest.raises(UserError, match=f"{name}: .*(it provides alpha, beta, fused|Concat).*remove this loss"):
        loss(method(batch), batch, method)


@pytest.mark.filterwarnings("ignore:There is a performance drop")
@every_loss
@every_size
def test_stackable(name, n):
    members = [joined(name, n, seed=k) for k in range(2)]
    batches = [batch_for(members[0], n, seed=k) for k in range(2)]
    alone = []
    for member, batch in zip(members, batches, strict=True):
        member.zero_grad()
        value = member(batch)
        value.backward()
        alone.append((value.detach(), {k: p.grad for k, p in member.named_parameters() if p.grad is not None}))
    params, buffers = stack_module_state(members)
    skeleton = copy.deepcopy(members[0]).to("meta")
    batch = torch.utils._pytree.tree_map(lambda *x: torch.stack(x), *batches)

    def one(params, buffers, batch):
        return functional_call(skeleton, (params, buffers), (batch,))

    values = vmap(one, randomness="different")(params, buffers, batch)
    values.sum().backward()
    for k, (value, gradients) in enumerate(alone):
        torch.testing.assert_close(values[k].detach(), value, rtol=1e-10, atol=1e-10)
        for key, gradient in gradients.items():
            torch.testing.assert_close(params[key].grad[k], gradient, rtol=1e-10, atol=1e-10)
    skeleton.train()
    assert vmap(one, randomness="different")(params, buffers, batch).isfinite().all()


def test_masked_is_a_pytree():
    """The tests above stack batches leaf by leaf; that a `Masked` travels as two leaves is part of the contract."""
    leaves = torch.utils._pytree.tree_leaves(Masked(torch.zeros(2), torch.ones(2)))
    assert len(leaves) == 2
