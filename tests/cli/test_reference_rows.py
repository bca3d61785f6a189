"""The linear control reaches what a linear model reaches on the same real features and split."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mer_bench.cli import main
from mer_bench.prepare import Request, prepare

OFFICIAL = ["--data.modalities", "[text_sentence]"]
BCLSTM = ["--data.protocol", "mosi_bclstm", "--data.modalities", "[text_cnn]"]
#: what is asked for, and what logistic or ridge regression has there (README beside the files), half a point granted
ROWS = {
    "official split, MiniLM": (OFFICIAL, {"sentiment/mae": (-1, 0.964), "sentiment/corr": (1, 0.684)}),
    "bc-LSTM split, text": (BCLSTM, {"sentiment/wa": (1, 0.753)}),
}


@pytest.fixture(scope="module")
def file(realdata: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("mosi") / "mosi.h5"
    prepare("mosi", Request(realdata / "cmu_mosi"), out)
    return out


@pytest.mark.slow
@pytest.mark.parametrize("row", ROWS)
def test_linear_row_on_mosi(row: str, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings, wanted = ROWS[row]
    assert main(["fit", "mosi_linear", "--data.file", str(file), *settings, "--trainer.accelerator", "cpu"]) == 0
    (path,) = tmp_path.glob("runs/*/linear/*/record.json")
    found = json.loads(path.read_text())["metrics"]["full"]
    for metric, (sign, known) in wanted.items():
        assert sign * found[metric] > sign * known - 0.005, metric
