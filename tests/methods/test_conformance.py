"""What holds for every method: the contract of `FusionMethod`, over everything in `configs/method`."""

from __future__ import annotations

import copy
import functools
import io

import pytest
import torch
from torch import nn
from torch.func import functional_call, stack_module_state, vmap

import mer_bench.methods
from mer_bench.contracts import FusionMethod
from mer_bench.errors import UserError
from mer_bench.losses.task import task_loss
from mer_bench.types import Batch, Outputs
from tests.cases import (
    FRAMES,
    build,
    classes_of,
    features_of,
    make_batch,
    method_class,
    padded,
    polluted,
    provided,
    recipes,
    slugs,
    supported,
    take,
    tasks_of,
    without,
)

CASES = [(s, level, n) for s in slugs() for level in ("item", "frame") for n in (1, 2, 3) if supported(s, level, n)]
every_case = pytest.mark.parametrize(("slug", "level", "n"), CASES)
TRAINABLE = [c for c in CASES if recipes()[c[0]]["card"].get("trainable", True)]
every_trainable_case = pytest.mark.parametrize(("slug", "level", "n"), TRAINABLE)
# the dear tests take every method at every level with as many modalities as it can have, which reaches every part of it
LARGEST = [c for c in CASES if c[2] == max(k[2] for k in CASES if k[:2] == c[:2])]
every_largest_case = pytest.mark.parametrize(("slug", "level", "n"), LARGEST)
LARGEST_TRAINABLE = [c for c in LARGEST if c in TRAINABLE]
STACKABLE = [c for c in LARGEST if recipes()[c[0]]["card"]["stackable"]]
MEMORISING = [c for c in LARGEST_TRAINABLE if recipes()[c[0]]["card"].get("memorises", True)]
ITEMS = 6


def case(slug: str, level: str, n: int, **changes) -> tuple[FusionMethod, Batch]:
    """A method in evaluation mode and a batch with gaps, both in double precision."""
    features, tasks = features_of(n), tasks_of(level, recipes()[slug]["card"]["tasks"])
    return build(slug, features, tasks, **changes).double().eval(), make_batch(features, tasks, n=ITEMS)


@functools.cache
def asked(slug: str, level: str, n: int) -> tuple[FusionMethod, Batch]:
    """`case`, made once for all tests that only ask it; nothing of it may be changed."""
    method, batch = case(slug, level, n)
    return method.requires_grad_(False), batch


def total(outputs: Outputs) -> torch.Tensor:
    """A scalar in which every output counts with another weight."""
    parts = torch.cat([x.flatten() for x in (*outputs.logits.values(), *outputs.hidden.values())])
    return (parts * torch.arange(len(parts), dtype=parts.dtype).cos()).sum()


def same(a: dict, b: dict, **tolerance) -> None:
    assert a.keys() == b.keys()
    tolerance = {"rtol": 1e-9, "atol": 1e-9, **tolerance}
    for name in a:
        torch.testing.assert_close(a[name], b[name], **tolerance, msg=lambda m, name=name: f"{name}: {m}")


def task_total(method: FusionMethod, batch: Batch, outputs: Outputs | None = None) -> torch.Tensor:
    logits = (outputs or method(batch)).logits
    return sum(task_loss(spec)(logits[name], batch.targets[name]) for name, spec in method.tasks.items())


def test_every_class_has_a_config_and_every_config_a_class():
    named = {recipe["model"]["method"]["class_path"] for recipe in recipes().values()}
    assert named == set(classes_of(mer_bench.methods, FusionMethod))


@every_case
def test_trainable_as_the_card_says(slug, level, n):
    method, _ = asked(slug, level, n)
    assert bool(list(method.parameters())) == recipes()[slug]["card"].get("trainable", True)


@pytest.mark.parametrize("slug", recipes())
def test_card_is_complete(slug):
    card = recipes()[slug]["card"]
    assert card["title"] and isinstance(card["year"], int) and isinstance(card["notes"], list)
    assert card["status"] in {"faithful", "adapted", "feature-level", "reconstruction", "control"}
    assert card["paper"].startswith("https://") or card["status"] == "control"
    assert card["modalities"] in {"1", "2", "1+", "2+"}
    assert set(card["tasks"]) <= {"multiclass", "multilabel", "regression"}
    assert set(card["levels"]) <= {"item", "frame"}
    assert set(card["represents"]) <= {"redundant", "unique", "synergy", "synergy_lookup"}
    assert isinstance(card["stackable"], bool)


@pytest.mark.parametrize("slug", slugs())
@pytest.mark.parametrize("level", ["item", "frame"])
@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("kind", ["multiclass", "multilabel", "regression"])
def test_supports_what_the_card_says_and_refuses_the_rest(slug, level, n, kind):
    card, features, tasks = recipes()[slug]["card"], features_of(n), tasks_of(level, [kind])
    reason = method_class(slug).supports(features, tasks)
    fits = {"1": n == 1, "2": n == 2, "1+": True, "2+": n > 1}[card["modalities"]]
    assert (reason is None) == (fits and level in card["levels"] and kind in card["tasks"])
    if reason is None:
        outputs = build(slug, features, tasks).double()(make_batch(features, tasks, n=ITEMS))
        leading = (ITEMS, FRAMES) if level == "frame" else (ITEMS,)
        assert {k: v.shape for k, v in outputs.logits.items()} == {k: (*leading, s.size) for k, s in tasks.items()}
    else:
        with pytest.raises(UserError, match=method_class(slug).__name__):
            build(slug, features, tasks)


@every_case
def test_provides_what_its_card_says(slug, level, n):
    method, batch = asked(slug, level, n)
    hidden = method(batch).hidden
    assert set(hidden) == provided(recipes()[slug]["card"], features_of(n), method.tasks)
    for name, x in hidden.items():
        sequence = level == "frame" or name.startswith("encoded/")
        assert x.dim() == (3 if sequence else 2) and len(x) == ITEMS, name


@every_case
def test_finite_with_any_modality_missing_and_with_any_alone(slug, level, n):
    method, batch = asked(slug, level, n)
    names = list(batch.inputs)
    for gone in [*([m] for m in names), *([b for b in names if b != m] for m in names), names]:
        outputs = method(without(batch, *gone))
        for name, x in {**outputs.logits, **outputs.hidden}.items():
            assert x.isfinite().all(), (gone, name)


@every_trainable_case
def test_one_modality_alone_is_looked_at(slug, level, n):
    """Items differ in it, so answers do: nothing that is left is masked away with what is gone."""
    method, batch = asked(slug, level, n)
    for m in batch.inputs:
        alone = without(batch, *(other for other in batch.inputs if other != m))
        there = alone.inputs[m].mask.any(1)
        for task, logits in method(alone).logits.items():
            assert logits[there].flatten(1).std(0).amax() > 1e-6, (m, task)


@every_case
def test_padding_and_masked_content_never_matter(slug, level, n):
    method, batch = asked(slug, level, n)
    plain, noisy = method(batch), method(polluted(padded(batch, 3)))
    shown = {k: v[:, :FRAMES] if level == "frame" else v for k, v in noisy.logits.items()}
    same(plain.logits, shown)
    same(plain.hidden, method(polluted(batch)).hidden)


@every_trainable_case
def test_nothing_masked_reaches_a_gradient(slug, level, n):
    method, batch = case(slug, level, n)
    gradients = []
    for b in (batch, polluted(batch)):
        method.zero_grad()
        total(method(b)).backward()
        gradients.append({k: p.grad.clone() for k, p in method.named_parameters()})
    same(*gradients)


@every_case
def test_batch_mates_and_order_never_matter(slug, level, n):
    method, batch = asked(slug, level, n)
    outputs, order = method(batch), torch.tensor([3, 0, 5, 1, 4, 2])
    for index in (order, torch.tensor([2]), torch.tensor([4, 1])):
        part = method(take(batch, index))
        same({k: v[index] for k, v in outputs.logits.items()}, part.logits)
        same({k: v[index] for k, v in outputs.hidden.items()}, part.hidden)


@every_trainable_case
def test_gradient_reaches_every_parameter(slug, level, n):
    method, _ = case(slug, level, n)
    batch = make_batch(method.features, method.tasks, gaps=False)
    total(method(batch)).backward()
    for name, p in method.named_parameters():
        assert p.grad is not None and p.grad.abs().max() > 1e-9, name


@every_largest_case
def test_state_dict_round_trip(slug, level, n):
    method, batch = case(slug, level, n)
    buffer = io.BytesIO()
    torch.save(method.state_dict(), buffer)
    buffer.seek(0)
    other, _ = case(slug, level, n, seed=1)
    other.load_state_dict(torch.load(buffer, weights_only=True))
    same(method(batch).logits, other(batch).logits, rtol=0, atol=0)


@pytest.mark.parametrize(("slug", "level", "n"), LARGEST_TRAINABLE)
@pytest.mark.parametrize("bf16", [False, True], ids=["fp32", "bf16"])
def test_two_steps_are_finite(slug, level, n, bf16):
    features, tasks = features_of(n), tasks_of(level, recipes()[slug]["card"]["tasks"])
    method, batch = build(slug, features, tasks).train(), make_batch(features, tasks, dtype=torch.float32)
    optimizer = torch.optim.AdamW(method.parameters(), 1e-2, fused=True)
    for b in (batch, without(batch, *features)):
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            loss = task_total(method, polluted(b))
        loss.backward()
        optimizer.step()
        assert loss.isfinite()
    assert all(p.isfinite().all() for p in method.parameters())


@pytest.mark.parametrize(("slug", "level", "n"), MEMORISING)
def test_memorises_random_labels(slug, level, n):
    """Of 16 items, or of the frames of four."""
    reached = []
    for rate in (1e-2, 3e-3):  # deep stacks do not settle at the larger one
        reached.append(_share_left_after_150_steps(slug, level, n, rate))
        if reached[-1] < 0.1:
            return
    raise AssertionError(f"share of the first loss that is left: {reached}")


def _share_left_after_150_steps(slug: str, level: str, n: int, rate: float) -> float:
    features, tasks = features_of(n), tasks_of(level, recipes()[slug]["card"]["tasks"])
    method = build(slug, features, tasks, dim=32, hidden=32, projection_dim=8).eval()  # eval: without dropout
    batch = make_batch(features, tasks, n=16 if level == "item" else 4, gaps=False, dtype=torch.float32)
    optimizer = torch.optim.AdamW(method.parameters(), rate, fused=True)
    start = task_total(method, batch).item()
    for _ in range(150):
        optimizer.zero_grad()
        loss = task_total(method, batch)
        loss.backward()
        optimizer.step()
        if loss.item() < 0.1 * start:
            break
    return loss.item() / start


@pytest.mark.filterwarnings("ignore:There is a performance drop")
@pytest.mark.parametrize(("slug", "level", "n"), STACKABLE)
def test_stackable_as_the_card_says(slug, level, n):
    features, tasks = features_of(n), tasks_of(level, recipes()[slug]["card"]["tasks"])
    members = [_Total(build(slug, features, tasks, seed=k).double().eval()) for k in range(2)]
    batches = [make_batch(features, tasks, seed=k) for k in range(2)]
    alone = [_step(member, batch) for member, batch in zip(members, batches, strict=True)]
    params, buffers = stack_module_state(members)
    skeleton = copy.deepcopy(members[0]).to("meta")
    batch = torch.utils._pytree.tree_map(lambda *x: torch.stack(x), *batches)

    def one(params, buffers, batch):
        return functional_call(skeleton, (params, buffers), (batch,))

    losses = vmap(one, randomness="different")(params, buffers, batch)
    if losses.requires_grad:
        losses.sum().backward()
    for k, (value, gradients) in enumerate(alone):
        torch.testing.assert_close(losses[k].detach(), value, rtol=1e-10, atol=1e-10)
        same(gradients, {name: p.grad[k] for name, p in params.items()}, rtol=1e-10, atol=1e-10)
    skeleton.train()  # with dropout
    assert vmap(one, randomness="different")(params, buffers, batch).isfinite().all()


def _step(member: _Total, batch: Batch) -> tuple[torch.Tensor, dict]:
    loss = member(batch)
    if loss.requires_grad:
        loss.backward()
    return loss.detach(), {name: p.grad for name, p in member.named_parameters()}


class _Total(nn.Module):
    """A loss and all outputs of a method as one scalar, in a module so that `functional_call` can swap parameters."""

    def __init__(self, method: FusionMethod) -> None:
        super().__init__()
        self.method = method

    def forward(self, batch: Batch) -> torch.Tensor:
        outputs = self.method(batch)
        return task_total(self.method, batch, outputs) + total(outputs)
