"""Commands that do not train answer without torch, whether they succeed or refuse."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.source import ROOT

HEAVY = ("torch", "lightning", "pytorch_lightning", "jsonargparse", "sklearn", "wandb")
PROBE = f"""
import json, sys
from mer_bench.cli import main
try:
    code = main(sys.argv[1:])
except SystemExit as stop:
    code = stop.code or 0
print(json.dumps([code, sorted(set({HEAVY!r}) & set(sys.modules))]), file=sys.stderr)
"""


def run(*argv: str, cwd: Path) -> tuple[int, str, str]:
    """Exit code, standard output and the heavy modules that were loaded, by a fresh interpreter."""
    command = [sys.executable, "-c", PROBE, *argv]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, env={"PYTHONPATH": str(ROOT), "PATH": ""})
    assert done.returncode == 0, done.stderr
    verdict = done.stderr.splitlines()[-1]
    code, loaded = json.loads(verdict)
    return code, done.stdout, ", ".join(loaded)


LIGHT = [
    ("", 0),
    ("--help", 0),
    ("--version", 0),
    ("list", 0),
    ("list methods", 0),
    ("list --json", 0),
    ("list --help", 0),
    ("fit --help", 0),
    ("fit iemocap_foal --print-config", 0),
    ("validate --help", 0),
    ("data --help", 0),
    ("data info FEATURES/iemocap.h5", 0),
    ("data check FEATURES/iemocap.h5", 0),
    ("data leakage FEATURES/iemocap.h5", 0),
    ("data synth iemocap --items 60 --out made.h5", 0),
    ("prepare --help", 0),
    ("leaderboard --help", 0),
    ("compare --help", 0),
    ("verify --help", 0),
    ("rerun --help", 0),
    # refusals
    ("fitt", 2),
    ("fit", 2),
    ("fit iemocap_foul", 2),
    ("fit iemocap_foal --data.root FEATURES --data.protocol iemocap5", 2),
    ("fit iemocap_foal --model.method.class_path os.system", 2),
    ("fit iemocap_foal", 2),
    ("data info nowhere.h5", 2),
    ("leaderboard --records nowhere --out board", 2),
    ("compare foal concat --protocol iemocap4", 2),
    ("verify nowhere", 2),
    ("rerun nowhere", 2),
]


@pytest.mark.parametrize(("command", "expected"), LIGHT, ids=[command or "nothing" for command, _ in LIGHT])
def test_without_torch(command: str, expected: int, features: Path, tmp_path: Path):
    argv = command.replace("FEATURES", str(features)).split()
    code, _, loaded = run(*argv, cwd=tmp_path)
    assert (code, loaded) == (expected, "")


FIELDS = {
    "methods": {"name", "title", "year", "paper", "status", "modalities", "tasks", "levels", "represents", "stackable"},
    "datasets": {"name", "title", "protocols", "about"},
    "protocols": {"name", "corpus", "primary", "folds", "seeds", "statistics", "legacy", "hash", "note"},
    "losses": {"name", "about"},
    "configs": {"name", "from"},
    "commands": {"name", "about"},
}


def test_list_as_json(tmp_path: Path):
    found = json.loads(run("list", "--json", cwd=tmp_path)[1])
    assert set(found) == set(FIELDS)
    for kind, rows in found.items():
        assert rows, f"no {kind}"
        assert all(set(row) >= FIELDS[kind] for row in rows)
        names = [row["name"] for row in rows]
        assert names == sorted(names)
        assert json.loads(run("list", kind, "--json", cwd=tmp_path)[1]) == rows
    pairs = {row["name"] for row in found["configs"]}
    assert pairs >= {f"{d['name']}_{m['name']}" for d in found["datasets"] for m in found["methods"]}
    protocols = {row["name"]: row["corpus"] for row in found["protocols"]}
    assert protocols == {p: d["name"] for d in found["datasets"] for p in d["protocols"]}
