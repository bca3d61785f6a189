"""What engine tests share: the sweep, who was executed, processes that are left behind."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from mer_bench.runs import Run
from mer_bench.sweep.plan import make_plan, read

SWEEP = """
protocols: [iemocap4]
methods: [{methods}]
modalities: {{iemocap4: [audio, text]}}
seeds: [{seeds}]
"""
FEW = SWEEP.format(methods="majority", seeds="0")
MORE = SWEEP.format(methods="majority, concat", seeds="0, 1")
PRELOAD = ["tests.sweep.targets"]


def planned(runs: str = "runs") -> dict[str, Run]:
    return dict(make_plan(read("s.yaml"), runs).runs)


def executions(notes: str = "runs.notes") -> list[str]:
    path = Path(notes)
    return path.read_text().split() if path.is_file() else []


def launch(target: str = "record", seconds: str = "0.15") -> subprocess.Popen:
    """A launcher in a session of its own, which it shares with every process that it starts."""
    command = [sys.executable, "-m", "tests.sweep.launch", "runs", "s.yaml", target, seconds]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)


def wait_until(condition, seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "took too long"
        time.sleep(0.02)


def in_session(session: int) -> list[int]:
    """Processes of a launcher that are there, dead ones that nobody has buried left out."""
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
