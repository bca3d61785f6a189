"""The losses of shared and private parts against numpy and values worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import stats

from mer_bench.losses.subspaces import CMD, ModalityIdentity, Orthogonality, Reconstruction
from mer_bench.types import Batch, Outputs
from tests.cases import features_of, make_batch, tasks_of
from tests.losses.everything import Everything

every_level = pytest.mark.parametrize("level", ["item", "frame"])
every_size = pytest.mark.parametrize("n", [2, 3])


def a_case(level: str, n: int):
    features, tasks = features_of(n), tasks_of(level)
    torch.manual_seed(0)
    method = Everything(features, tasks).double().eval()
    batch = make_batch(features, tasks, n=16)
    return features, tasks, batch, method


def value(loss, level: str, n: int) -> float:
    features, tasks, batch, method = a_case(level, n)
    loss.bind(features, tasks)
    return loss(method(batch), batch, method).item()


def rows(key: str, level: str, n: int, *, having: str) -> np.ndarray:
    """The observed rows of a hidden tensor: those that have all of the modalities `having`."""
    _, _, batch, method = a_case(level, n)
    x = method(batch).hidden[key].detach()
    masks = [batch.inputs[m].mask if level == "frame" else batch.inputs[m].mask.any(1) for m in having.split()]
    return x[torch.stack(masks).all(0)].numpy()


def pairs(n: int) -> list[tuple[str, str]]:
    names = list(features_of(n))
    return [(a, b) for i, a in enumerate(names) for b in names[i + 1 :]]


@every_level
@every_size
@pytest.mark.parametrize("moments", [1, 5])
def test_cmd_is_made_of_central_moments(level, n, moments):
    expected = []
    for a, b in pairs(n):
        x, y = (rows(f"shared/{m}", level, n, having=m) for m in (a, b))
        total = np.linalg.norm(x.mean(0) - y.mean(0))
        for k in range(2, moments + 1):
            total += np.linalg.norm(stats.moment(x, k, axis=0) - stats.moment(y, k, axis=0))
        expected.append(total)
    assert value(CMD(moments=moments), level, n) == pytest.approx(np.mean(expected), rel=1e-9)


def two_parts(a: torch.Tensor, b: torch.Tensor, prefix: str) -> tuple[Outputs, Batch]:
    features, tasks = features_of(2), tasks_of("item")
    batch = make_batch(features, tasks, n=len(a), gaps=False)
    return Outputs({}, {f"{prefix}/alpha": a, f"{prefix}/beta": b}), batch


def test_cmd_by_hand():
    """{0, 1} against {0, 0}: means differ by 1/2, moments 2 and 4 by 1/4 and 1/16, odd ones not at all."""
    outputs, batch = two_parts(torch.tensor([[0.0], [1.0]]), torch.zeros(2, 1), "shared")
    loss = CMD()
    loss.bind(features_of(2), {})
    assert loss(outputs, batch, None).item() == pytest.approx(1 / 2 + 1 / 4 + 1 / 16)


def test_cmd_of_equal_parts_is_zero_with_a_finite_gradient():
    x = torch.rand(6, 3).requires_grad_()
    outputs, batch = two_parts(x, x.flip(0), "shared")
    loss = CMD()
    loss.bind(features_of(2), {})
    found = loss(outputs, batch, None)
    found.backward()
    assert found < 1e-6 and x.grad.isfinite().all()


@every_level
@every_size
def test_orthogonality_in_numpy(level, n):
    def difference(x: np.ndarray, y: np.ndarray) -> float:
        x, y = (z - z.mean(0) for z in (x, y))
        x, y = (z / np.linalg.norm(z, axis=1, keepdims=True) for z in (x, y))
        return np.linalg.norm(x.T @ y, "fro") ** 2 / (x.shape[1] * y.shape[1])

    names = list(features_of(n))
    expected = sum(difference(*(rows(f"{k}/{m}", level, n, having=m) for k in ("shared", "private"))) for m in names)
    for a, b in pairs(n):
        expected += difference(*(rows(f"private/{m}", level, n, having=f"{a} {b}") for m in (a, b)))
    assert value(Orthogonality(), level, n) == pytest.approx(expected, rel=1e-4)  # 1e-6 in the divisor


def test_orthogonality_vanishes_for_parts_without_correlation():
    """Shared parts vary along the first axis only in rows where private ones vary along the second only."""
    signs = torch.tensor([[1.0, 1], [1, -1], [-1, 1], [-1, -1]])
    shared, private = signs[:, :1] * torch.tensor([1.0, 0]), signs[:, 1:] * torch.tensor([0, 1.0])
    outputs, batch = two_parts(shared, shared, "shared")
    hidden = outputs.hidden | {"private/alpha": private, "private/beta": shared.flip(1)[:, [1, 0]]}
    hidden["shared/beta"] = private
    loss = Orthogonality()
    loss.bind(features_of(2), {})
    apart = loss(Outputs({}, hidden), batch, None).item()
    assert apart == pytest.approx(0, abs=1e-10)
    # alike: HᵀG has one entry of 4, the number of rows; three pairs of parts, each the mean over four entries
    same = dict.fromkeys(hidden, shared)
    assert loss(Outputs({}, same), batch, None).item() == pytest.approx(3 * 16 / 4, rel=1e-4)


@every_level
@every_size
def test_reconstruction_is_the_mean_squared_error(level, n):
    errors = [
        ((rows(f"decoded/{m}", level, n, having=m) - rows(f"input/{m}", level, n, having=m)) ** 2).mean()
        for m in features_of(n)
    ]
    assert value(Reconstruction(), level, n) == pytest.approx(np.mean(errors), rel=1e-9)


@every_level
@every_size
def test_identity_is_cross_entropy_over_all_that_is_there(level, n):
    logits = [torch.tensor(rows(f"identity/{m}", level, n, having=m)) for m in features_of(n)]
    truth = torch.cat([torch.full((len(x),), k) for k, x in enumerate(logits)])
    expected = F.cross_entropy(torch.cat(logits), truth).item()
    assert value(ModalityIdentity(), level, n) == pytest.approx(expected, rel=1e-9)


def test_identity_of_a_classifier_that_knows_nothing():
    outputs, batch = two_parts(torch.zeros(3, 2), torch.zeros(3, 2), "identity")
    loss = ModalityIdentity()
    loss.bind(features_of(2), {})
    assert loss(outputs, batch, None).item() == pytest.approx(math.log(2))


@pytest.mark.parametrize(
    ("loss", "reached"),
    [
        (CMD(), {"encoders", "shared"}),
        (Orthogonality(), {"encoders", "shared", "private"}),
        (Reconstruction(), {"encoders", "shared", "private", "decoders"}),
        (ModalityIdentity(), {"encoders", "private", "identity"}),
    ],
    ids=lambda x: type(x).__name__,
)
def test_what_each_loss_trains(loss, reached):
    features, tasks, batch, method = a_case("item", 2)
    loss.bind(features, tasks)
    loss(method(batch), batch, method).backward()
    assert {k.split(".")[0] for k, p in method.named_parameters() if p.grad is not None and p.grad.any()} == reached
