"""Who works on what, in files alone: claims are leases, results are published once, nothing else is state.

`<runs>/.sweep/leases/<key>` is created with O_EXCL, so one launcher wins; its age is its heartbeat. A lease whose owner
is dead (same machine) or silent for longer than `LEASE` is moved away under a name of its own, which again only one can
do, and competed for anew. A run is done when its record exists; it is published by `results.record.write_record`, which
never overwrites. So a run may be executed twice after a lost lease, but never be recorded twice.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mer_bench.results import atomic

#: seconds without a heartbeat after which a lease of another machine is taken over
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
    """

    attempts: int
    reason: str


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
        self.owner = f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"

    def prepare(self) -> None:
        """Make the folders.

        Raises:
            OSError: the place cannot be written.
        """
        for folder in (self.leases, self.failures):
            folder.mkdir(parents=True, exist_ok=True)

    def claim(self, key: str) -> bool:
        """Try to become the one who runs `key`."""
        path = self.leases / key
        if path.exists() and self._dead(path):
            # only one mover wins; the file moved may be a new claim made in between, which then is put back
            aside = path.with_name(f".stale-{uuid.uuid4().hex}")
            with contextlib.suppress(OSError):
                path.rename(aside)
                if not self._dead(aside):
                    with contextlib.suppress(OSError):
                        os.link(aside, path)
                aside.unlink(missing_ok=True)
        try:
            handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
        except FileExistsError:
            return False
        with os.fdopen(handle, "w") as stream:
            json.dump({"owner": self.owner, "host": socket.gethostname(), "pid": os.getpid()}, stream)
        return True

    def beat(self, key: str) -> None:
        """Say that the claim is alive."""
        with contextlib.suppress(OSError):
            os.utime(self.leases / key)

    def release(self, key: str) -> None:
        """Give a claim of ours back."""
        path = self.leases / key
        if self._read(path).get("owner") == self.owner:
            path.unlink(missing_ok=True)

    def held(self) -> dict[str, dict[str, Any]]:
        """Live claims by key."""
        if not self.leases.is_dir():
            return {}
        paths = [path for path in self.leases.iterdir() if not path.name.startswith(".")]
        return {path.name: self._read(path) for path in paths if not self._dead(path)}

    def fail(self, key: str, reason: str) -> Failure:
        """Note a failed attempt."""
        before = self.failure(key)
        now = Failure((before.attempts if before else 0) + 1, " ".join(reason.split())[:500] or "no reason given")
        content = json.dumps({"attempts": now.attempts, "reason": now.reason})
        atomic.write(self.failures / key, content.encode())
        return now

    def failure(self, key: str) -> Failure | None:
        """What is known of failed attempts."""
        found = self._read(self.failures / key)
        return Failure(found["attempts"], found["reason"]) if {"attempts", "reason"} <= found.keys() else None

    def forgive(self, key: str) -> None:
        """Forget failed attempts, so that the run is tried again."""
        (self.failures / key).unlink(missing_ok=True)

    def _dead(self, path: Path) -> bool:
        """Whether the owner of a lease is gone: its process on this machine, or silence for too long elsewhere."""
        try:
            age = time.time() - path.stat().st_mtime
        except OSError:
            return False
        found = self._read(path)
        if not found:  # just created and not yet written, unless it stays so
            return age > min(self.lease, 5.0)
        if found.get("host") == socket.gethostname():
            return not _alive(int(found.get("pid", 0)))
        return age > self.lease

    @staticmethod
    def _read(path: Path) -> dict[str, Any]:
        try:
            content = json.loads(path.read_text())
        except (OSError, ValueError):
            return {}
        return content if isinstance(content, dict) else {}


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
