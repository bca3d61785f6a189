"""Random labels: fixed for an item, distributed like the training part, and unrelated to the true ones."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from mer_bench.errors import UserError
from mer_bench.training.random_labels import RandomLabels
from mer_bench.types import Masked
from tests.cases import features_of, make_batch, tasks_of


def drawn(level: str = "item", n: int = 4096, salt: int = 0):
    tasks = tasks_of(level)
    torch.manual_seed(salt)
    schedule = RandomLabels()
    schedule.bind(features_of(1), tasks)
    batch = make_batch(features_of(1), tasks, n=n, draws=0)._replace(rows=torch.arange(n) * 7)
    ((name, weight, view),) = schedule.views(batch, 3)
    assert (name, weight) == ("full", 1.0) and view.inputs is batch.inputs
    return tasks, schedule, batch, view


def test_labels_are_distributed_like_the_training_part():
    tasks, _, batch, view = drawn()
    for name, spec in tasks.items():
        assert torch.equal(view.targets[name].mask, batch.targets[name].mask)
        seen = view.targets[name].mask if spec.kind == "multiclass" else view.targets[name].mask.all(dim=1)
        values = view.targets[name].values[seen].double()
        if spec.kind == "multiclass":
            shares = torch.bincount(values.long(), minlength=spec.size) / len(values)
            assert shares.tolist() == pytest.approx(spec.prior, abs=0.03)
        else:
            assert values.mean(dim=0).tolist() == pytest.approx(spec.prior, abs=0.04)
        assert view.targets[name].values.dtype == batch.targets[name].values.dtype
    values = view.targets["degree"].values
    assert values.min() >= -1 and values.max() <= 1
    assert abs(torch.corrcoef(values.T)[0, 1]) < 0.06  # dimensions are drawn apart


def test_an_item_keeps_its_label_whatever_batch_it_is_in():
    _, schedule, batch, view = drawn(n=64)
    order = torch.randperm(64)
    mixed = batch._replace(
        rows=batch.rows[order], targets={t: Masked(x.values[order], x.mask[order]) for t, x in batch.targets.items()}
    )
    again = schedule.views(mixed, 99)[0][2]
    for name in batch.targets:
        assert torch.equal(again.targets[name].values, view.targets[name].values[order])
    other = drawn(n=64, salt=1)[3]
    assert not torch.equal(other.targets["mood"].values, view.targets["mood"].values)


def test_true_labels_make_no_difference():
    tasks, schedule, batch, view = drawn(n=64)
    blind = {t: Masked(torch.zeros_like(x.values), x.mask) for t, x in batch.targets.items()}
    again = schedule.views(batch._replace(targets=blind), 0)[0][2]
    assert all(torch.equal(again.targets[t].values, view.targets[t].values) for t in tasks)


def test_frames_of_a_window_share_a_label_and_a_stack_can_be_made():
    tasks, schedule, batch, view = drawn("frame", n=16)
    for name in tasks:
        found = view.targets[name]
        for values, mask in zip(found.values, found.mask, strict=True):
            seen = values[mask] if values.dim() == 1 else values[mask.all(dim=1)]
            assert len(seen.unique(dim=0)) <= 1
    pair = torch.stack((batch.rows, batch.rows + 1))
    stacked = torch.vmap(lambda rows: schedule.views(batch._replace(rows=rows), 0)[0][2].targets["mood"].values)(pair)
    assert torch.equal(stacked[0], view.targets["mood"].values)


def test_a_task_without_statistics_is_refused():
    tasks = {name: replace(spec, prior=None) for name, spec in tasks_of("item").items()}
    with pytest.raises(UserError, match="'mood' has no training statistics"):
        RandomLabels().bind(features_of(1), tasks)
