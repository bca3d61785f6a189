"""Where real feature files lie, and the mark of tests that need them; CONTRIBUTING.md says which they are."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.source import ROOT


def folder() -> Path:
    """``$MER_BENCH_REALDATA``, or ``shared/realdata`` beside the checkout; neither has to be there."""
    return Path(os.environ.get("MER_BENCH_REALDATA") or ROOT.parent / "shared" / "realdata").resolve()


REALDATA = folder()


def reason(*parts: str) -> str:
    """Why a test is skipped that needs this part of the real files; empty where it is at hand."""
    place = REALDATA.joinpath(*parts)
    return "" if place.is_dir() else f"no real files in {place} ($MER_BENCH_REALDATA says where they are)"


def needs_real(*parts: str) -> pytest.MarkDecorator:
    """Skips where this part of the real files is not at hand."""
    return pytest.mark.skipif(bool(reason(*parts)), reason=reason(*parts) or "at hand")
