"""Trackers watch and never decide: the same record and key with any of them, nothing asked, nothing waited for."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from mer_bench.cli import main, options
from mer_bench.results.record import read_record
from mer_bench.training import tracking
from tests.files import iemocap

FIT = ["fit", "iemocap_concat", "--data.modalities", "[audio, text]", "--trainer.max_epochs", "2", "--progress", "none"]


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    iemocap(tmp_path / "features" / "iemocap.h5", n=60)
    return tmp_path


def test_the_command_line_knows_every_tracker():
    assert set(options.TRACKERS) == set(tracking.TRACKERS)


def fit(*more: str, runs: str = "runs", **variables: str) -> tuple[Path, str]:
    """In a process of its own, without a terminal, as a night job runs it."""
    env = {**os.environ, "WANDB_SILENT": "false", **variables}
    code = "import socket, sys; socket.gethostname = lambda: 'my-own-machine'; from mer_bench.cli import main; "
    command = [sys.executable, "-c", f"{code} sys.exit(main(sys.argv[1:]))"]
    done = subprocess.run(
        [*command, *FIT, "--runs", runs, *more], env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    (record,) = Path(runs).rglob("record.json")
    return record, done.stderr


@pytest.mark.slow
def test_wandb_without_a_key_is_offline_and_changes_nothing(home):
    assert main([*FIT, "--runs", "plain"]) == 0
    (plain,) = Path("plain").rglob("record.json")
    record, said = fit("--track", "wandb")
    assert record.parent.name == plain.parent.name  # the key does not know of it
    assert read_record(record).numbers() == read_record(plain).numbers()
    (kept,) = record.parent.glob("wandb/offline-run-*")
    (binary,) = kept.glob("run-*.wandb")
    assert f"wandb sync {kept}" in said.replace(f"{home}/", "")
    content = binary.read_bytes()
    for expected in (b"train/loss", b"val/emotion/ua", b"test/full/emotion/ua", b"iemocap4/concat"):
        assert expected in content
    for private in ("my-own-machine", sys.executable, str(home)):
        assert private.encode() not in content
    assert not list(kept.rglob("requirements.txt")) + list(kept.rglob("wandb-metadata.json"))


@pytest.mark.slow
def test_wandb_disabled_leaves_nothing(home):
    record, _ = fit("--track", "wandb", WANDB_MODE="disabled")
    assert not (record.parent / "wandb").exists()


@pytest.mark.slow
def test_a_server_that_never_answers_is_not_waited_for(home, monkeypatch):
    """It takes the connection and says nothing: the worst of networks."""
    deaf = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=lambda: [deaf.accept() for _ in range(100)], daemon=True).start()
    url = f"http://127.0.0.1:{deaf.getsockname()[1]}"
    patch = "import sys; import mer_bench.training.tracking as t; t.PATIENCE = 2; from mer_bench.cli import main; "
    done = subprocess.run(
        [sys.executable, "-c", f"{patch} sys.exit(main(sys.argv[1:]))", *FIT, "--track", "wandb"],
        env={**os.environ, "WANDB_API_KEY": "a" * 40, "WANDB_BASE_URL": url},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=80,
    )
    assert done.returncode == 0, done.stderr
    assert "the run is tracked offline" in done.stderr and "wandb sync" in done.stderr
    assert list(Path("runs").rglob("record.json"))
    deaf.close()


def test_a_key_is_looked_for_where_wandb_keeps_it(home, monkeypatch):
    assert not tracking.has_key()
    Path("none").write_text("machine example.org login user password x\n")
    assert not tracking.has_key()
    monkeypatch.setenv("WANDB_BASE_URL", "https://example.org/api")
    assert tracking.has_key()
    monkeypatch.setenv("WANDB_BASE_URL", "https://other.org")
    assert not tracking.has_key()
    monkeypatch.setenv("WANDB_API_KEY", "k")
    assert tracking.has_key()


@pytest.mark.slow
def test_tensorboard_has_every_epoch_and_the_scores(home):
    pytest.importorskip("tensorboard")
    record, _ = fit("--track", "tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(record.parent / "tensorboard"))
    events.Reload()
    assert [event.step for event in events.Scalars("val/emotion/ua")] == [0, 1]
    stated = json.loads(record.read_text())["metrics"]["full"]["emotion/ua"]
    assert events.Scalars("test/full/emotion/ua")[0].value == pytest.approx(stated, abs=1e-6)
