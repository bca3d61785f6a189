"""`mer-bench data info` and `mer-bench data check`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import h5py
import pytest

from mer_bench.cli.data import main
from mer_bench.errors import UserError
from mer_bench.merh5 import write
from tests.merh5.cases import rich


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write(tmp_path / "x.h5", rich())
    return tmp_path / "x.h5"


def test_info(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", str(path)]) == 0
    page = capsys.readouterr().out
    flat = " ".join(page.split())
    for fragment in [
        "toy (SYNTHETIC), 6 items",
        "3 speakers, 2 sessions, 4 dialogues",
        "age, sex",
        "audio sequence 3 50 Hz 11 4 83.3%",
        "words sequence 2 - 7 3 66.7%",
        "bio utterance 4 - 5 1 83.3% stats",
        "emotion multiclass item 5 of 6 angry 2, happy 2, sad 1",
        "trace regression frame 8 of 9 valence -",
        "official 2 2 2 2 0 speaker",
        "features.csv 12 bytes",
    ]:
        assert fragment in flat
    assert "real" not in page.split("\n")[0]


def test_info_for_programs(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", str(path), "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["synthetic"] is True and summary["truth"] == rich().truth
    assert summary["labels"]["emotion"]["counts"] == {"angry": 2, "happy": 2, "sad": 1}
    assert summary["splits"]["halves"]["sizes"] == [{"unused": 0, "train": 3, "validation": 0, "test": 3}]
    assert summary["sources"] == [{"name": "features.csv", "sha256": "0" * 64, "bytes": 12, "origin": "somewhere"}]


def test_check(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(path)]) == 0
    assert capsys.readouterr().out.startswith(f"{path}: OK (toy, 6 items, sha256 ")
    with h5py.File(path, "r+") as file:
        file["labels/emotion/values"][1] = 3
    assert main(["check", str(path)]) == 2
    shown = capsys.readouterr()
    first, second = shown.out.splitlines()
    assert first == "labels/emotion/values: _b.2: 1 labels out of range (expected a class index in 0..2)"
    assert second.startswith("@content_sha256: ") and "2 faults" in shown.err


def test_bad_calls(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UserError, match="did you mean check"):
        main(["chek", str(path)])
    with pytest.raises(UserError, match="no such file"):
        main(["info", str(path) + "x"])
    assert main(["check", str(path) + "x"]) == 2
    with pytest.raises(SystemExit):
        main(["info"])
    assert main([]) == 0
    usage = capsys.readouterr().out
    assert all(command in usage for command in ("info", "check", "synth"))


def test_no_torch(path: Path) -> None:
    code = (
        "import sys; from mer_bench.cli.data import main; import mer_bench.data; mer_bench.data.write\n"
        f"main(['info', {str(path)!r}]); main(['check', {str(path)!r}])\n"
        "sys.exit(bool({'torch', 'scipy', 'sklearn', 'lightning'} & set(sys.modules)))"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_the_door_for_ones_own_corpus() -> None:
    import mer_bench.data

    assert mer_bench.data.write is write
    with pytest.raises(AttributeError):
        mer_bench.data.wirte  # noqa: B018
