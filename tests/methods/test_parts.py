"""What is particular to MISA, MMIM and MAG, and to the loss of MMIM."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from mer_bench.errors import UserError
from mer_bench.losses.prediction import ContrastivePrediction
from mer_bench.methods.mag import MAG
from mer_bench.methods.misa import MISA
from mer_bench.types import Masked, Outputs
from tests.cases import features_of, make_batch, tasks_of, without

ITEM = tasks_of("item")


def size(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def test_misa_has_the_parameters_of_the_authors_network_after_the_encoders():
    d, features = 8, features_of(3)
    method = MISA(features, ITEM, dim=d)
    projections = 3 * (size(nn.Linear(d, d)) + size(nn.LayerNorm(d)))
    parts = (3 + 1 + 3) * size(nn.Linear(d, d))  # private, shared, decoders
    layer = size(nn.TransformerEncoderLayer(d, 2)) - 2 * d  # ours: no biases of keys and values
    heads = sum(size(nn.Linear(6 * d, 3 * d)) + size(nn.Linear(3 * d, spec.size)) for spec in ITEM.values())
    assert size(method) - size(method.encoders) == projections + parts + layer + heads


def test_misa_reads_parts_of_present_modalities_only():
    method = MISA(features_of(2), ITEM, dim=8, hidden=8).double().eval()
    fused = (
        method(without(make_batch(features_of(2), ITEM, gaps=False), "beta")).hidden["fused"].unflatten(-1, (2, 2, 8))
    )
    assert (fused[:, :, 1] == 0).all() and (fused[:, :, 0] != 0).any()


@torch.no_grad()
def test_mag_shifts_by_beta_of_the_token_s_length_at_most():
    """The gate alone, against the formula token by token."""
    torch.manual_seed(0)
    gate = MAG(features_of(3), ITEM, dim=4, anchor="beta").double().eval().gates["beta"]
    streams = {m: Masked(torch.randn(2, 3, 4, dtype=torch.float64), torch.rand(2, 3) > 0.3) for m in features_of(3)}
    streams = {m: Masked(torch.where(x.mask.unsqueeze(-1), x.values, 0.0), x.mask) for m, x in streams.items()}
    result, longest = gate(streams["beta"], streams), 0.0
    for i, t in [(i, t) for i in range(2) for t in range(3)]:
        z, shift = streams["beta"].values[i, t], torch.zeros(4, dtype=torch.float64)
        if not streams["beta"].mask[i, t]:
            assert (result[i, t] == 0).all()
            continue
        for b in ("alpha", "gamma"):
            x = streams[b].values[i, t]
            if streams[b].mask[i, t]:
                shift = shift + gate.weigh[b](torch.cat([x, z])).relu() * gate.shift[b](x)
        length = math.sqrt((shift**2).sum())
        allowed = min(1.0, math.sqrt((z**2).sum()) / length) if length else 0.0
        longest = max(longest, allowed * length / math.sqrt((z**2).sum()))
        torch.testing.assert_close(result[i, t], gate.norm(z + allowed * shift))
    assert 0 < longest <= 1 + 1e-12


def test_mag_with_one_anchor_and_with_all():
    features, batch = features_of(2), make_batch(features_of(2), ITEM, gaps=False)
    one = MAG(features, ITEM, dim=8, heads=2, anchor="alpha").double().eval()
    assert (one(without(batch, "alpha")).hidden["fused"] == 0).all()
    both = MAG(features, ITEM, dim=8, heads=2).double().eval()
    assert (both(without(batch, "alpha")).hidden["fused"] != 0).any()
    with pytest.raises(UserError, match="no modality 'alfa'"):
        MAG(features, ITEM, anchor="alfa")


def test_contrastive_prediction_is_cross_entropy_over_the_items_of_the_batch():
    features = features_of(2)
    batch = make_batch(features, ITEM, n=10)
    torch.manual_seed(0)
    hidden = {f"{kind}/{m}": torch.randn(10, 5, dtype=torch.float64) for kind in ("input", "decoded") for m in features}
    loss = ContrastivePrediction()
    loss.bind(features, ITEM)
    counted = [i for i in range(10) if all(x.mask[i].any() for x in batch.inputs.values())]
    assert 2 < len(counted) < 10
    wanted = 0.0
    for m in features:
        x, p = (nn.functional.normalize(hidden[f"{kind}/{m}"][counted], dim=-1) for kind in ("input", "decoded"))
        wanted += nn.functional.cross_entropy(x @ p.T, torch.arange(len(counted)))
    torch.testing.assert_close(loss(Outputs({}, hidden), batch, None), wanted)
