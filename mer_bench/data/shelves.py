"""From a feature file to memory: everything once, or a part of it at a time.

A shelf holds the rows of some views. A corpus that fits is one shelf, made once (`Store`). A larger one is read shelf
by shelf (`Stream`): the views of a part are cut into chunks of neighbours, the chunks are shuffled, and as many as a
shelf holds are read together; inside a shelf, views are shuffled like those of a resident corpus. One thread reads the
next shelf meanwhile. The order depends on (seed, epoch) and on the size of a shelf, never on the machine.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import DTypeLike, NDArray

from mer_bench.data.rows import Ints, Rows, spans
from mer_bench.data.store import Flat, FrameTargets, Ragged, Store

#: chunks on a shelf (ours): a shelf is a sample of so many places of the part
CHUNKS = 64
#: one shelf is in use, one may still be referred to by a block that was handed out before, one is being read
BUFFERS = 3


@dataclass(frozen=True)
class Address:
    """Where the rows of each view are in the file.

    Attributes:
        starts: (views,) first row of each view, or first label frame.
        lengths: (views,) rows, or label frames.
        rows: (all label frames,) row of each label frame, -1 where it has none; None: starts and lengths count rows.
    """

    starts: Ints
    lengths: Ints
    rows: Ints | None = None


class Buffer:
    """Memory for the rows of one modality, kept from one shelf to the next: fresh pages cost more than the reading.

    Args:
        dim: features per row.
        dtype: of the values.
    """

    def __init__(self, dim: int, dtype: DTypeLike) -> None:
        self.values, self.observed = np.empty((0, dim), dtype), np.empty(0, bool)

    def room(self, n: int) -> tuple[NDArray[np.floating], NDArray[np.bool_]]:
        """Values and mask of `n` rows; what they held is lost."""
        if len(self.values) < n:
            self.values, self.observed = np.empty((n, self.values.shape[1]), self.values.dtype), np.empty(n, bool)
        return self.values[:n], self.observed[:n]


def bring(rows: Rows, address: Address, views: Ints, buffer: Buffer) -> Ragged:
    """Read the rows of the given views into the buffer; other views of the result are not to be gathered."""
    begins = address.starts[views]
    places = spans(begins, begins + address.lengths[views])
    starts = np.zeros(len(address.starts), np.int64)
    starts[views] = begins - _shift(places)[np.searchsorted(places[:, 0], begins, side="right") - 1]
    index = None
    if address.rows is not None:  # one step more: from label frames to rows
        index = np.concatenate([address.rows[a:b] for a, b in places] or [address.rows[:0]])
        pieces = [x[x >= 0] for x in np.split(index, np.cumsum(np.diff(places, axis=1))[:-1])]
        ends = [(x.min(), x.max() + 1) for x in pieces if len(x)]
        places = spans(*np.array(ends, np.int64).reshape(-1, 2).T)
        shift = _shift(places)[np.searchsorted(places[:, 0], index, side="right") - 1] if len(places) else 0
    total = int(np.diff(places, axis=1).sum())
    values, observed = buffer.room(total + 1)
    done = 0
    for a, b in places.tolist():
        rows.fill(a, values[done : done + b - a], observed[done : done + b - a])
        done += b - a
    values[total], observed[total] = 0, False
    if index is not None:
        index = np.append(np.where(index >= 0, index - shift, total), total)
    flat = torch.from_numpy(values), torch.from_numpy(observed)
    at = torch.from_numpy(starts), torch.from_numpy(address.lengths)
    return Ragged(*flat, *at, None if index is None else torch.from_numpy(index))


def _shift(places: Ints) -> Ints:
    """What is to be taken from a position in the file when the places stand end to end."""
    sizes = np.diff(places, axis=1)[:, 0]
    return places[:, 0] - (np.cumsum(sizes) - sizes)


class Stream:
    """A feature file that is read shelf by shelf; the targets are resident.

    Args:
        rows: by modality.
        addresses: by modality.
        targets: by task.
        dtype: in which values are kept.
        shelf_bytes: of the values on a shelf, about.
    """

    def __init__(
        self,
        rows: Mapping[str, Rows],
        addresses: Mapping[str, Address],
        targets: Mapping[str, Flat | FrameTargets],
        dtype: DTypeLike,
        shelf_bytes: int,
    ) -> None:
        self.rows, self.addresses, self.targets = rows, addresses, targets
        self.dtype, self.shelf_bytes = np.dtype(dtype), shelf_bytes

    def sizes(self, views: Ints, batch_size: int) -> list[int]:
        """Views on each shelf: whole batches but on the last, the same number in every epoch."""
        lengths = {m: address.lengths[views] for m, address in self.addresses.items()}
        used = sum(int(n.sum()) * self.rows[m].dim * self.dtype.itemsize for m, n in lengths.items())
        size = max(1, self.shelf_bytes * len(views) // (max(used, 1) * batch_size)) * batch_size
        return [min(size, len(views) - i) for i in range(0, len(views), size)]

    def shelves(self, views: Ints, batch_size: int, order: np.random.Generator | None = None) -> Iterator:
        """(views, store) of each shelf, in the order of the file or, with a generator, of shuffled chunks."""
        sizes, views = self.sizes(views, batch_size), np.sort(views)
        if not sizes:
            return
        if order is not None and len(sizes) > 1:
            chunks = np.array_split(views, max(1, len(views) * CHUNKS // sizes[0]))
            views = np.concatenate([chunks[k] for k in order.permutation(len(chunks))])
        parts = [np.sort(part) for part in np.split(views, np.cumsum(sizes)[:-1])]
        buffers = [{m: Buffer(rows.dim, self.dtype) for m, rows in self.rows.items()} for _ in range(BUFFERS)]
        with ThreadPoolExecutor(1, thread_name_prefix="shelf") as reader:
            ahead = reader.submit(self._bring, parts[0], buffers[0])
            for k, part in enumerate(parts):
                store = ahead.result()
                if k + 1 < len(parts):
                    ahead = reader.submit(self._bring, parts[k + 1], buffers[(k + 1) % BUFFERS])
                yield part, store

    def part(self, views: Ints) -> Store:
        """A store that holds the given views."""
        return self._bring(np.sort(views), {m: Buffer(rows.dim, self.dtype) for m, rows in self.rows.items()})

    def _bring(self, views: Ints, buffers: Mapping[str, Buffer]) -> Store:
        inputs = {m: bring(rows, self.addresses[m], views, buffers[m]) for m, rows in self.rows.items()}
        return Store(inputs, self.targets)
