"""The losses of DMD against loops over items."""

from __future__ import annotations

from itertools import permutations

import pytest
import torch
import torch.nn.functional as F

from mer_bench.errors import UserError
from mer_bench.losses.decoupling import Decoupling, GraphDistillation, PartsTask
from mer_bench.losses.task import CrossEntropy
from tests.cases import build, features_of, make_batch, tasks_of


def case(loss):
    features, tasks = features_of(3), tasks_of("item", ["multiclass"])
    method = build("dmd", features, tasks).double().eval()
    loss.bind(features, tasks)
    batch = make_batch(features, tasks, n=8)
    return loss.double(), method, batch, method(batch), {m: x.mask.any(1) for m, x in batch.inputs.items()}


def test_decoupling_counts_triples_across_modalities():
    loss, method, batch, outputs, there = case(Decoupling(part=0.5, margin=0.15))
    h, target, expected = outputs.hidden, batch.targets["mood"], 0.0
    for m, here in there.items():
        expected += F.mse_loss(h[f"again/{m}"][here], h[f"private/{m}"][here])
        cosines = F.cosine_similarity(h[f"private/{m}"][here], h[f"shared/{m}"][here])
        expected += 0.5 * cosines.clamp(min=0).mean()
    triples = []
    for a, b in permutations(there, 2):
        c, d = h[f"aligned/{a}"], h[f"aligned/{b}"]
        known = [i for i in range(8) if target.mask[i]]
        for i in (i for i in known if there[a][i]):
            near = [j for j in known if there[b][j] and target.values[j] == target.values[i]]
            far = [k for k in known if there[a][k] and target.values[k] != target.values[i]]
            for j in near:
                for k in far:
                    across, within = F.cosine_similarity(c[i], d[j], dim=0), F.cosine_similarity(c[i], c[k], dim=0)
                    triples.append((0.15 - across + within).clamp(min=0))
    assert triples
    torch.testing.assert_close(loss(outputs, batch, method), expected + 0.5 * torch.stack(triples).mean())


def test_graph_distillation_weighs_each_pair_by_its_edge():
    loss, method, batch, outputs, there = case(GraphDistillation(regular=10.0))
    h, expected = outputs.hidden, 0.0
    for kind in ("homogeneous", "heterogeneous"):
        for k, (a, b) in enumerate(permutations(there, 2)):
            both = there[a] & there[b]
            edge = h[f"edges/{kind}"][both, k]
            distance = (h[f"{kind}/{a}/mood"][both] - h[f"{kind}/{b}/mood"][both]).abs().mean(-1)
            expected += ((edge + 1 / 6) * distance).mean() + 10 * (edge.mean() - 1 / 6) ** 2
    torch.testing.assert_close(loss(outputs, batch, method), expected)
    with pytest.raises(UserError, match="GraphDistillation: needs two"):
        GraphDistillation().bind(features_of(1), method.tasks)


def test_edges_are_shares_over_the_pairs_that_are_there():
    _, _, _, outputs, there = case(GraphDistillation())
    number = sum((there[a] & there[b]).double() for a, b in permutations(there, 2))
    assert (number == 0).any() or (number < 6).any()
    for kind in ("homogeneous", "heterogeneous"):
        edges = outputs.hidden[f"edges/{kind}"]
        torch.testing.assert_close(edges.sum(-1), (number > 0).double())
        assert ((edges > 0).sum(-1) == number).all()


def test_parts_task_adds_up_all_answers():
    loss, method, batch, outputs, there = case(PartsTask())
    prior = torch.tensor(method.tasks["mood"].prior, dtype=torch.float64)
    single, target = CrossEntropy(prior).double(), batch.targets["mood"]
    keys = [("common/mood", torch.stack(list(there.values())).any(0))]
    keys += [(f"{kind}/{m}/mood", x) for kind in ("homogeneous", "heterogeneous") for m, x in there.items()]
    expected = sum(single(outputs.hidden[k], target._replace(mask=target.mask & here)) for k, here in keys)
    torch.testing.assert_close(loss(outputs, batch, method), expected, rtol=1e-6, atol=0)
