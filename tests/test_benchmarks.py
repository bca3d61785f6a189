"""Every benchmark runs, and is told of."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.source import ROOT

SCRIPTS = sorted(path.stem for path in (ROOT / "benchmarks").glob("*.py") if path.stem not in ("__init__", "trained"))
#: these have no short form: one is a table of counts that a test of its own makes, the others need gigabytes or minutes
WHOLE = ("launches", "prepare", "stream")


def test_each_stands_in_the_readme():
    page = (ROOT / "benchmarks" / "README.md").read_text(encoding="utf-8")
    assert [name for name in SCRIPTS if f"benchmarks/{name}.py" not in page] == []


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in SCRIPTS if name not in WHOLE])
def test_it_runs(name: str, tmp_path: Path):
    env = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path), "OMP_NUM_THREADS": "1"}
    argv = [sys.executable, str(ROOT / "benchmarks" / f"{name}.py"), "--quick"]
    done = subprocess.run(argv, cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert any(character.isdigit() for character in done.stdout)
    assert not list(tmp_path.glob("*.json")), "a benchmark prints, and leaves nothing"
