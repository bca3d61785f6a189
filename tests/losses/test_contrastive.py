"""AVEL, SupCon and InfoNCE against golden values and loops written out."""

from __future__ import annotations

import math

import pytest
import torch

from mer_bench.losses.contrastive import AVEL, InfoNCE, SupCon
from mer_bench.types import Batch, FeatureSpec, Masked, Outputs, TaskSpec
from tests.cases import build, features_of, make_batch, tasks_of

PAIR = {"a": FeatureSpec(2), "b": FeatureSpec(2)}
EMOTION = {"emotion": TaskSpec("multiclass", ("x", "y", "z"))}
# cosines of four items, rows and columns in the same order, and labels
COSINES = [[0.9, 0.1, -0.2, 0.3], [0.2, 0.8, 0.0, -0.1], [-0.3, 0.4, 0.7, 0.1], [0.0, -0.2, 0.5, 0.6]]
LABELS = [0, 0, 1, 2]


def embeddings(cosines: list[list[float]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Vectors of any length whose cosines are as given: the rows on an orthonormal basis, filled up in own axes."""
    rows = torch.tensor(cosines, dtype=torch.float64)
    rest = (1 - rows.square().sum(1)).sqrt()
    z_a = torch.cat([rows, torch.diag(rest)], dim=1)
    z_b = torch.cat([torch.eye(len(rows), dtype=torch.float64), torch.zeros_like(rows)], dim=1)
    return 3.0 * z_a, 0.2 * z_b


def fixed_batch(labels: list[int]) -> Batch:
    n = len(labels)
    present = Masked(torch.zeros(n, 1, 2), torch.ones(n, 1, dtype=torch.bool))
    target = Masked(torch.tensor(labels), torch.ones(n, dtype=torch.bool))
    return Batch({"a": present, "b": present}, {"emotion": target}, torch.arange(n), torch.zeros(n, 0))


def value(loss, cosines=COSINES, labels=LABELS) -> float:
    loss.double().bind(PAIR, EMOTION)
    z_a, z_b = embeddings(cosines)
    return loss(Outputs({}, {"aligned/a": z_a, "aligned/b": z_b}), fixed_batch(labels), None).item()


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"temperature": "fixed", "tau": 1.0, "positives": "sum"}, 1.722273),
        ({"temperature": "fixed", "tau": 1.0, "positives": "mean"}, 1.116739),
        ({"temperature": "code", "positives": "sum"}, 1.919435),
        ({"temperature": "code", "positives": "mean"}, 1.268896),
        ({"temperature": "fixed", "tau": 0.07, "positives": "sum"}, 5.038352),
    ],
)
def test_golden_values_of_avel(settings, expected):
    assert value(AVEL(**settings)) == pytest.approx(expected, abs=1e-6)


def test_clip_starts_at_a_temperature_of_007():
    assert value(AVEL(temperature="clip")) == pytest.approx(5.038352, abs=1e-5)


def test_supcon_is_avel_with_mean_and_fixed_temperature():
    assert value(SupCon(tau=1.0)) == pytest.approx(1.116739, abs=1e-6)


def test_temperatures_are_learned_where_they_should_be():
    assert len(list(AVEL().parameters())) == len(list(AVEL(temperature="clip").parameters())) == 1
    assert not list(AVEL(temperature="fixed").parameters()) and not list(SupCon().parameters())


def naive(z: dict, present: dict, labels: list, known: list, pairs: list, tau: float, kind: str) -> float:
    """The definitions, one anchor and one candidate at a time. kind: sum, mean or own."""
    total = 0.0
    for a, b in pairs:
        items = [i for i in range(len(labels)) if present[a][i] and present[b][i] and (known[i] or kind == "own")]
        for x, y in ((a, b), (b, a)):
            anchors = 0.0
            for i in items:
                s = {j: float(torch.cosine_similarity(z[x][i], z[y][j], dim=0)) / tau for j in items}
                log_sum = math.log(sum(math.exp(v) for v in s.values()))
                positives = [i] if kind == "own" else [j for j in items if labels[j] == labels[i]]
                inner = sum(log_sum - s[j] for j in positives)
                anchors += inner if kind == "sum" else inner / len(positives)
            total += anchors / max(len(items), 1) / 2
    return total / len(pairs)


@pytest.mark.parametrize("n", [2, 3])
@pytest.mark.parametrize(
    ("loss", "tau", "kind"),
    [
        (AVEL(), math.log(1 / 0.07), "sum"),
        (AVEL(positives="mean", temperature="fixed", tau=0.3), 0.3, "mean"),
        (SupCon(), 0.07, "mean"),
        (InfoNCE(), 0.07, "own"),
        (InfoNCE(temperature="fixed", tau=0.5), 0.5, "own"),
    ],
    ids=["avel", "avel-mean", "supcon", "infonce", "infonce-fixed"],
)
def test_equal_to_a_loop(loss, tau, kind, n):
    features, tasks = features_of(n), tasks_of("item")
    batch = make_batch(features, tasks, n=14)
    method = build("foal", features, tasks).double().eval()
    loss.double().bind(features, tasks)
    outputs = method(batch)
    names = list(features)
    pairs = [(a, b) for i, a in enumerate(names) for b in names[i + 1 :]]
    expected = naive(
        {m: outputs.hidden[f"aligned/{m}"].detach() for m in names},
        {m: batch.inputs[m].mask.any(1).tolist() for m in names},
        batch.targets["mood"].values.tolist(),
        batch.targets["mood"].mask.tolist(),
        pairs,
        tau,
        kind,
    )
    # a learned temperature starts in single precision
    assert loss(outputs, batch, method).item() == pytest.approx(expected, rel=1e-6)


def test_between_chooses_pairs():
    features, tasks = features_of(3), tasks_of("item")
    batch = make_batch(features, tasks, n=14)
    method = build("foal", features, tasks).double().eval()
    outputs = method(batch)
    one, every = [], SupCon()
    for pair in (("alpha", "beta"), ("alpha", "gamma"), ("gamma", "beta")):
        loss = SupCon(between=[pair])
        loss.bind(features, tasks)
        one.append(loss(outputs, batch, method))
    every.bind(features, tasks)
    torch.testing.assert_close(every(outputs, batch, method), torch.stack(one).mean())


def test_read_chooses_the_hidden_tensors():
    """Any method that provides embeddings of its modalities can be aligned."""
    features, tasks = features_of(2), tasks_of("item")
    batch = make_batch(features, tasks, n=14)
    method = build("concat", features, tasks).double().eval()
    loss = SupCon(read="<m>")
    loss.bind(features, tasks)
    loss(method(batch), batch, method).backward()
    assert all(p.grad.abs().sum() > 0 for p in method.encoders.parameters())


def test_avel_alone_reaches_what_the_classifier_uses():
    """Foal-Net's encoders lie before the fork; without them alignment trains nothing the classifier depends on."""
    features, tasks = features_of(2), tasks_of("item")
    moved = {}
    for adapt in (True, False):
        # widths that the heads of attention divide, for the network without encoders
        even = {m: FeatureSpec(spec.dim + spec.dim % 2) for m, spec in features.items()}
        b = make_batch(even, tasks, n=14)
        method = build("foal", even, tasks, adapt=adapt).double()
        loss = AVEL().double()
        loss.bind(even, tasks)
        loss(method(b), b, method).backward()
        trained = {k for k, p in method.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
        method.zero_grad()
        method(b).logits["mood"].square().sum().backward()
        used = {k for k, p in method.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
        moved[adapt] = trained & used
    assert moved[True] and all(k.startswith("encoders.") for k in moved[True])
    assert not moved[False]
