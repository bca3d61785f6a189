"""What is special to ALMT, LNLN, MMIN and TMC, and to the losses on evidence and on damaged input."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch.distributions import Dirichlet, kl_divergence

from mer_bench.losses.completion import Completion
from mer_bench.losses.evidential import Evidential, expected_cross_entropy
from mer_bench.types import Masked
from tests.cases import build, features_of, make_batch, tasks_of, without


def case(slug: str, n: int = 3, kinds=("multiclass",), **changes):
    features, tasks = features_of(n), tasks_of("item", kinds)
    return build(slug, features, tasks, **changes).double().eval(), make_batch(features, tasks, gaps=False)


def belief_masses(evidence: torch.Tensor) -> dict[frozenset, float]:
    """An opinion as masses of sets: one per class, the rest on all of them (Dempster and Shafer)."""
    k = len(evidence)
    total = evidence.sum().item() + k
    return {**{frozenset([c]): evidence[c].item() / total for c in range(k)}, frozenset(range(k)): k / total}


def combined(a: dict[frozenset, float], b: dict[frozenset, float]) -> dict[frozenset, float]:
    """Dempster's rule over sets: products go to intersections, what falls on the empty one is shared out."""
    found: dict[frozenset, float] = {}
    for (x, p), (y, q) in itertools.product(a.items(), b.items()):
        found[x & y] = found.get(x & y, 0.0) + p * q
    conflict = found.pop(frozenset(), 0.0)
    return {x: p / (1 - conflict) for x, p in found.items()}


def test_tmc_joins_opinions_by_dempsters_rule():
    method, batch = case("tmc")
    outputs = method(batch)
    for i in range(len(batch.rows)):
        masses = [belief_masses(outputs.hidden[f"evidence/{m}/mood"][i]) for m in batch.inputs]
        expected = combined(combined(masses[2], masses[0]), masses[1])
        joined = belief_masses(outputs.hidden["evidence/mood"][i])
        assert joined == pytest.approx(expected, rel=1e-9)
    alpha = outputs.hidden["evidence/mood"] + 1
    torch.testing.assert_close(outputs.logits["mood"].softmax(-1), Dirichlet(alpha).mean)


def test_tmc_takes_several_labels_as_choices_of_two():
    method, batch = case("tmc", kinds=("multilabel",))
    outputs = method(batch)
    no, yes = (outputs.hidden["evidence/tags"] + 1).chunk(2, dim=-1)
    torch.testing.assert_close(outputs.logits["tags"].sigmoid(), yes / (yes + no))


def test_expected_cross_entropy_is_a_mean_over_draws_and_torch_s_divergence():
    torch.manual_seed(0)
    evidence, index = 3 * torch.rand(4, 3, dtype=torch.float64), torch.tensor([0, 2, 1, 1])
    drawn = Dirichlet(evidence + 1).sample((100_000,))
    surprise = -drawn.log().mean(0)[torch.arange(4), index]
    torch.testing.assert_close(expected_cross_entropy(evidence, index, 0.0), surprise, rtol=0.02, atol=0)
    alpha = evidence + 1
    alpha[torch.arange(4), index] = 1
    expected = kl_divergence(Dirichlet(alpha), Dirichlet(torch.ones_like(alpha)))
    found = expected_cross_entropy(evidence, index, 1.0) - expected_cross_entropy(evidence, index, 0.0)
    torch.testing.assert_close(found, expected)


def test_evidential_adds_up_the_opinions():
    method, batch = case("tmc", 2)
    loss = Evidential(kl=0.5).double()
    loss.bind(method.features, method.tasks)
    outputs, target = method(batch), batch.targets["mood"].values
    keys = ["evidence/mood", *(f"evidence/{m}/mood" for m in batch.inputs)]
    weight = torch.tensor([1 / (3 * p) for p in (0.5, 0.3, 0.2)], dtype=torch.float64)[target]
    expected = sum((weight * expected_cross_entropy(outputs.hidden[k], target, 0.5)).mean() for k in keys)
    torch.testing.assert_close(loss(outputs, batch, method), expected, rtol=1e-6, atol=0)


@pytest.mark.parametrize("slug", ["almt", "lnln"])
def test_what_the_guide_says_itself_reaches_the_answer(slug):
    """Even of items that have nothing else: in the authors' code of ALMT it does not."""
    method, batch = case(slug, guide=["beta"])
    assert method.guide == "beta"
    alone = without(batch, "alpha", "gamma")
    answers = method(alone).logits["mood"]
    assert (answers - answers[:1]).abs().max() > 1e-3


@pytest.mark.parametrize(("guide", "leads"), [(None, "alpha"), (["text", "gamma", "beta"], "gamma"), (["x"], "alpha")])
def test_the_first_modality_offered_that_is_asked_for_guides(guide, leads):
    assert case("almt", guide=guide)[0].guide == leads


def test_a_complete_guide_needs_no_proxy():
    method, batch = case("lnln", guide=["beta"])
    with torch.no_grad():
        method.complete[-2].bias.fill_(40.0)  # w = 1 to the last digit
        before = method(batch).logits["mood"]
        method.proxy_tokens.add_(1.0)
    torch.testing.assert_close(method(batch).logits["mood"], before)


def test_the_judge_learns_and_what_guides_learns_to_deceive_it():
    method, batch = case("lnln")
    with torch.no_grad():
        method.complete[-2].bias.fill_(40.0)  # w = 1: what guides is the guide itself
    for parameter, sign in ((method.encode.tokens, -1.0), (method.judge[0].weight, 1.0)):
        mended, whole = (
            torch.autograd.grad(method(batch).hidden[f"judged/{what}"].sum(), parameter)[0]
            for what in ("corrected", "whole")
        )
        assert whole.abs().max() > 1e-6
        torch.testing.assert_close(mended, sign * whole)


def test_imagined_without_looking_and_found_again_from_the_others():
    method, batch = case("mmin")
    x = batch.inputs["beta"]
    other = batch._replace(inputs={**batch.inputs, "beta": Masked(torch.randn_like(x.values), x.mask)})
    a, b = method(batch).hidden, method(other).hidden
    torch.testing.assert_close(a["imagined/beta"], b["imagined/beta"], rtol=0, atol=0)
    assert (a["imagined/alpha"] - b["imagined/alpha"]).abs().max() > 1e-6
    assert (a["cycled/beta"] - b["cycled/beta"]).abs().max() > 1e-6


def test_completion_damages_half_of_the_items_and_leaves_the_rest_whole():
    features, tasks = features_of(2), tasks_of("item", ["multiclass"])
    loss = Completion()
    loss.bind(features, tasks)
    batch = make_batch(features, tasks, n=4000, gaps=False, draws=loss.n_draws)
    left = loss._damaged(batch).inputs["alpha"].mask.double().mean(1)
    rate = (2 * batch.draws[:, 0] - 1).clamp(min=0)
    assert (left[rate == 0] == 1).all() and 0.45 < (rate == 0).double().mean() < 0.55
    low, high = (left[(rate > a) & (rate <= a + 0.2)].mean() for a in (0.1, 0.7))
    assert abs(low - 0.8) < 0.03 and abs(high - 0.2) < 0.03
