"""Launchers and workers that are killed, in loops, until the plan is complete."""

from __future__ import annotations

import os
import signal
from collections import Counter
from pathlib import Path

import pytest

from mer_bench.results.record import read_record
from mer_bench.sweep.agenda import recorded
from mer_bench.sweep.ledger import Ledger
from tests.sweep.cases import MORE, executions, in_session, launch, planned, wait_until


def test_two_launchers_share_the_work(home):
    one, two = launch(), launch()
    assert one.wait(60) == two.wait(60) == 0
    plan = planned()
    assert all(recorded(run) for run in plan.values())
    assert Counter(executions()) == Counter(list(plan))


@pytest.mark.slow
def test_killed_launchers_lose_and_double_nothing(home):
    """SIGKILL of the launcher while runs are in flight, until all is done: no orphan, none lost, doubled or damaged."""
    (home / "s.yaml").write_text(MORE)
    plan, kills = planned(), 0

    def done() -> int:
        return sum(recorded(run) for run in plan.values())

    while done() < len(plan):
        before, begun = done(), len(executions())
        process = launch(seconds="0.1")
        wait_until(lambda: process.poll() is not None or (done() > before and len(executions()) > begun + 2))  # noqa: B023
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
            kills += 1
        process.wait()
        wait_until(lambda: not in_session(process.pid))  # noqa: B023
    wasted = len(executions()) - len(plan)
    assert kills > 0 and wasted <= 2 * kills  # two slots: at most the runs in flight
    complete(plan)


@pytest.mark.slow
@pytest.mark.parametrize("launchers", [1, 2])
def test_killed_workers_lose_and_double_nothing(home, launchers):
    """SIGKILL of whatever process of a run is found, 20 times over; each run has two tries, so given up is forgiven."""
    (home / "s.yaml").write_text(MORE)
    plan, kills = planned(), 0
    while not all(recorded(run) for run in plan.values()):
        for key in plan:
            Ledger("runs").forgive(key)
        processes = [launch(seconds="0.1") for _ in range(launchers)]
        while any(process.poll() is None for process in processes):
            begun = len(executions())
            wait_until(lambda: len(executions()) > begun or all(p.poll() is not None for p in processes))  # noqa: B023
            for victim in [pid for p in processes for pid in workers(p.pid)][:1] if kills < 20 else []:
                os.kill(victim, signal.SIGKILL)
                kills += 1
        wait_until(lambda: not any(in_session(process.pid) for process in processes))  # noqa: B023
    assert kills == 20
    complete(plan)


def complete(plan) -> None:
    """Records are those of the plan: readable, each with its own key, none contradicted, none claimed."""
    for run in plan.values():
        assert read_record(run.folder / "record.json").run_key == run.key
        assert not list(run.folder.glob("conflict-*")) and not list(run.folder.glob(".*"))
    assert Ledger("runs").held() == {}


def workers(launcher: int) -> list[int]:
    """Processes of runs: children of the fork server, which is a child of the launcher."""
    return [pid for pid in in_session(launcher) if parent(parent(pid)) == launcher]


def parent(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/stat") as stream:  # noqa: PTH123
            return int(stream.read().rsplit(")", 1)[1].split()[1])
    except OSError:
        return 0


def test_sigterm_stops_at_once_and_leaves_nothing(home):
    process = launch("long", seconds="0.5")
    wait_until(lambda: len(executions()) >= 2)
    os.kill(process.pid, signal.SIGTERM)
    assert process.wait(30) == 130
    wait_until(lambda: not in_session(process.pid))
    assert Ledger("runs").held() == {}


@pytest.mark.slow
def test_killed_ray_workers_lose_and_double_nothing(home):
    """SIGKILL of actors while their runs are in flight: Ray restarts them, and their runs are done again."""
    process = launch("ray", seconds="0.3")
    plan, killed = planned(), set()
    while process.poll() is None:
        begun = len(executions())
        wait_until(lambda: len(executions()) > begun or process.poll() is not None)  # noqa: B023
        for pid in [pid for pid in actors() if pid not in killed][:1] if len(killed) < 3 else []:
            os.kill(pid, signal.SIGKILL)
            killed.add(pid)
    assert process.returncode == 0 and len(killed) == 3
    assert len(executions()) >= len(plan)
    complete(plan)
    wait_until(lambda: not [pid for pid in in_session(process.pid)])


@pytest.mark.slow
def test_a_killed_ray_driver_leaves_no_process_and_the_next_one_goes_on(home):
    process = launch("ray", seconds="0.3")
    wait_until(lambda: len(executions()) >= 3)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    wait_until(lambda: not in_session(process.pid))
    assert launch().wait(60) == 0
    complete(planned())


def actors() -> list[int]:
    """Processes of Ray actors that run orders; Ray names them after what they do."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and (entry / "cmdline").read_bytes().startswith(b"ray::Worker"):
                found.append(int(entry.name))
        except OSError:
            continue
    return found
