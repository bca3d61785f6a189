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


def lost(view, batch, m: str) -> torch.Tensor:
    """(batch, time) observed frames of a modality that the view no longer has."""
    return batch.inputs[m].mask & ~view.inputs[m].mask


def dropped(rate, *, n_features: int = 2, n: int = 2048, gaps: bool = False, **settings):
    schedule = ModalityDropout(rate, **settings)
    schedule.bind(features_of(n_features), TASKS)
    batch = batch_of(n_features, n=n, draws=schedule.n_draws, gaps=gaps)
    ((_, _, view),) = schedule.views(batch, 0)
    return batch, view


@pytest.mark.parametrize("per", ["item", "frame"])
def test_dropout_rates_by_modality(per):
    batch, view = dropped({"alpha": 0.6, "gamma": 0.2}, n_features=3, per=per, keep_one=False)
    share = [lost(view, batch, m).double().mean().item() for m in batch.inputs]
    assert share == pytest.approx([0.6, 0, 0.2], abs=5 * (0.25 / 2048) ** 0.5)


def test_dropout_per_batch_is_one_fate_for_all():
    schedule = ModalityDropout(0.5, per="batch", keep_one=False)
    schedule.bind(features_of(2), TASKS)
    fates = []
    for seed in range(30):
        batch = make_batch(features_of(2), TASKS, n=6, gaps=False, draws=2, seed=seed)
        stays = present(schedule.views(batch, 0)[0][2])
        assert (stays == stays[0]).all()
        fates.append(tuple(stays[0].tolist()))
    assert len(set(fates)) == 4


def test_dropout_per_frame_takes_single_frames_independently():
    """Every frame is lost at the rate; what a frame's neighbour or the other modality lost says nothing about it."""
    batch, view = dropped(0.3, per="frame", keep_one=False)
    a, b = (lost(view, batch, m).double() for m in batch.inputs)
    assert a.mean(0).tolist() == pytest.approx([0.3] * a.shape[1], abs=5 * (0.21 / 2048) ** 0.5)
    inside = torch.corrcoef(a.T) - torch.eye(a.shape[1])
    across = torch.corrcoef(torch.cat([a, b], dim=1).T)[: a.shape[1], a.shape[1] :]
    assert inside.abs().max() < 5 / 2048**0.5 and across.abs().max() < 5 / 2048**0.5


@pytest.mark.parametrize("per", ["item", "batch", "frame"])
def test_dropout_keeps_one_whole_whatever_is_lost_together(per):
    batch, view = dropped({"alpha": 0.99, "beta": 0.7, "gamma": 0.9}, n_features=3, n=600, gaps=True, per=per)
    before, after = present(batch), present(view)
    assert torch.equal(before.any(1), after.any(1)) and not (after & ~before).any()
    for m, x in view.inputs.items():
        assert torch.equal(x.values[~x.mask], torch.zeros_like(x.values[~x.mask])), m


@pytest.mark.parametrize("per", ["item", "frame"])
def test_dropout_spares_each_of_those_that_are_all_lost_equally_often(per):
    n = 4096
    batch, view = dropped({"alpha": 0.999, "beta": 0.99}, n=n, per=per)
    whole = torch.stack([~lost(view, batch, m).any(1) for m in batch.inputs], dim=1).double().mean(0)
    assert whole.tolist() == pytest.approx([0.5, 0.5], abs=0.06)


def test_dropout_of_frames_leaves_targets_to_items_that_have_any_frame():
    batch, view = dropped(0.9, n=64, gaps=True, per="frame", keep_one=False)
    answerable = present(view).any(1) | ~present(batch).any(1)
    assert not answerable.all()
    for name, target in view.targets.items():
        expected = batch.targets[name].mask & answerable.reshape(-1, *[1] * (target.mask.dim() - 1))
        assert torch.equal(target.mask, expected)


@pytest.mark.parametrize("per", ["item", "batch", "frame"])
def test_dropout_is_stackable(per):
    schedule = ModalityDropout({"alpha": 0.5, "beta": 0.8}, per=per)
    schedule.bind(features_of(2), TASKS)
    batches = [make_batch(features_of(2), TASKS, n=8, draws=2, seed=k) for k in range(3)]
    stacked = torch.utils._pytree.tree_map(lambda *x: torch.stack(x), *batches)
    views = torch.func.vmap(lambda b: schedule.views(b, 0)[0][2])(stacked)
    for k, batch in enumerate(batches):
        alone = schedule.views(batch, 0)[0][2]
        assert all(torch.equal(views.inputs[m].mask[k], x.mask) for m, x in alone.inputs.items())


@pytest.mark.parametrize("rate", [{"alpha": 1.0}, {"alpha": -0.1}])
def test_dropout_refuses_rates_that_are_none(rate):
    with pytest.raises(UserError, match="expected a probability"):
        ModalityDropout(rate)


def test_dropout_refuses_a_modality_that_is_not_there():
    with pytest.raises(UserError, match=r"`rate` names the modality 'alhpa'; did you mean alpha"):
        ModalityDropout({"alhpa": 0.1}).bind(features_of(2), TASKS)
