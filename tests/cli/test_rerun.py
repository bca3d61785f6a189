"""A recorded run is trained again: the same numbers, or what differs."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from mer_bench.cli import main
from mer_bench.cli.rerun import compare, overlaid, same_run, undecided
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
    assert "something decides numbers that is not recorded" in lines[-1]
    elsewhere = dataclasses.replace(second, environment={**first.environment, "processor": "another one, AVX2"})
    lines, agree = compare(elsewhere, first)
    assert not agree and "other processor" in lines[0]
    assert lines[-1].startswith("NOT the same: made on another processor (another one, AVX2)")
    unsaid = {key: value for key, value in first.environment.items() if key != "processor"}
    assert (
        "one that the record does not state" in compare(dataclasses.replace(first, environment=unsaid), second)[0][-1]
    )
    tiny = {c: {m: v * (1 - 1e-12) for m, v in values.items()} for c, values in first.metrics.items()}
    assert compare(first, dataclasses.replace(first, metrics=tiny))[1]
    assert compare(first, first) == (["identical: every number, and the predictions byte for byte"], True)
    failed = dataclasses.replace(first, status="diverged", metrics={})
    assert not compare(first, failed)[1]


def test_a_run_that_was_trained_with_others_decides_nothing(run: Path, monkeypatch, capsys):
    again = read_record(run / NAME)
    first = dataclasses.replace(
        again,
        executor="stack",
        metrics={c: {m: v * 0.99 for m, v in values.items()} for c, values in again.metrics.items()},
    )
    lines, agree = compare(first, again)
    assert not agree and "only the distributions over seeds" in lines[-1] and "NOT" not in lines[-1]
    assert not undecided(dataclasses.replace(first, status="diverged", metrics={}), again)
    assert not undecided(dataclasses.replace(first, executor="eager"), again)
    monkeypatch.chdir(run.parents[3])
    monkeypatch.setattr("mer_bench.cli.rerun.repeat", lambda *given: again)
    for other, code in ((first, 1), (dataclasses.replace(first, executor="eager"), 2), (again, 0)):
        monkeypatch.setattr("mer_bench.results.record.read_record", lambda path, other=other: other)
        assert rerun(capsys, str(run))[0] == code


def test_what_is_trusted_may_be_named(run: Path, tmp_path: Path, monkeypatch):
    """A class of one's own in a config: refused without --trust, and taken with it."""
    monkeypatch.chdir(run.parents[3])
    (tmp_path / "mine.yaml").write_text(
        "extends: [data/iemocap.yaml, method/concat.yaml]\nmodel: {method: {class_path: mine.Net}}\n"
    )
    given = (read_record(run / NAME), run, [str(tmp_path / "mine.yaml")], [], tmp_path)
    with pytest.raises(UserError, match="outside the packages"):
        same_run(*given)
    with pytest.raises(UserError, match="are not those of the record"):
        same_run(*given, ["mine"])


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
    record = read_record(run / NAME)
    text = (run / "config.yaml").read_text().replace("mer_bench.methods.concat.Concat", "os.system")
    assert "os.system" in text
    (tmp_path / "config.yaml").write_text(text)
    assert same_run(record, tmp_path, [], [], tmp_path).key == record.run_key
    (tmp_path / "config.yaml").write_text("[1, 2]")
    with pytest.raises(UserError, match="expected a mapping"):
        same_run(record, tmp_path, [], [], tmp_path)
