"""How much memory a run takes at its peak: by how features are held, and by runs side by side.

    python benchmarks/memory.py

Every line is a process of its own, forked from one that has imported everything, so imports and code are not counted:
its highest resident memory (the kernel's, set back at the start) above what it started with. One epoch of training of
`concat` (width 128) on invented features of 50 x 409 numbers an item; runs side by side validate once too.
"""

from __future__ import annotations

import os
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

from benchmarks.trained import bare, executor, make, options, run, single_thread, table


def peak(work: Callable[[], None]) -> float:
    """MB at the peak of a forked process above those at its start."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
        before = resident("VmRSS")
        work()
        os.write(writing, str(resident("VmHWM") - before).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as stream:
        said = stream.read()
    _, status = os.waitpid(child, 0)
    if status or not said:
        raise RuntimeError("the measured process failed; its message stands above")
    return int(said) / 1e3


def resident(name: str) -> int:
    """A figure of this process, in kB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith(f"{name}:")))


def alone(path: Path, **settings: str) -> Callable[[], None]:
    """One epoch of training steps of a run, without validation."""

    def work() -> None:
        command = run(path, "concat", model__method__dim="128", **settings)
        command.datamodule.setup()
        step = bare(command)
        for _ in range(command.datamodule.train_dataloader().steps_per_epoch):
            step()

    return work


def several(path: Path, kind: str, count: int) -> Callable[[], None]:
    """One epoch of several runs, and one pass over their validation parts."""

    def work() -> None:
        made = executor(run(path, "concat", model__method__dim="128"), kind, count)
        made.begin()
        while made.step():
            pass
        made.end()
        made.validate(lambda *outputs: None)

    return work


def main() -> None:
    """Print two tables."""
    given = options(__doc__)
    warnings.simplefilter("ignore")
    single_thread()
    items = 200 if given.quick else 4000
    with tempfile.TemporaryDirectory() as folder:
        path = make(Path(folder) / "mosei.h5", items, 21.5)
        size = path.stat().st_size / 1e6
        few = make(Path(folder) / "few.h5", 200, 21.5)
        bare(run(few, "concat"))()  # whatever torch makes at its first step
        paths = {
            "in memory": {},
            "in memory, half precision": {"data__storage": "16"},
            "streamed, shelves of 16 MB": {"data__stream": "always", "data__shelf_mb": "16"},
        }
        first = peak(alone(path, data__stream="never"))
        rows = []
        for name, settings in paths.items():
            found = first if not settings else peak(alone(path, **settings))
            rows.append((name, f"{found:.0f}", f"{found / first:.2f}", f"{found / size:.2f}"))
        table(f"a run on a file of {size:.0f} MB", ("features", "MB", "ratio", "of the file"), rows)
        counts = (1, 2) if given.quick else (1, 4, 16, 64)
        found = {(kind, k): peak(several(few, kind, k)) for kind in ("branches", "stack") for k in counts}
        base = found["branches", 1]
        rows = [(f"{kind} {k}", f"{x:.0f}", f"{x / k:.1f}", f"{x / k / base:.2f}") for (kind, k), x in found.items()]
        table("runs side by side on a small file", ("executor", "MB", "MB a run", "ratio a run"), rows)


if __name__ == "__main__":
    main()
