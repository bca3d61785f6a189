"""Stacks give what their members give one by one."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from mer_bench.nn.attention import MultiHeadAttention
from mer_bench.nn.stacks import StackedCrossLayer, StackedLinear, StackedNorm


def test_linear_and_norm_are_those_of_each_member():
    torch.manual_seed(0)
    linear, norm = StackedLinear(3, 4, 5).double(), StackedNorm(3, 4).double()
    with torch.no_grad():
        for p in (linear.bias, norm.weight, norm.bias):
            p.normal_()
    for shape in ((3, 2, 4), (3, 2, 6, 4)):
        x = torch.randn(shape, dtype=torch.float64)
        for k in range(3):
            torch.testing.assert_close(linear(x)[k], F.linear(x[k], linear.weight[k].T, linear.bias[k]))
            torch.testing.assert_close(norm(x)[k], F.layer_norm(x[k], (4,), norm.weight[k], norm.bias[k]))


def test_layer_is_that_of_each_member():
    """Against attention and feed-forward networks built one by one from the member's weights; an empty source too."""
    torch.manual_seed(0)
    n, dim = 3, 4
    layer = StackedCrossLayer(n, dim, 2, hidden=8, dropout=0.5).double().eval()
    with torch.no_grad():
        for p in layer.parameters():
            p.normal_()
    x, source = torch.randn(n, 2, 5, dim, dtype=torch.float64), torch.randn(n, 2, 6, dim, dtype=torch.float64)
    mask = torch.rand(n, 2, 6) > 0.4
    mask[1, 0] = False
    result = layer(x, source, mask)
    for k in range(n):
        attention = MultiHeadAttention(dim, 2).double()
        with torch.no_grad():
            for single, stacked in (
                (attention.query, layer.query),
                (attention.key_value, layer.key_value),
                (attention.out, layer.out),
            ):
                single.weight.copy_(stacked.weight[k].T)
                if stacked.bias is not None:
                    single.bias.copy_(stacked.bias[k])
        scale = layer.norm_attention.weight[k], layer.norm_attention.bias[k]
        query, key = F.layer_norm(x[k], (dim,), *scale), F.layer_norm(source[k], (dim,), *scale)
        y = x[k] + attention(query, key, mask[k])
        first, last = layer.feed[0], layer.feed[-1]
        z = F.layer_norm(y, (dim,), layer.norm_feed.weight[k], layer.norm_feed.bias[k])
        inner = (z @ first.weight[k] + first.bias[k]).relu()
        torch.testing.assert_close(result[k], y + inner @ last.weight[k] + last.bias[k])
