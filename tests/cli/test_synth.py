"""`mer-bench data synth`."""

from __future__ import annotations

import dataclasses

import pytest

from mer_bench.cli import main
from mer_bench.data.synthetic import generate
from mer_bench.merh5 import FeatureFile, write
from tests.test_light import run


def test_a_file_is_written_and_made_again(tmp_path, capsys):
    path = tmp_path / "new" / "iemocap.h5"
    command = ["data", "synth", "iemocap", "--out", str(path), "--structure", "synergy", "--items", "120"]
    assert main([*command, "--seed", "3", "--missing", "0", "--invalid", "vision=0.2"]) == 0
    out = capsys.readouterr().out
    file = FeatureFile(path)
    assert file.synthetic
    assert file.n == 120
    assert file.truth["structure"] == "synergy"
    assert file.truth["parameters"]["seed"] == 3
    assert file.truth["parameters"]["invalid"] == {"audio": 0.0, "text": 0.0, "vision": 0.2}
    assert all(info.present.all() for info in file.modalities.values())
    assert "SYNTHETIC" in out and file.content_sha256[:16] in out
    assert f"{file.truth['optimum']['emo4']['audio+vision']['ua']:.3f}" in out
    assert main(command) == 0  # a synthetic file may be replaced
    assert FeatureFile(path).content_sha256 != file.content_sha256


def test_options_reach_the_generator(tmp_path):
    path = tmp_path / "biovid.h5"
    command = "data synth biovid --items 435 --structure mixed --mixture 0.1,0.2,0.3,0.4 --weights bio=3,vision=1"
    command += " --reveal 0.8 --dims vision=24 --pair vision,bio --seconds 3 --signal 2 --offset 0.1"
    assert main([*command.split(), "--out", str(path)]) == 0
    stated = FeatureFile(path).truth["parameters"]
    assert stated["mixture"] == [0.1, 0.2, 0.3, 0.4]
    assert stated["weights"] == {"bio": 0.75, "vision": 0.25}
    assert (stated["reveal"], stated["dims"]["vision"], stated["pair"]) == (0.8, 24, ["vision", "bio"])
    assert (stated["seconds"], stated["signal"], stated["offset"]) == (3.0, 2.0, 0.1)


def test_other_files_are_not_replaced(tmp_path, capsys):
    path = tmp_path / "iemocap.h5"
    contents = generate("iemocap", items=60)
    write(path, dataclasses.replace(contents, synthetic=False, truth=None))
    before = path.read_bytes()
    command = ["data", "synth", "iemocap", "--items", "60", "--out", str(path)]
    assert main(command) == 2
    assert "not a synthetic feature file" in capsys.readouterr().err
    assert path.read_bytes() == before
    assert main([*command, "--force"]) == 0
    assert FeatureFile(path).synthetic
    other = tmp_path / "notes.txt"
    other.write_text("mine")
    assert main([*command[:-1], str(other)]) == 2
    assert other.read_text() == "mine"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["iemocp"], "did you mean iemocap"),
        (["iemocap", "--structure", "synergie"], "did you mean synergy"),
        (["iemocap", "--items", "3"], "at least 50"),
        (["iemocap", "--missing", "audoi=0.1"], "did you mean audio"),
        (["mosi", "--dims", "vision=3"], "needs at least"),
    ],
)
def test_bad_options_get_one_message_and_leave_no_file(options, message, tmp_path, capsys):
    assert main(["data", "synth", *options, "--out", str(tmp_path / "x.h5")]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("options", [["--items", "few"], ["--dims", "vision"], ["--mixture", "a,b"]])
def test_malformed_options_exit_with_2(options, tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["data", "synth", "iemocap", "--out", str(tmp_path / "x.h5"), *options])
    assert stop.value.code == 2
    assert options[0] in capsys.readouterr().err


def test_no_heavy_module_is_loaded(tmp_path):
    code, out, heavy = run("data", "synth", "mosi", "--items", "40", "--out", "mosi.h5", cwd=tmp_path)
    assert (code, heavy) == (0, "")
    assert "SYNTHETIC mosi" in out
