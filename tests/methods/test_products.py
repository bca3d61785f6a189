"""What is particular to late fusion, the linear control, TFN and LMF."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from mer_bench.errors import UserError
from mer_bench.methods.late import Late
from mer_bench.methods.linear import Linear
from mer_bench.methods.lmf import LMF, LowRankLayer
from mer_bench.methods.tfn import TFN, TensorLayer
from tests.cases import features_of, make_batch, tasks_of, without

ITEM = tasks_of("item")


def outer(vectors: list[torch.Tensor]) -> torch.Tensor:
    """The whole outer product of [1; v], item by item, flattened with the last vector fastest."""
    rows = []
    for parts in zip(*vectors, strict=True):
        product = torch.ones(1, dtype=parts[0].dtype)
        for v in parts:
            product = torch.outer(product, torch.cat([v.new_ones(1), v])).flatten()
        rows.append(product)
    return torch.stack(rows)


@pytest.mark.parametrize("dims", [[3, 4], [2, 5, 3], [2, 3, 2, 4]])
def test_tensor_layer_is_a_linear_layer_on_the_whole_product(dims):
    torch.manual_seed(0)
    layer, out = TensorLayer(dims, 6).double(), 6
    vectors = [torch.randn(5, d, dtype=torch.float64) for d in dims]
    # weights (out, last, rest) in memory; the product has the last vector fastest: (out, rest, last)
    whole = layer.weight.view(out, dims[-1] + 1, -1).transpose(1, 2).flatten(1)
    torch.testing.assert_close(layer(vectors), nn.functional.linear(outer(vectors), whole, layer.bias))
    size = math.prod(d + 1 for d in dims)
    assert sum(p.numel() for p in layer.parameters()) == size * out + out  # section 4.2: one linear layer


@pytest.mark.parametrize("dims", [[3, 4], [2, 5, 3]])
def test_low_rank_layer_is_a_tensor_layer_with_a_tensor_of_that_rank(dims):
    torch.manual_seed(0)
    rank, out = 3, 2
    layer = LowRankLayer(dims, out, rank).double()
    vectors = [torch.randn(5, d, dtype=torch.float64) for d in dims]
    weights = torch.zeros(out, math.prod(d + 1 for d in dims), dtype=torch.float64)
    for r in range(rank):
        for o in range(out):
            term = torch.ones(1, dtype=torch.float64)
            for factor in layer.factors:
                term = torch.outer(term, factor[r * out + o]).flatten()
            weights[o] += layer.weight[r].detach() * term.detach()
    torch.testing.assert_close(layer(vectors), nn.functional.linear(outer(vectors), weights, layer.bias))
    # section 3.2: r factors of (d_m + 1) x d_h for each modality; the code adds r weights and a bias
    assert sum(p.numel() for p in layer.parameters()) == rank * out * sum(d + 1 for d in dims) + rank + out


def test_lmf_hands_its_factors_to_the_optimiser_and_they_move():
    features = features_of(3)
    torch.manual_seed(0)
    method = LMF(features, ITEM, dim=8, hidden=8).eval()  # eval: no entry dropped
    before = [factor.clone() for factor in method.product.factors]
    optimizer = torch.optim.AdamW(method.parameters(), 1e-2, weight_decay=0)
    outputs = method(make_batch(features, ITEM, gaps=False, dtype=torch.float32))
    sum(x.square().sum() for x in outputs.logits.values()).backward()
    optimizer.step()
    assert all((new - old).abs().min() > 0 for new, old in zip(method.product.factors, before, strict=True))


def test_tfn_refuses_a_product_that_does_not_fit():
    with pytest.raises(UserError, match="weights; use a smaller"):
        TFN(features_of(3), ITEM, dim=512)


@pytest.mark.parametrize("learned", [False, True])
def test_late_is_a_mean_over_the_modalities_that_are_present(learned):
    features = features_of(3)
    method = Late(features, ITEM, dim=8, learned=learned).double().eval()
    with torch.no_grad():
        for p in method.scores.values():
            p.copy_(torch.tensor([0.3, -1.0, 2.0]))
    batch = without(make_batch(features, ITEM, gaps=False), "beta")
    outputs = method(batch)
    for task, logits in outputs.logits.items():
        odds = {"alpha": math.exp(0.3), "gamma": math.exp(2.0)} if learned else {"alpha": 1.0, "gamma": 1.0}
        wanted = sum(w * outputs.hidden[f"logits/{m}/{task}"] for m, w in odds.items()) / sum(odds.values())
        torch.testing.assert_close(logits, wanted)


def test_linear_is_linear_in_the_averages():
    features = features_of(2)
    method = Linear(features, ITEM).double()
    batch = make_batch(features, ITEM)
    rows = []
    for i in range(6):
        parts = []
        for x in batch.inputs.values():
            kept = x.values[i][x.mask[i]]
            parts.append(kept.mean(0) if len(kept) else torch.zeros(x.values.shape[-1], dtype=torch.float64))
        rows.append(torch.cat(parts))
    for task, logits in method(batch).logits.items():
        torch.testing.assert_close(logits, method.heads.linear[task](torch.stack(rows)))
