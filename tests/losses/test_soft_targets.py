"""Alignment and matching where there are no classes per item: regression, several labels, frames."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from mer_bench.losses.contrastive import AVEL, InfoNCE, SupCon
from mer_bench.losses.label_matching import LabelMatching
from mer_bench.losses.pairwise import PairwiseSigmoid
from mer_bench.training.objective import Objective
from mer_bench.training.subsets import AllModalities
from mer_bench.types import Batch, Masked
from tests.cases import build, features_of, make_batch, recipes, tasks_of

FEATURES = features_of(2)
SPREAD = np.array([0.5, 0.4])  # of the task "degree" in tests/cases.py


def a_case(kind: str, level: str, *, n: int = 40):
    tasks = tasks_of(level, [kind])
    method = build("foal", FEATURES, tasks).double().eval()
    return tasks, make_batch(FEATURES, tasks, n=n), method


def windows(batch: Batch, hidden: dict, name: str, level: str):
    """Embeddings and targets of the items that take part, averaged over observed frames, by plain loops."""
    target, items = batch.targets[name], []
    for i in range(len(batch.rows)):
        z = {}
        for m, x in batch.inputs.items():
            rows = hidden[f"aligned/{m}"][i].detach()
            z[m] = rows[x.mask[i]].mean(0) if level == "frame" else rows
        if level == "item":
            y, known = target.values[i], target.mask[i].all()
        else:
            columns = [target.values[i][target.mask[i][:, k], k] for k in range(target.values.shape[-1])]
            known = all(len(c) for c in columns)
            y = torch.stack([c.mean() for c in columns])
        if known and all(x.mask[i].any() for x in batch.inputs.values()):
            items.append((z["alpha"].numpy(), z["beta"].numpy(), y.numpy()))
    assert 2 < len(items) < len(batch.rows)
    return items


def kernel(y, other, bandwidth: float) -> float:
    return math.exp(-float((((y - other) / SPREAD) ** 2).mean()) / (2 * bandwidth**2))


def cos(a, b) -> float:
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


@pytest.mark.parametrize("level", ["item", "frame"])
@pytest.mark.parametrize(("loss", "tau"), [(AVEL(bandwidth=0.8), math.log(1 / 0.07)), (SupCon(bandwidth=0.8), 0.07)])
def test_regression_is_cross_entropy_with_soft_targets(loss, tau, level):
    """Rows of the kernel, normalised, against the softmax over candidates; one anchor at a time."""
    tasks, batch, method = a_case("regression", level)
    outputs = method(batch)
    items, total = windows(batch, outputs.hidden, "degree", level), 0.0
    for x, y in ((0, 1), (1, 0)):
        for anchor in items:
            scores = np.array([cos(anchor[x], other[y]) / tau for other in items])
            weights = np.array([kernel(anchor[2], other[2], 0.8) for other in items])
            log_p = scores - np.log(np.exp(scores).sum())
            total -= float((weights / weights.sum()) @ log_p) / len(items) / 2
    loss.double().bind(FEATURES, tasks)
    assert loss(outputs, batch, method).item() == pytest.approx(total, rel=1e-6)


def test_a_narrow_kernel_leaves_only_the_item_itself():
    """In the limit every item is its own and only positive: InfoNCE."""
    tasks, batch, method = a_case("regression", "item", n=10)
    everyone = {"degree": Masked(batch.targets["degree"].values, torch.ones(10, 2, dtype=torch.bool))}
    values = torch.linspace(-1, 1, 20, dtype=torch.float64).reshape(10, 2)
    batch = batch._replace(targets={"degree": everyone["degree"]._replace(values=values)})
    narrow, own = SupCon(tau=0.3, bandwidth=1e-3), InfoNCE(temperature="fixed", tau=0.3)
    for loss in (narrow, own):
        loss.bind(FEATURES, tasks)
    outputs = method(batch)
    torch.testing.assert_close(narrow(outputs, batch, method), own(outputs, batch, method))


@pytest.mark.parametrize("level", ["item", "frame"])
@pytest.mark.parametrize(
    ("kind", "settings"), [("regression", {}), ("multilabel", {"labels": "jaccard"}), ("multilabel", {"labels": "any"})]
)
def test_sigmoid_pairs_by_a_loop(kind, settings, level):
    tasks, batch, method = a_case(kind, level)
    outputs, (name,) = method(batch), tasks
    loss = PairwiseSigmoid(factor=3.0, offset=-0.5, **settings).double()
    loss.bind(FEATURES, tasks)
    total, items = 0.0, windows(batch, outputs.hidden, name, level)
    for a, _, y in items:
        for _, b, other in items:
            if kind == "regression":
                share = kernel(y, other, 0.5)
            else:
                p, q = ({k for k, v in enumerate(labels) if v >= 0.5} for labels in (y, other))
                share = len(p & q) / len(p | q) if p | q else 1.0
                share = float(share > 0) if settings["labels"] == "any" else share
            x = torch.tensor(3.0 * cos(a, b) - 0.5)
            total += F.binary_cross_entropy_with_logits(x, torch.tensor(share)).item() / len(items)
    assert loss(outputs, batch, method).item() == pytest.approx(total, rel=1e-5)


def test_sigmoid_pairs_by_hand():
    """Two items of two classes, orthogonal embeddings: cosines 1 0 / 0 1, logits ±ln 3 after the offset."""
    batch = Batch(
        {m: Masked(torch.zeros(2, 1, 6 - k), torch.ones(2, 1, dtype=torch.bool)) for k, m in enumerate(FEATURES)},
        {"mood": Masked(torch.tensor([0, 1]), torch.ones(2, dtype=torch.bool))},
        torch.arange(2),
        torch.zeros(2, 0),
    )
    outputs = build("foal", FEATURES, tasks_of("item", ["multiclass"]))(batch)
    hidden = {"aligned/alpha": torch.eye(2) * 5, "aligned/beta": torch.eye(2) * 0.1}
    loss = PairwiseSigmoid(factor=2 * math.log(3), offset=-math.log(3))
    loss.bind(FEATURES, tasks_of("item", ["multiclass"]))
    # σ(ln 3) = 3/4 for each of the four answers, all right; two items
    expected = -4 * math.log(0.75) / 2
    assert loss(outputs._replace(hidden=hidden), batch, None).item() == pytest.approx(expected, rel=1e-6)


def test_sigmoid_pairs_learn_factor_and_offset():
    tasks, batch, method = a_case("multilabel", "item")
    loss = PairwiseSigmoid().double()
    loss.bind(FEATURES, tasks)
    loss(method(batch), batch, method).backward()
    assert all(p.grad.abs() > 0 for p in loss.parameters()) and len(list(loss.parameters())) == 2


@pytest.mark.parametrize("level", ["item", "frame"])
def test_matching_draws_negatives_that_lie_apart(level):
    """With a threshold larger than any distance nobody has a negative, with one of zero everybody has."""
    tasks = tasks_of(level, ["regression"])
    method = build("foal", FEATURES, tasks).double().eval()
    values = {}
    for apart in (0.0, 1.0, 1e3):
        loss = LabelMatching(apart=apart)
        loss.bind(FEATURES, tasks)
        batch = make_batch(FEATURES, tasks, n=24, draws=loss.n_draws)
        values[apart] = loss(method(batch), batch, method).item()
    assert values[1e3] == 0 and values[0.0] > 0 and values[1.0] > 0 and values[0.0] != values[1.0]


@pytest.mark.parametrize("level", ["item", "frame"])
@pytest.mark.parametrize("kind", ["multiclass", "multilabel", "regression"])
def test_foal_trains_with_its_shipped_losses_on_every_kind_of_task(kind, level):
    """Through the objective, as `fit` trains it: both losses are there, and alignment reaches the encoders."""
    tasks = tasks_of(level, [kind])
    shipped = recipes()["foal"]["model"]["auxiliary"]
    make = {"AVEL": AVEL, "LabelMatching": LabelMatching}
    losses = {k: make[v["class_path"].rpartition(".")[2]](**v.get("init_args", {})) for k, v in shipped.items()}
    method = build("foal", FEATURES, tasks)
    objective = Objective(method, FEATURES, tasks, losses, AllModalities(), {}).double().eval()
    batch = make_batch(FEATURES, tasks, n=80, draws=objective.n_draws)
    total, parts = objective(batch, 0)
    assert (parts > 0).all() and objective.names[1:] == ("auxiliary/alignment", "auxiliary/matching")
    torch.testing.assert_close(total.detach(), parts[0] + parts[1] + 0.1 * parts[2])
    total.backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in method.encoders.parameters())
