"""Subset schedules: which modalities each pass sees."""

from __future__ import annotations

import pytest
import torch

from mer_bench.errors import UserError
from mer_bench.training.subsets import AllModalities, JointSubsets, ModalityDropout, keep
from tests.cases import features_of, make_batch, tasks_of

TASKS = tasks_of("item")


def present(batch) -> torch.Tensor:
    return torch.stack([x.mask.any(1) for x in batch.inputs.values()], dim=1)


def batch_of(n_features: int, *, n: int, draws: int, gaps: bool = False, level: str = "item"):
    return make_batch(features_of(n_features), tasks_of(level), n=n, gaps=gaps, draws=draws)


def test_all_modalities_is_the_batch_itself():
    batch = batch_of(2, n=4, draws=0)
    schedule = AllModalities()
    schedule.bind(features_of(2), TASKS)
    ((name, weight, view),) = schedule.views(batch, 0)
    assert (name, weight) == ("full", 1.0) and view is batch and schedule.n_draws == 0


@pytest.mark.parametrize("keep_one", [True, False])
@pytest.mark.parametrize("rate", [0.0, 0.3, 0.7])
def test_dropout_rates(rate, keep_one):
    batch = batch_of(2, n=4096, draws=2)
    schedule = ModalityDropout(rate, keep_one=keep_one)
    schedule.bind(features_of(2), TASKS)
    assert schedule.n_draws == 2
    ((_, weight, view),) = schedule.views(batch, 0)
    stays = present(view)
    # with keep_one, the chance that both go (rate²) is shared between them
    lost = rate - (rate**2 / 2 if keep_one else 0)
    assert weight == 1.0
    assert stays.double().mean(0).tolist() == pytest.approx([1 - lost] * 2, abs=4 * (0.25 / 4096) ** 0.5)
    assert bool(stays.any(1).all()) == (keep_one or rate == 0)


def test_dropout_keeps_one_of_those_that_are_there():
    batch = batch_of(3, n=60, draws=3, gaps=True)
    schedule = ModalityDropout(0.95)
    schedule.bind(features_of(3), TASKS)
    ((_, _, view),) = schedule.views(batch, 0)
    before, after = present(batch), present(view)
    assert torch.equal(before.any(1), after.any(1)) and not (after & ~before).any()
    assert after.sum() < before.sum()


def test_dropout_is_a_function_of_the_draws():
    batch = batch_of(2, n=32, draws=2)
    schedule = ModalityDropout(0.5)
    schedule.bind(features_of(2), TASKS)
    state = torch.get_rng_state()
    a, b = (schedule.views(batch, step)[0][2] for step in (0, 7))
    assert torch.equal(present(a), present(b)) and torch.equal(torch.get_rng_state(), state)


def test_dropout_refuses_a_rate_that_is_none():
    with pytest.raises(UserError, match="rate is 1"):
        ModalityDropout(1)


def test_joint_subsets_are_the_full_view_and_each_alone():
    batch = batch_of(3, n=8, draws=0, gaps=True)
    schedule = JointSubsets(single=0.5)
    schedule.bind(features_of(3), TASKS)
    views = schedule.views(batch, 0)
    assert [(name, weight) for name, weight, _ in views] == [
        ("full", 1.0),
        ("only_alpha", 0.5),
        ("only_beta", 0.5),
        ("only_gamma", 0.5),
    ]
    assert views[0][2] is batch
    for k, (_, _, view) in enumerate(views[1:]):
        expected = torch.zeros_like(present(batch))
        expected[:, k] = present(batch)[:, k]
        assert torch.equal(present(view), expected)


def test_joint_subsets_of_one_modality_is_one_view():
    schedule = JointSubsets()
    schedule.bind(features_of(1), TASKS)
    assert [name for name, _, _ in schedule.views(batch_of(1, n=4, draws=0), 0)] == ["full"]


@pytest.mark.parametrize("level", ["item", "frame"])
def test_items_left_with_nothing_are_not_asked_for_an_answer(level):
    batch = batch_of(2, n=8, draws=0, level=level)
    stays = torch.arange(8) >= 3
    view = keep(batch, {"alpha": stays, "beta": stays})
    for name, target in view.targets.items():
        assert not target.mask[:3].any() and torch.equal(target.mask[3:], batch.targets[name].mask[3:])
    for m, x in view.inputs.items():
        assert not x.mask[:3].any() and torch.equal(x.values[:3], torch.zeros_like(x.values[:3]))
        assert torch.equal(x.values[3:], batch.inputs[m].values[3:])


def test_items_that_had_nothing_keep_their_targets():
    """They are the data's affair, not the schedule's."""
    batch = batch_of(2, n=8, draws=0)
    nothing = torch.zeros(8, dtype=torch.bool)
    empty = keep(batch, {"alpha": nothing, "beta": nothing})._replace(targets=batch.targets)
    again = keep(empty, {"alpha": nothing})
    for name, target in again.targets.items():
        assert torch.equal(target.mask, batch.targets[name].mask)
