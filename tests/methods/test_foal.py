"""Foal-Net: wiring, size, and what absence does to its branches."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from mer_bench.contracts import TwoStage
from mer_bench.methods.foal import FoalNet
from mer_bench.types import FeatureSpec, Masked, TaskSpec
from tests.cases import features_of, make_batch, tasks_of, without

EMOTION = {"emotion": TaskSpec("multiclass", ("happy", "neutral", "sad", "angry"))}
TINY = {"dim": 8, "heads": 2, "projection_dim": 6}


def tiny(n: int, **changes) -> FoalNet:
    torch.manual_seed(0)
    return FoalNet(features_of(n), EMOTION, **{**TINY, **changes}).double().eval()


def test_size_is_that_of_the_authors_network():
    """14.32 M new parameters for 1024 and 768 features; ours has no biases of keys and values, 2 x (1024 + 768) x 2."""
    method = FoalNet({"audio": FeatureSpec(1024), "vision": FeatureSpec(768)}, EMOTION, adapt=False)
    count = sum(p.numel() for p in method.parameters())
    assert round((count + 2 * 2 * (1024 + 768)) / 1e6, 2) == 14.32


def test_branches_by_hand():
    """The published network for one item of two modalities, step by step from the weights."""
    method = tiny(2)
    batch = make_batch(method.features, EMOTION, gaps=False)
    outputs, encoded = method(batch), method.encode(batch)

    def branch(a: str, b: str, i: int) -> torch.Tensor:
        stack, x, source = method.stacks[f"{a}/{b}"], encoded[a].values[i], encoded[b].values[i]
        for attention, norm in zip(stack.attentions, stack.norms, strict=True):
            k, v = (source @ attention.key_value.weight.T).chunk(2, -1)
            q = attention.query(x)
            heads = []
            for h in range(2):
                part = slice(h * 4, h * 4 + 4)
                heads.append((q[:, part] @ k[:, part].T / math.sqrt(4)).softmax(-1) @ v[:, part])
            x = F.layer_norm(x + attention.out(torch.cat(heads, -1)), (8,), norm.weight, norm.bias)
        return x.mean(0)

    for i in range(len(batch.rows)):
        f_a, f_b = branch("alpha", "beta", i), branch("beta", "alpha", i)
        torch.testing.assert_close(outputs.hidden["fused"][i], torch.cat([f_a, f_b]))
        torch.testing.assert_close(outputs.hidden["match/alpha/beta"][i], method.match["alpha/beta"](f_a))
        torch.testing.assert_close(outputs.hidden["match/beta/alpha"][i], method.match["beta/alpha"](f_b))


def test_projection_by_hand():
    method = tiny(2)
    batch = make_batch(method.features, EMOTION, gaps=False)
    hidden, block = method(batch).hidden, method.projections["alpha"]
    e = hidden["encoded/alpha"].mean(1) @ block.first.weight.T
    second = F.gelu(e) @ block.second[1].weight.T
    torch.testing.assert_close(hidden["aligned/alpha"], F.layer_norm(e + second, (6,)))


@pytest.mark.parametrize("n", [2, 3])
def test_absent_partner_leaves_the_residual_path_and_absent_self_a_zero_branch(n):
    method = tiny(n)
    batch = make_batch(method.features, EMOTION, gaps=False)
    alone = method(without(batch, *list(method.features)[1:]))
    own, rest = alone.hidden["fused"].split([8, 8 * (n - 1)], dim=-1)
    assert torch.equal(rest, torch.zeros_like(rest))
    frames = method.encode(batch)["alpha"].values
    views = []
    for b in list(method.features)[1:]:
        x = frames
        for norm in method.stacks[f"alpha/{b}"].norms:
            x = norm(x)
        views.append(x.mean(1))
    torch.testing.assert_close(own, torch.stack(views).mean(0))


def test_with_three_modalities_a_branch_is_the_mean_over_present_partners():
    method = tiny(3)
    batch = make_batch(method.features, EMOTION, gaps=False)
    full, part = method(batch).hidden, method(without(batch, "gamma")).hidden
    a_from_b = method._attend("alpha", "beta", *(method.encode(batch)[m] for m in ("alpha", "beta")))
    a_from_c = method._attend("alpha", "gamma", *(method.encode(batch)[m] for m in ("alpha", "gamma")))
    torch.testing.assert_close(full["fused"][:, :8], (a_from_b + a_from_c) / 2)
    torch.testing.assert_close(part["fused"][:, :8], a_from_b)


def test_matching_depends_on_its_pair_only():
    method = tiny(3)
    batch = make_batch(method.features, EMOTION, gaps=False)
    encoded = method.encode(batch)
    turned = {**encoded, "gamma": Masked(encoded["gamma"].values.flip(0), encoded["gamma"].mask)}
    before, after = method.fuse(encoded).hidden, method.fuse(turned).hidden
    for name in ("match/alpha/beta", "match/beta/alpha"):
        torch.testing.assert_close(before[name], after[name], rtol=0, atol=0)
    assert not torch.allclose(before["match/alpha/gamma"], after["match/alpha/gamma"])


def test_forward_is_encode_then_fuse():
    method, tasks = tiny(2), tasks_of("item", ["multiclass"])
    assert isinstance(method, TwoStage)
    batch = make_batch(method.features, tasks)
    torch.testing.assert_close(method(batch).logits, method.fuse(method.encode(batch)).logits, rtol=0, atol=0)


def test_without_encoders_each_branch_has_the_width_of_its_features():
    features = {"alpha": FeatureSpec(6), "beta": FeatureSpec(4)}
    method = FoalNet(features, EMOTION, adapt=False, heads=2)
    hidden = method(make_batch(features, EMOTION, dtype=torch.float32)).hidden
    assert hidden["fused"].shape[-1] == 10 and hidden["encoded/beta"].shape[-1] == 4
    assert not list(method.encoders.parameters())


def test_a_frame_that_a_modality_lacks_has_a_zero_branch():
    torch.manual_seed(0)
    tasks = tasks_of("frame")
    method = FoalNet(features_of(2), tasks, **TINY).double().eval()
    batch = make_batch(method.features, tasks)
    fused = dict(zip(method.features, method(batch).hidden["fused"].split(8, dim=-1), strict=True))
    for m, branch in fused.items():
        assert torch.equal(branch.abs().sum(-1) > 0, batch.inputs[m].mask)
