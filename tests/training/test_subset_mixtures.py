"""Schedules that mix all modalities with each one alone: together, in turn, or drawn."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from torch.func import vmap

from mer_bench.errors import UserError
from mer_bench.training.subsets import AlternatingSubsets, JointSubsets, StochasticSubsets
from mer_bench.types import Batch
from tests.cases import features_of, make_batch, tasks_of

TASKS = tasks_of("item")
WEIGHTED = [JointSubsets, StochasticSubsets]


def present(batch: Batch) -> torch.Tensor:
    return torch.stack([x.mask.any(1) for x in batch.inputs.values()], dim=1)


def bound(schedule, n: int = 3):
    schedule.bind(features_of(n), TASKS)
    return schedule


def batch_of(n: int = 3, *, draws: int = 0, seed: int = 0, **settings) -> Batch:
    return make_batch(features_of(n), TASKS, draws=draws, seed=seed, **settings)


def test_joint_weights_by_modality():
    schedule = bound(JointSubsets(2.0, single=0.5, weights={"beta": 0.25, "gamma": 0}))
    views = schedule.views(batch_of(), 0)
    assert [(name, weight) for name, weight, _ in views] == [("full", 2.0), ("only_alpha", 0.5), ("only_beta", 0.25)]


def test_joint_without_the_full_view():
    assert [name for name, _, _ in bound(JointSubsets(0.0)).views(batch_of(), 0)] == [
        "only_alpha",
        "only_beta",
        "only_gamma",
    ]


@pytest.mark.parametrize("make", WEIGHTED)
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"weights": {"alfa": 1.0}}, "'alfa'.*did you mean alpha"),
        ({"single": -1.0}, "must not be negative"),
        ({"full": 0.0, "single": 0.0}, "not all 0"),
    ],
)
def test_impossible_weights_are_refused(make, settings, message):
    with pytest.raises(UserError, match=f"{make.__name__}: .*{message}"):
        bound(make(**settings))


@pytest.mark.parametrize("make", [*WEIGHTED, AlternatingSubsets])
def test_one_modality_is_only_the_full_view(make):
    schedule, batch = bound(make(), 1), batch_of(1, draws=1)
    for step in range(3):
        ((_, weight, view),) = schedule.views(batch, step)
        assert weight == 1.0 and torch.equal(present(view), present(batch))


def test_alternating_goes_round():
    schedule, batch = bound(AlternatingSubsets()), batch_of()
    names = ["full", "only_alpha", "only_beta", "only_gamma"]
    for step in range(9):
        ((name, weight, view),) = schedule.views(batch, step)
        assert (name, weight) == (names[step % 4], 1.0)
        expected = present(batch)
        if step % 4:
            expected &= torch.arange(3) == step % 4 - 1
        assert torch.equal(present(view), expected)
    assert schedule.n_draws == 0


def subset_of(view: Batch, batch: Batch) -> str:
    """Which subset a view is; every item must agree."""
    kept = [m for m, x in view.inputs.items() if bool(x.mask.any())]
    for m, x in view.inputs.items():
        assert torch.equal(x.mask, batch.inputs[m].mask if m in kept else torch.zeros_like(x.mask)), m
    assert len(kept) in (1, 3)
    return kept[0] if len(kept) == 1 else "full"


@pytest.mark.parametrize(
    ("settings", "chances"),
    [
        ({}, {"full": 1 / 4, "alpha": 1 / 4, "beta": 1 / 4, "gamma": 1 / 4}),
        ({"full": 3, "single": 1, "weights": {"beta": 0}}, {"full": 3 / 5, "alpha": 1 / 5, "gamma": 1 / 5}),
    ],
)
def test_stochastic_draws_one_subset_for_the_whole_batch(settings, chances):
    schedule, batch = bound(StochasticSubsets(**settings)), batch_of(draws=1, n=8)
    assert schedule.n_draws == 1
    counts: Counter = Counter()
    steps = 1000
    for k in range(steps):  # evenly spaced draws hit each subset in proportion to its chance
        draws = batch.draws.clone()
        draws[0] = (k + 0.5) / steps
        ((name, weight, view),) = schedule.views(batch._replace(draws=draws), 0)
        assert (name, weight) == ("drawn", 1.0)
        counts[subset_of(view, batch)] += 1
    assert {m: n / steps for m, n in counts.items()} == pytest.approx(chances, abs=2 / steps)


def test_stochastic_is_a_function_of_the_first_draw_alone():
    schedule, batch = bound(StochasticSubsets()), batch_of(draws=1, n=8)
    state = torch.get_rng_state()
    others = batch.draws.clone()
    others[1:] = 1 - others[1:]
    views = [schedule.views(batch._replace(draws=d), step)[0][2] for d, step in ((batch.draws, 0), (others, 5))]
    assert torch.equal(present(views[0]), present(views[1])) and torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("make", [*WEIGHTED, AlternatingSubsets])
def test_stackable(make):
    """Members of a population draw for themselves, under vmap as alone."""
    schedule = bound(make())
    batches = [batch_of(draws=schedule.n_draws, seed=seed) for seed in range(5)]
    stacked = torch.utils._pytree.tree_map(lambda *x: torch.stack(x), *batches)

    def masks(batch: Batch) -> torch.Tensor:
        return torch.stack([present(view) for _, _, view in schedule.views(batch, 2)])

    assert torch.equal(vmap(masks)(stacked), torch.stack([masks(batch) for batch in batches]))
