"""Cross-attention with masks, post-norm layers, and modalities brought onto one clock."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from mer_bench.nn.attention import PostNormLayer
from mer_bench.nn.cross import CrossAttention, KeyBasedAttention
from mer_bench.nn.pooling import last_observed
from mer_bench.nn.streams import Streams, interleaved, resample
from mer_bench.types import FeatureSpec, Masked


def sequence(time: int, dim: int = 4, *, batch: int = 5, seed: int = 0, share: float = 0.6) -> Masked:
    """Random values, zero where masked; the first row has nothing, the second everything."""
    g = torch.Generator().manual_seed(seed)
    mask = torch.rand(batch, time, generator=g) < share
    mask[0], mask[1] = False, True
    values = torch.randn(batch, time, dim, generator=g, dtype=torch.float64)
    return Masked(torch.where(mask.unsqueeze(-1), values, 0.0), mask)


def test_cross_attention_by_loop():
    torch.manual_seed(0)
    look = CrossAttention(4, 1).double()
    query, source = sequence(3, seed=1), sequence(6, seed=2)
    query.mask[2], source.mask[2] = True, False
    found, attention = look(query, source), look.attention
    for b in range(5):
        keys = source.mask[b].nonzero().flatten().tolist()
        for t in range(3):
            assert bool(found.mask[b, t]) == (bool(query.mask[b, t]) and bool(keys))
            if not found.mask[b, t]:
                assert torch.equal(found.values[b, t], torch.zeros(4, dtype=torch.float64))
                continue
            q = attention.query(query.values[b, t])
            kv = [attention.key_value(source.values[b, k]).chunk(2) for k in keys]
            weights = torch.stack([q @ k / 2 for k, _ in kv]).softmax(0)
            expected = attention.out(sum(w * v for w, (_, v) in zip(weights, kv, strict=True)))
            torch.testing.assert_close(found.values[b, t], expected)


def test_key_based_attention_by_loop():
    """softmax(K Qᵀ / √d) V, written out: row i belongs to source step i, column j to a step that both have."""
    torch.manual_seed(0)
    look = KeyBasedAttention(4, 1).double()
    query, source = sequence(5, seed=1), sequence(5, seed=2)
    found = look(query, source)
    for b in range(5):
        both = (query.mask[b] & source.mask[b]).nonzero().flatten().tolist()
        for i in range(5):
            assert bool(found.mask[b, i]) == (bool(source.mask[b, i]) and bool(both))
            if not found.mask[b, i]:
                assert not found.values[b, i].any()
                continue
            k = look.key(source.values[b, i])
            weights = torch.stack([k @ look.query(query.values[b, j]) / math.sqrt(4) for j in both]).softmax(0)
            mixed = sum(w * look.value(source.values[b, j]) for w, j in zip(weights, both, strict=True))
            torch.testing.assert_close(found.values[b, i], look.out(mixed))


def test_post_norm_layer_is_the_original_transformer_layer():
    torch.manual_seed(0)
    ours = PostNormLayer(4, 2, hidden=6).double().eval()
    theirs = nn.TransformerEncoderLayer(4, 2, 6, dropout=0.0, batch_first=True, dtype=torch.float64).eval()
    with torch.no_grad():
        for p in (theirs.self_attn.in_proj_bias, theirs.norm1.bias):
            p.zero_()
        theirs.self_attn.in_proj_weight.copy_(torch.cat([ours.attention.query.weight, ours.attention.key_value.weight]))
        theirs.self_attn.in_proj_bias[:4] = ours.attention.query.bias
        for mine, other in (
            (ours.attention.out, theirs.self_attn.out_proj),
            (ours.feed[0], theirs.linear1),
            (ours.feed[2], theirs.linear2),
            (ours.norm_attention, theirs.norm1),
            (ours.norm_feed, theirs.norm2),
        ):
            other.load_state_dict(mine.state_dict())
    x = sequence(6)
    expected = theirs(x.values[1:], src_key_padding_mask=~x.mask[1:])
    found = ours(x.values, x.mask)
    torch.testing.assert_close(found[1:][x.mask[1:]], expected[x.mask[1:]])
    assert found.isfinite().all()


@settings(max_examples=50, deadline=None)
@given(time=st.integers(1, 12), n=st.integers(1, 9))
def test_resample_is_adaptive_pooling_where_nothing_is_missing(time, n):
    x = torch.randn(3, time, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(time))
    found = resample(Masked(x, torch.ones(3, time, dtype=torch.bool)), n)
    torch.testing.assert_close(found.values, F.adaptive_avg_pool1d(x.transpose(1, 2), n).transpose(1, 2))
    assert found.mask.all()


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 999), time=st.integers(1, 9), n=st.integers(1, 7), extra=st.integers(0, 3))
def test_resample_by_loop(seed, time, n, extra):
    """Stretches of the time up to the last observed frame; padding is no time."""
    x = sequence(time, seed=seed)
    padded = Masked(F.pad(x.values, (0, 0, 0, extra), value=float("nan")), F.pad(x.mask, (0, extra)))
    found = resample(padded, n)
    for b in range(5):
        frames = x.mask[b].nonzero().flatten().tolist()
        length = frames[-1] + 1 if frames else 0
        for s in range(n):
            inside = [t for t in frames if s * length // n <= t < math.ceil((s + 1) * length / n)]
            assert bool(found.mask[b, s]) == bool(inside)
            expected = x.values[b, inside].mean(0) if inside else torch.zeros(4, dtype=torch.float64)
            torch.testing.assert_close(found.values[b, s], expected)


@pytest.mark.parametrize("every", [1, 2, 3, 7])
def test_interleaved_deals_frames_and_streams_put_them_back(every):
    x = sequence(6)
    dealt = interleaved(x, every)
    steps = -(-6 // every)
    assert dealt.values.shape == (5 * every, steps, 4) and dealt.mask.sum() == x.mask.sum()
    for b, t in ((b, t) for b in range(5) for t in range(6)):
        assert torch.equal(dealt.values[b * every + t % every, t // every], x.values[b, t])
    streams = Streams({"m": FeatureSpec(4)}, 4, level="frame", every=every, normalise=False)
    inputs = {"m": Masked(torch.where(x.mask.unsqueeze(-1), x.values, float("nan")), x.mask)}
    assert torch.equal(streams.answer(streams(inputs)["m"], inputs), x.values)


def test_streams_scale_tokens_to_length_one():
    torch.manual_seed(0)
    streams = Streams({"m": FeatureSpec(4)}, 6, level="item", tokens=3).double()
    found = streams({"m": sequence(7)})["m"]
    torch.testing.assert_close(found.values.norm(dim=-1), found.mask.double())


def test_last_observed_by_loop():
    x = sequence(6)
    spoilt = torch.where(x.mask.unsqueeze(-1), x.values, float("nan")).requires_grad_()
    found = last_observed(Masked(spoilt, x.mask))
    for b in range(5):
        frames = x.mask[b].nonzero().flatten().tolist()
        expected = x.values[b, frames[-1]] if frames else torch.zeros(4, dtype=torch.float64)
        assert torch.equal(found[b], expected)
    found.sum().backward()
    assert spoilt.grad.isfinite().all() and spoilt.grad[0].abs().sum() == 0
