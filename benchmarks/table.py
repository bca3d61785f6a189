"""The aims of this house beside what this machine does: one table, printed and nothing else.

    python benchmarks/table.py        (or: make bench)

Every row is measured now, as a ratio of two things that ran in turn in one process, or beside its limit. The other
scripts of this folder tell each story at length.
"""

from __future__ import annotations

import os
import platform
import statistics
import tempfile
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import torch

from benchmarks import data, loso, scale, step, sweep
from benchmarks.trained import bare, executor, make, options, run, single_thread, stepping, table
from mer_bench.data.synthetic import generate
from mer_bench.merh5 import write
from mer_bench.sweep.local import usable_cores

#: wanted of one GPU: K, width of `concat` (None: a transformer of 256), least ratio of model-steps a second
GPU = {
    "K=16, 1 M parameters": (16, 512, 10),
    "K=64, 0.3 M parameters": (64, 192, 20),
    "K=16, transformer d=256": (16, None, 5),
}


class Line(NamedTuple):
    """One aim: what, how much is wanted, what was measured, and whether that is enough (None: unknown)."""

    what: str
    aim: str
    found: str
    met: bool | None


def steps(folder: Path, quick: bool) -> Line:
    """`fit` beside a bare loop, 50 steps a block, steps of about half a millisecond."""
    write(
        folder / "iemocap.h5",
        generate("iemocap", structure="redundant", seed=0, items=300 if quick else 3000, seconds=1.0),
    )
    ratios, times, epochs = [], [], 2 if quick else 4
    for _ in range(1 if quick else 5):
        fit, n = step.fit_seconds(step.command(folder, 50, epochs, 32))
        loop, m = step.bare_seconds(step.command(folder, 50, epochs, 32))
        ratios.append(fit / n / (loop / m))
        times.append(loop / (m * (epochs - 1) / epochs) * 1e3)
    ratio, each = statistics.median(ratios), statistics.median(times)
    return Line(
        "`fit` with metrics and CSV, bare loop = 1", "<= 1.10", f"{ratio:.2f} (bare step {each:.2f} ms)", ratio <= 1.1
    )


def sweeps(quick: bool) -> Iterator[Line]:
    """Short runs through the local engine beside one process a run."""
    with sweep.workplace(1 if quick else 8):
        alone = sweep.alone(2, 1 if quick else 4)
        row = sweep.swept("local", 2)
    yield Line(
        "a run in a sweep outside its training steps",
        "<= 0.1 s",
        f"{row.outside:.2f} s (the engine's own start, spread over {row.runs} runs, included)",
        row.outside <= 0.1,
    )
    # both have two places; a run that takes ten seconds as a process trains for what its start leaves of them
    long = max(10.0, 2 * alone)
    ratio = long / (long - 2 * alone + 2 * row.each)
    yield Line(
        "sweep v a process per run, runs of 10 s, computed from short runs",
        ">= 3",
        f"{ratio:.1f} (short runs {alone / row.each:.1f})",
        ratio >= 3,
    )


def samples(folder: Path, quick: bool) -> Line:
    """The way from memory to a batch, beside a plain copy of as many bytes."""
    items = 200 if quick else 4000
    path = make(folder / "mosei.h5", items, 21.5)
    ways = {"ours": data.ours(path, stream="never"), "limit": data.limit(items)}
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(2 if quick else 4):
        for name, way in ways.items():
            start = time.process_time()
            count = way(number)
            rates[name].append(count / (time.process_time() - start))
    ours, limit = (statistics.median(found[1:]) for found in rates.values())
    found = f"{ours / 1e3:,.0f} k (a plain copy of padded samples: {limit / 1e3:,.0f} k)"
    return Line("samples a second and core from memory, 82 kB each", ">= 200 k", found, ours >= 2e5)


def bucketing(folder: Path, quick: bool) -> Line:
    """Batches of like length beside plain order."""
    gain = scale.bucketing(folder, quick)
    return Line("bucketing on 57 % padding, transformer", ">= 1.5", f"{gain:.2f}", gain >= 1.5)


def equality(folder: Path) -> Line:
    """Members of a stack beside the runs alone, in double precision."""
    from tests.files import iemocap
    from tests.training.populations import CASES, alone, together

    root, worst = iemocap(folder / "equal" / "iemocap.h5", n=100).parent, 0.0
    for case, one in zip(CASES, together(root, "concat", CASES, 3), strict=True):
        for x, y in zip(one.objective.parameters(), alone(root, "concat", case).objective.parameters(), strict=True):
            worst = max(worst, float((x - y).norm() / y.norm()))
    return Line("a member of a stack v the run alone, float64, relative", "<= 1e-10", f"{worst:.0e}", worst <= 1e-10)


def protocol(folder: Path, quick: bool) -> Line:
    """A part of BioVid, scaled to all of it."""
    took = loso.measure(loso.invented(folder / "biovid.h5"), folder / "loso", 2 if quick else 4, 1, 2)
    found = f"{took.whole:.1f} min, scaled from {took.runs} runs on invented features"
    return Line("BioVid, concat, 87 folds x 3 seeds, 2 processes", "< 10 min", found, took.whole < 10 and took.complete)


def gpu(folder: Path, name: str) -> Line:
    """Model-steps a second of a stack with CUDA graphs beside the eager bare loop, both on the GPU."""
    count, width, least = GPU[name]
    what, aim = f"one GPU, {name}: model-steps a second, eager loop = 1", f">= {least}"
    if not torch.cuda.is_available():
        return Line(what, aim, "no GPU here", None)
    method, dim = ("transformer", "256") if width is None else ("concat", str(width))
    path = make(folder / "gpu.h5", 2000, 21.5)
    command = run(path, method, model__method__dim=dim, data__batch_size="32", data__pad_to="8")
    command.model.to("cuda")
    rates = []
    for way in (bare(command), stepping(executor(command, "stack", count, graphs=True))):
        for _ in range(200):  # every shape is warmed up and captured
            way()
        torch.cuda.synchronize()
        start, models = time.perf_counter(), sum(way() for _ in range(200))
        torch.cuda.synchronize()
        rates.append(models / (time.perf_counter() - start))
    return Line(what, aim, f"{rates[1] / rates[0]:.1f}", rates[1] / rates[0] >= least)


def lines(folder: Path, quick: bool) -> Iterator[Line]:
    """Every aim."""
    yield steps(folder, quick)
    yield from sweeps(quick)
    yield samples(folder, quick)
    yield bucketing(folder, quick)
    yield equality(folder)
    yield protocol(folder, quick)
    for name in GPU:
        yield gpu(folder, name)


def main() -> None:
    """Print the table."""
    given = options(__doc__)
    warnings.simplefilter("ignore")
    single_thread()
    start, found = time.perf_counter(), []
    with tempfile.TemporaryDirectory() as name:
        for line in lines(Path(name), given.quick):
            found.append((line.what, line.aim, line.found, {True: "yes", False: "NO", None: "-"}[line.met]))
    accelerator = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    load, cores = " ".join(f"{x:.1f}" for x in os.getloadavg()), usable_cores()
    print(f"{platform.machine()}, {cores} cores, {accelerator}, torch {torch.__version__}; load {load}")
    table("what was aimed at, and what this machine does", ("", "aim", "here", "met"), found)
    print(f"\n{time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
