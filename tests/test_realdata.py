"""Where real files lie is said in one place, and what they are in CONTRIBUTING.md."""

from __future__ import annotations

import ast
import os

import pytest

from tests import realdata
from tests.source import ROOT, modules


def test_one_place_says_where_real_files_lie():
    found = [
        f"{path}:{node.lineno}"
        for path, tree in modules("tests", "benchmarks")
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant)
        and node.value == "realdata"
        and path.name not in ("realdata.py", "test_realdata.py")
    ]
    assert not found, f"{found}: take REALDATA of tests/realdata.py"


def test_real_files_may_lie_elsewhere(monkeypatch, tmp_path):
    assert realdata.folder() == (ROOT.parent / "shared" / "realdata").resolve() or "MER_BENCH_REALDATA" in os.environ
    monkeypatch.setenv("MER_BENCH_REALDATA", str(tmp_path))
    assert realdata.folder() == tmp_path.resolve()
    monkeypatch.setattr(realdata, "REALDATA", tmp_path)
    assert str(tmp_path / "biovid") in realdata.reason("biovid") and not realdata.reason()


def test_contributing_names_the_real_files():
    """Every folder of them that a test or a benchmark opens."""
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").partition("### Real files")[2]
    if why := realdata.reason():
        pytest.skip(why)
    folders = {path.relative_to(realdata.REALDATA) for path in realdata.REALDATA.glob("*/*") if path.is_dir()}
    assert [str(folder) for folder in sorted(folders) if f"`{folder.as_posix()}`" not in page] == []
