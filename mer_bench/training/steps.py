"""The steps of one epoch of several runs side by side: what each run alone would see, in one table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.utils import _pytree as pytree

from mer_bench.data.blocks import EvalBlocks, TrainBlocks
from mer_bench.data.joined import Joined
from mer_bench.training.schedules import Schedule
from mer_bench.types import Batch


class Lane(Protocol):
    """What the table needs to know of a run."""

    optimizer: Optimizer
    schedule: Schedule
    train: TrainBlocks
    val: EvalBlocks
    store: int
    epochs: int
    steps: int

    @property
    def epoch(self) -> int:
        """Epochs made."""
        ...


class Steps(NamedTuple):
    """One epoch of several runs, on the device but for the widths.

    Attributes:
        items: (steps, members, batch) views of the joined store.
        draws: (steps, members, batch, n).
        rates: (steps, members, 1) learning rates.
        active: (steps, members, 1), False where a member's epoch is over.
        widths: padded lengths of each step: those of the longest item of any member.
        counts: steps of each member.
    """

    items: Tensor
    draws: Tensor
    rates: Tensor
    active: Tensor
    widths: list[dict[str, int]]
    counts: list[int]


def training_steps(lanes: Sequence[Lane], joined: Joined, n_draws: int, like: Tensor) -> Steps:
    """The coming epoch of every run.

    Args:
        lanes: the runs.
        joined: the stores of their folds.
        n_draws: uniform numbers per item.
        like: a tensor whose device and precision the rates take.
    """
    counts = [lane.train.steps_per_epoch for lane in lanes]
    shape = (max(counts), len(lanes), max(lane.train.batch_size for lane in lanes))
    items = torch.full(shape, joined.nothing)
    draws = torch.zeros(*shape, n_draws)
    rates = torch.zeros(shape[0], shape[1], 1, dtype=torch.float64)
    active = (torch.arange(shape[0])[:, None] < torch.tensor(counts)).unsqueeze(-1)
    widths: list[dict[str, int]] = [{} for _ in range(shape[0])]
    for k, lane in enumerate(lanes):
        lane.train.set_epoch(lane.epoch)
        t = 0
        for block in lane.train:
            rows, n = slice(t, t + len(block)), block.items.shape[2]
            items[rows, k, :n] = block.items[:, 0] + joined.first[lane.store]
            draws[rows, k, :n] = block.draws(n_draws)[:, 0]
            for s in range(len(block)):
                widths[t + s] = {m: max(int(w[s]), widths[t + s].get(m, 0)) for m, w in block.widths.items()}
            t += len(block)
        base, total = lane.optimizer.param_groups[0]["lr"], counts[k] * lane.epochs
        factors = [lane.schedule.factor(lane.steps + t, total) for t in range(counts[k])]
        rates[: counts[k], k, 0] = base * torch.tensor(factors, dtype=torch.float64)
    device = like.device
    rates = rates.to(like.dtype)
    return Steps(items.to(device), draws.to(device), rates.to(device), active.to(device), widths, counts)


def validation_steps(lanes: Sequence[Lane], joined: Joined, size: int) -> Iterator[tuple[Tensor, dict[str, int]]]:
    """Views of the joined store, (members, items), and widths, until every run has seen its whole validation part."""
    views = [torch.from_numpy(lane.val.items) + joined.first[lane.store] for lane in lanes]
    if not any(map(len, views)):
        return
    table = torch.full((len(views), max(map(len, views))), joined.nothing)
    for k, own in enumerate(views):
        table[k, : len(own)] = own
    for items in table.split(size, dim=1):
        at = items.flatten()
        lengths = {m: x.lengths.index_select(0, at.to(x.lengths.device)) for m, x in joined.store.inputs.items()}
        yield items, {m: max(1, int(length.max())) for m, length in lengths.items()}


def gather(joined: Joined, items: Tensor, draws: Tensor, widths: dict[str, int]) -> Batch:
    """Batches (members, batch, ...) of the views (members, batch) with draws (members, batch, n)."""
    batch = joined.store.gather(items.flatten(), widths, draws.flatten(0, 1))
    return pytree.tree_map(lambda x: x.unflatten(0, items.shape), batch)
