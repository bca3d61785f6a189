"""What is particular to the control methods."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from mer_bench.errors import UserError
from mer_bench.methods.concat import Concat
from mer_bench.methods.gated import Gated
from mer_bench.methods.majority import Majority
from mer_bench.methods.transformer import EarlyTransformer
from mer_bench.methods.unimodal import Unimodal
from mer_bench.types import Masked
from tests.cases import FRAMES, TASKS, features_of, make_batch, tasks_of, without

ITEM = tasks_of("item")


@pytest.mark.parametrize("level", ["item", "frame"])
def test_majority_answers_with_the_prior(level):
    features, tasks = features_of(2), tasks_of(level)
    logits = Majority(features, tasks)(make_batch(features, tasks)).logits
    assert torch.allclose(logits["mood"].softmax(-1), torch.tensor(TASKS["mood"].prior))
    assert torch.allclose(logits["tags"].sigmoid(), torch.tensor(TASKS["tags"].prior))
    assert torch.allclose(logits["degree"], torch.tensor(TASKS["degree"].prior))
    assert logits["mood"].shape == ((6, FRAMES, 3) if level == "frame" else (6, 3))


def test_majority_is_finite_for_classes_never_seen_and_needs_a_prior():
    tasks = {
        "mood": replace(TASKS["mood"], prior=(1.0, 0.0, 0.0)),
        "tags": replace(TASKS["tags"], prior=(0, 1, 0.5, 0.5)),
    }
    batch = make_batch(features_of(1), tasks)
    assert all(x.isfinite().all() for x in Majority(features_of(1), tasks)(batch).logits.values())
    with pytest.raises(UserError, match="training prior, which is missing for mood"):
        Majority(features_of(1), {"mood": replace(TASKS["mood"], prior=None)})


def test_unimodal_is_concat_with_one_modality():
    features = features_of(1)
    torch.manual_seed(0)
    one = Unimodal(features, ITEM, dim=8).double().eval()
    torch.manual_seed(0)
    many = Concat(features, ITEM, dim=8).double().eval()
    batch = make_batch(features, ITEM)
    for name, x in one(batch).logits.items():
        torch.testing.assert_close(x, many(batch).logits[name], rtol=0, atol=0)


def test_gated_is_the_bimodal_unit_of_the_paper_for_two():
    """z = sigmoid(W [x_a; x_b]), fused = z tanh(x_a) + (1 - z) tanh(x_b), with W the difference of the two gates."""
    features = features_of(2)
    method = Gated(features, ITEM, dim=8).double().eval()
    batch = make_batch(features, ITEM, gaps=False)
    hidden = method(batch).hidden
    x_a, x_b = hidden["alpha"], hidden["beta"]
    w_a, w_b = method.gate.weight.chunk(2)
    z = torch.sigmoid(torch.cat([x_a, x_b], -1) @ (w_a - w_b).T)
    h_a, h_b = (torch.tanh(x @ method.squash[m].weight.T) for m, x in (("alpha", x_a), ("beta", x_b)))
    torch.testing.assert_close(hidden["fused"], z * h_a + (1 - z) * h_b)


def test_gated_gives_an_absent_modalitys_share_to_the_others():
    features = features_of(2)
    method = Gated(features, ITEM, dim=8).double().eval()
    batch = without(make_batch(features, ITEM, gaps=False), "beta")
    hidden = method(batch).hidden
    torch.testing.assert_close(hidden["fused"], method.squash["alpha"](hidden["alpha"]).tanh())


def test_transformer_lets_modalities_see_each_other_and_tells_them_apart():
    features = {"alpha": features_of(1)["alpha"], "beta": features_of(1)["alpha"]}
    method = EarlyTransformer(features, ITEM, dim=8, heads=2).double().eval()
    batch = make_batch(features, ITEM, gaps=False)
    swapped = batch._replace(inputs={"alpha": batch.inputs["beta"], "beta": batch.inputs["alpha"]})
    a, b = batch.inputs["alpha"], batch.inputs["beta"]
    equal = min(a.mask.shape[1], b.mask.shape[1])
    assert equal > 0 and not torch.allclose(method(batch).logits["mood"], method(swapped).logits["mood"])

    # interaction: the effect of alpha depends on beta
    def logit(x: Masked, y: Masked) -> torch.Tensor:
        return method(batch._replace(inputs={"alpha": x, "beta": y})).logits["mood"]

    other_a, other_b = Masked(a.values.flip(0), a.mask), Masked(b.values.flip(0), b.mask)
    interaction = logit(a, b) - logit(other_a, b) - logit(a, other_b) + logit(other_a, other_b)
    assert interaction.abs().max() > 1e-3


def test_prior_of_majority_follows_log_odds():
    tasks = {"tags": replace(TASKS["tags"], prior=(0.5, 0.25, 0.75, 0.9))}
    logits = Majority(features_of(1), tasks)(make_batch(features_of(1), tasks)).logits["tags"][0]
    assert logits.tolist() == pytest.approx([0, -math.log(3), math.log(3), math.log(9)], rel=1e-5)


@pytest.mark.parametrize("layers", [0, 1])
@pytest.mark.parametrize("wanted", [2_000, 50_000, 1_000_000])
def test_concat_is_matched_in_parameters(layers, wanted):
    state = torch.get_rng_state()
    method = Concat(features_of(3), ITEM, layers=layers, match_parameters=wanted)
    found = sum(p.numel() for p in method.parameters())
    # of neighbouring widths the nearer one: half a step of about 2 / width, or 8 / width where heads must divide it
    width = method.mix[0].out_features
    assert abs(found - wanted) / wanted < (4 if layers else 1) * 1.5 / width
    torch.set_rng_state(state)
    same = Concat(features_of(3), ITEM, layers=layers, dim=width)
    torch.set_rng_state(state)
    again = Concat(features_of(3), ITEM, layers=layers, match_parameters=wanted)
    assert all(torch.equal(a, b) for a, b in zip(same.parameters(), again.parameters(), strict=True))
