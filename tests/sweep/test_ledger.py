"""Claims: who may work on what, whatever dies and whatever the clocks say."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mer_bench.sweep.ledger import Ledger, born, host


@pytest.fixture
def clock(monkeypatch):
    """The steady clock of this process, to be moved by hand."""
    now = [1000.0]
    monkeypatch.setattr("mer_bench.sweep.ledger.time.monotonic", lambda: now[0])
    return now


def test_ledger_takes_over_dead_claims_only(tmp_path, clock):
    mine, other = Ledger(tmp_path, lease=60), Ledger(tmp_path, lease=60)
    mine.prepare()
    assert mine.claim("k") and not other.claim("k")
    path = mine.leases / "k"
    path.write_text(json.dumps({"owner": "x", "host": "elsewhere", "pid": 1}))
    assert not other.claim("k")  # another machine: not a word is known of it yet
    clock[0] += 59
    assert not other.claim("k")
    os.utime(path, ns=(1, 1))  # it speaks, by whatever clock
    clock[0] += 59
    assert not other.claim("k")
    clock[0] += 61
    assert other.claim("k")
    mine.release("k")  # no longer mine: must not be taken away
    assert list(other.held()) == ["k"]
    other.release("k")
    assert other.held() == {}


def test_clocks_that_jump_decide_nothing(tmp_path, clock, monkeypatch):
    mine, other = Ledger(tmp_path, lease=60), Ledger(tmp_path, lease=60)
    mine.prepare()
    assert mine.claim("k")
    path = mine.leases / "k"
    (other.leases / "far").write_text(json.dumps({"owner": "x", "host": "elsewhere", "pid": 1}))
    for jump in (-86400.0, 86400.0):
        then = time.time() + jump
        with monkeypatch.context() as patch:
            patch.setattr("mer_bench.sweep.ledger.time.time", lambda then=then: then)
            assert not other.claim("k") and not other.claim("far")
        for name in (path, other.leases / "far"):
            os.utime(name, (then, then))
        assert not other.claim("k") and not other.claim("far")


def test_a_claim_of_a_dead_process_is_free_even_when_its_number_lives_on(tmp_path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    ledger = Ledger(tmp_path)
    ledger.prepare()
    while Path(f"/proc/{dead.pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z":
        time.sleep(0.01)
    for pid, start in ((dead.pid, None), (os.getpid(), born(os.getpid()) - 1)):  # unburied; a number used again
        (ledger.leases / "k").write_text(json.dumps({"owner": "x", "host": host(), "pid": pid, "born": start}))
        assert ledger.held() == {} and ledger.claim("k")
        ledger.release("k")
    dead.wait()


def test_a_claim_made_while_a_dead_one_is_moved_away_is_put_back(tmp_path, clock, monkeypatch):
    slow, quick = Ledger(tmp_path, lease=60), Ledger(tmp_path, lease=60)
    slow.prepare()
    path = slow.leases / "k"
    path.write_text(json.dumps({"owner": "x", "host": "elsewhere", "pid": 1}))
    assert not slow.claim("k") and not quick.claim("k")
    clock[0] += 61
    rename = Path.rename

    def overtaken(self, target):
        with monkeypatch.context() as patch:
            patch.setattr(Path, "rename", rename)
            assert quick.claim("k")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", overtaken)
    assert not slow.claim("k")
    assert quick.held()["k"]["owner"] == quick.owner
    assert [p.name for p in slow.leases.iterdir()] == ["k"]
