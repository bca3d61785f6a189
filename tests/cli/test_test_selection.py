"""A legacy protocol that chooses the epoch on the test part: what is recorded, what is refused, what a page says."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest

from mer_bench.cli import main
from mer_bench.data.corpora import find_protocol

NAME = "iemocap4_testselect_legacy"


def fit(features: Path, *more: str) -> int:
    quick = ["--trainer.max_epochs", "3", "--model.method.dim", "8", "--trainer.accelerator", "cpu"]
    where = ["--data.root", str(features), "--data.modalities", "[audio, text]", "--data.protocol", NAME]
    return main(["fit", "iemocap_concat", *where, *quick, *more])


def test_recorded_as_such_and_marked_on_the_pages(
    features: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert fit(features) == 0
    assert "test, chosen emotion/ua" in capsys.readouterr().out
    (path,) = tmp_path.glob(f"runs/{NAME}/concat/*/record.json")
    record = json.loads(path.read_text())
    chosen, full = record["selection"], record["metrics"]["full"]
    assert chosen["rule"] == "test" and record["items"]["validation"] == record["items"]["test"]
    with (path.parent / "metrics.csv").open(newline="") as stream:
        scores = [float(row["val/emotion/ua"]) for row in csv.DictReader(stream)]
    assert chosen["chosen_epoch"] == scores.index(max(scores))
    assert full["emotion/ua"] == pytest.approx(max(scores), abs=1e-6)  # what was chosen on is what is reported
    assert main(["leaderboard", "--out", "pages"]) == 0
    pages = "".join(page.read_text() for page in Path("pages").glob("**/*.md"))
    assert "TEST-SELECTED" in pages and "best epoch on the reported part" in pages


def test_the_test_part_cannot_stay_locked(
    features: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert fit(features, "--no-test") == 2
    assert "chooses the epoch on the test part" in capsys.readouterr().err
    assert not Path("runs").exists()


def test_part_of_the_hash() -> None:
    legacy = find_protocol(NAME)
    assert len({legacy.hash, replace(legacy, selection="validation").hash, find_protocol("iemocap4").hash}) == 3
