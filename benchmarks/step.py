"""What `fit` costs beside a bare PyTorch loop: import time, time per optimiser step, memory.

    python benchmarks/step.py

Both loops train the same network on the same resident data, with the same batches and the same fused AdamW, in one
process, interleaved; the ratio is the median of the rounds' ratios. `fit` runs as a user's: validation metrics, CSV,
checkpoints and early stopping are on, and only their share inside training epochs counts (validation is timed apart).
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from mer_bench import recipes
from mer_bench.cli.lightning import Command, instantiate, quiet
from mer_bench.data.synthetic import generate
from mer_bench.merh5 import write
from mer_bench.training.callbacks import EpochLog, checkpoints
from mer_bench.training.seeds import EpochSeeds


def import_seconds(statement: str, tries: int) -> float:
    """Best of so many fresh processes."""
    times = []
    for _ in range(tries):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", statement], check=True)
        times.append(time.perf_counter() - start)
    return min(times)


def command(folder: Path, steps: int, epochs: int, width: int) -> Command:
    """A fit of `concat` as a user would start it."""
    settings = {
        "data.root": str(folder),
        "data.modalities": "[audio, text]",
        "data.steps_per_block": str(steps),
        "data.batch_size": "16",
        "model.method.dim": str(width),
        "model.clip": "null",
        "model.schedule": "Constant",
        "trainer.max_epochs": str(epochs),
        "trainer.accelerator": "cpu",
    }
    recipe = recipes.resolve(["iemocap_concat"], settings.items())
    run = Path(tempfile.mkdtemp(dir=folder))
    return instantiate(recipe, callbacks=[EpochSeeds(0), *checkpoints(run), EpochLog(run / "metrics.csv")])


def fit_seconds(made: Command) -> tuple[float, int]:
    """Seconds in training, validation and checkpoints left out, and optimiser steps."""
    clock = _Clock()
    made.trainer.callbacks.append(clock)
    with quiet():
        made.trainer.fit(made.model, made.datamodule)
    return clock.seconds, made.model.steps


class _Clock(__import__("lightning").pytorch.Callback):
    """From the start of an epoch to the start of its validation; the first epoch warms up and does not count."""

    seconds = 0.0

    def on_train_epoch_start(self, trainer, pl_module):
        self.start = time.perf_counter()

    def on_validation_start(self, trainer, pl_module):
        if trainer.current_epoch > 0 and not trainer.sanity_checking:
            self.seconds += time.perf_counter() - self.start


def bare_seconds(made: Command) -> tuple[float, int]:
    """The same batches through the plainest loop: gather, forward, loss, backward, step."""
    module, data = made.model, made.datamodule
    method, loss = module.method, next(iter(module.objective.task_losses.values()))
    optimizer = torch.optim.AdamW(method.parameters(), lr=5e-4, fused=True)
    loader, seconds, steps = data.train_dataloader(), 0.0, 0
    method.train()
    for epoch in range(made.trainer.max_epochs):
        loader.set_epoch(epoch)
        start = time.perf_counter()
        for block in loader:
            for s in range(len(block)):
                batch = block.batch(s)
                optimizer.zero_grad(set_to_none=True)
                loss(method(batch).logits["emotion"], batch.targets["emotion"]).backward()
                optimizer.step()
                steps += 1
        if epoch > 0:
            seconds += time.perf_counter() - start
    return seconds, steps


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--width", type=int, default=128, help="of the network; sets the time of a step")
    parser.add_argument("--quick", action="store_true", help="small and short: figures mean nothing")
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.epochs = 1, 2
    torch.set_num_threads(1)
    folder = Path(tempfile.mkdtemp())
    write(
        folder / "iemocap.h5",
        generate("iemocap", structure="redundant", seed=0, items=300 if options.quick else "full", seconds=1.0),
    )
    tries = 1 if options.quick else 3
    print(f"import mer_bench.cli                {import_seconds('import mer_bench.cli', tries):6.2f} s")
    print(f"import what `fit` needs             {import_seconds('import mer_bench.cli.lightning', tries):6.2f} s")
    for steps in (1, 10, 50):
        ratios, fits, bares = [], [], []
        for _ in range(options.rounds):
            fit, n = fit_seconds(command(folder, steps, options.epochs, options.width))
            bare, m = bare_seconds(command(folder, steps, options.epochs, options.width))
            share = (options.epochs - 1) / options.epochs
            fits.append(fit / (n * share) * 1e3)
            bares.append(bare / (m * share) * 1e3)
            ratios.append(fits[-1] / bares[-1])
        print(
            f"concat width {options.width}, S = {steps:>2}: fit {statistics.median(fits):.3f} ms a step, "
            f"bare {statistics.median(bares):.3f} ms, ratio {statistics.median(ratios):.3f}"
        )
    print(f"peak memory of this process         {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:6.0f} MiB")


if __name__ == "__main__":
    main()
