"""What tests of all rooms share."""

from __future__ import annotations

import os
from pathlib import Path

# before torch comes in: two test processes with two threads each would take ten times as long
os.environ.setdefault("OMP_NUM_THREADS", "1")

import hypothesis
import pytest

from tests.realdata import REALDATA, reason

# the same examples everywhere, and no judgement by the clock of a busy machine
hypothesis.settings.register_profile("house", deadline=None, derandomize=True)
hypothesis.settings.load_profile("house")


@pytest.fixture(autouse=True)
def _nothing_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Folders that a developer has set for own work do not reach a test."""
    for name in ("MER_BENCH_DATA", "MER_BENCH_CONFIG_PATH"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def features(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small synthetic `iemocap.h5`; not to be written to."""
    from mer_bench.data.synthetic import generate
    from mer_bench.merh5 import write

    folder = tmp_path_factory.mktemp("features")
    write(folder / "iemocap.h5", generate("iemocap", items=200))
    return folder


@pytest.fixture(scope="session")
def realdata() -> Path:
    """The folder of real feature files; the test is skipped where there is none."""
    if why := reason():
        pytest.skip(why)
    return REALDATA
