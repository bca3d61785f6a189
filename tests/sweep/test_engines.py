"""One promise, three engines: every planned run recorded exactly once, failures named, interruptions survived."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from mer_bench.errors import UserError
from mer_bench.results.record import read_record
from mer_bench.sweep.agenda import recorded
from mer_bench.sweep.engine import Engine
from mer_bench.sweep.ledger import Ledger
from mer_bench.sweep.local import LocalEngine, Slot, slots, usable_cores
from mer_bench.sweep.progress import Progress
from mer_bench.sweep.ray import RayEngine
from mer_bench.sweep.slurm import Batch, SlurmEngine
from tests.sweep.cases import MORE, PRELOAD, executions, planned, wait_until


def local(target: str, given: dict) -> Engine:
    return LocalEngine(Ledger("runs"), slots(2, [], 1), target, given, PRELOAD)


def ray(target: str, given: dict) -> Engine:
    return RayEngine(Ledger("runs"), target, given, PRELOAD, workers=2)


def slurm(target: str, given: dict) -> Engine:
    import submitit

    def executor(folder: Path):
        made = submitit.LocalExecutor(folder)
        made.update_parameters(timeout_min=5)
        return made

    return SlurmEngine(Ledger("runs"), target, given, PRELOAD, Batch(jobs=2), executor=executor, look=0.1)


ENGINES = {"local": local, "ray": ray, "slurm": slurm}
every_engine = pytest.mark.parametrize(
    "kind", ["local", pytest.param("ray", marks=pytest.mark.slow), pytest.param("slurm", marks=pytest.mark.slow)]
)


def work(kind: str, target: str, **options):
    plan = planned()
    given = {"runs": "runs", "notes": str(Path("runs.notes").absolute()), **options}
    progress = Progress(len(plan), 0, bar=False)
    stopped = ENGINES[kind](f"tests.sweep.targets:{target}", given).work(plan, progress)
    return plan, progress, stopped


def test_a_fork_server_comes_up_whatever_a_user_has_put_over_the_shipped_configs(home):
    """What it reads to learn signatures is the shipped ones; a run says what is wrong with the others."""
    for part in ("data/iemocap", "method/concat", "data/affwild2", "method/transformer"):
        path = Path("configs", f"{part}.yaml")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("model: {method: {class_path: lab.net.Mine}}\ndata: {init_args: {no_such_key: 1}}\n")
    done = subprocess.run(
        [sys.executable, "-c", "import mer_bench.cli.warm"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@every_engine
def test_every_run_once_and_the_second_time_none(home, kind):
    plan, progress, stopped = work(kind, "record")
    assert not stopped and (progress.finished, progress.failures) == (5, 0)
    for run in plan.values():
        assert read_record(run.folder / "record.json").run_key == run.key
        assert (run.folder / "seen.txt").read_text() == "1 1 []"  # one thread, no GPU
    assert Counter(executions()) == Counter(list(plan))
    assert Ledger("runs").held() == {}
    work(kind, "record")
    assert len(executions()) == 5
    (home / "s.yaml").write_text(MORE)
    plan, progress, _ = work(kind, "record")
    assert progress.finished == 15 and len(plan) == len(executions()) == 20


@every_engine
def test_a_crash_is_tried_again(home, kind):
    plan, progress, _ = work(kind, "fails_once")
    assert all(recorded(run) for run in plan.values())
    assert progress.failures == 0
    assert all(Ledger("runs").failure(key) is None for key in plan)


@every_engine
def test_failures_stop_nobody_else_and_are_named(home, kind, capfd):
    plan, progress, _ = work(kind, "fold_one_fails")
    bad = {key: run for key, run in plan.items() if run.fold in (1, 2, 3)}
    assert {key for key, run in plan.items() if not recorded(run)} == set(bad)
    assert progress.failures == len(bad) == 3
    ledger = Ledger("runs")
    reasons = {run.fold: ledger.failure(key).reason for key, run in bad.items()}
    assert reasons[1] == "RuntimeError: always broken"
    assert reasons[2] == "bad input"
    assert "SIGKILL" in reasons[3] and "log.txt" in reasons[3]
    assert "FAILED: RuntimeError: always broken" in capfd.readouterr().err
    log = next(run for run in plan.values() if run.fold == 1).folder / "log.txt"
    assert log.read_text().count("RuntimeError: always") == 2  # tried twice
    work(kind, "record")  # given up: not tried again without being told
    assert not any(recorded(run) for run in bad.values())
    for key in bad:
        ledger.forgive(key)
    work(kind, "record")
    assert all(recorded(run) for run in plan.values())


@every_engine
def test_stopped_runs_keep_their_checkpoint_and_go_on_from_it(home, kind):
    """Ctrl-C while runs work in steps: it stops within seconds, each run's last step is kept, none is done twice."""

    def interrupt() -> None:
        wait_until(lambda: len(executions()) >= 2)
        time.sleep(0.3)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt).start()
    plan, _, stopped = work(kind, "long", seconds=0.1)
    assert stopped and not all(recorded(run) for run in plan.values())
    assert Ledger("runs").held() == {} and not any(Ledger("runs").failure(key) for key in plan)
    begun = [run for run in plan.values() if (run.folder / "checkpoints" / "last.ckpt").is_file()]
    assert begun
    plan, _, stopped = work(kind, "long", seconds=0.001)
    assert not stopped and all(recorded(run) for run in plan.values())
    for run in plan.values():
        assert [int(line) for line in (run.folder / "steps.txt").read_text().split()] == list(range(1, 21))


@pytest.mark.parametrize("kind", ["local", pytest.param("ray", marks=pytest.mark.slow)])
def test_out_of_memory_narrows_the_places(home, kind, capfd):
    plan, progress, _ = work(kind, "out_of_memory")
    assert all(recorded(run) for run in plan.values()) and progress.failures == 0
    assert "out of memory: 1 slots are left" in capfd.readouterr().err


@pytest.mark.parametrize("kind", ["local", pytest.param("ray", marks=pytest.mark.slow)])
def test_a_full_disk_ends_the_sweep_and_blames_no_run(home, kind):
    full = Path("runs.notes-no-room")
    full.touch()
    with pytest.raises(UserError, match="no space left on the device; what is recorded stays"):
        work(kind, "no_room")
    ledger = Ledger("runs")
    assert ledger.held() == {} and not any(ledger.failure(key) for key in planned())
    full.unlink()
    plan, _, _ = work(kind, "no_room")
    assert all(recorded(run) for run in plan.values())


@every_engine
def test_a_contradiction_is_kept_and_shouted(home, kind, capfd):
    plan, progress, _ = work(kind, "contradicts")
    if kind != "slurm":  # there the jobs shout, into their logs; `sweep` itself looks for conflicts at the end
        assert progress.failures == len(plan)
        assert "CONFLICT: " in capfd.readouterr().err
    for run in plan.values():
        assert read_record(run.folder / "record.json").metrics["full"]["emotion/ua"] == 0.25
        (other,) = run.folder.glob("conflict-*.json")
        assert read_record(other).metrics["full"]["emotion/ua"] == 0.75


def test_slots():
    assert [s.device for s in slots(None, ["0", "1"], 2)] == ["0", "1", "0", "1"]
    assert slots(1, [], 1) == [Slot(None, 1)] and len(slots(None, [], 1)) == usable_cores()
