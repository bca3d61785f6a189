"""CUDA graphs and torch.compile give the steps that they stand for, and step back where they cannot."""

from __future__ import annotations

from functools import partial

import pytest
import torch

from mer_bench.data.joined import join
from mer_bench.training import faster
from mer_bench.training.faster import MOST, WARM, Compiled, Replayed
from mer_bench.training.population import Population
from mer_bench.training.stack import Stack
from tests.files import iemocap
from tests.training.populations import CASES, close, command, member

pytestmark = pytest.mark.filterwarnings("ignore:There is a performance drop")
GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here: nothing to capture a graph on")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return iemocap(tmp_path_factory.mktemp("faster") / "iemocap.h5", n=150).parent


class Tape:
    """Stands in for a capture: runs nothing at first, and what it was given whenever it is replayed."""

    def __init__(self) -> None:
        self.captured = self.replayed = 0

    def __call__(self, function):
        self.captured += 1

        def replay():
            self.replayed += 1
            function()

        return replay


def trained(root, monkeypatch=None, tape=None, device="cpu", **how):
    """Three members in two places, so that one place is refilled and the stack shrinks."""
    built = [command(root, "foal", case, **{"data.pad_to": "8", "trainer.max_epochs": "4"}) for case in CASES]
    for one in built:
        one.model.to(device)
    joined = join([one.datamodule.store.on(torch.device(device)) for one in built])
    members = [member(one, str(k), k) for k, one in enumerate(built)]
    if tape is not None:
        monkeypatch.setattr("mer_bench.training.stack.Replayed", partial(Replayed, capture=tape))
    make = partial(Stack, joined=joined, clip=built[0].model.clip, **how)
    Population(members, make, width=2, ended=lambda m: None).run()
    return members


def test_replayed_steps_are_the_steps(root, monkeypatch):
    """Buffers are filled, shapes told apart, and a stack of another size captures anew."""
    tape = Tape()
    for one, other in zip(trained(root, monkeypatch, tape, graphs=True), trained(root), strict=True):
        close(one.objective, other.objective, 0.0)
    assert tape.captured >= 2 and tape.replayed > tape.captured


def test_each_shape_warms_up_and_so_many_are_kept():
    tape, calls = Tape(), []
    step = Replayed(
        lambda x, widths: calls.append((float(x), widths["a"])), torch.device("cpu"), lambda: None, capture=tape
    )
    for number in range(WARM + 2):
        for width in range(MOST + 1):
            step(torch.tensor(float(number)), widths={"a": width})
    assert sorted(calls) == sorted((float(n), w) for n in range(WARM + 2) for w in range(MOST + 1))
    assert tape.captured == MOST and tape.replayed == 2 * MOST
    step.reset()
    step(torch.tensor(0.0), widths={"a": 0})
    assert tape.captured == MOST and not step.graphs


def test_a_step_that_cannot_be_captured_runs_plainly(root, monkeypatch, capsys):
    def refuse(function):
        raise RuntimeError("operation not permitted when stream is capturing\nmore words")

    for one, other in zip(trained(root, monkeypatch, refuse, graphs=True), trained(root), strict=True):
        close(one.objective, other.objective, 0.0)
    said = capsys.readouterr().err
    assert (
        said.count("\n") == said.count("cannot be a CUDA graph (operation not permitted when stream is capturing)") == 1
    )


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_without_a_gpu_one_line_says_so_and_the_record_too(root, capsys):
    built = command(root, "concat", CASES[0])
    stack = Stack([member(built, "0", 0)], joined=join([built.datamodule.store]), clip=None, graphs=True)
    assert stack.told == "stack"
    assert "CUDA graphs need a GPU" in capsys.readouterr().err


@GPU
def test_a_captured_step_on_a_gpu_is_the_step(root):
    one, other = (trained(root, device="cuda", graphs=graphs) for graphs in (True, False))
    for first, second in zip(one, other, strict=True):
        close(first.objective, second.objective)


def test_what_cannot_be_compiled_runs_plainly(monkeypatch, capsys):
    def broken(function, dynamic):
        def fails(*args):
            raise NotImplementedError("no compiler\nhere")

        return fails

    monkeypatch.setattr(faster.torch, "compile", broken)
    double = Compiled(lambda x: 2 * x)
    assert [double(3), double(4)] == [6, 8] and double.fast is None
    assert capsys.readouterr().err == "mer-bench: torch.compile failed (no compiler): steps run plainly\n"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_compiled_optimiser_is_the_optimiser(root, capsys):
    """Slow: torch.compile starts a C++ compiler for every size of the stack."""
    for one, other in zip(trained(root, compiled=True), trained(root), strict=True):
        close(one.objective, other.objective)
    assert "torch.compile failed" not in capsys.readouterr().err
