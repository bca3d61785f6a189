"""Conversion in a process of its own: files of strangers may crash or exhaust that one, not the caller.

The child gets the request as JSON and gives the report back likewise. It has a limit of memory where the system has one
to enforce (Linux), writes no core dump, and whatever ends it becomes one message.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from mer_bench.errors import UserError
from mer_bench.prepare import prepare
from mer_bench.prepare.layout import Request
from mer_bench.prepare.report import Report, Tally

CODE = "from mer_bench.prepare.child import serve; serve()"
SHARE = 0.9  # ours: of the machine's memory, where the user gives no limit
GIGABYTE = 1 << 30


def prepare_apart(corpus: str, request: Request, out: Path | None, memory_gb: float = 0.0) -> Report:
    """As `prepare`, in a child process.

    Args:
        corpus: slug.
        request: what to convert, and how.
        out: the feature file to write, or None.
        memory_gb: most memory that the conversion may take; 0 for nine tenths of the machine's.

    Raises:
        UserError: as `prepare`, or the child needs more memory, or is ended by a signal.
    """
    asked = {
        "corpus": corpus,
        "request": _packed(request),
        "out": None if out is None else str(out),
        "memory": int(memory_gb * GIGABYTE),
    }
    command = [sys.executable, "-P", "-c", CODE]  # -P: nothing is imported from the folder one happens to be in
    paths = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=paths) as child:
        try:
            answer, _ = child.communicate(json.dumps(asked).encode())
        except BaseException:
            child.kill()
            raise
        finally:
            if out is not None:
                for left in out.parent.glob(f".{out.name}.{child.pid}-*.tmp"):
                    left.unlink(missing_ok=True)
    return outcome(str(request.source), child.returncode, answer)


def outcome(source: str, code: int, answer: bytes) -> Report:
    """What the end of the child means.

    Args:
        source: what was converted, for messages.
        code: its exit code; negative for a signal.
        answer: what it wrote.

    Raises:
        UserError: its error, or the signal that ended it.
        KeyboardInterrupt: it was interrupted.
        RuntimeError: it failed otherwise; its traceback is on the screen.
    """
    if code in (-signal.SIGINT, 130):
        raise KeyboardInterrupt
    if code < 0:
        name = signal.Signals(-code).name
        why = "the machine ran out of memory" if name == "SIGKILL" else "a library crashed on these files"
        raise UserError(f"{source}: the conversion was ended by {name}; probably {why}. Nothing was written")
    try:
        told = json.loads(answer)
    except ValueError:
        raise RuntimeError(f"{source}: the conversion ended with code {code} and without a result") from None
    if "error" in told:
        raise UserError(told["error"])
    report = told["report"]
    tallies = {key: {what: Tally(**one) for what, one in report[key].items()} for key in ("repaired", "dropped")}
    return Report(**{**report, **tallies})


def serve() -> None:
    """The child: one request from standard input, one answer to standard output."""
    result, sys.stdout = sys.stdout, sys.stderr  # what a library prints is no result
    asked = json.load(sys.stdin)
    limit = _limited(asked["memory"])
    try:
        answer: dict[str, Any] = {"report": dataclasses.asdict(_converted(asked))}
    except UserError as error:
        answer = {"error": str(error)}
    except MemoryError:
        source = asked["request"]["source"]
        told = f"{limit / GIGABYTE:.3g} GB" if limit else "there is"
        answer = {"error": f"{source}: needs more memory than {told}; --memory GB sets another limit"}
    except KeyboardInterrupt:
        sys.exit(130)
    json.dump(answer, result)
    result.flush()


def _converted(asked: dict[str, Any]) -> Report:
    out = None if asked["out"] is None else Path(asked["out"])
    start = time.monotonic()
    return prepare(asked["corpus"], _unpacked(asked["request"]), out, cost=lambda: (time.monotonic() - start, _peak()))


def _limited(memory: int) -> int:
    """Set the limit; returns it in bytes, 0 where the system has none."""
    try:
        import resource
    except ImportError:  # Windows
        return 0
    if not memory:
        memory = int(SHARE * os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    with contextlib.suppress(ValueError, OSError):  # a lower limit is in force already
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
    return memory


def _peak() -> float:
    """Most memory that this process held, in MB; 0 where the system does not tell."""
    status = Path("/proc/self/status")  # getrusage counts what the parent held when it started this process
    if status.is_file():
        told = [line.split() for line in status.read_text().splitlines() if line.startswith("VmHWM:")]
        return float(told[0][1]) / (1 << 10) if told else 0.0
    try:
        import resource
    except ImportError:
        return 0.0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20)  # macOS counts bytes


def _packed(request: Request) -> dict[str, Any]:
    return {
        **dataclasses.asdict(request),
        "source": str(request.source),
        "labels": None if request.labels is None else str(request.labels),
        "features": {name: str(path) for name, path in request.features.items()},
        "rate": dict(request.rate),
        "fitted_on": dict(request.fitted_on),
    }


def _unpacked(told: dict[str, Any]) -> Request:
    labels = None if told["labels"] is None else Path(told["labels"])
    features = {name: Path(path) for name, path in told["features"].items()}
    return Request(**{**told, "source": Path(told["source"]), "labels": labels, "features": features})
