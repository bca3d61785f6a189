"""What a sweep costs beside its training: short runs per hour by engine and executor, next to one process per run.

    python benchmarks/sweep.py

Every row works off the same runs of two epochs on a small synthetic file, two at a time, in turn; the row of one
process per run starts `mer-bench fit` for some of them, two at a time as well. `stack K` and `branches K` train K of
them together in each of the two processes. On a shared machine only ratios of one call mean something. `start` is the
time from the launcher's order to the first line of the run's own code; `outside` is what a run takes of a worker
outside its training steps; memory is what a process does not share with the fork server, at its largest.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import wait
from pathlib import Path
from typing import NamedTuple

from benchmarks.trained import table
from mer_bench.cli.engines import PRELOAD, TARGET, TOGETHER
from mer_bench.data.synthetic import generate
from mer_bench.merh5 import write
from mer_bench.results.record import read_record
from mer_bench.runs import Run
from mer_bench.sweep.agenda import recorded
from mer_bench.sweep.child import Forks
from mer_bench.sweep.engine import Engine
from mer_bench.sweep.ledger import Ledger
from mer_bench.sweep.local import LocalEngine, environment, slots
from mer_bench.sweep.plan import make_plan, read
from mer_bench.sweep.progress import Progress
from mer_bench.sweep.ray import RayEngine
from mer_bench.sweep.worker import Job

SWEEP = """
protocols: [iemocap4]
methods: [concat]
modalities: {{iemocap4: [audio, text]}}
folds: [0, 1, 2, 3]
seeds: [{seeds}]
set: {{trainer.max_epochs: 2, model.method.dim: 16, trainer.accelerator: cpu}}
"""


#: what is compared; ray is left to `--rows`, for a cluster of its own takes longer to start than the runs
ROWS = ["local", "branches 4", "branches 16", "stack 4", "stack 16", "stack 64"]


class Quiet(Progress):
    """Says nothing."""

    def _line(self, text: str, *, advance: bool) -> None:
        pass


def planned(runs: str) -> dict[str, Run]:
    return dict(make_plan(read("short.yaml"), runs).runs)


def engine(kind: str, runs: str, workers: int) -> Engine:
    """By name: local, ray, or an executor of the local engine with its K."""
    options, (way, _, count) = {"runs": runs, "trust": ()}, kind.partition(" ")
    if way == "ray":
        return RayEngine(Ledger(runs), TARGET, options, PRELOAD, workers=workers)
    more = {"room": int(count), "together": TOGETHER, "executor": way} if count else {}
    return LocalEngine(Ledger(runs), slots(workers, [], 1), TARGET, options, PRELOAD, **more)


class Swept(NamedTuple):
    """One row.

    Attributes:
        seconds: of all runs, the engine's own start included.
        runs: how many.
        outside: seconds that a run takes of a worker outside its training steps.
        cpu: seconds of a run, the median.
        memory: largest private memory of a process, in bytes.
    """

    seconds: float
    runs: int
    outside: float
    cpu: float
    memory: int

    @property
    def each(self) -> float:
        """Seconds per run."""
        return self.seconds / self.runs


def swept(kind: str, workers: int) -> Swept:
    """Work the runs off."""
    runs = f"runs-{kind.replace(' ', '-')}"
    plan = planned(runs)
    with memory() as peak:
        start = time.perf_counter()
        engine(kind, runs, workers).work(plan, Quiet(len(plan), 0, bar=False))
        seconds = time.perf_counter() - start
    assert all(recorded(run) for run in plan.values())
    costs = [read_record(run.folder / "record.json").cost for run in plan.values()]
    training = sum(cost.train_seconds for cost in costs)
    cpu = statistics.median(cost.cpu_seconds or 0.0 for cost in costs)
    return Swept(seconds, len(plan), (seconds * workers - training) / len(plan), cpu, peak[0])


def alone(workers: int, count: int) -> float:
    """Seconds per run when each is a Python process of its own, so many at a time."""
    plan = list(planned("runs-alone").values())[:count]

    def fit(run: Run) -> None:
        command = [sys.executable, "-m", "mer_bench", "fit", "iemocap_concat", "--runs", "runs-alone"]
        command += ["--data.modalities", "[audio, text]", "--trainer.max_epochs", "2", "--model.method.dim", "16"]
        command += ["--trainer.accelerator", "cpu", "--data.fold", str(run.fold), "--seed", str(run.seed)]
        subprocess.run([*command, "--progress", "none"], check=True, capture_output=True)

    if not plan:
        return math.nan
    start = time.perf_counter()
    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(fit, plan))
    assert all(recorded(run) for run in plan)
    return (time.perf_counter() - start) / count


def stamp(recipe: object, options: dict) -> None:
    """What a run is in the measurement of its start."""
    Path(options["file"]).write_text(f"{time.clock_gettime(time.CLOCK_MONOTONIC)} {time.process_time()}")


def start_latency(count: int) -> list[tuple[float, float]]:
    """Seconds from order to the run's first line, one at a time, and its CPU seconds till then; the server is there."""
    forks, found = Forks([*PRELOAD, "benchmarks.sweep"]), []
    recipe = next(iter(planned("runs-start").values())).recipe
    for _ in range(count + 1):
        job = Job("benchmarks.sweep:stamp", recipe, {"file": "stamp"}, Path("start.txt"), environment(1, ""), 1)
        begun = time.clock_gettime(time.CLOCK_MONOTONIC)
        child = forks.launch(job)
        while (ended := child.ended()) is None:
            wait([child.sentinel])
        assert ended.status == "ok", ended
        then, cpu = map(float, Path("stamp").read_text().split())
        found.append((then - begun, cpu))
    return found[1:]  # the first one waits for the server's imports


@contextlib.contextmanager
def memory() -> Iterator[list[int]]:
    """The largest private memory, in bytes, of any process two below this one: the runs of the local engine."""
    peak, done = [0], threading.Event()

    def look() -> None:
        while not done.wait(0.1):
            for server in children(os.getpid()):
                for run in children(server):
                    peak[0] = max(peak[0], private(run))

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        yield peak
    finally:
        done.set()
        watcher.join()


def children(pid: int) -> list[int]:
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def private(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Private_"))


@contextlib.contextmanager
def workplace(seeds: int) -> Iterator[None]:
    """A folder with features and the sweep, in which everything happens."""
    before, root = Path.cwd(), str(Path(__file__).parents[1])
    os.environ["OMP_NUM_THREADS"] = "1"
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))  # for the server
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        write(Path("features/iemocap.h5"), generate("iemocap", structure="redundant", seed=0, items=300, seconds=1.0))
        Path("short.yaml").write_text(SWEEP.format(seeds=", ".join(map(str, range(seeds)))))
        try:
            yield
        finally:
            os.chdir(before)


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="four runs: figures mean nothing")
    parser.add_argument("--seeds", type=int, default=16, help="of four folds each: 16 makes 64 runs")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--alone", type=int, default=6, help="runs that get a process each")
    parser.add_argument("--rows", nargs="*", default=ROWS, help="local, ray, 'stack K', 'branches K'")
    options = parser.parse_args()
    if options.quick:
        options.seeds, options.alone, options.rows = 1, 1, ["local", "stack 2"]
    with workplace(options.seeds):
        starts, cpus = zip(*start_latency(2 if options.quick else 20), strict=True)
        print(
            f"start of a run: median {statistics.median(starts) * 1e3:.0f} ms, quickest {min(starts) * 1e3:.0f} ms, "
            f"of which it computes {statistics.median(cpus) * 1e3:.0f} ms"
        )
        one = alone(options.workers, options.alone)
        rows: list[tuple[object, ...]] = [("a process per run", f"{3600 / one:,.0f}", "1.0", "", "", "")]
        for kind in options.rows:
            row = swept(kind, options.workers)
            figures = f"{3600 / row.each:,.0f}", f"{one / row.each:.1f}", f"{row.outside:.2f}", f"{row.cpu:.2f}"
            rows.append((kind, *figures, "" if kind == "ray" else f"{row.memory / 2**20:.0f}"))
            print(f"{kind}: {row.seconds:.1f} s", file=sys.stderr, flush=True)
    head = ("", "runs an hour", "ratio", "outside, s", "CPU s a run", "private MiB")
    table(f"{4 * options.seeds} runs of two epochs, {options.workers} processes at a time", head, rows)


if __name__ == "__main__":
    main()
