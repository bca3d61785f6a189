"""A folder with features and a sweep of five runs, in which engine tests work."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.files import iemocap
from tests.sweep.cases import FEW

ROOT = Path(__file__).parents[2]


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    iemocap(tmp_path / "features" / "iemocap.h5", n=100)
    (tmp_path / "s.yaml").write_text(FEW)
    return tmp_path
