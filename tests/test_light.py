"""Commands that do not train answer without torch, whether they succeed or refuse."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.source import ROOT

HEAVY = ("torch", "lightning", "pytorch_lightning", "jsonargparse", "sklearn", "wandb")
# A fresh interpreter that forks for every command, so that numpy and h5py are imported once.
PROBE = f"""
import json, os, sys
import h5py, numpy, yaml
from mer_bench.cli import main

def answer(argv, folder, out):
    os.chdir(folder)
    os.dup2(os.open(out, os.O_WRONLY | os.O_CREAT), 1)
    try:
        code = main(argv)
    except SystemExit as stop:
        code = stop.code or 0
    sys.stdout.flush()
    with open(out + ".json", "w") as stream:
        json.dump([code, sorted(set({HEAVY!r}) & set(sys.modules))], stream)

for command in json.load(sys.stdin):
    child = os.fork()
    if child == 0:
        answer(*command)
        os._exit(0)
    if os.waitpid(child, 0)[1]:
        sys.exit(f"{{command}} broke")
"""


def answers(commands: list[tuple[list[str], Path]], notes: Path) -> list[tuple[int, str, str]]:
    """Exit code, standard output and the heavy modules that were loaded, for each command in its folder."""
    outs = [notes / f"out{k}" for k in range(len(commands))]
    orders = [(argv, str(folder), str(out)) for (argv, folder), out in zip(commands, outs, strict=True)]
    env = {"PYTHONPATH": str(ROOT), "PATH": ""}
    probe = [sys.executable, "-c", PROBE]
    done = subprocess.run(probe, input=json.dumps(orders), cwd=notes, capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stderr
    verdicts = [json.loads(Path(f"{out}.json").read_text()) for out in outs]
    return [(code, out.read_text(), ", ".join(heavy)) for (code, heavy), out in zip(verdicts, outs, strict=True)]


def run(*argv: str, cwd: Path) -> tuple[int, str, str]:
    """What a fresh interpreter answers to one command."""
    notes = cwd.parent / f"{cwd.name}-notes"
    notes.mkdir()
    return answers([([*argv], cwd)], notes)[0]


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


@pytest.fixture(scope="module")
def told(features: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[int, str, str]]:
    """What each command of `LIGHT` answered, in an empty folder of its own."""
    argv = [command.replace("FEATURES", str(features)).split() for command, _ in LIGHT]
    folders = [tmp_path_factory.mktemp("light") for _ in LIGHT]
    found = answers(list(zip(argv, folders, strict=True)), tmp_path_factory.mktemp("notes"))
    return {command: answer for (command, _), answer in zip(LIGHT, found, strict=True)}


@pytest.mark.parametrize(("command", "expected"), LIGHT, ids=[command or "nothing" for command, _ in LIGHT])
def test_without_torch(command: str, expected: int, told: dict[str, tuple[int, str, str]]):
    code, _, loaded = told[command]
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
    commands = [["list", "--json"], *(["list", kind, "--json"] for kind in FIELDS)]
    (tmp_path / "notes").mkdir()
    told = answers([(argv, tmp_path) for argv in commands], tmp_path / "notes")
    found, *kinds = [json.loads(out) for _, out, _ in told]
    assert set(found) == set(FIELDS) and dict(zip(FIELDS, kinds, strict=True)) == found
    for kind, rows in found.items():
        assert rows, f"no {kind}"
        assert all(set(row) >= FIELDS[kind] for row in rows)
        names = [row["name"] for row in rows]
        assert names == sorted(names)
    pairs = {row["name"] for row in found["configs"]}
    assert pairs >= {f"{d['name']}_{m['name']}" for d in found["datasets"] for m in found["methods"]}
    protocols = {row["name"]: row["corpus"] for row in found["protocols"]}
    assert protocols == {p: d["name"] for d in found["datasets"] for p in d["protocols"]}
