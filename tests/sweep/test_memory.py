"""Memory that runs out, of a GPU or of the machine: places close, and no run is blamed for it."""

from __future__ import annotations

import signal
from pathlib import Path
from types import SimpleNamespace

import pytest

from mer_bench.sweep import child
from mer_bench.sweep.agenda import Agenda
from mer_bench.sweep.ledger import Ledger
from mer_bench.sweep.loop import Flight, _land
from mer_bench.sweep.progress import Progress
from mer_bench.sweep.worker import Ended, _explained
from tests.sweep.cases import planned

CPU = "[enforce fail at alloc_cpu.cpp:117] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate"


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (MemoryError(), "oom"),
        (RuntimeError(CPU), "oom"),
        (RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 8 bytes."), "oom"),
        (RuntimeError("sizes do not match"), "failed"),
        (ValueError(CPU), "failed"),
    ],
)
def test_what_says_that_memory_ran_out(tmp_path, error, status):
    assert _explained(error, tmp_path / "log.txt").status == status
    outer = RuntimeError("2 runs failed")
    outer.__cause__ = error
    assert _explained(outer, tmp_path / "log.txt").status == status


@pytest.mark.parametrize(("rises", "status"), [(1, "oom"), (0, "failed")])
def test_a_process_that_the_system_ended_for_want_of_memory(tmp_path, monkeypatch, rises, status):
    counters = tmp_path / "vmstat"
    counters.write_text("oom_kill_other 9\noom_kill 4\n")
    assert child.killed_for_memory(counters) == 4 and child.killed_for_memory(tmp_path / "none") == 0
    kills = iter([4, 4 + rises])
    monkeypatch.setattr(child, "killed_for_memory", lambda: next(kills))
    dead = SimpleNamespace(is_alive=lambda: False, join=lambda: None, exitcode=-signal.SIGKILL)
    pipe = SimpleNamespace(poll=lambda: False, close=lambda: None)
    assert child.Child(dead, pipe, Path("log.txt")).ended().status == status


def test_a_slot_that_closes_costs_the_run_no_attempt(home):
    class Full:
        usable, room = True, 1

        def ended(self):
            return Ended("oom", "full")

    plan, ledger = planned(), Ledger("runs")
    ledger.prepare()
    places, agenda = [Full(), Full()], Agenda(ledger, plan, Progress(len(plan), 0, bar=False))
    for usable in (1, 1):  # the second time it is the last place: that is the run's failure
        run = agenda.next()
        _land([Flight([run], next(place for place in places if place.usable))], places, agenda)
        assert sum(place.usable for place in places) == usable
        if ledger.failure(run.key) is None:
            assert list(agenda.left)[-1] is run
    assert ledger.failure(run.key).attempts == 1
    assert sum(ledger.failure(key) is not None for key in plan) == 1
