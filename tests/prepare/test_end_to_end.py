"""From the official tree of every corpus to a scored run, by the commands that a user types."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mer_bench.cli import main
from tests.prepare.fake_trees import TREES

#: where the default protocol needs more people than an invented tree has
PROTOCOL = {"biovid": "biovid_a_kfold5"}
#: modalities that Foal-Net is given: it fuses two
PAIR = {"biovid": "bio, vision", "iemocap": "audio, vision", "mosei": "text, audio", "mosi": "text, audio"}


@pytest.mark.slow
@pytest.mark.parametrize("corpus", TREES)
def test_from_the_official_tree_to_a_record(tmp_path: Path, corpus: str, capsys: pytest.CaptureFixture[str]) -> None:
    out, runs = tmp_path / "features" / f"{corpus}.h5", tmp_path / "runs"
    assert main(["prepare", corpus, *TREES[corpus](tmp_path / "tree"), "--out", str(out)]) == 0
    assert main(["data", "check", str(out)]) == 0
    report = json.loads(out.with_name(f"{corpus}.report.json").read_text())
    assert report["written"] == str(out) and report["peak_mb"] > 0
    common = ["--data.file", str(out), "--trainer.max_epochs", "1", "--trainer.accelerator", "cpu", "--runs", str(runs)]
    common += ["--data.protocol", PROTOCOL[corpus]] if corpus in PROTOCOL else []
    for method in ("concat", "foal"):
        pair = ["--data.modalities", f"[{PAIR[corpus]}]"] if corpus in PAIR else []
        assert main(["fit", f"{corpus}_{method}", *common, *pair, "--model.method.dim", "8"]) == 0
    records = [json.loads(path.read_text()) for path in runs.rglob("record.json")]
    assert len(records) == 2
    capsys.readouterr()
