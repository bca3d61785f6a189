"""`sweep` with real fits: one that is killed on the way leaves the same records as one that is not."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mer_bench.cli import main
from mer_bench.results.record import read_record
from mer_bench.sweep.ledger import Ledger
from tests.files import iemocap
from tests.source import ROOT
from tests.sweep.cases import in_session, wait_until

SWEEP = """
protocols: [iemocap4]
methods: [majority, concat]
modalities: {iemocap4: [audio, text]}
folds: [0, 1]
seeds: [0]
set: {trainer.max_epochs: 40, early_stopping.patience: 40, trainer.accelerator: cpu}
"""


def start(runs: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "mer_bench", "sweep", "s.yaml", "--runs", runs, "--progress", "lines"]
    return subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True)


def checkpoints() -> set[tuple[Path, int]]:
    found = set()
    for path in Path("runs").rglob("last.ckpt"):
        with contextlib.suppress(FileNotFoundError):  # a run that ends takes it away
            found.add((path, path.stat().st_mtime_ns))
    return found


@pytest.mark.slow
def test_killed_on_the_way_the_records_are_the_same(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    iemocap(tmp_path / "features" / "iemocap.h5", n=150)
    Path("s.yaml").write_text(SWEEP)
    assert main(["sweep", "s.yaml", "--runs", "straight", "--progress", "lines"]) == 0
    for number, code in ((signal.SIGTERM, 130), (signal.SIGKILL, -signal.SIGKILL)):
        known = checkpoints()
        process = start("runs")
        wait_until(lambda: checkpoints() - known, 120)  # noqa: B023
        os.kill(process.pid, number)
        assert process.wait(60) == code
        wait_until(lambda: not in_session(process.pid))  # noqa: B023
        if number == signal.SIGTERM:
            assert Ledger("runs").held() == {} and list(Path("runs").rglob("last.ckpt"))
    assert main(["sweep", "s.yaml", "--progress", "lines"]) == 0
    assert main(["sweep", "s.yaml", "--engine", "local"]) == 0
    ours = {path.relative_to("runs"): read_record(path) for path in Path("runs").rglob("record.json")}
    theirs = {path.relative_to("straight"): read_record(path) for path in Path("straight").rglob("record.json")}
    assert len(ours) == 4 and ours.keys() == theirs.keys()
    for path, record in ours.items():
        assert record.numbers() == theirs[path].numbers()
