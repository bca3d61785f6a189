"""How the cost of a step grows: with the length of sequences, the size of the corpus, parameters, and runs at a time.

    python benchmarks/scale.py

One thread, CPU seconds, everything that is compared in turn in one process; ratios are to the first row of a table.
Features are invented in the shape of aligned MOSEI (text 300, audio 74, vision 35); batches of 32.
"""

from __future__ import annotations

import tempfile
import warnings
from pathlib import Path

from benchmarks.trained import bare, executor, make, options, per_unit, run, single_thread, stepping, table


def lengths(folder: Path, quick: bool) -> None:
    """A transformer (dim 64) on sequences of one length, and on ragged ones with and without bucketing."""
    steps, calls, rounds = ((10, 20), 1, 1) if quick else ((25, 50, 100, 200), 4, 3)
    settings = {"model__method__dim": "64", "data__batch_size": "32"}
    files = {n: make(folder / f"long{n}.h5", 300, None, steps=n) for n in steps}
    found = per_unit({str(n): bare(run(path, "transformer", **settings)) for n, path in files.items()}, calls, rounds)
    first = found[str(steps[0])]
    rows = [(n, f"{found[str(n)] * 1e3:.1f}", f"{found[str(n)] / first:.2f}", f"{n / steps[0]:.0f}") for n in steps]
    table("transformer, all sequences of one length", ("steps", "ms a step", "ratio", "length"), rows)
    gain = bucketing(folder, quick)
    print(f"\nbucketing on sequences of mean 21.5 of 50 (57 % padding): x{gain:.2f} of plain order")


def bucketing(folder: Path, quick: bool) -> float:
    """How much faster a transformer's epoch is when batches are of like length."""
    path = make(folder / "ragged.h5", 200 if quick else 2000, 21.5)
    settings = {"model__method__dim": "64", "data__batch_size": "32"}
    ways = {way: bare(run(path, "transformer", data__bucket=way, **settings)) for way in ("false", "true")}
    epoch = 4 if quick else -(-(2000 - 80) // 32)  # whole epochs: lengths differ from step to step
    found = per_unit(ways, epoch, 1 if quick else 2)
    return found["false"] / found["true"]


def corpora(folder: Path, quick: bool) -> None:
    """`concat` on corpora of several sizes: what a sample costs must not grow."""
    sizes = (100, 200) if quick else (500, 2000, 8000)
    files = {n: make(folder / f"items{n}.h5", n, 21.5) for n in sizes}
    ways = {str(n): bare(run(path, "concat", data__batch_size="32")) for n, path in files.items()}
    found = per_unit(ways, 2 if quick else 60, 1 if quick else 3)
    rows = [(f"{n:,}", f"{found[str(n)] * 1e3:.2f}", f"{found[str(n)] / found[str(sizes[0])]:.2f}") for n in sizes]
    table("concat, by size of the corpus", ("items", "ms a step", "ratio"), rows)


def sizes(folder: Path, quick: bool) -> None:
    """`concat` of several widths."""
    path = make(folder / "wide.h5", 300, 21.5)
    widths = (8, 16) if quick else (16, 64, 256, 1024)
    commands = {w: run(path, "concat", model__method__dim=str(w), data__batch_size="32") for w in widths}
    found = per_unit({str(w): bare(c) for w, c in commands.items()}, 2 if quick else 30, 1 if quick else 3)
    counts = {w: sum(p.numel() for p in c.model.parameters()) for w, c in commands.items()}
    rows = [
        (f"{counts[w]:,}", f"{found[str(w)] * 1e3:.2f}", f"{found[str(w)] / found[str(widths[0])]:.2f}") for w in widths
    ]
    table("concat, by width", ("parameters", "ms a step", "ratio"), rows)


def runs(folder: Path, quick: bool) -> None:
    """Models side by side: what each of K costs."""
    path = make(folder / "runs.h5", 300, 21.5)
    for width in (8,) if quick else (16, 128):
        command = run(path, "concat", model__method__dim=str(width), data__batch_size="16")
        counts = (1, 2) if quick else (1, 4, 16, 64)
        ways = {"bare": bare(command)}
        ways |= {f"{kind} {k}": stepping(executor(command, kind, k)) for kind in ("branches", "stack") for k in counts}
        # branches step one model a call: as many models in every row
        models = 2 if quick else 64
        calls = {name: max(1, models // (int(name.split()[1]) if name.startswith("stack") else 1)) for name in ways}
        found = per_unit(ways, calls, 1 if quick else 3)
        rows = [(name, f"{x * 1e3:.2f}", f"{found['bare'] / x:.2f}") for name, x in found.items()]
        size = sum(p.numel() for p in command.model.parameters())
        title = f"concat of {size:,} parameters, batches of 16, by runs side by side (CPU)"
        table(title, ("executor", "ms a model-step", "x of bare"), rows)


def main() -> None:
    """Print the tables."""
    given = options(__doc__)
    warnings.simplefilter("ignore")
    single_thread()
    with tempfile.TemporaryDirectory() as name:
        for part in (lengths, corpora, sizes, runs):
            part(Path(name), given.quick)


if __name__ == "__main__":
    main()
