"""A protocol without selection (`mosi_bclstm`): every epoch is trained, the last one is scored, nothing stops early."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest

from mer_bench.cli import main
from mer_bench.data.corpora.mosi import MOSI_BCLSTM
from mer_bench.merh5 import write
from mer_bench.prepare import Report, Request
from mer_bench.prepare.cmu.pack import ResearchPack
from mer_bench.training.checkpoints import load
from tests.prepare.fake_mosi_pack import make

EPOCHS = 6
QUICK = ["--trainer.max_epochs", str(EPOCHS), "--early_stopping.patience", "1", "--model.method.dim", "8"]
DATA = ["--data.protocol", "mosi_bclstm", "--data.modalities", "[audio, text_cnn]", "--trainer.accelerator", "cpu"]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with invented features of MOSI."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MER_BENCH_DATA", raising=False)
    pack = make(tmp_path / "pack")
    contents = ResearchPack(pack.expected).read(Request(pack.root), Report("mosi", ""))
    write(tmp_path / "features" / "mosi.h5", contents)
    return tmp_path


def fit(*more: str) -> int:
    return main(["fit", "mosi_concat", *DATA, *QUICK, "--runs", "runs", *more])


def test_the_last_epoch_is_scored(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert fit() == 0
    (path,) = home.glob("runs/mosi_bclstm/concat/*/record.json")
    record = json.loads(path.read_text())
    assert record["selection"] == {
        "rule": "fixed",
        "metric": "sentiment/wa",
        "val_score": None,
        "chosen_epoch": EPOCHS - 1,
        "epochs": EPOCHS,
        "ledger": "",
    }
    assert record["items"] == {"train": 48, "validation": 0, "test": 24}
    with (path.parent / "metrics.csv").open(newline="") as stream:
        log = list(csv.DictReader(stream))
    assert len(log) == EPOCHS and not any(name.startswith("val/") for name in log[0])
    shown = capsys.readouterr()
    assert "val sentiment" not in shown.err and "test        sentiment/wa" in shown.out


def test_the_weights_of_the_last_epoch_are_kept(home: Path) -> None:
    assert fit("--no-test") == 0
    (path,) = home.glob("runs/mosi_bclstm/concat/*/checkpoints/best.ckpt")
    assert load(path)["epoch"] == EPOCHS - 1


def test_validate_says_that_there_is_nothing(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert fit("--no-test") == 0
    (path,) = home.glob("runs/mosi_bclstm/concat/*/checkpoints/best.ckpt")
    assert main(["validate", "mosi_concat", *DATA, *QUICK, "--ckpt_path", str(path)]) == 2
    assert "mosi_bclstm has no validation part" in capsys.readouterr().err


def test_never_ranked_and_part_of_the_hash() -> None:
    assert MOSI_BCLSTM.legacy
    assert MOSI_BCLSTM.hash != replace(MOSI_BCLSTM, selection="validation").hash
