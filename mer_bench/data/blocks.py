"""The unit of execution: a block of index rows, several optimiser steps long, and the loaders that yield blocks.

One `training_step` makes all the steps of a block, so that Lightning's cost per step is paid once per block. The order
of the items is a function of (seed, epoch) alone; draws are a function of (seed, epoch, block).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mer_bench.data.shelves import Stream
from mer_bench.data.store import Store
from mer_bench.types import Batch


def derive(*parts: object) -> int:
    """A 63-bit seed from anything that identifies it; independent streams for different parts."""
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


@dataclass
class Block:
    """Index rows of several steps.

    Attributes:
        items: (steps, members, batch) int64, row numbers.
        widths: by modality, the padded length of each step, known on the host.
        store: where the rows are.
        seed: of the uniform draws of this block.
        condition: which modalities the items are left with at test; `full` while training.
        keep: by modality, (all items,) bool, for subsets at test.
    """

    items: Tensor
    widths: Mapping[str, NDArray[np.int64]]
    store: Store
    seed: int = 0
    condition: str = "full"
    keep: Mapping[str, Tensor] | None = None
    _draws: Tensor | None = field(default=None, repr=False)

    def __len__(self) -> int:
        return len(self.items)

    def to(self, device: torch.device, **_: object) -> Block:
        """Move the indices; the store makes its copy once."""
        keep = {m: k.to(device) for m, k in self.keep.items()} if self.keep is not None else None
        return Block(self.items.to(device), self.widths, self.store.on(device), self.seed, self.condition, keep)

    def draws(self, n: int) -> Tensor:
        """`n` uniform numbers per item, (steps, members, batch, n)."""
        if self._draws is None or self._draws.shape[-1] != n:
            generator = torch.Generator().manual_seed(self.seed)
            self._draws = torch.rand((*self.items.shape, n), generator=generator).to(self.items.device)
        return self._draws

    def batch(self, step: int, n_draws: int = 0, member: int = 0) -> Batch:
        """The batch of one step of one member, with `n_draws` uniform numbers per item."""
        widths = {name: int(width[step]) for name, width in self.widths.items()}
        return self.store.gather(self.items[step, member], widths, self.draws(n_draws)[step, member], self.keep)

    def frames(self, step: int, task: str, member: int = 0) -> Tensor:
        """What each prediction of a step is about: rows of items, or label frames (-1 where a window has ended)."""
        width = max(int(width[step]) for width in self.widths.values())
        return self.store.targets[task].frames(self.items[step, member], width)


def _widths(lengths: Mapping[str, NDArray[np.int64]], items: NDArray[np.int64], pad_to: int) -> dict:
    """Padded length of each step by modality: the longest item, rounded up, at least 1."""
    longest = {name: np.maximum(length[items].max(axis=(1, 2)), 1) for name, length in lengths.items()}
    return {name: -(-width // pad_to) * pad_to for name, width in longest.items()}


def spread(n: int, epoch: int) -> NDArray[np.int64]:
    """A permutation of `n` whose values, as shares of n, hardly depend on n (the golden-ratio sequence of Weyl)."""
    start = derive(epoch, "spread") / 2**63
    keys = (start + np.arange(n) * (math.sqrt(5) - 1) / 2) % 1
    return keys.argsort(kind="stable").argsort(kind="stable")


class TrainBlocks:
    """Training blocks, reshuffled each epoch; usable as a dataloader.

    Items are put in random order, sorted by their length with jitter, and cut into batches: batches of like length
    waste little on padding. Which length comes when follows a low-discrepancy sequence that is the same for all seeds
    and folds, so that runs trained side by side need the same padding at the same step. The last, smaller batch is a
    block of its own, so that no item is ever dropped.

    Args:
        store: where the rows are, in memory or not.
        items: (n,) row numbers of the training part.
        lengths: by modality, (all items,) lengths on the host.
        batch_size: items per step.
        steps: optimiser steps per block.
        seed: of the run.
        bucket: group like lengths; False gives plain shuffling.
        pad_to: round padded lengths up to a multiple of this.
    """

    JITTER = 0.25  # ours: share of a length's magnitude by which the sort key is blurred

    def __init__(
        self,
        store: Store | Stream,
        items: NDArray[np.int64],
        lengths: Mapping[str, NDArray[np.int64]],
        *,
        batch_size: int,
        steps: int,
        seed: int,
        bucket: bool = True,
        pad_to: int = 1,
    ) -> None:
        self.store, self.items, self.lengths = store, items, lengths
        self.batch_size, self.steps, self.seed, self.bucket, self.pad_to = batch_size, steps, seed, bucket, pad_to
        self.epoch = 0
        self._total = np.sum([length for length in lengths.values()], axis=0)

    @property
    def sampler(self) -> TrainBlocks:
        """Lightning tells the epoch to a loader's sampler."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """The epoch whose order the next iteration gives."""
        self.epoch = epoch

    @property
    def steps_per_epoch(self) -> int:
        """Optimiser steps of one epoch."""
        return -(-len(self.items) // self.batch_size)

    def __len__(self) -> int:
        total = 0
        for size in self.store.sizes(self.items, self.batch_size):
            full, rest = divmod(size, self.batch_size)
            total += -(-full // self.steps) + (rest > 0)
        return total

    def _order(self, items: NDArray[np.int64], rng: np.random.Generator) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Full batches (n_batches, batch) of the given items and those that are left over."""
        items = rng.permutation(items)
        n_full = len(items) // self.batch_size
        full, rest = items[: n_full * self.batch_size], items[n_full * self.batch_size :]
        if self.bucket and n_full > 1:
            blur = 1 + self.JITTER * rng.uniform(-1, 1, len(full))
            full = full[np.argsort(self._total[full] * blur, kind="stable")]
        batches = full.reshape(n_full, self.batch_size)
        return batches[spread(n_full, self.epoch)], rest

    def __iter__(self) -> Iterator[Block]:
        rng = np.random.default_rng(derive(self.seed, self.epoch, "order"))
        chunks = np.random.default_rng(derive(self.seed, self.epoch, "chunks"))
        number = 0
        for views, store in self.store.shelves(self.items, self.batch_size, chunks):
            batches, rest = self._order(views, rng)
            parts = [batches[i : i + self.steps] for i in range(0, len(batches), self.steps)]
            if len(rest):
                parts.append(rest[None])
            for part in parts:
                items = part[:, None, :]
                yield Block(
                    torch.from_numpy(np.ascontiguousarray(items)),
                    _widths(self.lengths, items, self.pad_to),
                    store,
                    derive(self.seed, self.epoch, number, "draws"),
                )
                number += 1


class EvalBlocks:
    """Every item once, in the order of their lengths on each shelf; one block a batch.

    Args:
        keep: by modality, (all items,) bool, what is available under the condition.
    """

    def __init__(
        self,
        store: Store | Stream,
        items: NDArray[np.int64],
        lengths: Mapping[str, NDArray[np.int64]],
        *,
        batch_size: int,
        condition: str = "full",
        keep: Mapping[str, NDArray[np.bool_]] | None = None,
    ) -> None:
        self._total = np.sum([length for length in lengths.values()], axis=0)
        self.items = self._sorted(items)
        self.store, self.lengths, self.batch_size, self.condition = store, lengths, batch_size, condition
        self.keep = {m: torch.from_numpy(k) for m, k in keep.items()} if keep is not None else None

    def __len__(self) -> int:
        return sum(-(-size // self.batch_size) for size in self.store.sizes(self.items, self.batch_size))

    def __iter__(self) -> Iterator[Block]:
        for views, store in self.store.shelves(self.items, self.batch_size):
            ordered = self._sorted(views)
            for i in range(0, len(ordered), self.batch_size):
                items = ordered[i : i + self.batch_size][None, None, :]
                yield Block(
                    torch.from_numpy(np.ascontiguousarray(items)),
                    _widths(self.lengths, items, 1),
                    store,
                    condition=self.condition,
                    keep=self.keep,
                )

    def _sorted(self, items: NDArray[np.int64]) -> NDArray[np.int64]:
        return items[np.argsort(self._total[items], kind="stable")]
