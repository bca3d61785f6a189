"""How many samples a second each way to a batch gives, on one core.

    python benchmarks/data.py

A sample is an utterance of at most 50 steps of text (300), audio (74) and vision (35 features), 82 kB when none is
missing; batches of 64. All ways see the same file in turn, several rounds; a figure is the median of the rounds, in
samples per second of processor time (reading ahead included), and its ratio to the plain way: a map-style data set,
padded by hand, with torch's own loader. What the machine can do at best stands beside it: one `index_select` a batch
from a table of padded samples, which copies as many bytes and does nothing else.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch.utils.data import DataLoader, Dataset

from benchmarks.trained import DIMS, make
from mer_bench.data.datamodules import CMUMOSEI

STEPS, BATCH = 50, 64


class Plain(Dataset):
    """One padded sample at a time, as most loaders of the field do it."""

    def __init__(self, data: CMUMOSEI) -> None:
        self.rows = data.split.train
        self.offsets = {m: data.file.modalities[m].offsets for m in DIMS}
        self.values = {m: torch.from_numpy(data.file.values(m)) for m in DIMS}
        self.target = torch.from_numpy(data.file.label("sentiment")[0])

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, place: int) -> dict[str, torch.Tensor]:
        row = self.rows[place]
        sample = {"target": self.target[row]}
        for m, values in self.values.items():
            a, b = self.offsets[m][row : row + 2]
            sample[m] = torch.zeros(STEPS, DIMS[m])
            sample[m][: b - a] = values[a:b]
        return sample


def ours(path: Path, **settings) -> Callable[[int], int]:
    """All batches of an epoch through our loader."""
    data = CMUMOSEI(file=str(path), batch_size=BATCH, **settings)
    loader = data.train_dataloader()

    def epoch(number: int) -> int:
        loader.set_epoch(number)
        return sum(len(block.batch(step).rows) for block in loader for step in range(len(block)))

    return epoch


def plain(path: Path) -> Callable[[int], int]:
    """All batches of an epoch through torch's loader, without worker processes."""
    loader = DataLoader(Plain(CMUMOSEI(file=str(path))), batch_size=BATCH, shuffle=True)
    return lambda number: sum(len(batch["target"]) for batch in loader)


def limit(items: int) -> Callable[[int], int]:
    """Rows of 82 kB copied into a batch, and nothing else."""
    samples = torch.zeros(items, STEPS * sum(DIMS.values()))

    def epoch(number: int) -> int:
        order = torch.randperm(items, generator=torch.Generator().manual_seed(number))
        return sum(len(samples.index_select(0, part)) for part in order.split(BATCH))

    return epoch


def table(title: str, ways: dict[str, Callable[[int], int]], rounds: int) -> None:
    """Time all ways in turn and print a line for each."""
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + 1):
        for name, way in ways.items():
            start = time.process_time()
            samples = way(number)
            if number:  # the first round warms up
                rates[name].append(samples / (time.process_time() - start))
    print(title)
    first = statistics.median(next(iter(rates.values())))
    for name, found in rates.items():
        rate = statistics.median(found)
        print(f"  {name:<34} {rate:>9,.0f} samples/s   x{rate / first:.1f}")


def main() -> None:
    """Print two tables: samples that are all full, and ragged ones."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--items", type=int, default=4000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="small and short: figures mean nothing")
    options = parser.parse_args()
    if options.quick:
        options.items, options.rounds = 200, 1
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        full = make(Path(folder, "full.h5"), options.items, None)
        ways = {
            "torch's loader, padded": plain(full),
            "index_select alone (limit)": limit(options.items),
            "resident": ours(full, stream="never"),
            "resident, half precision": ours(full, stream="never", storage=16),
            "streamed, shelves of 32 MB": ours(full, stream="always", shelf_mb=32),
        }
        table(f"{options.items} samples of 82 kB, batches of {BATCH}", ways, options.rounds)
        ragged = make(Path(folder, "ragged.h5"), options.items, 21.5)
        ways = {
            "torch's loader, padded": plain(ragged),
            "resident, plain order": ours(ragged, stream="never", bucket=False),
            "resident, bucketed": ours(ragged, stream="never"),
            "resident, bucketed, half precision": ours(ragged, stream="never", storage=16),
            "streamed, shelves of 32 MB": ours(ragged, stream="always", shelf_mb=32),
        }
        table("the same number, lengths gamma-shaped with mean 21.5 of 50", ways, options.rounds)


if __name__ == "__main__":
    main()
