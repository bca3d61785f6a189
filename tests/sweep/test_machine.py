"""Any order of claims, heartbeats, crashes, publications, clock jumps and tampering keeps the ledger's promises."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from mer_bench.errors import Conflict, UserError
from mer_bench.results.record import read_record, read_records, write_record
from mer_bench.sweep.ledger import Ledger
from tests.results.factory import make

LEASE = 60.0
keys = st.sampled_from(["k0", "k1"])
whom = st.integers(0, 2)
values = st.sampled_from([0.25, 0.5])


class Sweep(RuleBasedStateMachine):
    """Up to three launchers on one folder. The model knows who holds what, and when it last spoke."""

    @initialize()
    def begin(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.now, self.wall, self.ticks, self.pids = 1000.0, 0.0, 1, 100
        self.launchers: dict[int, Ledger] = {}
        self.alive: set[int] = set()
        self.holder: dict[str, tuple[int, float]] = {}  # who, and when it spoke last
        self.published: dict[str, bytes] = {}
        self.tampered: set[str] = set()
        self.patches = [
            mock.patch("mer_bench.sweep.ledger.time.monotonic", lambda: self.now),
            mock.patch("mer_bench.sweep.ledger.time.time", lambda: self.wall),
            mock.patch("mer_bench.sweep.ledger.alive", lambda pid, start: pid in self.alive),
            mock.patch("mer_bench.sweep.ledger.born", lambda pid: None),
        ]
        for patch in self.patches:
            patch.start()

    def teardown(self) -> None:
        for patch in self.patches:
            patch.stop()
        shutil.rmtree(self.folder)

    @rule(who=whom)
    def start(self, who: int) -> None:
        if who not in self.launchers:
            self.pids += 1
            ledger = Ledger(self.folder, lease=LEASE)
            ledger.pid = self.pids
            ledger.prepare()
            self.launchers[who] = ledger
            self.alive.add(self.pids)

    @rule(who=whom)
    def crash(self, who: int) -> None:
        ledger = self.launchers.pop(who, None)
        if ledger is not None:
            self.alive.discard(ledger.pid)

    @rule(who=whom, key=keys)
    def claim(self, who: int, key: str) -> None:
        ledger = self.launchers.get(who)
        if ledger is None:
            return
        won = ledger.claim(key)
        pid, spoke = self.holder.get(key, (0, 0.0))
        if pid in self.alive and self.now - spoke <= LEASE:
            assert not won, "two live launchers hold one run"
        if pid not in self.alive:
            assert won, "a run of nobody, or of a dead launcher, is free at once"
        if won:
            self.holder[key] = (ledger.pid, self.now)
            self.touch(key)

    @rule(who=whom, key=keys)
    def beat(self, who: int, key: str) -> None:
        ledger = self.launchers.get(who)
        if ledger is None:
            return
        ledger.beat(key)
        if self.holder.get(key, (0, 0.0))[0] == ledger.pid:
            self.holder[key] = (ledger.pid, self.now)
            self.touch(key)

    def touch(self, key: str) -> None:
        """As the real clock would: a lease that speaks shows another time."""
        self.ticks += 1
        os.utime(self.folder / ".sweep" / "leases" / key, ns=(self.ticks, self.ticks))

    @rule(who=whom, key=keys)
    def release(self, who: int, key: str) -> None:
        ledger = self.launchers.get(who)
        if ledger is None:
            return
        ledger.release(key)
        if self.holder.get(key, (0, 0.0))[0] == ledger.pid:
            del self.holder[key]

    @rule(key=keys, value=values)
    def publish(self, key: str, value: float) -> None:
        """By anybody, also one that has lost its lease and does not know."""
        record = make(key, value=value)
        place = self.folder / key
        if key in self.tampered:
            with pytest.raises(UserError, match="unusable"):
                write_record(place, record)
        elif key not in self.published:
            assert write_record(place, record) == "written"
            self.published[key] = (place / "record.json").read_bytes()
        elif read_record(place / "record.json").numbers() == record.numbers():
            assert write_record(place, record) == "kept"
        else:
            with pytest.raises(Conflict):
                write_record(place, record)

    @precondition(lambda self: self.published)
    @rule(key=keys)
    def tamper(self, key: str) -> None:
        if key in self.published:
            changed = self.published[key].replace(b'"steps": 100', b'"steps": 101')
            (self.folder / key / "record.json").write_bytes(changed)
            self.published[key] = changed
            self.tampered.add(key)

    @rule(seconds=st.sampled_from([1.0, 30.0, LEASE + 1]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(seconds=st.sampled_from([-86400.0, 86400.0]))
    def jump(self, seconds: float) -> None:
        self.wall += seconds

    @invariant()
    def acknowledged_is_there_and_unchanged(self) -> None:
        for key, content in getattr(self, "published", {}).items():
            assert (self.folder / key / "record.json").read_bytes() == content

    @invariant()
    def a_report_has_each_run_once_and_names_what_was_changed(self) -> None:
        records, rejected = read_records(self.folder)
        assert sorted(r.method.slug for r in records) == sorted(self.published.keys() - self.tampered)
        assert {r.path.split("/")[0] for r in rejected if r.path.endswith("record.json")} == self.tampered
        assert not list(self.folder.rglob("*.tmp")) and not list(self.folder.rglob(".stale-*"))


Sweep.TestCase.settings = settings(max_examples=25, stateful_step_count=30, deadline=None)
TestSweep = Sweep.TestCase
