"""Where the state of runs that trained together lies, when they were interrupted. No torch: plans ask for it too.

The state of all of them is one file, `<runs>/<protocol>/<method>/.together/<name>`, so that it is of one moment. The
folder of every run in it holds the name. What nobody points at is removed.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections.abc import Iterable
from pathlib import Path

from mer_bench.results import atomic
from mer_bench.runs import Run

POINTER, FOLDER = "together.txt", ".together"
_NAME = re.compile(r"[0-9a-f]{16}\.ckpt")


def place_of(runs: Iterable[Run]) -> Path:
    """Where the state of these runs goes."""
    runs = list(runs)
    name = hashlib.sha256("/".join(sorted(run.key for run in runs)).encode()).hexdigest()[:16]
    return runs[0].folder.parent / FOLDER / f"{name}.ckpt"


def state_of(run: Run) -> Path | None:
    """The state that the run is in; None when it is in none."""
    try:
        name = (run.folder / POINTER).read_text().strip()
    except OSError:
        return None
    path = run.folder.parent / FOLDER / name
    return path if _NAME.fullmatch(name) and path.is_file() else None


def point(runs: Iterable[Run], path: Path) -> None:
    """Note in every run's folder that its state is there."""
    for run in runs:
        atomic.make_folder(run.folder)
        atomic.write(run.folder / POINTER, path.name.encode())


def forget(runs: Iterable[Run]) -> None:
    """The runs need no state any more."""
    places = set()
    for run in runs:
        (run.folder / POINTER).unlink(missing_ok=True)
        places.add(run.folder.parent)
    for place in places:
        sweep_up(place)


def sweep_up(place: Path) -> None:
    """Remove states below a method's folder that no run points at."""
    folder = place / FOLDER
    if not folder.is_dir():
        return
    wanted = set()
    for pointer in place.glob(f"*/{POINTER}"):
        with contextlib.suppress(OSError):
            wanted.add(pointer.read_text().strip())
    for path in folder.glob("*.ckpt"):
        if path.name not in wanted:
            path.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        folder.rmdir()
