"""What several benchmarks share: invented features of any length, runs on them, their steps, and clocks that are fair.

Not a benchmark itself.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mer_bench import recipes
from mer_bench.cli.lightning import Command, instantiate, quiet
from mer_bench.data.joined import join
from mer_bench.merh5 import Contents, Labels, Modality, SplitTable, write
from mer_bench.training.branches import Branches
from mer_bench.training.executors import Executor
from mer_bench.training.member import Member
from mer_bench.training.stack import Stack

#: features of a step of text, audio and vision: 1636 bytes, so 82 kB in 50 steps
DIMS = {"text": 300, "audio": 74, "vision": 35}


def options(about: str | None, **more: Any) -> argparse.Namespace:
    """The command line of a benchmark; every one knows ``--quick``, which only shows that it runs."""
    parser = argparse.ArgumentParser(description=(about or "").split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="small and short: figures mean nothing")
    for name, value in more.items():
        parser.add_argument(f"--{name}", type=type(value), default=value)
    return parser.parse_args()


def make(path: Path, items: int, mean: float | None, steps: int = 50, dims: Mapping[str, int] | None = None) -> Path:
    """A file in the shape of aligned MOSEI; lengths gamma-shaped with the given mean, or all of them full."""
    rng = np.random.default_rng(0)
    lengths = np.full(items, steps) if mean is None else np.clip(rng.gamma(2, mean / 2, items), 1, steps).astype(int)
    rows, few = int(lengths.sum()), min(40, items // 5)
    part = np.ones((1, items), np.uint8)
    part[0, :few], part[0, few : 2 * few] = 2, 3
    score = rng.uniform(-3, 3, (items, 1)).astype(np.float32)
    contents = Contents(
        corpus="mosei",
        ids=[f"v{k // 4}_{k % 4}" for k in range(items)],
        dialogue=[f"v{k // 4}" for k in range(items)],
        modalities={
            m: Modality(rng.standard_normal((rows, d), dtype=np.float32), lengths, kind="sequence", rate_hz=5.0)
            for m, d in (dims or DIMS).items()
        },
        labels={"sentiment": Labels("regression", ("sentiment",), score, np.ones((items, 1), bool), range=(-3.0, 3.0))},
        splits={"sdk": SplitTable(part, ("dialogue",))},
        synthetic=True,
    )
    write(path, contents)
    return path


def run(path: Path, method: str, **settings: str) -> Command:
    """A run of a method on such a file, on the CPU; settings are dotted with two underscores in place of dots."""
    chosen = {"data.file": str(path), "trainer.accelerator": "cpu", "model.schedule": "Constant"}
    chosen |= {name.replace("__", "."): value for name, value in settings.items()}
    with quiet():
        return instantiate(recipes.resolve([f"mosei_{method}"], chosen.items()))


def members(command: Command, count: int) -> list[Member]:
    """So many copies of a run; they differ in the order of their items only in so far as their seeds do."""
    command.datamodule.setup()
    found = []
    for k in range(count):
        model, train = copy.deepcopy(command.model), command.datamodule.train_dataloader()
        train.seed = k
        found.append(
            Member(
                name=str(k),
                objective=model.objective,
                optimizer=model.configure_optimizers(),
                schedule=model.schedule,
                train=train,
                val=command.datamodule.eval_blocks("val"),
                judge=model,
                epochs=1000,
                patience=1000,
                seed=k,
            )
        )
    return found


def executor(command: Command, kind: str, count: int, **how: bool) -> Executor:
    """So many copies of a run in an executor, where its module is."""
    found, clip = members(command, count), command.model.clip
    if kind == "branches":
        return Branches(found, clip=clip)
    return Stack(found, joined=join([command.datamodule.store.on(command.model.device)]), clip=clip, **how)


def stepping(made: Executor) -> Callable[[], int]:
    """Makes one step of every member (a stack), or of one (branches); returns how many models were stepped."""
    each = 1 if isinstance(made, Branches) else len(made.members)
    made.begin()

    def step() -> int:
        if not made.step():
            made.begin()
            made.step()
        return each

    return step


def bare(command: Command) -> Callable[[], int]:
    """One step of the plainest loop: gather, forward, loss, backward, fused AdamW; where its module is."""
    data, objective = command.datamodule, copy.deepcopy(command.model.objective)
    data.setup()
    optimizer, loader = torch.optim.AdamW(objective.parameters(), 5e-4, fused=True), data.train_dataloader()
    n_draws, batches = objective.n_draws, endless(loader, command.model.device)
    objective.train()

    def step() -> int:
        optimizer.zero_grad(set_to_none=True)
        objective(next(batches)(n_draws), 0)[0].backward()
        optimizer.step()
        return 1

    return step


def endless(loader: Any, device: torch.device) -> Iterator[Callable[[int], Any]]:
    """The batches of one epoch after the other."""
    epoch = 0
    while True:
        loader.set_epoch(epoch)
        for block in loader:
            yield from (partial(block.to(device).batch, s) for s in range(len(block)))
        epoch += 1


def per_unit(ways: Mapping[str, Callable[[], int]], calls: Mapping[str, int] | int, rounds: int) -> dict[str, float]:
    """CPU seconds per unit of every way, all of them in turn; the median of the rounds, after one that warms up.

    Args:
        ways: each returns how many units a call was.
        calls: in one round, of each way.
        rounds: that count.
    """
    found: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + 1):
        for name, way in ways.items():
            start, units = time.process_time(), 0
            for _ in range(calls if isinstance(calls, int) else calls[name]):
                units += way()
            if number:
                found[name].append((time.process_time() - start) / units)
    return {name: statistics.median(values) for name, values in found.items()}


def table(title: str, head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a markdown table, as `benchmarks/README.md` holds it."""
    print(f"\n{title}\n\n| {' | '.join(head)} |\n| :-- {'| --: ' * (len(head) - 1)}|")
    for row in rows:
        print(f"| {' | '.join(map(str, row))} |", flush=True)


def single_thread() -> None:
    """As every run of ours on a CPU; and say how busy the machine is."""
    torch.set_num_threads(1)
    load = Path("/proc/loadavg")
    busy = load.read_text().split()[0] if load.is_file() else "unknown"
    print(f"torch {torch.__version__}, load of the machine {busy}", file=sys.stderr)
