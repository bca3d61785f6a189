"""The local engine and the ledger under faults: every planned run recorded exactly once, whatever dies."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mer_bench.errors import UserError
from mer_bench.sweep.ledger import Ledger
from mer_bench.sweep.local import LocalEngine, Slot, recorded, slots
from mer_bench.sweep.plan import make_plan, read
from mer_bench.sweep.progress import Progress
from tests.files import iemocap

ROOT = Path(__file__).parents[2]
SWEEP = """
protocols: [iemocap4]
methods: [majority, concat]
modalities: {{iemocap4: [audio, text]}}
seeds: [{seeds}]
"""


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    iemocap(tmp_path / "features" / "iemocap.h5", n=100)
    (tmp_path / "s.yaml").write_text(SWEEP.format(seeds="0"))
    return tmp_path


def engine(target: str, places: int = 2, **options) -> LocalEngine:
    ledger = Ledger("runs")
    options["runs"] = "runs"
    return LocalEngine(ledger, slots(places, [], 1), f"tests.sweep.targets:{target}", options, ["tests.sweep.targets"])


def work(target: str, places: int = 2, **options):
    plan = make_plan(read("s.yaml"), "runs").runs
    made = engine(target, places, **options)
    progress = Progress(len(plan), 0, bar=False)
    made.work(plan, progress)
    return plan, made, progress


def executions() -> list[str]:
    return Path("runs/executed.log").read_text().split()


def test_every_run_once_and_the_second_time_none(home):
    plan, made, _ = work("record")
    assert len(plan) == 10
    assert all(recorded(run) for run in plan.values())
    assert sorted(executions()) == sorted(plan)
    assert made.ledger.held() == {}
    work("record")
    assert len(executions()) == 10
    (home / "s.yaml").write_text(SWEEP.format(seeds="0, 1"))
    plan, _, _ = work("record")
    assert len(plan) == len(executions()) == 20
    facts = json.loads((next(iter(plan.values())).folder / "record.json").read_text())
    assert facts["gpu"] == "" and facts["threads"] >= 1


def test_a_crash_is_tried_again(home):
    plan, made, progress = work("fails_once")
    assert all(recorded(run) for run in plan.values())
    assert progress.failures == 0
    assert all(made.ledger.failure(key) is None for key in plan)


def test_failures_stop_nobody_else_and_are_named(home, capfd):
    plan, made, progress = work("fold_one_fails")
    bad = {key: run for key, run in plan.items() if run.fold in (1, 2, 3)}
    assert {key for key, run in plan.items() if not recorded(run)} == set(bad)
    assert progress.failures == len(bad) == 6
    reasons = {run.fold: made.ledger.failure(key).reason for key, run in bad.items()}
    assert reasons[1] == "RuntimeError: always broken"
    assert reasons[2] == "bad input"
    assert "SIGKILL" in reasons[3] and "log.txt" in reasons[3]
    assert "FAILED: RuntimeError: always broken" in capfd.readouterr().err
    log = next(run for run in plan.values() if run.fold == 1).folder / "log.txt"
    assert log.read_text().count("RuntimeError: always") == 2  # tried twice
    work("record")  # given up: not tried again without being told
    assert not any(recorded(run) for run in bad.values())
    for key in bad:
        made.ledger.forgive(key)
    work("record")
    assert all(recorded(run) for run in plan.values())


def test_out_of_memory_narrows_the_slots(home):
    plan, made, _ = work("out_of_memory")
    assert all(recorded(run) for run in plan.values())
    assert [slot.usable for slot in made.places].count(False) == 1


def launch(runs: str = "runs", seconds: str = "0.15") -> subprocess.Popen:
    command = [sys.executable, "-m", "tests.sweep.launch", runs, "s.yaml", "record", seconds]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)


def wait_until(condition, seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "took too long"
        time.sleep(0.05)


def test_two_launchers_share_the_work(home):
    one, two = launch(), launch()
    assert one.wait(60) == two.wait(60) == 0
    plan = make_plan(read("s.yaml"), "runs").runs
    assert all(recorded(run) for run in plan.values())
    assert sorted(executions()) == sorted(plan)


def test_killed_launchers_lose_and_double_nothing(home):
    """SIGKILL of the launcher whenever two more runs have begun, until the plan is complete: no orphan, no doubles."""
    plan = make_plan(read("s.yaml"), "runs").runs
    log = Path("runs/executed.log")
    kills = 0
    while not all(recorded(run) for run in plan.values()):
        before = len(executions()) if log.is_file() else 0
        process = launch(seconds="0.3")
        wait_until(lambda: process.poll() is not None or (log.is_file() and len(executions()) >= before + 2))  # noqa: B023
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
            kills += 1
        process.wait()
        wait_until(lambda: not in_session(process.pid))  # noqa: B023
    assert kills > 0
    for run in plan.values():
        assert json.loads((run.folder / "record.json").read_text())["key"] == run.key
    assert not list(Path("runs").rglob("conflict-*"))


def in_session(session: int) -> list[int]:
    """Processes that a dead launcher left behind."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
            except OSError:
                continue
            if int(fields[3]) == session and fields[0] != "Z":
                found.append(int(entry.name))
    return found


def test_interrupt_stops_at_once_and_goes_on_later(home):
    process = launch(seconds="30")
    wait_until(lambda: Path("runs/executed.log").is_file())
    session = process.pid
    os.kill(process.pid, signal.SIGTERM)
    assert process.wait(15) == 130
    wait_until(lambda: not in_session(session))
    assert Ledger("runs").held() == {}
    plan, _, _ = work("record")
    assert all(recorded(run) for run in plan.values())


def test_ledger_takes_over_dead_claims_only(tmp_path):
    mine, other = Ledger(tmp_path, lease=60), Ledger(tmp_path, lease=60)
    mine.prepare()
    assert mine.claim("k") and not other.claim("k")
    path = mine.leases / "k"
    path.write_text(json.dumps({"owner": "x", "host": "elsewhere", "pid": 1}))
    assert not other.claim("k")  # another machine, and it spoke a moment ago
    old = time.time() - 120
    os.utime(path, (old, old))
    assert other.claim("k")
    mine.release("k")  # no longer mine: must not be taken away
    assert list(other.held()) == ["k"]
    other.release("k")
    assert other.held() == {}


def test_clock_jumps_do_not_break_local_claims(tmp_path):
    mine, other = Ledger(tmp_path, lease=60), Ledger(tmp_path, lease=60)
    mine.prepare()
    assert mine.claim("k")
    for jump in (-86400, 86400):
        then = time.time() + jump
        os.utime(mine.leases / "k", (then, then))
        assert not other.claim("k")


def test_slots():
    assert [s.device for s in slots(None, [0, 1], 2)] == [0, 1, 0, 1]
    assert slots(3, [], 1)[0] == Slot(None, max(1, len(os.sched_getaffinity(0)) // 3))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("protocols: [iemocap4]\nmethods: [foul]\n", "no method or group named 'foul'; did you mean foal"),
        ("protocols: [iemocap5]\nmethods: [foal]\n", "no protocol named 'iemocap5'"),
        ("protocol: [iemocap4]\nmethods: [foal]\n", "unknown key 'protocol'; did you mean protocols"),
        ("protocols: [iemocap4]\nmethods: [foal]\nseeds: [one]\n", "seeds must be a list of whole numbers"),
        ("protocols: []\nmethods: [foal]\n", "protocols must be a list of names"),
    ],
)
def test_bad_sweep_files(home, text, message):
    (home / "s.yaml").write_text(text)
    with pytest.raises(UserError) as error:
        make_plan(read("s.yaml"), "runs")
    assert message in str(error.value)


def test_plan_leaves_out_what_a_card_rules_out(home):
    (home / "s.yaml").write_text(
        "protocols: [iemocap4]\nmethods: [foal, unimodal]\nmodalities: {iemocap4: [audio]}\nfolds: [0]\nseeds: [0]\n"
    )
    plan = make_plan(read("s.yaml"), "runs")
    assert [run.recipe.method for run in plan.runs.values()] == ["unimodal"]
    assert plan.left_out == {("iemocap4", "foal"): "1 modality is offered; the method needs 2 or more"}


def test_grid_multiplies(home):
    (home / "s.yaml").write_text(SWEEP.format(seeds="0") + "folds: [0]\nset: {model.optimizer.lr: [1.0e-3, 1.0e-4]}\n")
    plan = make_plan(read("s.yaml"), "runs").runs
    assert len(plan) == 4
    rates = {run.recipe.settings["model"]["optimizer"]["init_args"]["lr"] for run in plan.values()}
    assert rates == {1e-3, 1e-4}
