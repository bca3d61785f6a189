"""What an earlier process left of a run is taken up by the code that made it, and by no other."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from mer_bench.cli import main
from mer_bench.results.record import read_record
from tests.files import iemocap

FIT = ["fit", "iemocap_concat", "--data.modalities", "[audio, text]", "--trainer.max_epochs", "2", "--progress", "none"]


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    iemocap(tmp_path / "features" / "iemocap.h5", n=120)
    return tmp_path


def folder() -> Path:
    (path,) = Path("runs/iemocap4").glob("*/*")
    return path


def fit(capsys, *more: str) -> str:
    assert main([*FIT, *more]) == 0
    return capsys.readouterr().err


@pytest.mark.parametrize("same", [True, False])
def test_an_interrupted_run_goes_on_under_the_same_code_only(home, monkeypatch, capsys, same):
    from mer_bench.module import FusionModule

    step = FusionModule.training_step

    def term(self, *given):
        os.kill(os.getpid(), signal.SIGTERM)  # it ends the epoch first
        step(self, *given)

    with monkeypatch.context() as patch:
        patch.setattr(FusionModule, "training_step", term)
        assert main(FIT) == 130
    assert (folder() / "checkpoints" / "last.ckpt").is_file()
    whose = folder() / "code.txt"
    if not same:
        whose.write_text("f" * 64)
    said = fit(capsys)
    assert ("continuing an interrupted run" in said) is same
    assert ("other code trained what is in" in said) is not same
    assert len((folder() / "metrics.csv").read_text().splitlines()) == 3
    assert whose.read_text() == read_record(folder() / "record.json").code.hash


@pytest.mark.parametrize("content", ["", "{", "[]", '{"code": "other"}'])
def test_an_end_of_training_that_is_not_whole_or_of_other_code_is_none(home, capsys, content):
    fit(capsys, "--no-test")
    path = folder() / "trained.json"
    whole = json.loads(path.read_text())
    if "other" in content:
        content = json.dumps({**whole, **json.loads(content)})
    path.write_text(content)
    fit(capsys)
    record = read_record(folder() / "record.json")
    again = json.loads(path.read_text())
    assert record.code.hash == again["code"] == whole["code"] and again["val"] == whole["val"]
    assert again["train_seconds"] != whole["train_seconds"] and not (folder() / "checkpoints" / "last.ckpt").exists()
