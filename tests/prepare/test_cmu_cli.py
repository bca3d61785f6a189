"""`mer-bench prepare mosei|mosi`: what a user sees."""

from __future__ import annotations

from pathlib import Path

import pytest

from mer_bench.cli import main
from tests.prepare.fake_cmu import make_folder, make_labels, make_pickle, make_sdk


def run(capsys: pytest.CaptureFixture[str], *argv: object) -> tuple[int, str, str]:
    code = main(["prepare", *map(str, argv)])
    shown = capsys.readouterr()
    return code, shown.out, shown.err


@pytest.mark.parametrize("layout", ["sequences", "pickle", "archive"])
def test_from_files_to_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str], layout: str) -> None:
    """Convert, check, and train a method that needs nothing more than readable features and labels."""
    out = tmp_path / "features" / "mosei.h5"
    if layout == "sequences":
        argv = ["--from", make_sdk(tmp_path / "sdk").root, "--align", "none"]
    elif layout == "pickle":
        argv = ["--from", make_pickle(tmp_path / "aligned_50.pkl", "MMSA").path]
    else:
        labels = make_labels(tmp_path / "merbench" / "label.npz")
        for name in ("wavlm", "bert"):
            make_folder(tmp_path / name, list(labels))
        argv = ["--from", tmp_path / "merbench", "--features", f"audio={tmp_path / 'wavlm'}"]
        argv += ["--features", f"text={tmp_path / 'bert'}"]
    code, shown, _ = run(capsys, "mosei", *argv, "--out", out)
    assert code == 0
    for word in ("recognised  ", "counted     clips found 21", "dropped     clips of videos outside every", "written "):
        assert word in shown
    assert main(["data", "check", str(out)]) == 0
    settings = ["--data.file", str(out), "--trainer.max_epochs", "1", "--trainer.accelerator", "cpu"]
    assert main(["fit", "mosei_concat", *settings, "--model.method.dim", "8", "--runs", str(tmp_path / "runs")]) == 0
    assert "sentiment/mae" in capsys.readouterr().out


def test_multitask(tmp_path: Path) -> None:
    out = tmp_path / "mosei.h5"
    assert main(["prepare", "mosei", "--from", str(make_sdk(tmp_path / "sdk").root), "--out", str(out)]) == 0
    settings = ["--data.file", str(out), "--trainer.max_epochs", "1", "--trainer.accelerator", "cpu"]
    for protocol in ("mosei_emotion6", "mosei_multitask"):
        argv = ["--data.protocol", protocol, *settings, "--model.method.dim", "8", "--runs", str(tmp_path / "runs")]
        assert main(["fit", "mosei_concat", *argv, "--no-test"]) == 0


def test_dry_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sdk = make_sdk(tmp_path / "sdk")
    code, shown, _ = run(capsys, "mosei", "--from", sdk.root, "--dry-run")
    assert code == 0 and "nothing: dry run" in shown
    assert [path.name for path in tmp_path.iterdir()] == ["sdk"]


def test_wrong_words_are_explained(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    sdk = make_sdk(tmp_path / "empty" / "sdk" / "csd")
    for argv, says in (
        (["mosei", "--from", tmp_path / "empty"], f"Did you mean --from {sdk.root.parent}?"),
        (["mosei", "--from", sdk.root / "highlevel"], "no sequence of labels"),
        (["mosei", "--from", sdk.root, "--features", f"audio={tmp_path / 'nowhere'}"], "no such file or folder"),
        (["mosei", "--from", sdk.root, "--features", f"audio={tmp_path}"], "expected a .csd file here"),
        (["mosi", "--from", sdk.root], "is it `mer-bench prepare mosei`?"),
    ):
        code, _, error = run(capsys, *argv, "--dry-run")
        assert code == 2 and says in error and len(error.splitlines()) == 1
    for argv in (["--features", "audio"], ["--align", "sentence"]):
        with pytest.raises(SystemExit) as stop:
            run(capsys, "mosei", "--from", sdk.root, *argv, "--dry-run")
        assert stop.value.code == 2
