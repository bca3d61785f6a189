"""A population that was killed or stopped goes on from what was saved, and ends with the same bits."""

from __future__ import annotations

import copy
from types import SimpleNamespace

import pytest
import torch

from mer_bench.training.checkpoints import AtomicCheckpoints, load
from tests.files import iemocap
from tests.training.populations import CASES, command, population

#: single precision, with dropout; folds of different sizes, so that members pause; three epochs
PLAIN = {"double": False, "data.batch_size": "16", "trainer.max_epochs": "3", "model.method.dim": "16"}
pytestmark = pytest.mark.filterwarnings("ignore:There is a performance drop")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Three runs, built once."""
    path = iemocap(tmp_path_factory.mktemp("interrupted") / "iemocap.h5", n=150)
    return [command(path.parent, "concat_moddrop", case, **PLAIN) for case in CASES]


class Killed(BaseException):
    """The process is gone."""


def build(root, kind, **more):
    """A population of three with two places, whose second member is the first to end, and its members."""
    built = [SimpleNamespace(model=copy.deepcopy(b.model), datamodule=b.datamodule, trainer=b.trainer) for b in root]
    made = population(kind, built, 2, seeds=[0, 0, 7], validated=True, **more)
    made.queue[1].epochs = 2
    return made, [*made.queue]


@pytest.fixture(scope="module")
def undisturbed(root):
    known = {}

    def found(kind):
        if kind not in known:
            made, members = build(root, kind)
            made.run()
            known[kind] = members
        return known[kind]

    return found


def same(members, others) -> None:
    for one, other in zip(members, others, strict=True):
        a, b = one.objective.state_dict(), other.objective.state_dict()
        assert all(torch.equal(a[name], b[name]) for name in a), one.name
        assert (one.best, one.steps, one.waited, one.diverged) == (
            other.best,
            other.steps,
            other.waited,
            other.diverged,
        )
        logs = [[{k: v for k, v in row.items() if k != "seconds"} for row in m.log] for m in (one, other)]
        assert logs[0] == logs[1]


def reopened(state, path):
    AtomicCheckpoints().save_checkpoint(state, path)
    return load(path)


@pytest.mark.parametrize("kind", ["stack", "branches"])
@pytest.mark.parametrize("after", [1, 2, 3, 4])
def test_killed_after_any_save_it_ends_with_the_same_bits(root, undisturbed, tmp_path, kind, after):
    saves, reported = [], []

    def save(state):
        saves.append(reopened(state, tmp_path / "state.ckpt"))
        if len(saves) == after:
            raise Killed

    first, _ = build(root, kind, save=save, every=0.0, ended=lambda m: reported.append(m.name))
    with pytest.raises(Killed):
        first.run()
    again, members = build(root, kind, ended=lambda m: reported.append(m.name))
    for member in [m for m in again.queue if m.name in reported]:  # they have a record, and are not run again
        again.queue.remove(member)
    again.load(saves[-1])
    again.run()
    assert sorted(reported) == ["0", "1", "2"]
    left = [k for k, m in enumerate(members) if m.epoch]
    same([members[k] for k in left], [undisturbed(kind)[k] for k in left])


@pytest.mark.parametrize("kind", ["stack", "branches"])
@pytest.mark.parametrize("steps", [1, 7, 13])
def test_asked_to_stop_it_goes_on_at_that_step(root, undisturbed, tmp_path, kind, steps):
    states, asked = [], []

    def ask():
        asked.append(1)
        return len(asked) >= steps

    first, _ = build(root, kind, save=states.append, asked=ask, every=1e9)
    with pytest.raises(KeyboardInterrupt):
        first.run()
    assert len(asked) == steps
    assert states[-1]["inside"] == ((kind, steps) not in {("stack", 7), ("branches", 13)})  # six steps an epoch
    again, members = build(root, kind)
    again.load(reopened(states[-1], tmp_path / "state.ckpt"))
    again.run()
    same(members, undisturbed(kind))


@pytest.mark.parametrize("kind", ["stack", "branches"])
def test_some_of_those_that_were_interrupted_can_go_on_without_the_others(root, undisturbed, tmp_path, kind):
    """Branches give the same bits; a stack is computed in another shape, and gives the same steps."""
    states = []

    def save(state):
        states.append(reopened(state, tmp_path / "state.ckpt"))
        raise Killed

    first, _ = build(root, kind, save=save, every=0.0)
    with pytest.raises(Killed):
        first.run()
    again, members = build(root, kind)
    del again.queue[0]
    again.load(states[-1])
    again.run()
    assert [m.steps for m in members[1:]] == [m.steps for m in undisturbed(kind)[1:]]
    if kind == "branches":
        same(members[1:], undisturbed(kind)[1:])


@pytest.mark.parametrize("kind", ["stack", "branches"])
def test_a_member_that_cannot_be_judged_or_reported_leaves_the_others_alone(root, undisturbed, kind):
    """Branches end bit by bit as ever; a stack loses a member, so rounding may differ."""

    def ended(member):
        if member.name == "1":
            raise OSError("no room")

    states = []
    made, members = build(root, kind, ended=ended, save=states.append)

    def broken():
        raise ValueError("cannot be judged")

    members[2].judge.judged = broken
    made.run()
    assert {m.name: type(m.error) for m in made.failed} == {"1": OSError, "2": ValueError}
    assert members[0].error is None and members[0].epoch == 3
    if kind == "branches":
        same(members[:2], undisturbed(kind)[:2])
    # what could not be reported is trained, and a later population reports it
    assert [kept["name"] for kept in made.state()["ended"]] == ["1"]
    again, others = build(root, kind)
    again.queue = others[1:2]
    again.load(made.state())
    again.run()
    assert others[1].epoch == 2 and not again.failed
    same(others[1:2], members[1:2])


def test_a_branch_that_raises_leaves_the_others_alone(root, undisturbed):
    made, members = build(root, "branches")

    def broken(batch):
        raise RuntimeError("in the forward pass")

    members[1].objective.method.forward = broken
    made.run()
    assert [m.name for m in made.failed] == ["1"] and "forward pass" in str(members[1].error)
    same([members[0], members[2]], [undisturbed("branches")[k] for k in (0, 2)])
