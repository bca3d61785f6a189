"""A feature file larger than the memory that is allowed: does `fit` train on it, and in how much memory?

    python benchmarks/stream.py

Writes a file in the shape of Aff-Wild2 (tracks of some minutes at 30 Hz, vision and audio of 512 features on the clock
of the labels), by default 3 GB of features, and starts `mer-bench fit affwild2_concat` on it in a process whose
writable memory the system limits (RLIMIT_DATA). The same run with `--data.stream never` must fail there. The file is
deleted.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from mer_bench.merh5 import Contents, Labels, Modality, SplitTable, write

DIM, RATE = 512, 30.0
FIT = """
import resource, sys
resource.setrlimit(resource.RLIMIT_DATA, (int(sys.argv[1]),) * 2)
import torch
torch.set_num_threads(1)
from mer_bench.cli import main
code = main(sys.argv[2:])
print("peak", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
sys.exit(code)
"""


def make(path: Path, gigabytes: float, minutes: float) -> None:
    """Smooth labels; in each row of either modality they stand in noise."""
    rng = np.random.default_rng(0)
    frames = int(minutes * 60 * RATE)
    tracks = max(8, round(gigabytes * 1e9 / (2 * 4 * DIM * frames)))
    n = tracks * frames
    steps = rng.normal(0, 0.02, (n, 2))
    labels = np.sin(np.cumsum(steps, axis=0)).astype(np.float32)
    mixing = {m: rng.normal(0, 0.1, (2, DIM)).astype(np.float32) for m in ("audio", "vision")}
    values = {}
    for m in mixing:
        values[m] = np.memmap(path.with_name(f"{m}.raw"), np.float32, "w+", shape=(n, DIM))
        for a in range(0, n, 8192):
            part = labels[a : a + 8192]
            values[m][a : a + 8192] = part @ mixing[m] + rng.standard_normal((len(part), DIM), dtype=np.float32)
    lengths = np.full(tracks, frames)
    part = np.where(np.arange(tracks) % 5 == 4, 3, 1).astype(np.uint8)
    contents = Contents(
        corpus="affwild2",
        ids=[f"syn{k:04d}" for k in range(tracks)],
        dialogue=[f"syn{k:04d}" for k in range(tracks)],
        speaker=[f"syn{k:04d}" for k in range(tracks)],
        modalities={m: Modality(x, lengths, kind="sequence", rate_hz=RATE) for m, x in values.items()},
        labels={
            "va": Labels(
                "regression",
                ("valence", "arousal"),
                labels,
                np.ones(labels.shape, bool),
                level="frame",
                lengths=lengths,
                rate_hz=RATE,
                range=(-1.0, 1.0),
            )
        },
        splits={"abaw_va": SplitTable(part[None], ("dialogue",))},
        synthetic=True,
    )
    write(path, contents)
    for m in values:
        path.with_name(f"{m}.raw").unlink()


def fit(path: Path, cap: float, stream: str, epochs: int) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own, in which no more than `cap` bytes can be allocated."""
    settings = {"file": path, "stream": stream, "memory_gb": 1}
    data = [text for key, value in settings.items() for text in (f"--data.{key}", str(value))]
    runs = ["--runs", str(path.with_name(f"runs-{stream}")), "--trainer.accelerator", "cpu", "--progress", "lines"]
    argv = ["fit", "affwild2_concat", *data, *runs, "--trainer.max_epochs", str(epochs)]
    return subprocess.run(
        [sys.executable, "-c", FIT, str(int(cap)), *argv], capture_output=True, text=True, check=False
    )


def main() -> None:
    """Write the file, train, say what it took."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--gb", type=float, default=3.0, help="features in the file, in units of 10^9 bytes")
    parser.add_argument("--cap", type=float, default=1.5, help="memory that may be allocated, in units of 10^9 bytes")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--minutes", type=float, default=3.0, help="of a track")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path, cap = Path(folder, "affwild2.h5"), options.cap * 1e9
        writer = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import stream, pathlib; "
        writer += f"stream.make(pathlib.Path({str(path)!r}), {options.gb}, {options.minutes})"
        subprocess.run([sys.executable, "-c", writer], check=True)
        print(f"file       {path.stat().st_size / 1e9:.2f} GB, cap on allocated memory {options.cap} GB")
        start = time.perf_counter()
        done = fit(path, cap, "auto", options.epochs)
        if done.returncode:
            sys.exit(f"streamed: failed\n{done.stderr[-2000:]}")
        peak = float(re.findall(r"^peak (\d+)$", done.stdout, re.M)[0])
        took = time.perf_counter() - start
        print(f"streamed   peak memory {peak / 1e9:.2f} GB, {took:.0f} s for {options.epochs} epochs")
        shown = [line for line in done.stdout.splitlines() if line.startswith(("validation", "test "))]
        print("\n".join(f"           {line}" for line in shown))
        resident = fit(path, cap, "never", 1)
        last = resident.stderr.strip().splitlines()[-1:] or [""]
        print(f"resident   exit code {resident.returncode}: {last[0][:100]}")


if __name__ == "__main__":
    main()
