"""Data in memory: flat rows and offsets on a device, and the gather that turns view numbers into a `Batch`.

A view is an item, or a window of one (`views.py`). A corpus that fits is loaded once, a larger one in parts
(`shelves.py`). Every modality is one (rows + 1, dim) tensor, whose last row is all zero and not observed; padding
points there, so a batch is one `index_select` per modality and no Python runs per sample.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mer_bench.types import Batch, Masked

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Ragged:
    """Sequences of all items end to end.

    Attributes:
        values: (rows + 1, dim), the last row zero; zero wherever `observed` is False. Half precision is possible;
            what is gathered is single precision, as a method expects it.
        observed: (rows + 1,) bool, the last False.
        starts: (views,) int64, first row of each view.
        lengths: (views,) int64, rows of each view; 0 = absent.
        rows: (frames + 1,) int64 for views on the label clock: row of each label frame, the zero row where there is
            none; starts and lengths then count label frames. None: starts count rows.
    """

    values: Tensor
    observed: Tensor
    starts: Tensor
    lengths: Tensor
    rows: Tensor | None = None

    def to(self, device: torch.device) -> Ragged:
        """A copy on the device (itself when it is there)."""
        rows = None if self.rows is None else self.rows.to(device)
        values, observed = self.values.to(device), self.observed.to(device)
        return Ragged(values, observed, self.starts.to(device), self.lengths.to(device), rows)

    def gather(self, items: Tensor, width: int, keep: Tensor | None = None) -> Masked:
        """Values (batch, width, dim) and mask (batch, width) of the items; `keep` (batch,) switches items off."""
        lengths = self.lengths.index_select(0, items)
        if keep is not None:
            lengths = torch.where(keep, lengths, 0)
        time = torch.arange(width, device=items.device)
        inside = time < lengths[:, None]
        last = len(self.observed if self.rows is None else self.rows) - 1
        rows = torch.where(inside, self.starts.index_select(0, items)[:, None] + time, last).view(-1)
        if self.rows is not None:
            rows = self.rows.index_select(0, rows)
        values = self.values.index_select(0, rows).view(len(items), width, -1)
        if values.dtype == torch.float16:
            values = values.to(torch.float32)
        return Masked(values, self.observed.index_select(0, rows).view(len(items), width))


@dataclass(frozen=True)
class Flat:
    """Item-level targets: values (items,) or (items, size), and a mask of the same shape."""

    values: Tensor
    mask: Tensor

    def to(self, device: torch.device) -> Flat:
        """A copy on the device (itself when it is there)."""
        return Flat(self.values.to(device), self.mask.to(device))

    def gather(self, items: Tensor, width: int) -> Masked:
        """The targets of the items."""
        return Masked(self.values.index_select(0, items), self.mask.index_select(0, items))

    def frames(self, items: Tensor, width: int) -> Tensor:
        """What a prediction of these views is a prediction of: the items themselves, (batch,)."""
        return items


@dataclass(frozen=True)
class FrameTargets:
    """Per-frame targets of windows: values (frames + 1, ...) with a mask of the same shape, the last row masked."""

    values: Tensor
    mask: Tensor
    starts: Tensor
    lengths: Tensor

    def to(self, device: torch.device) -> FrameTargets:
        """A copy on the device (itself when it is there)."""
        return FrameTargets(*(getattr(self, name).to(device) for name in ("values", "mask", "starts", "lengths")))

    def gather(self, items: Tensor, width: int) -> Masked:
        """Values and mask (batch, width, ...) of the windows."""
        frames = self.frames(items, width).view(-1)
        frames = torch.where(frames < 0, len(self.values) - 1, frames)
        shape = (len(items), width, *self.values.shape[1:])
        return Masked(self.values.index_select(0, frames).view(shape), self.mask.index_select(0, frames).view(shape))

    def frames(self, items: Tensor, width: int) -> Tensor:
        """(batch, width) label frame of each prediction, -1 where the window has ended."""
        time = torch.arange(width, device=items.device)
        inside = time < self.lengths.index_select(0, items)[:, None]
        return torch.where(inside, self.starts.index_select(0, items)[:, None] + time, -1)


class Store:
    """The items of a feature file, all or some, by modality and task.

    Args:
        inputs: sequences by modality.
        targets: item-level targets, or per-frame targets on the clock of the inputs, by task.
    """

    def __init__(self, inputs: Mapping[str, Ragged], targets: Mapping[str, Flat | FrameTargets]) -> None:
        self.inputs = dict(inputs)
        self.targets = dict(targets)
        self._copies: dict[torch.device, Store] = {}

    def on(self, device: torch.device) -> Store:
        """This store on a device; the copy is made once."""
        if device not in self._copies:
            self._copies[device] = Store(
                {m: ragged.to(device) for m, ragged in self.inputs.items()},
                {t: target.to(device) for t, target in self.targets.items()},
            )
        return self._copies[device]

    def sizes(self, views: Ints, batch_size: int) -> list[int]:
        """Views on each shelf (see `shelves.py`): everything is in memory, on one shelf."""
        return [len(views)] if len(views) else []

    def shelves(self, views: Ints, batch_size: int, order: np.random.Generator | None = None) -> Iterator:
        """(views, store) of each shelf: all views and this store."""
        if len(views):
            yield views, self

    def part(self, views: Ints) -> Store:
        """A store that holds at least the given views."""
        return self

    def gather(
        self, items: Tensor, widths: Mapping[str, int], draws: Tensor, keep: Mapping[str, Tensor] | None = None
    ) -> Batch:
        """The batch of the given items.

        Args:
            items: (batch,) int64.
            widths: padded length by modality.
            draws: (batch, n) uniform numbers that travel with the batch.
            keep: by modality, (all items,) bool; False switches a modality off (a condition at test).
        """
        inputs = {}
        for name, ragged in self.inputs.items():
            kept = keep[name].index_select(0, items) if keep is not None else None
            inputs[name] = ragged.gather(items, widths[name], kept)
        width = max(widths.values())  # frame-level targets share the clock, and so the width, of the inputs
        targets = {name: target.gather(items, width) for name, target in self.targets.items()}
        return Batch(inputs, targets, items, draws)
