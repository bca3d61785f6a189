"""From a feature file and a protocol to blocks of batches: the base of every datamodule."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar, Literal

import numpy as np
from lightning.pytorch import LightningDataModule
from numpy.typing import NDArray

from mer_bench.data.blocks import EvalBlocks, TrainBlocks
from mer_bench.data.choice import choose_modalities
from mer_bench.data.conditions import FULL, condition_names, subset_name, subsets_left
from mer_bench.data.corpora import find_protocol
from mer_bench.data.files import find_features, open_features
from mer_bench.data.loading import load
from mer_bench.data.memory import Memory, When
from mer_bench.data.shelves import Stream
from mer_bench.data.splits import make_split, targets
from mer_bench.data.store import Store
from mer_bench.data.views import Views, frame_offsets, join, whole_items, windows
from mer_bench.errors import UserError
from mer_bench.types import Features, FeatureSpec, Level, Tasks, TaskSpec


class MERDataModule(LightningDataModule):
    """Loads a corpus once and offers the parts of one fold as index blocks.

    What it says of itself, before any value is read: `features` and `tasks` (with the training prior of the fold),
    `protocol`, `metrics`, `file`.

    Args:
        protocol: name of a protocol of this corpus; empty means its first one.
        fold: which fold is the test part.
        modalities: which modalities of the file to use; empty means all but alternative forms, whose names hold an
            underscore (`text_sentence`).
        root: folder of the feature files; else `$MER_BENCH_DATA`, else `./features`.
        file: a feature file to use in place of `<root>/<corpus>.h5`.
        batch_size: items per optimiser step.
        eval_batch_size: items per batch outside training.
        steps_per_block: optimiser steps that one `training_step` makes.
        bucket: batches of like lengths.
        pad_to: pad lengths up to a multiple of this, so that few shapes occur.
        window: frame-level tasks: label frames of a training window.
        stride: frame-level tasks: frames between the starts of training windows; None means `window`.
        eval_window: frame-level tasks: frames of a window outside training; None means `window`. Overlaps are averaged.
        eval_stride: frames between the starts of those windows; None means `eval_window`.
        normalise: subtract the mean and divide by the standard deviation of the training part of the fold.
        stream: read the features part by part while training: when they take more than `memory_gb`, always, or never.
            Then the order of the items is random over a shelf at a time (see `shelves.py`).
        memory_gb: what features may take in memory, in units of 10^9 bytes.
        shelf_mb: what one part of a streamed file takes, in units of 10^6 bytes; there are three at a time.
        storage: bits of a feature in memory, 32 or 16 (half precision, about three digits); methods compute in 32.
        seed: of the order of the items; the command line sets it together with the seed of the run.
    """

    corpus: ClassVar[str] = ""

    def __init__(
        self,
        protocol: str = "",
        fold: int = 0,
        modalities: list[str] | None = None,
        root: str = "",
        file: str = "",
        batch_size: int = 32,
        eval_batch_size: int = 512,
        steps_per_block: int = 50,
        bucket: bool = True,
        pad_to: int = 1,
        window: int = 128,
        stride: int | None = None,
        eval_window: int | None = None,
        eval_stride: int | None = None,
        normalise: bool = True,
        stream: When = Memory.stream,
        memory_gb: float = Memory.memory_gb,
        shelf_mb: float = Memory.shelf_mb,
        storage: Literal[32, 16] = Memory.storage,
        seed: int = 0,
    ) -> None:
        super().__init__()
        sizes = {
            "batch_size": batch_size,
            "eval_batch_size": eval_batch_size,
            "pad_to": pad_to,
            "steps_per_block": steps_per_block,
            "window": window,
            "eval_window": eval_window or window,
        }
        for name, value in sizes.items():
            if value < 1:
                raise UserError(f"--data.{name} must be at least 1, got {value}")
        self.protocol = find_protocol(protocol, self.corpus)
        self.fold, self.seed, self.normalise = fold, seed, normalise
        self.batch_size, self.eval_batch_size = batch_size, eval_batch_size
        self.steps_per_block, self.bucket, self.pad_to = steps_per_block, bucket, pad_to
        self.file = open_features(find_features(self.corpus, root, file))
        if self.file.corpus != self.corpus:
            raise UserError(f"{self.file.path}: holds corpus {self.file.corpus!r}, {self.corpus!r} was asked for")
        self.split = make_split(self.protocol, self.file, fold)
        self.modalities = choose_modalities(self.file, self.protocol, fold, self.split, modalities)
        self.tasks: Tasks = {n: self._with_prior(n, spec) for n, spec in self.protocol.tasks.items()}
        self.features: Features = {m: self._feature_spec(m) for m in self.modalities}
        self.metrics = self.protocol.metrics
        wide = eval_window or window
        self.views, self.parts = self._cut(window, stride or window, wide, eval_stride or wide)
        self.memory = Memory(stream, memory_gb, shelf_mb, storage)
        self._store: Store | Stream | None = None

    # what is offered -------------------------------------------------------------------------------------------

    def _feature_spec(self, m: str) -> FeatureSpec:
        info = self.file.modalities[m]
        return FeatureSpec(info.dim, info.rate_hz, info.kind, int(np.diff(info.offsets).max(initial=1)))

    @property
    def level(self) -> Level:
        """Whether the protocol asks for one answer per item or per frame."""
        return next(iter(self.protocol.tasks.values())).level

    @property
    def _clock(self) -> str:
        """The label table whose frames are the clock of a frame-level protocol.

        Raises:
            UserError: two tasks of the protocol have label tables of different lengths.
        """
        tables = [spec.labels or name for name, spec in self.protocol.tasks.items()]
        first = frame_offsets(self.file, tables[0])
        for table in tables[1:]:
            if not np.array_equal(frame_offsets(self.file, table), first):
                raise UserError(f"{self.file.path}: labels {table!r} and {tables[0]!r} do not share a clock")
        return tables[0]

    def _cut(self, window: int, stride: int, wide: int, step: int) -> tuple[Views, dict[str, NDArray[np.int64]]]:
        """All views, and which of them are in which part."""
        if self.level == "item":
            parts = {"train": self.split.train, "val": self.split.val, "test": self.split.test}
            return whole_items(self.file.n), {**parts, "all": np.arange(self.file.n)}
        offsets = frame_offsets(self.file, self._clock)
        everything = np.arange(self.file.n)
        cut = [windows(offsets, self.split.train, window, stride), windows(offsets, everything, wide, step)]
        views, first = join(cut), len(cut[0])
        later = np.arange(first, len(views))
        parts = {"train": np.arange(first), "all": later}
        for part, rows in (("val", self.split.val), ("test", self.split.test)):
            parts[part] = later[np.isin(views.item[first:], rows)]
        return views, parts

    def _training_targets(self, name: str, spec: TaskSpec) -> tuple[np.ndarray, np.ndarray]:
        """Values and mask of the task over the training part, frames pooled."""
        values, mask = targets(self.file, name, spec)
        if spec.level == "item":
            return values[self.split.train], mask[self.split.train]
        offsets = frame_offsets(self.file, spec.labels or name)
        inside = np.repeat(np.isin(np.arange(self.file.n), self.split.train), np.diff(offsets))
        return values[inside], mask[inside]

    def _with_prior(self, name: str, spec: TaskSpec) -> TaskSpec:
        """The task with the statistics of its training targets."""
        values, mask = self._training_targets(name, spec)
        if spec.kind == "multiclass":
            counts = np.bincount(values[mask], minlength=spec.size)
            empty = [spec.names[k] for k in np.flatnonzero(counts == 0)]
            if empty:
                raise UserError(
                    f"{self.file.path}: class {empty[0]!r} of task {name!r} has no training item in fold "
                    f"{self.fold} of {self.protocol.name}"
                )
            return replace(spec, prior=tuple(counts / counts.sum()))
        n = np.maximum(mask.sum(axis=0), 1)
        mean = np.where(mask, values, 0).sum(axis=0, dtype=np.float64) / n
        spread = np.sqrt(np.where(mask, (values - mean) ** 2, 0).sum(axis=0) / n)
        return replace(spec, prior=tuple(mean.tolist()), spread=tuple(spread.tolist()))

    @property
    def condition_names(self) -> list[str]:
        """Names of the conditions at test, `full` first."""
        return condition_names(self.protocol.conditions, self.modalities)

    # data ------------------------------------------------------------------------------------------------------

    def setup(self, stage: str | None = None) -> None:
        """Read the values once, normalised by the training part of the fold, or make ready to stream them."""
        if self._store is None:
            clock = "" if self.level == "item" else self._clock
            fitted = self.split.train if self.normalise else None
            self._store = load(self.file, self.modalities, self.tasks, self.views, clock, fitted, self.memory)

    @property
    def store(self) -> Store:
        """The resident data.

        Raises:
            UserError: the features are streamed.
        """
        if isinstance(self.source, Stream):
            raise UserError(f"{self.file.path}: features are streamed; use --data.stream never to hold them in memory")
        return self.source

    @property
    def source(self) -> Store | Stream:
        """The data of the loaders, resident or streamed."""
        if self._store is None:
            self.setup()
        assert self._store is not None
        return self._store

    def share(self, store: Store) -> None:
        """Use the data of another datamodule of the same fold and settings instead of reading them again."""
        self._store = store

    @property
    def lengths(self) -> dict[str, NDArray[np.int64]]:
        """Lengths of all views by modality, on the host."""
        if self.level == "frame":
            return dict.fromkeys(self.modalities, self.views.length)
        return {m: np.diff(self.file.modalities[m].offsets) for m in self.modalities}

    @property
    def _present(self) -> dict[str, NDArray[np.bool_]]:
        return {m: self.file.modalities[m].present for m in self.modalities}

    # loaders ---------------------------------------------------------------------------------------------------

    def train_dataloader(self) -> TrainBlocks:
        """Blocks of the training part."""
        return TrainBlocks(
            self.source,
            self.parts["train"],
            self.lengths,
            batch_size=self.batch_size,
            steps=self.steps_per_block,
            seed=self.seed,
            bucket=self.bucket,
            pad_to=self.pad_to,
        )

    def eval_blocks(self, part: str, subset: int | None = None) -> EvalBlocks:
        """Every view of a part once, cut to a subset of its modalities (a number, see `conditions`)."""
        views, keep, name = self.parts[part], None, FULL
        if subset is not None:
            name = subset_name(subset, self.modalities)
            keep = {m: np.full(len(self.views), bool(subset >> k & 1)) for k, m in enumerate(self.modalities)}
        return EvalBlocks(self.source, views, self.lengths, batch_size=self.eval_batch_size, condition=name, keep=keep)

    def val_dataloader(self) -> EvalBlocks | list[EvalBlocks]:
        """The validation part; no loader where the protocol has none."""
        return self.eval_blocks("val") if len(self.parts["val"]) else []

    def test_dataloader(self) -> list[EvalBlocks]:
        """The test part as it is, and cut to each subset of the modalities that a condition leaves to an item."""
        rows = np.unique(self.views.item[self.parts["test"]])
        present = {m: has[rows] for m, has in self._present.items()}
        left = subsets_left(self.condition_names, [self.file.ids[i] for i in rows], present)
        everything = (1 << len(self.modalities)) - 1
        subsets = sorted({everything, *np.unique(list(left.values())).tolist()}, reverse=True)
        return [self.eval_blocks("test"), *(self.eval_blocks("test", subset) for subset in subsets[1:])]

    def predict_dataloader(self) -> EvalBlocks:
        """Every item of the file, labelled or not."""
        return self.eval_blocks("all")
