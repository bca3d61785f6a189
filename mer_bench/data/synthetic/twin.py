"""A twin without its features: people, segments, hidden things, labels. Cheap to draw again from the settings."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from mer_bench.data.synthetic.blueprint import Classes, Table
from mer_bench.data.synthetic.latents import Code, Continuous, draw
from mer_bench.data.synthetic.people import People, people
from mer_bench.data.synthetic.settings import Settings
from mer_bench.data.synthetic.timeline import Timeline, failed_runs, timeline
from mer_bench.merh5 import Labels


@dataclass(frozen=True)
class Twin:
    """Everything of a synthetic corpus but its features.

    Attributes:
        settings: what it was drawn from.
        who: the items.
        line: units and grains.
        hidden: codes and scales by name.
    """

    settings: Settings
    who: People
    line: Timeline
    hidden: dict[str, Code | Continuous]

    @classmethod
    def of(cls, settings: Settings) -> Twin:
        """Draw it.

        Raises:
            UserError: too few items for the groups of the corpus.
        """
        who = people(settings)
        line = timeline(settings, who)
        return cls(settings, who, line, draw(settings, who, line))

    @cached_property
    def labels(self) -> dict[str, Labels]:
        """The label tables, by name."""
        return {name: self._labels(name, table) for name, table in self.settings.profile.tables.items()}

    def _labels(self, name: str, table: Table) -> Labels:
        values, mask = self._values(table)
        mask = mask & self._annotated(name, table, mask.shape)
        framed = self.settings.profile.level == "frame"
        return Labels(
            kind=table.kind,
            names=table.names,
            values=np.where(mask, values, 0),
            mask=mask,
            level=self.settings.profile.level,
            range=table.range,
            lengths=self.line.grains_of_item if framed else None,
            rate_hz=self.settings.profile.clock_hz,
            native_missing=table.native_missing,
            definition=f"synthetic: {table.definition}",
        )

    def _values(self, table: Table) -> tuple[np.ndarray, np.ndarray]:
        """Values in grains, and which of them the table has."""
        hidden, profile = self.hidden[table.latent], self.settings.profile.latents[table.latent]
        if isinstance(hidden, Continuous):
            assert table.range is not None
            scale = np.clip(table.middle + table.sd * hidden.y, *table.range).astype(np.float32)
            return scale, np.ones(scale.shape, dtype=bool)
        assert isinstance(profile, Classes)
        y = hidden.y[self.line.grain_unit]
        if table.kind == "multilabel":
            return y.astype(np.float32), np.ones(y.shape, dtype=bool)
        index = np.full(profile.size, -1)
        keep = list(table.keep or range(profile.size))
        index[keep] = np.arange(len(keep))
        return index[y[:, 0]], index[y[:, 0]] >= 0

    @cached_property
    def _spread(self) -> np.ndarray:
        """(items,) a uniform number each, spread evenly over each part of the official split."""
        rng = self.settings.stream("annotated")
        splits = list(self.who.splits.values())
        part = splits[0].table[0] if splits else np.zeros(len(self.who.ids))
        drawn = np.empty(len(part))
        for name in np.unique(part):
            rows = rng.permutation(np.flatnonzero(part == name))
            drawn[rows] = (np.arange(len(rows)) + rng.random(len(rows))) / len(rows)
        return drawn

    def _annotated(self, name: str, table: Table, shape: tuple[int, ...]) -> np.ndarray:
        """Which grains carry a usable label: annotated items, less runs of invalid frames; independent of y."""
        drawn = self._spread
        has = ((drawn >= table.annotated[0]) & (drawn < table.annotated[1]))[self.line.grain_item]
        if table.unusable:
            columns = shape[1] if table.kind == "multilabel" else 1
            lengths = self.line.grains_of_item
            runs = [
                failed_runs(self.settings.stream("unusable", name, k), lengths, table.unusable) for k in range(columns)
            ]
            usable = has[:, None] & ~np.stack(runs, axis=1)
            return usable[:, 0] if len(shape) == 1 else np.broadcast_to(usable, shape)
        return has if len(shape) == 1 else np.broadcast_to(has[:, None], shape)
