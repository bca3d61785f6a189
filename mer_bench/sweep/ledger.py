"""Who works on what, in files alone: claims are leases, results are published once, nothing else is state.

`<runs>/.sweep/leases/<key>` is created with O_EXCL, so one launcher wins; its time of change is its heartbeat. A lease
whose owner is dead (same machine), or whose heartbeat stood still for longer than `LEASE` by the watcher's own steady
clock, is moved away under a name of its own, which again only one can do, and competed for anew. No two clocks are
compared, so one that jumps, or that of a file server, changes nothing. A run is done when its record exists; it is
published by `results.record.write_record`, which never overwrites. So a run may be executed twice after a lost lease,
but never be recorded twice.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import os
import socket
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mer_bench.results import atomic

#: seconds without a heartbeat after which a lease is taken over
LEASE = 180.0
#: seconds between heartbeats
BEAT = 15.0
#: how often a run that fails is tried
ATTEMPTS = 2


@dataclass(frozen=True)
class Failure:
    """Why a run has no record.

    Attributes:
        attempts: how often it was tried.
        reason: of the last one, one line.
        code: hash of the sources that failed; with others it may be different.
    """

    attempts: int
    reason: str
    code: str = ""


class Ledger:
    """The claims on the runs of one folder.

    Args:
        runs: folder of the runs.
        lease: seconds after which a silent claim is taken over.
    """

    def __init__(self, runs: str | Path, lease: float = LEASE) -> None:
        self.root = Path(runs) / ".sweep"
        self.leases, self.failures = self.root / "leases", self.root / "failed"
        self.lease = lease
        self.pid = os.getpid()
        self.owner = f"{socket.gethostname()}-{self.pid}-{uuid.uuid4().hex[:8]}"
        self._sights: dict[str, tuple[int, float]] = {}

    def prepare(self) -> None:
        """Make the folders, and try that they can be written.

        Raises:
            OSError: the place cannot be written.
        """
        for folder in (self.leases, self.failures):
            folder.mkdir(parents=True, exist_ok=True)
            probe = folder / f".probe-{uuid.uuid4().hex}"
            try:
                probe.write_text("can be written")
            finally:
                probe.unlink(missing_ok=True)

    def claim(self, key: str) -> bool:
        """Try to become the one who runs `key`."""
        path = self.leases / key
        if path.exists() and self._dead(key, path):
            # only one mover wins; the file moved may be a new claim made in between, which then is put back
            aside = path.with_name(f".stale-{uuid.uuid4().hex}")
            with contextlib.suppress(OSError):
                path.rename(aside)
                if not self._dead(key, aside):
                    with contextlib.suppress(OSError):
                        os.link(aside, path)
                aside.unlink(missing_ok=True)
        try:
            handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
        except FileExistsError:
            return False
        claim = {"owner": self.owner, "host": host(), "pid": self.pid, "born": born(self.pid)}
        try:
            with os.fdopen(handle, "w") as stream:
                json.dump(claim, stream)
        except OSError:  # a full disk: leave nothing behind that others would have to wait for
            path.unlink(missing_ok=True)
            raise
        return True

    def beat(self, key: str) -> None:
        """Say that a claim of ours is alive; one that was taken over is not kept alive for its new owner."""
        path = self.leases / key
        if self._read(path).get("owner") == self.owner:
            with contextlib.suppress(OSError):
                os.utime(path)

    def release(self, key: str) -> None:
        """Give a claim of ours back."""
        path = self.leases / key
        if self._read(path).get("owner") == self.owner:
            path.unlink(missing_ok=True)

    def held(self) -> dict[str, dict[str, Any]]:
        """Live claims by key, at one look: only here the age of a heartbeat is read off the wall clock."""
        if not self.leases.is_dir():
            return {}
        found = {path.name: path for path in self.leases.iterdir() if not path.name.startswith(".")}
        return {key: self._read(path) for key, path in found.items() if self._shown_alive(path)}

    def fail(self, key: str, reason: str, code: str = "") -> Failure:
        """Note a failed attempt; those of other code do not count any more."""
        before = self.failure(key)
        count = before.attempts if before is not None and before.code == code else 0
        now = Failure(count + 1, " ".join(reason.split())[:500] or "no reason given", code)
        atomic.write(self.failures / key, json.dumps(dataclasses.asdict(now)).encode())
        return now

    def failure(self, key: str) -> Failure | None:
        """What is known of failed attempts."""
        found = self._read(self.failures / key)
        if not {"attempts", "reason"} <= found.keys():
            return None
        return Failure(found["attempts"], found["reason"], str(found.get("code", "")))

    def forgive(self, key: str) -> None:
        """Forget failed attempts, so that the run is tried again."""
        (self.failures / key).unlink(missing_ok=True)

    def _dead(self, key: str, path: Path) -> bool:
        """Whether the owner of a lease is gone: its process on this machine, or silence for too long anywhere."""
        claim = self._read(path)
        limit = self.lease if claim else min(self.lease, 5.0)  # without content: just created, unless it stays so
        if claim.get("host") == host() and not alive(int(claim.get("pid", 0)), claim.get("born")):
            return True
        try:
            stamp = path.stat().st_mtime_ns
        except OSError:
            return False
        seen, since = self._sights.get(key, (None, 0.0))
        if stamp != seen:
            self._sights[key] = (stamp, time.monotonic())
            return False
        return time.monotonic() - since > limit

    def _shown_alive(self, path: Path) -> bool:
        claim = self._read(path)
        if claim.get("host") == host():
            return alive(int(claim.get("pid", 0)), claim.get("born"))
        with contextlib.suppress(OSError):
            return time.time() - path.stat().st_mtime <= self.lease
        return False

    @staticmethod
    def _read(path: Path) -> dict[str, Any]:
        try:
            content = json.loads(path.read_text())
        except (OSError, ValueError):
            return {}
        return content if isinstance(content, dict) else {}


@functools.cache
def host() -> str:
    """This machine, as far as process numbers mean the same: containers that share a name differ."""
    try:
        space = str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        space = ""
    return f"{socket.gethostname()} {space}".strip()


def born(pid: int) -> int | None:
    """When a process started, in the kernel's ticks; tells it from a later one with its number. None if unknown."""
    try:
        return int(_fields(pid)[19])
    except (OSError, IndexError, ValueError):
        return None


def alive(pid: int, start: int | None) -> bool:
    """Whether the process is there, is the one that started then, and is not a dead one that nobody has buried."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    try:
        fields = _fields(pid)
    except OSError:
        return True
    return fields[0] not in "ZX" and start in (None, int(fields[19]))


def _fields(pid: int) -> list[str]:
    """What Linux says of a process, from its state on."""
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
