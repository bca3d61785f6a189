"""Labels made for each modality, against the formula of the paper item by item."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from mer_bench.errors import UserError
from mer_bench.losses.generated import GeneratedLabels
from mer_bench.types import Batch, Masked, Outputs, TaskSpec
from tests.cases import features_of, make_batch, tasks_of


def _delta(x: torch.Tensor, y: list[float], i: int) -> float:
    positive = torch.stack([x[j] for j in range(len(y)) if y[j] >= 0]).mean(0)
    negative = torch.stack([x[j] for j in range(len(y)) if y[j] < 0]).mean(0)
    to_positive, to_negative = (x[i] - positive).norm().item(), (x[i] - negative).norm().item()
    return (to_negative - to_positive) / to_positive


def _case(y: list[float], spec: TaskSpec) -> tuple[Outputs, Batch, dict]:
    g = torch.Generator().manual_seed(3)
    features = features_of(2)
    batch = make_batch(features, {}, n=len(y), gaps=False)
    hidden = {name: torch.randn(len(y), 3, generator=g, dtype=torch.float64) for name in (*features, "fused")}
    hidden |= {f"logits/{m}/one": torch.randn(len(y), 1, generator=g, dtype=torch.float64) for m in features}
    values = torch.tensor(y, dtype=torch.float64).unsqueeze(-1)
    target = Masked(values, torch.ones_like(values, dtype=torch.bool))
    return Outputs({}, hidden), batch._replace(targets={"one": target}), {"one": spec}


@pytest.mark.parametrize("middle", [0.0, 2.0])
def test_regression_is_the_paper_s_formula(middle):
    y = [0.8, -0.5, 0.3, -0.9, 0.1, -0.2]
    outputs, batch, tasks = _case(
        [v + middle for v in y], TaskSpec("regression", ("v",), range=(middle - 1, middle + 1))
    )
    loss = GeneratedLabels().double()
    loss.bind(features_of(2), tasks)
    wanted = []
    for m in features_of(2):
        for i, truth in enumerate(y):
            own, whole = _delta(outputs.hidden[m], y, i), _delta(outputs.hidden["fused"], y, i)
            made = max(-1.0, min(1.0, (own / whole * truth + truth + own - whole) / 2))
            error = abs(outputs.hidden[f"logits/{m}/one"][i].item() - middle - made)
            wanted.append(math.tanh(abs(made - truth)) * error)
    assert loss.double()(outputs, batch, None).item() == pytest.approx(sum(wanted) / len(y), rel=1e-4)


def test_several_labels_are_soft_targets():
    y = [1.0, -1.0, 1.0, -1.0, -1.0]
    outputs, batch, tasks = _case([(v + 1) / 2 for v in y], TaskSpec("multilabel", ("x",)))
    loss = GeneratedLabels()
    loss.bind(features_of(2), tasks)
    wanted = []
    for m in features_of(2):
        for i, truth in enumerate(y):
            own, whole = _delta(outputs.hidden[m], y, i), _delta(outputs.hidden["fused"], y, i)
            made = max(-1.0, min(1.0, (own / whole * truth + truth + own - whole) / 2))
            logits = outputs.hidden[f"logits/{m}/one"][i]
            error = F.binary_cross_entropy_with_logits(logits, torch.tensor([(made + 1) / 2], dtype=torch.float64))
            wanted.append(math.tanh(abs(made - truth)) * error.item())
    assert loss.double()(outputs, batch, None).item() == pytest.approx(sum(wanted) / len(y), rel=1e-4)


def test_nothing_is_taught_where_modality_and_fusion_agree_or_one_sign_is_there():
    y = [0.8, -0.5, 0.3, -0.9]
    outputs, batch, tasks = _case(y, TaskSpec("regression", ("v",), range=(-1, 1)))
    loss = GeneratedLabels()
    loss.bind(features_of(2), tasks)
    same = outputs._replace(hidden=outputs.hidden | {m: outputs.hidden["fused"] for m in features_of(2)})
    assert loss.double()(same, batch, None).item() < 1e-5
    target = Masked(batch.targets["one"].values.abs(), batch.targets["one"].mask)
    assert loss(outputs, batch._replace(targets={"one": target}), None).item() == 0


def test_needs_modalities_to_compare_and_a_middle():
    with pytest.raises(UserError, match="two or more modalities"):
        GeneratedLabels().bind(features_of(1), tasks_of("item"))
    with pytest.raises(UserError, match="no range and no statistics"):
        GeneratedLabels().bind(features_of(2), {"one": TaskSpec("regression", ("v",))})
