"""ICCL: absent is absent, who sees whom, and which head answers."""

from __future__ import annotations

import itertools

import pytest
import torch

from mer_bench.methods.iccl import ICCL, _the_others
from mer_bench.types import Masked
from tests.cases import features_of, make_batch, polluted, tasks_of, without
from tests.methods.checks import keeps_the_contract, stacks, trains_everything

OPTIONS = list(itertools.product(["joint", "xattn"], ["shared", "separate"]))
every_option = pytest.mark.parametrize(("fusion", "head"), OPTIONS)
every_level = pytest.mark.parametrize("level", ["item", "frame"])


def tiny(n: int, level: str = "item", *, seed: int = 0, **settings) -> ICCL:
    torch.manual_seed(seed)
    return ICCL(features_of(n), tasks_of(level), **{"dim": 8, "heads": 2, **settings}).double().eval()


@every_level
@every_option
def test_one_modality_alone_is_all_that_the_network_sees(fusion, head, level):
    """With the other tensor's content replaced, or its tokens taken away altogether, nothing changes."""
    method = tiny(2, level, fusion=fusion, head=head)
    batch = without(make_batch(method.features, method.tasks), "beta")
    alone = method(batch)
    torch.testing.assert_close(method(polluted(batch)).logits, alone.logits, rtol=0, atol=0)
    assert level == "item" or batch.inputs["beta"].mask.shape[1] > 1
    if level == "item":
        beta = batch.inputs["beta"]
        short = batch._replace(inputs={**batch.inputs, "beta": Masked(beta.values[:, :1], beta.mask[:, :1])})
        torch.testing.assert_close(method(short).logits, alone.logits)


@every_level
def test_one_modality_alone_is_the_network_of_that_modality(level):
    """The weights of a network of two, put into a network of one, give the same answer."""
    both = tiny(2, level)
    batch = make_batch(both.features, both.tasks)
    one = ICCL(features_of(1), both.tasks, dim=8, heads=2).double().eval()
    shared = one.state_dict()
    one.load_state_dict({name: both.state_dict()[name] for name in shared})
    here = batch.inputs["alpha"].mask.any(1)  # where even alpha is missing there is nothing to answer from
    single = batch._replace(inputs={"alpha": batch.inputs["alpha"]})
    expected, found = one(single).logits, both(without(batch, "beta")).logits
    if level == "item":
        for name in expected:
            torch.testing.assert_close(found[name][here], expected[name][here])
    else:  # a single token is averaged with weight one, whatever its score
        seen = batch.inputs["alpha"].mask
        for name in expected:
            torch.testing.assert_close(found[name][seen], expected[name][seen])


@every_option
def test_both_modalities_matter(fusion, head):
    method = tiny(2, fusion=fusion, head=head)
    batch = make_batch(method.features, method.tasks, gaps=False)
    plain = method(batch).logits["mood"]
    for m, x in batch.inputs.items():
        moved = batch._replace(inputs={**batch.inputs, m: Masked(x.values + 1.0, x.mask)})
        assert (method(moved).logits["mood"] - plain).abs().amin(1).min() > 1e-6


def test_the_others_by_loop():
    g = torch.Generator().manual_seed(0)
    masks = [torch.rand(9, time, generator=g) > 0.5 for time in (3, 2, 4)]
    masks[0][0], masks[1][0], masks[2][0] = True, False, False
    masks[0][1], masks[1][1], masks[2][1] = True, True, False
    found = _the_others(masks)
    owner = [m for m, mask in enumerate(masks) for _ in range(mask.shape[1])]
    observed = torch.cat(masks, 1)
    for b, i, j in itertools.product(range(9), range(9), range(9)):
        elsewhere = any(observed[b, k] for k in range(9) if owner[k] != owner[i])
        expected = observed[b, j] and (owner[j] != owner[i] if elsewhere else owner[j] == owner[i])
        assert bool(found[b, i, j]) == bool(expected), (b, i, j)


def test_separate_heads_answer_for_one_modality_alone():
    method = tiny(3, head="separate")
    batch = make_batch(method.features, method.tasks, gaps=False)
    cases = {"alpha": ["beta", "gamma"], "gamma": ["alpha", "beta"]}
    for m, gone in cases.items():
        outputs = method(without(batch, *gone))
        own = method.alone[m](outputs.hidden["fused"])
        torch.testing.assert_close(outputs.logits, own, rtol=0, atol=0)
    for gone in ([], ["gamma"]):
        outputs = method(without(batch, *gone))
        torch.testing.assert_close(outputs.logits, method.heads(outputs.hidden["fused"]), rtol=0, atol=0)


@every_level
@every_option
def test_contract(fusion, head, level):
    method = tiny(3, level, fusion=fusion, head=head)
    batch = make_batch(method.features, method.tasks)
    keeps_the_contract(method, batch)
    full = make_batch(method.features, method.tasks, gaps=False)
    names = list(full.inputs)
    trains_everything(method, full, *(without(full, *(b for b in names if b != m)) for m in names))


@pytest.mark.filterwarnings("ignore:There is a performance drop")
@every_level
@every_option
def test_stackable(fusion, head, level):
    members = [tiny(2, level, seed=k, fusion=fusion, head=head) for k in range(2)]
    stacks(members, [make_batch(members[0].features, members[0].tasks, seed=k) for k in range(2)])
