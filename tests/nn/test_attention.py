"""Attention against loops, and where there is nothing to attend to."""

from __future__ import annotations

import math

import pytest
import torch

from mer_bench.errors import UserError
from mer_bench.nn.attention import (
    CrossAttentionStack,
    MultiHeadAttention,
    TransformerLayer,
    TransformerStack,
    sinusoidal_positions,
)

DIM, HEADS = 8, 2


def inputs(batch: int = 4, queries: int = 3, keys: int = 5, key_dim: int = DIM, seed: int = 0):
    g = torch.Generator().manual_seed(seed)
    query = torch.randn(batch, queries, DIM, generator=g, dtype=torch.float64)
    source = torch.randn(batch, keys, key_dim, generator=g, dtype=torch.float64)
    mask = torch.rand(batch, keys, generator=g) > 0.4
    mask[0], mask[1] = False, True
    return query, source, mask


def by_hand(attention: MultiHeadAttention, query: torch.Tensor, source: torch.Tensor, seen: torch.Tensor):
    """One head, one query, one key at a time; `seen` (batch, queries, keys)."""
    out = torch.zeros_like(query)
    size = DIM // HEADS
    q, kv = attention.query(query), attention.key_value(source)
    for b in range(len(query)):
        for i in range(query.shape[1]):
            keys = seen[b, i].nonzero().flatten().tolist()
            if not keys:
                continue
            found = []
            for h in range(HEADS):
                part = slice(h * size, (h + 1) * size)
                k, v = kv[b, :, :DIM][:, part], kv[b, :, DIM:][:, part]
                weights = torch.stack([q[b, i, part] @ k[j] / math.sqrt(size) for j in keys]).softmax(0)
                found.append(sum(w * v[j] for w, j in zip(weights, keys, strict=True)))
            out[b, i] = attention.out(torch.cat(found))
    return out


@pytest.mark.parametrize("key_dim", [DIM, 6])
def test_equal_to_a_loop(key_dim):
    attention = MultiHeadAttention(DIM, HEADS, key_dim=key_dim).double()
    query, source, mask = inputs(key_dim=key_dim)
    expected = by_hand(attention, query, source, mask.unsqueeze(1).expand(-1, 3, -1))
    torch.testing.assert_close(attention(query, source, mask), expected)


def test_queries_may_see_different_keys():
    attention = MultiHeadAttention(DIM, HEADS).double()
    query, source, _ = inputs()
    seen = torch.rand(4, 3, 5, generator=torch.Generator().manual_seed(3)) > 0.5
    seen[2, 1] = False
    torch.testing.assert_close(attention(query, source, seen), by_hand(attention, query, source, seen))


def test_empty_rows_give_zero_and_finite_gradients():
    attention = MultiHeadAttention(DIM, HEADS).double()
    query, source, mask = inputs()
    query.requires_grad_()
    out = attention(query, source, mask)
    assert torch.equal(out[0], torch.zeros_like(out[0])) and (out[1:].abs().sum((1, 2)) > 0).all()
    out.square().sum().backward()
    assert query.grad.isfinite().all() and torch.equal(query.grad[0], torch.zeros_like(query.grad[0]))
    assert all(p.grad.isfinite().all() for p in attention.parameters())


def test_heads_must_divide_the_width():
    with pytest.raises(UserError, match="3 heads do not divide a width of 8"):
        MultiHeadAttention(8, 3)


@pytest.mark.parametrize("block", [TransformerLayer(DIM, HEADS), TransformerStack(DIM, 2, heads=HEADS)])
def test_transformer_ignores_padding_and_batch_mates(block):
    block = block.double().eval()
    _, x, mask = inputs(keys=6)
    x = torch.where(mask.unsqueeze(-1), x, 0.0)
    full = block(x, mask)
    longer = torch.cat([x, torch.full((4, 2, DIM), 7.0, dtype=torch.float64)], 1)
    more = torch.cat([mask, torch.zeros(4, 2, dtype=torch.bool)], 1)
    torch.testing.assert_close(block(longer, more)[:, :6], full)
    torch.testing.assert_close(block(x[2:3], mask[2:3]), full[2:3])
    assert full.isfinite().all()


def test_transformer_without_positions_is_equivariant():
    block = TransformerStack(DIM, 2, heads=HEADS).double().eval()
    _, x, mask = inputs()
    order = torch.tensor([3, 1, 4, 0, 2])
    torch.testing.assert_close(block(x[:, order], mask[:, order]), block(x, mask)[:, order])


def test_no_layers_is_the_identity():
    _, x, mask = inputs()
    assert torch.equal(TransformerStack(DIM, 0)(x, mask), x)


def test_cross_attention_stack_by_hand():
    stack = CrossAttentionStack(DIM, 6, layers=2, heads=HEADS).double().eval()
    query, source, mask = inputs(key_dim=6)
    seen = mask.unsqueeze(1).expand(-1, 3, -1)
    x = query
    for attention, norm in zip(stack.attentions, stack.norms, strict=True):
        y = x + by_hand(attention, x, source, seen)
        centred = y - y.mean(-1, keepdim=True)
        x = centred / (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt() * norm.weight + norm.bias
    torch.testing.assert_close(stack(query, source, mask), x)


def test_cross_attention_without_source_keeps_the_residual_path():
    stack = CrossAttentionStack(DIM, DIM, layers=2, heads=HEADS).double().eval()
    query, source, mask = inputs()
    x = query
    for norm in stack.norms:
        x = norm(x)
    torch.testing.assert_close(stack(query, source, torch.zeros_like(mask)), x)


@pytest.mark.parametrize("dim", [6, 7])
def test_positions(dim):
    codes = sinusoidal_positions(5, like=torch.zeros(1, 1, dim, dtype=torch.float64))
    half = (dim + 1) // 2
    for p in range(5):
        for k in range(dim):
            angle = p / 10_000 ** ((k // 2) / half)
            assert codes[p, k].item() == pytest.approx(math.cos(angle) if k % 2 else math.sin(angle), abs=1e-5)
    assert codes.dtype == torch.float64
