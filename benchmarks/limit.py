"""How near a training step comes to what this machine could do.

    python benchmarks/limit.py

The limit of a step is the largest of three times: the bytes that its operations read and write over the bandwidth of a
large copy, its floating-point operations over the rate of a large matrix product, and its operations times the cost of
the smallest one. All of them are measured in the same run, in turn with the step, on one thread. A fraction of 1 would
need every operation to be bound by the same of the three, and caches not to exist; so it can also lie above 1.
"""

from __future__ import annotations

import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.trained import bare, executor, make, options, per_unit, run, single_thread, stepping, table


class Work(NamedTuple):
    """What a step does.

    Attributes:
        bytes: read and written by operations that are no views.
        flops: of matrix products, as torch counts them.
        launches: operations that are no views.
    """

    bytes: float
    flops: float
    launches: float


_LOOKUPS = (torch.ops.aten.index_select, torch.ops.aten.index, torch.ops.aten.gather, torch.ops.aten.embedding)


def _size(tree: Any) -> int:
    return sum(x.numel() * x.element_size() for x in pytree.tree_leaves(tree) if isinstance(x, Tensor))


class _Traffic(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.bytes = self.launches = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        found = func(*args, **(kwargs or {}))
        if not any(r.alias_info is not None and not r.alias_info.is_write for r in func._schema.returns):
            made, read = _size(found), _size((args, kwargs))
            # a look-up reads what it gives, not the whole table
            self.bytes += made + (min(read, made) if func.overloadpacket in _LOOKUPS else read)
            self.launches += 1
        return found


def work_of(step: Callable[[], Any], times: int = 3) -> Work:
    """Means over some steps; the first one, which makes the optimiser's state, is not counted."""
    step()
    with FlopCounterMode(display=False) as flops:
        for _ in range(times):
            step()
    with _Traffic() as traffic:
        for _ in range(times):
            step()
    return Work(traffic.bytes / times, flops.get_total_flops() / times, traffic.launches / times)


def machine() -> dict[str, Callable[[], int]]:
    """What measures the machine; units are bytes, floating-point operations and launches."""
    big, small = torch.ones(32 << 20), torch.ones(1)
    to, a, b = torch.empty_like(big), torch.randn(768, 768), torch.randn(768, 768)

    def copy() -> int:
        to.copy_(big)
        return 2 * big.numel() * big.element_size()

    def product() -> int:
        torch.mm(a, b)
        return 2 * 768**3

    def launch() -> int:
        for _ in range(1000):
            small.add_(1.0)
        return 1000

    return {"copy": copy, "product": product, "launch": launch}


def steps(folder: Path, quick: bool) -> dict[str, Callable[[], int]]:
    """What is judged."""
    path, batch = make(folder / "mosei.h5", 300, 21.5), {"data__batch_size": "32"}
    small = run(path, "concat", model__method__dim="16", **batch)
    found = {"concat, width 16": bare(small), "concat, width 16, stack of 16": stepping(executor(small, "stack", 16))}
    if quick:
        return found
    found["concat, width 256"] = bare(run(path, "concat", model__method__dim="256", **batch))
    for dim in ("64", "256"):
        found[f"transformer, width {dim}"] = bare(run(path, "transformer", model__method__dim=dim, **batch))
    found["foal, width 64"] = bare(
        run(path, "foal", model__method__dim="64", data__modalities="[audio, vision]", **batch)
    )
    return found


def main() -> None:
    """Print one table."""
    given = options(__doc__, rounds=3)
    warnings.simplefilter("ignore")
    single_thread()
    with tempfile.TemporaryDirectory() as folder:
        ways = steps(Path(folder), given.quick)
        works = {name: work_of(step, 1 if given.quick else 3) for name, step in ways.items()}
        calls = {name: 1 if given.quick else 10 for name in ways} | dict.fromkeys(machine(), 1 if given.quick else 5)
        start = time.perf_counter()
        seconds = per_unit({**machine(), **ways}, calls, 1 if given.quick else given.rounds)
    bandwidth, rate, launch = 1 / seconds["copy"], 1 / seconds["product"], seconds["launch"]
    print(f"bandwidth {bandwidth / 1e9:.1f} GB/s, {rate / 1e9:.1f} GFLOP/s, smallest operation {launch * 1e6:.2f} us")
    rows = []
    for name, work in works.items():
        each = 16 if name.endswith("stack of 16") else 1
        spent = seconds[name] * each
        parts = {"bytes": work.bytes / bandwidth, "FLOPs": work.flops / rate, "launches": work.launches * launch}
        bound = max(parts, key=lambda part: parts[part])
        rows.append((name, f"{spent * 1e3:.2f}", *(f"{x * 1e3:.2f}" for x in parts.values()), bound))
        rows[-1] = (*rows[-1], f"{parts[bound] / spent:.2f}")
    head = ("step", "ms", "bytes, ms", "FLOPs, ms", "launches, ms", "bound by", "fraction of the limit")
    table("a training step beside what this machine could do", head, rows)
    print(f"\n{time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
