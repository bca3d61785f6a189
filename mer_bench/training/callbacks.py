"""What a run shows and keeps between epochs: a progress line, `metrics.csv`, checkpoints."""

from __future__ import annotations

import csv
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from tqdm import tqdm

from mer_bench.data.blocks import Block


class EpochLog(Callback):
    """One line per epoch in `metrics.csv`: epoch, optimiser steps, seconds, mean losses, validation metrics.

    A resumed run drops the lines of epochs that it repeats.

    Args:
        path: the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.start = time.perf_counter()

    def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
        """Keep only the lines before the first epoch of this process."""
        self.start = time.perf_counter()
        self.rows = [row for row in read_log(self.path) if int(row["epoch"]) < trainer.current_epoch]

    def on_train_epoch_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Write the file anew with one line more; it is small."""
        values = {name: float(x) for name, x in trainer.callback_metrics.items() if not name.startswith("train/")}
        row = {"epoch": trainer.current_epoch, "steps": pl_module.steps, "seconds": f"{pl_module.train_seconds:.3f}"}
        row |= {name: f"{x:.9g}" for name, x in {**pl_module.epoch_means(), **values}.items()}
        self.rows.append(row)
        write_log(self.path, self.rows)


def write_log(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write the rows of a `metrics.csv`, whole or not at all."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    temporary = path.with_suffix(".part")
    with temporary.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, names, restval="")
        writer.writeheader()
        writer.writerows(rows)
    temporary.replace(path)


def read_log(path: Path) -> list[dict[str, Any]]:
    """The rows of a `metrics.csv`; none when there is no file."""
    if not path.is_file():
        return []
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


class Lines(Callback):
    """A plain line per epoch with time left, for log files."""

    def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
        """Start the clock."""
        self.start, self.first = time.perf_counter(), trainer.current_epoch

    def on_train_epoch_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Print the line."""
        print(self.text(trainer, pl_module), file=sys.stderr, flush=True)

    def text(self, trainer: Trainer, pl_module: Any) -> str:
        """Epoch, loss, primary validation metric, time left at most."""
        done, total = trainer.current_epoch + 1, trainer.max_epochs or 0
        seconds = (time.perf_counter() - self.start) / max(1, done - self.first) * max(0, total - done)
        primary = pl_module.metrics[0]
        value = trainer.callback_metrics.get(f"val/{primary}")
        validated = "" if value is None else f"  val {primary} {float(value):.4f}"  # a fixed number of epochs has none
        loss = pl_module.epoch_means()["train/loss"]
        return f"epoch {done}/{total}  loss {loss:.4f}{validated}  at most {clock(seconds)} left"


class Bar(Lines):
    """One bar over the blocks of the whole run, for a terminal."""

    bar: tqdm | None = None

    def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
        """Open the bar."""
        super().on_train_start(trainer, pl_module)
        assert trainer.train_dataloader is not None
        per_epoch = trainer.train_dataloader.steps_per_epoch
        total = per_epoch * (trainer.max_epochs or 0)
        self.bar = tqdm(total=total, initial=per_epoch * trainer.current_epoch, unit="step", leave=False)

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Block, i: int) -> None:
        """Advance by the steps of the block."""
        assert self.bar is not None
        self.bar.update(len(batch))

    def on_train_epoch_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Show the epoch's figures beside the bar."""
        assert self.bar is not None
        self.bar.set_description_str(self.text(trainer, pl_module).rsplit("  at most", 1)[0])

    def on_train_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Close the bar."""
        assert self.bar is not None
        self.bar.close()

    def on_exception(self, trainer: Trainer, pl_module: Any, exception: BaseException) -> None:
        """Close the bar, so that the message stands on a line of its own."""
        if self.bar is not None:
            self.bar.close()


def clock(seconds: float) -> str:
    """Seconds as 42 s, 3:05 min or 1:02 h."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}:{rest:02d} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d} h"


def progress(kind: str) -> list[Callback]:
    """The callback for `--progress`: auto is a bar in a terminal and lines elsewhere."""
    if kind == "none":
        return []
    if kind == "bar" or (kind == "auto" and sys.stderr.isatty()):
        return [Bar()]
    return [Lines()]


def checkpoints(folder: Path, selection: str = "validation") -> list[ModelCheckpoint]:
    """Keep the chosen epoch as `best.ckpt` and the latest as `last.ckpt`.

    Args:
        folder: where they go.
        selection: of the protocol: the chosen epoch is the best one by `val/selection` (of the validation part, or
            with ``test`` of the test part in its place), or (``fixed``) the last one.
    """
    common: dict[str, Any] = {"dirpath": folder, "enable_version_counter": False, "save_on_train_epoch_end": True}
    monitor = None if selection == "fixed" else "val/selection"  # without one, the newest replaces the last
    best = ModelCheckpoint(filename="best", monitor=monitor, mode="max", save_top_k=1, **common)
    last = ModelCheckpoint(filename="last", save_top_k=1, monitor=None, **common)
    return [best, last]
