"""What tests of converters share."""

from __future__ import annotations

import pytest

from mer_bench.cli import prepare as command
from mer_bench.prepare import prepare


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command converts in this process, so that it sees what a test changed in a converter."""
    monkeypatch.setattr(command, "prepare_apart", lambda corpus, request, out, _: prepare(corpus, request, out))
