"""Disks that are full or may not be written, records that were changed: said in one line, and nothing is lost."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys

import pytest

from mer_bench.cli import main
from mer_bench.errors import UserError
from mer_bench.results.record import write_record
from mer_bench.sweep.agenda import Agenda
from mer_bench.sweep.ledger import Ledger
from mer_bench.sweep.loop import drive
from mer_bench.sweep.parcel import publish
from mer_bench.sweep.progress import Progress
from mer_bench.sweep.worker import Ended
from tests.sweep.cases import MORE, planned
from tests.sweep.targets import finished

#: a device of its own for the runs, in a name space that nobody else sees
DEVICE = """
import json, os, subprocess
from pathlib import Path
from mer_bench.errors import UserError
from tests.sweep import launch
from tests.sweep.cases import MORE, planned

Path("runs").mkdir()
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=160k", "none", "runs"], check=True)
ballast = Path("runs/ballast")
try:
    with ballast.open("wb", buffering=0) as stream:
        while True:
            stream.write(bytes(4096))
except OSError:
    os.truncate(ballast, ballast.stat().st_size - KEPT * 4096)
try:
    launch.main("runs", "s.yaml", "record", "0.01")
    said = ""
except (UserError, OSError) as error:
    said = f"{type(error).__name__}: {error}"
def whole():
    paths = [run.folder / "record.json" for run in planned().values()]
    return [json.loads(path.read_text()) for path in paths if path.exists()]
before, failures = len(whole()), len(list(Path("runs/.sweep").glob("failed/*")))
ballast.unlink()
launch.main("runs", "s.yaml", "record", "0.01")
print(json.dumps([said, before, failures, len(whole()), [str(p) for p in Path("runs").rglob("*.tmp")]]))
"""


def can_mount() -> bool:
    probe = ["unshare", "-rm", "mount", "-t", "tmpfs", "none", "/mnt"]
    try:
        return subprocess.run(probe, capture_output=True, check=False).returncode == 0
    except OSError:
        return False


needs_mount = pytest.mark.skipif(not can_mount(), reason="no name space to mount a small disk in")


@needs_mount
@pytest.mark.slow
@pytest.mark.parametrize("kept", [1, 6, 12])
def test_a_real_disk_that_fills_up(home, kept):
    """Room for so many blocks: the sweep ends with one message, every record is whole, and it goes on with room."""
    (home / "s.yaml").write_text(MORE)
    command = ["unshare", "-rm", sys.executable, "-c", DEVICE.replace("KEPT", str(kept))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    said, before, failures, after, leftovers = json.loads(done.stdout.splitlines()[-1])
    assert "no space left" in said.lower() or "ENOSPC" in said, said
    assert before < 20 and failures == 0 and after == 20 and leftovers == []


def test_the_launcher_meets_a_full_disk(home, monkeypatch):
    """Not even a claim can be written: no traceback, and no empty claim that others would wait for."""
    plan, ledger = planned(), Ledger("runs")
    ledger.prepare()

    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    class Never:
        usable = True

        def __getattr__(self, name):
            raise AssertionError(name)

    with monkeypatch.context() as patch:
        patch.setattr("mer_bench.sweep.ledger.json.dump", full)
        with pytest.raises(UserError, match=r"ENOSPC.*what is recorded stays"):
            drive([Never()], Agenda(ledger, plan, Progress(len(plan), 0, bar=False)), lambda *_: None)
    assert list(ledger.leases.iterdir()) == []


READ_ONLY = """
import subprocess, sys
from pathlib import Path
from mer_bench.cli import main
Path("runs/.sweep/leases").mkdir(parents=True)
Path("runs/.sweep/failed").mkdir()
subprocess.run(["mount", "--bind", "runs", "runs"], check=True)
subprocess.run(["mount", "-o", "remount,ro,bind", "runs"], check=True)
sys.exit(main(["sweep", "s.yaml"]) * 10 + main(["sweep", "status", "s.yaml"]))
"""


@needs_mount
def test_a_folder_that_may_not_be_written_is_refused_before_anything_runs(home):
    done = subprocess.run(
        ["unshare", "-rm", sys.executable, "-c", READ_ONLY], capture_output=True, text=True, check=False
    )
    assert done.returncode == 20, done.stderr  # the sweep says no, the status can still be read
    assert "--runs runs: cannot be written (Read-only file system)" in done.stderr
    assert "5 runs: 5 left" in done.stdout


def test_status_names_what_was_changed_contradicted_or_outgrown(home, capsys):
    one, two, three, *_ = plan = list(planned().values())
    for run in plan:
        write_record(run.folder, finished(run))
    record = one.folder / "record.json"
    record.write_text(record.read_text().replace('"steps": 100', '"steps": 99'))
    two_other = two.folder / "conflict-0123456789abcdef.json"
    two_other.write_text("{}")
    old = three.folder.with_name("0" * 16)
    three.folder.rename(old)
    (old / "record.json").unlink()
    write_record(old, finished(three, data_fingerprint="b" * 64, run_key="0" * 64, modalities=("audio", "text")))
    assert main(["sweep", "status", "s.yaml", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["done"], facts["unusable"], facts["left"], facts["seconds_left"]) == (3, 1, 1, 4.0)
    assert any(str(record) in line and "changed after it was written" in line for line in facts["problems"])
    assert f"CONFLICT: {two_other}" in facts["problems"]
    assert "1 of majority on iemocap4: recorded on other features; run anew here" in facts["stale"]
    assert any("recorded with other code" in line for line in facts["stale"])  # the records of these tests
    three.folder.mkdir()
    write_record(three.folder, finished(three))
    assert main(["sweep", "s.yaml"]) == 1  # nothing to do, yet a cron job must hear of it
    assert "CONFLICT" in capsys.readouterr().err


def test_parcels_stay_in_their_folder_and_never_replace_a_result(home):
    run, *_ = planned().values()
    for name in ("../evil", "/tmp/evil", "a/../../evil"):
        with pytest.raises(UserError, match="inside the run's folder"):
            publish(run, {name: b""}, Ended("ok"))
    first = run.folder.with_name("first")
    write_record(first, finished(run, 0.25))
    content = (first / "record.json").read_bytes()
    assert publish(run, {"record.json": content, "log.txt": b"1"}, Ended("ok")) == Ended("ok")
    assert publish(run, {"record.json": content, "log.txt": b"2"}, Ended("ok")) == Ended("ok")
    write_record(first.with_name("second"), finished(run, 0.75))
    other = (first.with_name("second") / "record.json").read_bytes()
    assert publish(run, {"record.json": other, "log.txt": b"3"}, Ended("ok")).status == "conflict"
    assert (run.folder / "record.json").read_bytes() == content and (run.folder / "log.txt").read_bytes() == b"1"
    assert publish(run, {"record.json": content[:-9]}, Ended("ok")).status == "failed"
    assert sorted(p.name for p in run.folder.iterdir())[1:] == ["log.txt", "record.json"]  # the first is the conflict
