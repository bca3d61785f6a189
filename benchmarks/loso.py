"""How long the whole of BioVid takes: `concat` on bio and vision, 87 folds x 3 seeds, one after the other on two cores.

    python benchmarks/loso.py --features biovid.h5 --runs DIR     # all 261 runs; the aim is ten minutes
    python benchmarks/loso.py --folds 4 --seeds 1                 # a part, on invented features, scaled to the whole

`mer-bench sweep` is what runs; with `--runs` the records stay, and a second call goes on where the first one stopped.
Records that are not complete make it end with 1. Scaled figures count the start of the sweep once.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mer_bench.cli import main as mer_bench
from mer_bench.data.synthetic import generate
from mer_bench.merh5 import Modality, write
from mer_bench.results.record import read_records

FOLDS, SEEDS = 87, 3
SWEEP = """
protocols: [biovid_a_binary]
methods: [concat]
modalities: {{biovid_a_binary: [bio, vision]}}
folds: [{folds}]
seeds: [{seeds}]
files: {{biovid: {file}}}
"""


class Took(NamedTuple):
    """What a part of the protocol took.

    Attributes:
        runs: how many were made.
        wall: seconds.
        whole: minutes of all 261 runs at this pace.
        complete: every planned run has a record with scores.
    """

    runs: int
    wall: float
    whole: float
    complete: bool


def invented(path: Path) -> Path:
    """In the shape of the research pack of BioVid part A: 8,700 items, one row of bio and vision each; weak signals."""
    contents = generate("biovid", structure="redundant", seed=0, items="full", seconds=1.0)
    rng, level = np.random.default_rng(0), np.eye(5)[np.asarray(contents.labels["pain5"].values)]
    statistics = {}
    for name, dim in {"bio": 21, "vision": 19}.items():
        values = rng.standard_normal((len(level), dim))
        values[:, :5] += 0.5 * level
        statistics[name] = Modality(values.astype(np.float32), np.ones(len(level), np.int64), kind="utterance")
    write(path, dataclasses.replace(contents, modalities=statistics))
    return path


def measure(features: Path, runs: Path, folds: int, seeds: int, workers: int) -> Took:
    """Run a part of the protocol."""
    plan = SWEEP.format(folds=", ".join(map(str, range(folds))), seeds=", ".join(map(str, range(seeds))), file=features)
    with tempfile.TemporaryDirectory() as folder:
        name = Path(folder) / "loso.yaml"
        name.write_text(plan)
        before = len(read_records(runs)[0]) if runs.is_dir() else 0
        start = time.perf_counter()
        argv = [str(name), "--cpu", "--workers", str(workers), "--runs", str(runs), "--progress", "lines"]
        mer_bench(["sweep", *argv])
        wall = time.perf_counter() - start
    records, rejected = read_records(runs)
    made = max(1, len(records) - before)
    complete = not rejected and len([r for r in records if r.status == "ok"]) == folds * seeds
    return Took(made, wall, wall / made * FOLDS * SEEDS / 60, complete)


def main() -> int:
    """Print what it took."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--features", type=Path, help="biovid.h5; invented ones where none is named")
    parser.add_argument("--runs", type=Path, help="where records go (a folder that is thrown away)")
    parser.add_argument("--folds", type=int, default=FOLDS)
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="two runs: figures mean nothing")
    options = parser.parse_args()
    if options.quick:
        options.folds, options.seeds = 2, 1
    with tempfile.TemporaryDirectory() as folder:
        features = options.features or invented(Path(folder) / "biovid.h5")
        took = measure(
            features.resolve(), options.runs or Path(folder) / "runs", options.folds, options.seeds, options.workers
        )
    kind = "real" if options.features else "invented"
    print(
        f"{took.runs} runs on {kind} features in {took.wall:.0f} s, {took.wall / took.runs:.2f} s a run: "
        f"{took.whole:.1f} minutes for all {FOLDS * SEEDS}; records {'complete' if took.complete else 'NOT complete'}"
    )
    return 0 if took.complete else 1


if __name__ == "__main__":
    sys.exit(main())
