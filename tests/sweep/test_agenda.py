"""What counts as a failure, for how long, and how it is told."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from mer_bench.cli import main
from mer_bench.sweep.agenda import Agenda, code_of
from mer_bench.sweep.ledger import ATTEMPTS, Ledger
from mer_bench.sweep.loop import drive
from mer_bench.sweep.progress import Progress
from mer_bench.sweep.worker import Ended
from tests.sweep.cases import planned


@pytest.fixture
def agenda(home) -> Agenda:
    plan, ledger = planned(), Ledger("runs")
    ledger.prepare()
    return Agenda(ledger, plan, Progress(len(plan), 0, bar=False))


def give_up(agenda: Agenda, code: str) -> None:
    for key in planned():
        for _ in range(ATTEMPTS):
            agenda.ledger.fail(key, "RuntimeError: broken", code)


def test_what_other_code_gave_up_is_tried_again(agenda):
    (first, *_) = planned().values()
    assert len(code_of(first)) == 64
    give_up(agenda, "other")
    assert agenda.next() is not None
    assert agenda.ledger.fail(first.key, "again", code_of(first)).attempts == 1
    give_up(agenda, code_of(first))
    assert agenda.next() is None and agenda.settled()


def test_sources_that_cannot_be_read_end_no_sweep(agenda, monkeypatch):
    def broken(modules):
        raise SyntaxError("an author at work")

    give_up(agenda, "other")
    monkeypatch.setattr("mer_bench.sweep.agenda.code_hash", broken)
    assert agenda.next() is not None


def test_an_end_without_a_result_is_a_failure(agenda, capsys):
    run = agenda.next()
    run.folder.mkdir(parents=True)
    (run.folder / "log.txt").touch()
    for _ in range(ATTEMPTS):
        agenda.land(run, Ended("ok"), 1.0)
    assert (agenda.progress.finished, agenda.progress.failures) == (0, 1)
    said = capsys.readouterr().err
    assert "left no result here" in said and f"see {run.folder / 'log.txt'}" in said


class Struck:
    """A place whose process ends by a signal that came to the whole group."""

    usable, room = True, 1

    def start(self, runs):
        pass

    def ended(self):
        return Ended("failed", "SIGTERM")

    def stop(self):
        pass


def test_a_signal_to_the_whole_group_is_no_failure_of_the_runs(agenda):
    assert drive([Struck()], agenda, lambda places, seconds: os.kill(os.getpid(), signal.SIGTERM))
    assert not list(agenda.ledger.failures.iterdir()) and agenda.ledger.held() == {}


def test_given_up_runs_are_named_with_what_tries_them_again(agenda, capsys):
    plan = planned()
    give_up(agenda, code_of(next(iter(plan.values()))))
    assert main(["sweep", "s.yaml", "--cpu", "--progress", "lines"]) == 1
    said = capsys.readouterr()
    for run in plan.values():
        assert f"given up: {run.label}: RuntimeError: broken" in said.err
    assert "--retry" in said.err and "0 of 5 runs are recorded, 5 failed" in said.out
    assert not list(Path("runs").rglob("log.txt"))
