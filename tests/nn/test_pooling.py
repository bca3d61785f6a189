"""Pooling against loops over what is observed."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mer_bench.nn.masking import at_least_single, masked_softmax, zeroed
from mer_bench.nn.pooling import AttentionPool, masked_max, masked_mean
from mer_bench.types import Masked


def spoilt(n: int, time: int, dim: int, seed: int) -> Masked:
    """Random values with NaN and infinity wherever masked; the first row is empty."""
    g = torch.Generator().manual_seed(seed)
    values = torch.randn(n, time, dim, generator=g, dtype=torch.float64)
    mask = torch.rand(n, time, generator=g) > 0.5
    mask[0] = False
    rubbish = torch.where(torch.rand(n, time, dim, generator=g) > 0.5, torch.nan, torch.inf)
    return Masked(torch.where(mask.unsqueeze(-1), values, rubbish), mask)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 5), st.integers(1, 6), st.integers(1, 4), st.integers(0, 1000))
def test_mean_and_max_over_what_is_observed(n, time, dim, seed):
    x = spoilt(n, time, dim, seed)
    mean, largest = masked_mean(x), masked_max(x)
    for i in range(n):
        seen = x.values[i, x.mask[i]]
        expected = (seen.mean(0), seen.amax(0)) if len(seen) else (torch.zeros(dim).double(),) * 2
        torch.testing.assert_close(mean[i], expected[0])
        torch.testing.assert_close(largest[i], expected[1])


def test_more_leading_axes():
    x = spoilt(6, 4, 3, 0)
    folded = Masked(x.values.unflatten(0, (2, 3)), x.mask.unflatten(0, (2, 3)))
    torch.testing.assert_close(masked_mean(folded).flatten(0, 1), masked_mean(x))


@pytest.mark.parametrize("heads", [1, 2])
def test_attention_pool_by_hand(heads):
    pool = AttentionPool(4, heads=heads).double()
    x = spoilt(5, 6, 4, 1)
    out = pool(x)
    for i in range(5):
        seen = x.values[i, x.mask[i]]
        expected = torch.zeros(4, dtype=torch.float64)
        if len(seen):
            weights = pool.score(seen).softmax(0)  # (seen, heads)
            size = 4 // heads
            parts = [weights[:, h] @ seen[:, h * size : (h + 1) * size] for h in range(heads)]
            expected = torch.cat(parts)
        torch.testing.assert_close(out[i], expected)
    out.sum().backward()
    assert pool.score.weight.grad.isfinite().all()


def test_softmax_without_entries_is_zero():
    scores = torch.tensor([[1.0, 2.0, 3.0], [1.0, 2.0, 3.0]], requires_grad=True)
    mask = torch.tensor([[True, False, True], [False, False, False]])
    p = masked_softmax(scores, mask)
    torch.testing.assert_close(p[0, [0, 2]], torch.tensor([1.0, 3.0]).softmax(0))
    assert p[0, 1] == 0 and torch.equal(p[1], torch.zeros(3))
    p.square().sum().backward()
    assert scores.grad.isfinite().all()


def test_zeroed_stops_nan_in_values_and_gradients():
    values = torch.tensor([[1.0], [torch.nan]], requires_grad=True)
    out = zeroed(Masked(values, torch.tensor([True, False])))
    (out * out).sum().backward()
    assert out.tolist() == [[1.0], [0.0]] and values.grad.tolist() == [[2.0], [0.0]]


def test_at_least_single_keeps_double():
    assert at_least_single(torch.zeros(1, dtype=torch.bfloat16)).dtype == torch.float32
    assert at_least_single(torch.zeros(1, dtype=torch.float64)).dtype == torch.float64
