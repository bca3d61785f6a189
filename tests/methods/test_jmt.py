"""JMT and its baseline: sizes, wiring, axes, and what absence does to the views."""

from __future__ import annotations

import itertools

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mer_bench.errors import UserError
from mer_bench.methods.jmt import JMT, JOINT
from mer_bench.methods.vanilla_xattn import VanillaCrossAttention
from mer_bench.nn.attention import MultiHeadAttention, PostNormLayer
from mer_bench.recipes import resolve
from mer_bench.types import FeatureSpec, Masked, TaskSpec
from tests.cases import features_of, make_batch, tasks_of, without
from tests.methods.checks import keeps_the_contract, stacks, trains_everything

READOUTS = ["self_attn_last", "self_attn_mean", "concat_encoder", "fc"]
OPTIONS = list(itertools.product(READOUTS, ["standard", "key_based"], ["last", "mean"]))
every_option = pytest.mark.parametrize(("readout", "attention", "pool"), OPTIONS)
every_level = pytest.mark.parametrize("level", ["item", "frame"])
every_method = pytest.mark.parametrize("make", [JMT, VanillaCrossAttention])
TINY = {"dim": 8, "hidden": 8, "head_hidden": [8]}
SOURCE = {"vision": FeatureSpec(512), "audio": FeatureSpec(512)}
VA = {"va": TaskSpec("regression", ("valence", "arousal"), level="frame")}
PAIN = {"pain": TaskSpec("multiclass", ("BL1", "PA4"))}


def tiny(n: int, level: str = "item", *, make=JMT, seed: int = 0, **settings):
    torch.manual_seed(seed)
    return make(features_of(n), tasks_of(level), **{**TINY, **settings}).double().eval()


def shipped(name: str) -> dict:
    """Settings of a shipped config."""
    return resolve([name]).settings["model"]["method"]["init_args"]


def millions(method: nn.Module, *, heads: bool = True) -> float:
    """Parameters, with the biases of keys and values that the authors' attention has and ours has not."""
    attentions = [m for m in method.modules() if isinstance(m, MultiHeadAttention)]
    biases = sum(2 * m.query.out_features for m in attentions)
    left_out = 0 if heads else sum(p.numel() for p in method.heads.parameters())
    return (sum(p.numel() for p in method.parameters()) + biases - left_out) / 1e6


def test_size_is_that_of_the_authors_networks():
    """11.04 M that are trained on Aff-Wild2, without heads; on BioVid 53.2 M used, and 5.9 M for the baseline."""
    assert round(millions(JMT(SOURCE, VA, **shipped("method/jmt.yaml")), heads=False), 2) == 11.04
    assert round(millions(JMT(SOURCE, PAIN, **shipped("biovid_jmt.yaml"))), 1) == 53.2
    vanilla = VanillaCrossAttention(SOURCE, PAIN, mix_dim=None, normalise=False, head_hidden=[512, 256, 64])
    assert round(millions(vanilla), 1) == 5.9


@pytest.mark.parametrize("dataset", ["affwild2", "biovid"])
def test_pairs_with_the_authors_settings_are_kept_apart(dataset):
    """They build on data set and method, and their rows are never ranked beside shared settings."""
    recipe = resolve([f"{dataset}_jmt"])
    assert (recipe.dataset, recipe.method, recipe.card["variant"]) == (dataset, "jmt", "paper")
    shared = resolve([f"data/{dataset}.yaml", "method/jmt.yaml"])
    assert (shared.dataset, shared.method) == (dataset, "jmt") and "variant" not in shared.card


def test_sequences_of_the_authors_have_16_tokens():
    """A window of their loader is 512 frames, answered by 32 sequences."""
    settings = resolve(["affwild2_jmt"]).settings
    method = JMT(SOURCE, VA, **settings["model"]["method"]["init_args"])
    batch = make_batch(SOURCE, VA, n=1, dtype=torch.float32)
    time = settings["data"]["init_args"]["window"]
    inputs = {m: Masked(torch.randn(1, time, 512), torch.ones(1, time, dtype=torch.bool)) for m in SOURCE}
    assert {x.values.shape for x in method.streams(inputs).values()} == {(32, 16, 512)}
    assert method(batch._replace(inputs=inputs)).logits["va"].shape == (1, time, 2)


def test_each_dimension_of_a_regression_has_its_own_head():
    """Linear d -> 128, ReLU, dropout, linear 128 -> 1, twice."""
    count = sum(p.numel() for p in JMT(SOURCE, VA).heads.parameters())
    assert count == 2 * (512 * 128 + 128 + 128 + 1)


def theirs(ours: MultiHeadAttention) -> nn.MultiheadAttention:
    """torch's attention with the weights of ours, and biases of zero where ours has none."""
    size = ours.query.out_features
    attention = nn.MultiheadAttention(size, 1, batch_first=True, dtype=torch.float64)
    with torch.no_grad():
        attention.in_proj_weight.copy_(torch.cat([ours.query.weight, ours.key_value.weight]))
        attention.in_proj_bias.zero_()
        attention.in_proj_bias[:size] = ours.query.bias
    attention.out_proj = ours.out
    return attention


def their_layer(ours: PostNormLayer, x: torch.Tensor) -> torch.Tensor:
    x = ours.norm_attention(x + theirs(ours.attention)(x, x, x, need_weights=False)[0])
    return ours.norm_feed(x + ours.feed(x))


@pytest.mark.parametrize("readout", READOUTS)
def test_the_published_network_step_by_step(readout):
    """One recording at a time, as the paper draws it: three streams, six views in its order, the read-out."""
    method = tiny(2, "frame", readout=readout, fc_dim=7)
    batch = make_batch(method.features, method.tasks, gaps=False)
    found = method(batch).hidden["fused"]
    for i in range(len(found)):
        x = [F.normalize(method.streams.project[m](batch.inputs[m].values[i]), dim=-1) for m in method.features]
        v, a = (their_layer(method.encoders[m], s[None]) for m, s in zip(method.features, x, strict=True))
        j = their_layer(method.encoders[JOINT], method.joint(torch.cat(x, -1))[None])
        ca_v, ca_a, ca_j = (theirs(method.attentions[m].attention) for m in (*method.features, JOINT))
        asked = [(ca_v, v, a), (ca_a, a, v), (ca_j, j, v), (ca_v, v, j), (ca_j, j, a), (ca_a, a, j)]
        views = [attend(q, s, s, need_weights=False)[0][0] for attend, q, s in asked]  # each (time, dim)
        side_by_side = torch.cat(views, -1)[None]
        if readout == "concat_encoder":
            expected = their_layer(method.readout.layer, side_by_side)[0]
        elif readout == "fc":
            expected = method.readout.layer.linear(side_by_side)[0]
        else:
            six = their_layer(method.readout.layer, torch.stack(views, 1))  # (time, 6, dim)
            six = theirs(method.readout.attention)(six, six, six, need_weights=False)[0]
            expected = six[:, 5] if readout == "self_attn_last" else six.mean(1)
        torch.testing.assert_close(found[i], expected)


def test_three_modules_serve_six_pairs():
    method = tiny(2)
    assert len(method.attentions) == 3 and len(method.pairs) == 6
    calls = {name: 0 for name in method.attentions}

    def count(name):
        def hook(*_):
            calls[name] += 1

        return hook

    for name, attention in method.attentions.items():
        attention.register_forward_hook(count(name))
    method(make_batch(method.features, method.tasks))
    assert set(calls.values()) == {2}


def test_more_modalities_are_all_ordered_pairs_of_streams():
    method = tiny(3)
    streams = ["alpha", "beta", "gamma", JOINT]
    assert sorted(method.pairs) == sorted(itertools.permutations(streams, 2)) and len(method.attentions) == 4


@every_method
def test_attention_runs_along_time_and_not_across_the_batch(make):
    """In published code another recording of the batch moves the result; here only its own frames do."""
    method = tiny(2, "frame", make=make)
    batch = make_batch(method.features, method.tasks, gaps=False)
    x = batch.inputs["alpha"]
    values = x.values.clone()
    values[0, 1] += 1.0
    moved = method(batch._replace(inputs={**batch.inputs, "alpha": Masked(values, x.mask)})).logits["mood"]
    change = (moved - method(batch).logits["mood"]).abs().amax(-1)
    assert change[0].min() > 1e-9 and torch.equal(change[1:], torch.zeros_like(change[1:]))


@every_method
@pytest.mark.parametrize("every", [2, 4])
def test_tokens_are_frames_that_are_every_apart(make, every):
    method = tiny(2, "frame", make=make, every=every)
    batch = make_batch(method.features, method.tasks, gaps=False)
    x = batch.inputs["beta"]
    values = x.values.clone()
    values[:, 1] += 1.0
    moved = method(batch._replace(inputs={**batch.inputs, "beta": Masked(values, x.mask)})).logits["mood"]
    change = (moved - method(batch).logits["mood"]).abs().amax((0, 2))
    reached = torch.arange(len(change)) % every == 1
    assert change[reached].min() > 1e-9 and change[~reached].max() == 0


def test_swapping_the_modalities_swaps_their_roles():
    """The mean over the views does not care which modality comes first; the last view does."""
    batch = make_batch(features_of(2), tasks_of("item"), gaps=False)
    for readout, equal in (("self_attn_mean", True), ("self_attn_last", False)):
        method = tiny(2, readout=readout)
        turned = JMT(dict(reversed(method.features.items())), method.tasks, **TINY, readout=readout).double().eval()
        turned.load_state_dict(method.state_dict())
        with torch.no_grad():  # the joint stream reads the modalities side by side
            turned.joint.weight.copy_(method.joint.weight.roll(8, dims=1))
        same = torch.allclose(turned(batch).logits["mood"], method(batch).logits["mood"])
        assert same == equal, readout


def test_the_last_view_is_the_last_one_that_is_there():
    """Without the second modality that is the first one looking at the joint stream."""
    method = tiny(2, "frame")
    seen = {}
    method.readout.pick = lambda x: seen.setdefault("views", x).values[..., 0, :]
    batch = make_batch(method.features, method.tasks, gaps=False)
    expected = {(): range(6), ("beta",): (2, 3), ("alpha",): (4, 5), ("alpha", "beta"): ()}
    for gone, present in expected.items():
        seen.clear()
        method(without(batch, *gone))
        mask = torch.zeros(6, dtype=torch.bool)
        mask[list(present)] = True
        assert (seen["views"].mask == mask).all(), gone


@pytest.mark.parametrize("gone", [(), ("alpha",), ("beta",), ("alpha", "beta")])
@pytest.mark.parametrize("readout", READOUTS)
def test_asking_for_the_last_step_only_changes_nothing(readout, gone):
    """Against every step asking, of which the last one is read."""
    method = tiny(3, readout=readout, tokens=5)
    assert method.asks_once == (readout != "concat_encoder")
    batch = without(make_batch(method.features, method.tasks), *gone)
    once = method(batch)
    method.asks_once = False
    torch.testing.assert_close(once, method(batch), rtol=1e-12, atol=1e-12)


def test_rows_of_a_view_belong_to_the_queries_or_key_based_to_the_source():
    """The order of the source is nothing to ordinary attention; in key-based attention its rows are the result's."""
    for attention, ordinary in (("standard", True), ("key_based", False)):
        method = tiny(2, "frame", attention=attention)
        batch = make_batch(method.features, method.tasks, gaps=False)
        a, b = (method._encode(m, x) for m, x in method.streams(batch.inputs).items())
        look = method.attentions["alpha"]
        plain, turned_a, turned_b = look(a, b).values, *(Masked(x.values.roll(1, 1), x.mask) for x in (a, b))
        assert torch.allclose(look(a, turned_b).values, plain) == ordinary
        assert torch.allclose(look(turned_a, b).values, plain.roll(1, 1)) == ordinary
        torch.testing.assert_close(look(turned_a, turned_b).values, plain.roll(1, 1))


@every_method
def test_one_modality_is_refused(make):
    with pytest.raises(UserError, match="two or more"):
        make(features_of(1), PAIN)


@pytest.mark.parametrize("name", ["tokens", "every"])
@every_method
def test_lengths_below_one_are_refused(make, name):
    with pytest.raises(UserError, match=f"model.method.{name} must be at least 1, got 0"):
        make(features_of(2), PAIN, **{name: 0})


@every_level
@every_option
def test_contract(readout, attention, pool, level):
    method = tiny(3, level, readout=readout, attention=attention, pool=pool, tokens=5, every=2)
    keeps_the_contract(method, make_batch(method.features, method.tasks))
    trains_everything(method, make_batch(method.features, method.tasks, gaps=False))


@every_level
@pytest.mark.parametrize("settings", [{"mix_dim": None}, {"pool": "mean", "every": 2}])
def test_contract_of_the_baseline(settings, level):
    method = tiny(3, level, make=VanillaCrossAttention, tokens=5, **settings)
    keeps_the_contract(method, make_batch(method.features, method.tasks))
    trains_everything(method, make_batch(method.features, method.tasks, gaps=False))


@pytest.mark.filterwarnings("ignore:There is a performance drop")
@every_level
@every_option
def test_stackable(readout, attention, pool, level):
    settings = {"readout": readout, "attention": attention, "pool": pool, "every": 2}
    members = [tiny(2, level, seed=k, **settings) for k in range(2)]
    stacks(members, [make_batch(members[0].features, members[0].tasks, seed=k) for k in range(2)])
