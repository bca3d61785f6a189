"""A corpus outside the package: registered by name, checked, and usable as CONTRIBUTING.md says."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mer_bench.cli import main
from mer_bench.data import corpora as room
from mer_bench.errors import UserError
from mer_bench.merh5 import FeatureFile
from tests.source import blocks


@pytest.fixture(autouse=True)
def _as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing that a test registers or imports stays."""
    known = set(sys.modules)
    monkeypatch.setattr(room, "_REGISTERED", {})
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield
    for name in set(sys.modules) - known:
        if not name.startswith(("mer_bench", "numpy", "scipy")):
            sys.modules.pop(name)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the reader of the page has: a table and two folders; and what the page makes of it."""
    rng = np.random.default_rng(0)
    lines = ["clip,person,mood"]
    for name in ("audio", "video"):
        (tmp_path / name).mkdir()
    for k in range(60):
        lines.append(f"clip{k},person{k % 10},{('calm', 'tense', '?')[k % 3]}")
        for name, width in (("audio", 6), ("video", 4)):
            np.save(tmp_path / name / f"clip{k}.npy", rng.normal(size=(rng.integers(1, 6), width)) + k % 3)
    (tmp_path / "items.csv").write_text("\n".join(lines) + "\n")
    for _, title, body in blocks("CONTRIBUTING.md", "py", "yml"):
        (tmp_path / title).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / title).write_text(body)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def page() -> list[str]:
    """The commands of the page."""
    ((_, _, body),) = blocks("CONTRIBUTING.md", "sh")
    return body.strip().splitlines()


def test_the_light_commands_of_the_page(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    prepare, leakage, listing, _ = page()
    assert main(prepare.split()[1:]) == 0
    assert FeatureFile(folder / "features" / "mine.h5").corpus == "mine"
    assert main(leakage.split()[1:]) == 0
    assert "mine_mood, 5 folds" in capsys.readouterr().out
    assert main(listing.split()[1:]) == 0
    assert "mine_mood" in capsys.readouterr().out


@pytest.mark.slow
def test_the_whole_page(folder: Path) -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    env = {**os.environ, "PATH": path, "OMP_NUM_THREADS": "1"}
    argv = ["bash", "-euo", "pipefail", "-c", "\n".join(page())]
    done = subprocess.run(argv, cwd=folder, env=env, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert list(folder.glob("runs/mine_mood/concat/*/record.json"))


def test_without_trust_the_corpus_is_unknown(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "protocols"]) == 0
    assert "mine_mood" not in capsys.readouterr().out
    assert main(["fit", "mine_concat"]) == 2
    assert "mycorpus" not in sys.modules


def test_registering_twice_is_once(folder: Path) -> None:
    room.register(["mycorpus"])
    room.register(["mycorpus"])
    assert list(room.corpora()).count("mine") == 1
    assert room.find_protocol("", "mine") is room.find_protocol("mine_mood")


def test_a_package_without_a_corpus_is_left_alone(folder: Path) -> None:
    (folder / "plainpackage.py").write_text("x = 1\n")
    before = room.corpora()
    room.register(["plainpackage"])
    assert room.corpora() == before


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("CORPUS = 3", "is int; expected mer_bench.protocol.Corpus"),
        ("CORPUS = replace(CORPUS, slug='iemocap')", "slug 'iemocap' is taken by IEMOCAP"),
        ("CORPUS = replace(CORPUS, slug='my_own')", "expected small letters"),
        ("CORPUS = replace(CORPUS, protocols=())", "no protocols"),
        ("CORPUS = replace(CORPUS, slug='other')", "is of corpus 'mine', not 'other'"),
        (
            "CORPUS = replace(CORPUS, protocols=(replace(CORPUS.protocols[0], name='iemocap4'),))",
            "there is a protocol 'iemocap4' already",
        ),
        ("import not_there_at_all", "it needs 'not_there_at_all'"),
    ],
)
def test_a_corpus_that_would_break_something_is_refused(folder: Path, change: str, says: str) -> None:
    body = (folder / "mycorpus.py").read_text()
    (folder / "spoilt.py").write_text(f"{body}\nfrom dataclasses import replace\n{change}\n")
    before = room.corpora()
    with pytest.raises(UserError, match=says):
        room.register(["spoilt"])
    assert room.corpora() == before


def test_an_unknown_package_is_named(folder: Path) -> None:
    with pytest.raises(UserError, match="--trust nowhere_to_be_found: no such package"):
        room.register(["nowhere_to_be_found"])


def test_the_hash_of_a_protocol_does_not_depend_on_who_defines_it(folder: Path) -> None:
    room.register(["mycorpus"])
    found = room.find_protocol("mine_mood")
    assert replace(found).hash == found.hash != replace(found, folds=4).hash
