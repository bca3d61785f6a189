"""`mer-bench prepare`: what a user sees."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from mer_bench.cli import main
from mer_bench.prepare import iemocap
from mer_bench.prepare.iemocap.pack import ResearchPack
from tests.prepare.fake_pack import Pack, make


@pytest.fixture
def pack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, here: None) -> Pack:
    pack = make(tmp_path / "data" / "pack")
    monkeypatch.setattr(iemocap, "LAYOUTS", (ResearchPack(pack.expected),))
    return pack


def run(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, str, str]:
    code = main(["prepare", *argv])
    shown = capsys.readouterr()
    return code, shown.out, shown.err


def test_conversion_tells_what_it_did(pack: Pack, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "new" / "folder" / "iemocap.h5"
    code, shown, _ = run(capsys, "iemocap", "--from", str(pack.root), "--out", str(out))
    assert code == 0
    assert {path.name for path in out.parent.iterdir()} == {"iemocap.h5", "iemocap.report.json"}
    for word in ("recognised  IEMOCAP research pack", "counted ", "verified ", "repaired ", "dropped ", "written "):
        assert word in shown
    assert all(len(line) <= 120 or str(tmp_path) in line for line in shown.splitlines())


def test_dry_run_writes_nothing(pack: Pack, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "iemocap.h5"
    code, shown, _ = run(capsys, "iemocap", "--from", str(pack.root), "--out", str(out), "--dry-run")
    assert code == 0 and "dry run" in shown
    assert {path.name for path in tmp_path.iterdir()} == {"data"}


def test_wrong_places_are_explained(pack: Pack, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for place, says in (
        (tmp_path / "nowhere", "no such folder"),
        (pack.root.parent, f"Did you mean --from {pack.root}?"),
        (pack.root / "prosody_10039", f"Did you mean --from {pack.root}?"),
        (tmp_path, "lacks prosody_10039/val_aro.csv"),
    ):
        code, _, error = run(capsys, "iemocap", "--from", str(place), "--dry-run")
        assert code == 2 and says in error and len(error.splitlines()) == 1


def test_wrong_words_are_explained(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, error = run(capsys, "iemocapp", "--from", str(tmp_path), "--dry-run")
    assert code == 2 and "did you mean iemocap?" in error
    code, _, error = run(capsys, "iemocap", "--from", str(tmp_path))
    assert code == 2 and "--out FILE is missing" in error
    with pytest.raises(SystemExit) as stop:
        run(capsys, "iemocap", "--out", "x.h5")
    assert stop.value.code == 2 and "--from" in capsys.readouterr().err


def test_no_torch_in_this_room() -> None:
    code = (
        "import sys, pkgutil, importlib, mer_bench.prepare as room, mer_bench.cli.prepare\n"
        "for found in pkgutil.walk_packages(room.__path__, 'mer_bench.prepare.'): importlib.import_module(found.name)\n"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
