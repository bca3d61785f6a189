"""A recorded run is trained again: the same numbers, or what differs."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from mer_bench.cli import main
from mer_bench.cli.rerun import compare, overlaid
from mer_bench.errors import UserError
from mer_bench.results.record import NAME, read_record, write_record
from tests.files import iemocap

FIT = ["fit", "iemocap_concat", "--data.modalities", "[audio, text]", "--trainer.max_epochs", "1", "--progress", "none"]


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """The folder of one run."""
    home = tmp_path_factory.mktemp("rerun")
    iemocap(home / "features" / "iemocap.h5", n=150)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        assert main([*FIT, "--model.method.dim", "16", "--seed", "1"]) == 0
    (found,) = (home / "runs" / "iemocap4" / "concat").iterdir()
    return found


def rerun(capsys, *argv: str) -> tuple[int, str]:
    code = main(["rerun", *argv])
    out, err = capsys.readouterr()
    return code, out + err


def test_the_same_run_gives_the_same_numbers(run: Path, monkeypatch, capsys):
    """Without options: what the run was started with is read beside its record, and proved by the run key."""
    monkeypatch.chdir(run.parents[3])
    code, text = rerun(capsys, str(run))
    assert code == 0, text
    assert "identical: every number, and the predictions byte for byte" in text
    assert [path.name for path in Path("runs/iemocap4/concat").iterdir()] == [run.name]


def test_another_result_is_told(run: Path):
    first = read_record(run / NAME)
    higher = {c: {m: min(1.0, v + 0.01) for m, v in values.items()} for c, values in first.metrics.items()}
    second = dataclasses.replace(first, metrics=higher, environment={**first.environment, "torch": "9.9"})
    lines, agree = compare(first, second)
    assert not agree and "other torch" in lines[0] and "0.01" in lines[1] and lines[-1].startswith("NOT the same")
    tiny = {c: {m: v * (1 - 1e-12) for m, v in values.items()} for c, values in first.metrics.items()}
    assert compare(first, dataclasses.replace(first, metrics=tiny))[1]
    assert compare(first, first) == (["identical: every number, and the predictions byte for byte"], True)
    failed = dataclasses.replace(first, status="diverged", metrics={})
    assert not compare(first, failed)[1]


def test_other_settings_and_other_data_are_refused(run: Path, tmp_path: Path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    alone = tmp_path / run.name
    write_record(alone, read_record(run / NAME))
    code, text = rerun(capsys, str(alone), "--data.root", str(run.parents[3] / "features"))
    assert code == 2 and "are not those of the record" in text
    iemocap(tmp_path / "features" / "iemocap.h5", n=120)
    code, text = rerun(capsys, str(run))
    assert code == 2 and "has the fingerprint" in text
    code, text = rerun(capsys, "nowhere")
    assert code == 2 and "no such record" in text
    assert not Path("runs").exists()


def test_settings_that_a_run_wrote_down_lie_over_those_of_its_name():
    settings = {"a": {"b": 1, "class_path": "x.Y"}, "data": {"root": "here"}, "c": 2}
    written = {"a": {"b": 3, "class_path": "evil.Z", "more": 4}, "data": {"root": "there"}}
    assert overlaid(settings, written) == {"a": {"b": 3, "class_path": "x.Y"}, "data": {"root": "here"}, "c": 2}


def test_a_config_beside_a_record_names_no_class(run: Path, tmp_path: Path, monkeypatch):
    """A stranger's record comes with a stranger's config: its values may be taken, its classes may not."""
    monkeypatch.chdir(run.parents[3])
    from mer_bench.cli.rerun import same_run

    record = read_record(run / NAME)
    text = (run / "config.yaml").read_text().replace("mer_bench.methods.concat.Concat", "os.system")
    assert "os.system" in text
    (tmp_path / "config.yaml").write_text(text)
    assert same_run(record, tmp_path, [], [], tmp_path).key == record.run_key
    (tmp_path / "config.yaml").write_text("[1, 2]")
    with pytest.raises(UserError, match="expected a mapping"):
        same_run(record, tmp_path, [], [], tmp_path)
