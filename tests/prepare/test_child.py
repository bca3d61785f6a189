"""Conversion in a process of its own: the same report, and one message whatever ends it."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path

import numpy as np
import pytest

from mer_bench.cli import main
from mer_bench.errors import UserError
from mer_bench.prepare import Request, prepare
from mer_bench.prepare.child import outcome, prepare_apart
from mer_bench.prepare.report import Report
from tests.prepare.fake_cmu import make_folder, make_labels


@pytest.fixture
def request_(tmp_path: Path) -> Request:
    labels = make_labels(tmp_path / "merbench" / "label.npz")
    make_folder(tmp_path / "wavlm", list(labels))
    return Request(tmp_path / "merbench", features={"audio": tmp_path / "wavlm"})


def test_the_report_is_the_same(request_: Request, tmp_path: Path) -> None:
    here = prepare("mosei", request_, tmp_path / "here" / "mosei.h5")
    apart = prepare_apart("mosei", request_, tmp_path / "apart" / "mosei.h5")
    assert apart.seconds > 0 and apart.peak_mb > 20
    assert json.loads((tmp_path / "apart" / "mosei.report.json").read_text())["peak_mb"] == apart.peak_mb
    for report in (here, apart):
        report.written, report.seconds, report.peak_mb = "", 0, 0
    assert apart == here and here.content_sha256
    assert prepare_apart("mosei", request_, None).written == ""


def test_errors_come_through(request_: Request, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "merbench" / "label.npz").write_bytes(b"spoilt")
    with pytest.raises(UserError, match=r"label\.npz: not a complete \.npz archive"):
        prepare_apart("mosei", request_, tmp_path / "mosei.h5")
    assert capsys.readouterr().err == ""
    assert not (tmp_path / "mosei.h5").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux enforces a limit of memory")
def test_the_limit_of_memory(request_: Request, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file of a gigabyte that is all holes: no disk is used, and reading it would need the gigabyte."""
    path = sorted((tmp_path / "wavlm").glob("*.npy"))[0]
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(
            file, {"descr": "<f4", "fortran_order": False, "shape": (1 << 18, 1 << 10)}
        )
        file.truncate(file.tell() + (1 << 30))
    argv = ["mosei", "--from", str(request_.source), "--features", f"audio={tmp_path / 'wavlm'}", "--memory", "0.5"]
    assert main(["prepare", *argv, "--out", str(tmp_path / "out" / "mosei.h5")]) == 2
    assert "needs more memory than 0.5 GB; --memory GB sets another limit" in capsys.readouterr().err
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


def test_whatever_ends_the_child_is_one_message() -> None:
    with pytest.raises(UserError, match=r"here: .* ended by SIGSEGV; probably a library crashed"):
        outcome("here", -signal.SIGSEGV, b"")
    with pytest.raises(UserError, match=r"ended by SIGKILL; probably the machine ran out of memory"):
        outcome("here", -signal.SIGKILL, b"{")
    with pytest.raises(KeyboardInterrupt):
        outcome("here", 130, b"")
    with pytest.raises(RuntimeError, match="ended with code 1 and without a result"):
        outcome("here", 1, b"")


def test_a_limit_is_a_number(capsys: pytest.CaptureFixture[str]) -> None:
    for bad in ("-1", "nan", "inf"):
        assert main(["prepare", "mosei", "--from", ".", "--dry-run", "--memory", bad]) == 2
        assert "expected a number of gigabytes" in capsys.readouterr().err


def test_reports_keep_their_tallies() -> None:
    report = Report("mosei", "here", repaired={}, counted={"clips": 3})
    report.repair("rows masked", ["a", "b"], 7)
    answer = json.dumps({"report": {**report.__dict__, "repaired": {"rows masked": {"count": 7, "ids": ["a", "b"]}}}})
    assert outcome("here", 0, answer.encode()) == report
