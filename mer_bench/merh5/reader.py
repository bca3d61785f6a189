"""Read a feature file, a part at a time.

No HDF5 handle stays open: opening remembers where each dataset lies in the file, and every read opens the file anew.
So a `FeatureFile` can be pickled, forked and sent to a spawned process. A file that changes after it was opened is
refused.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mer_bench.errors import UserError, did_you_mean
from mer_bench.merh5.layout import Tree
from mer_bench.merh5.opening import opened
from mer_bench.merh5.report import decoded
from mer_bench.merh5.schema import CLASS_KINDS, GROUP_KEYS, LabelKind, ModalityKind
from mer_bench.merh5.validator import examine, refusal


@dataclass(frozen=True)
class ModalityInfo:
    """What is known of a modality without reading its values.

    Attributes:
        kind: sequence, utterance or signal.
        dim: features per row.
        rate_hz: rows per second, 0 when irregular.
        t0_s: time of the first row.
        rows: rows of all items together.
        offsets: (items + 1,) int64, item i has rows offsets[i] to offsets[i + 1].
        present: (items,) bool.
        extractor: what computed the features.
        extractor_version: its version.
        unit: of a signal.
        aligned_to: what the rows are aligned to.
        names: of the features, or None.
        weights_sha256: of the extractor's weights.
        normalised: how values were normalised, ``none``.
        note: free text.
    """

    kind: ModalityKind
    dim: int
    rate_hz: float
    t0_s: float
    rows: int
    offsets: np.ndarray
    present: np.ndarray
    extractor: str
    extractor_version: str
    unit: str
    aligned_to: str
    names: list[str] | None
    weights_sha256: str
    normalised: str
    note: str


@dataclass(frozen=True)
class LabelsInfo:
    """What is known of a label table without reading it.

    Attributes:
        kind: multiclass, multilabel, regression or ordinal.
        names: of classes, labels or dimensions, in order.
        level: item or frame.
        range: legal values of a regression, or None.
        rate_hz: label frames per second, frame level only.
        definition: how the labels were made.
        offsets: (items + 1,) int64 for frame level, else None.
        native_missing: what stood for "no label" in the corpus.
    """

    kind: LabelKind
    names: tuple[str, ...]
    level: str
    range: tuple[float, float] | None
    rate_hz: float
    definition: str
    offsets: np.ndarray | None
    native_missing: str


@dataclass(frozen=True)
class SplitInfo:
    """What is known of a split table.

    Attributes:
        folds: number of folds.
        disjoint_by: keys of which no group stands in two parts of a fold.
        source: where it comes from.
        note: free text.
    """

    folds: int
    disjoint_by: tuple[str, ...]
    source: str
    note: str


class _Place(NamedTuple):
    """Where a dataset lies: bytes from the start of the file, None when it is empty."""

    offset: int | None
    dtype: str
    shape: tuple[int, ...]


class FeatureFile:
    """A merh5 file, opened for reading.

    Opening checks all that needs no pass over the values (links, storage, sizes, shapes, ids, offsets, splits);
    `check` does the rest.

    Args:
        path: the file.

    Raises:
        UserError: the file is missing, is not merh5 1.0, or fails a check.

    Attributes:
        path: the file.
        n: number of items.
        ids: name of each item.
        corpus: slug of the corpus.
        synthetic: made by a generator.
        content_sha256: content hash, as stored.
        attrs: all attributes of the file as Python values.
        truth: what a synthetic file states about its optimum, or None.
        order: (items,) int, position in the dialogue; -1 where there is none.
        start_s: (items,) seconds, NaN where unknown.
        end_s: (items,) seconds, NaN where unknown.
        modalities: by name.
        labels: by name.
        splits: by scheme.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        with opened(self.path) as file:
            self._stamp = _stamp(os.fstat(file.id.get_vfd_handle()))
            tree, faults = examine(file, deep=False)
            if faults:
                more = f" (`mer-bench data check {self.path}` lists every fault)"
                raise UserError(f"{refusal(self.path, faults)}{more}")
            self._load(tree)

    def _load(self, tree: Tree) -> None:
        data = tree.data
        self._places = {name: _Place(item.id.get_offset(), item.dtype.str, item.shape) for name, item in data.items()}
        self.attrs: dict[str, Any] = tree.attrs[""]
        self.corpus: str = self.attrs["corpus"]
        self.synthetic: bool = self.attrs["synthetic"]
        self.content_sha256: str = self.attrs["content_sha256"]
        self.truth: dict[str, Any] | None = self.attrs["truth"]
        self.ids = _texts(data["items/id"])
        self.n = len(self.ids)
        self.order = data["items/order"][:].astype(np.int64) if "items/order" in data else np.full(self.n, -1)
        self.start_s = data["items/start_s"][:] if "items/start_s" in data else np.full(self.n, np.nan)
        self.end_s = data["items/end_s"][:] if "items/end_s" in data else np.full(self.n, np.nan)
        self._groups = {
            key: np.array(_texts(data[f"vocab/{key}"]))[data[f"items/{key}"][:]]
            for key in GROUP_KEYS
            if f"items/{key}" in data
        }
        self._columns = [name.removeprefix("items/attr/") for name in data if name.startswith("items/attr/")]
        self.modalities = {name: _modality(tree, f"modalities/{name}") for name in tree.names("modalities")}
        self.labels = {name: _labels(tree, f"labels/{name}") for name in tree.names("labels")}
        self.splits = {name: _split(tree, f"splits/{name}") for name in tree.names("splits")}

    def group(self, key: str) -> np.ndarray:
        """Group of each item as text, (items,): speaker, session, dialogue, or a text column of the items.

        Raises:
            UserError: there is no such column, or it holds numbers.
        """
        if key in self._groups:
            return self._groups[key]
        place = f"items/attr/{key}"
        if place not in self._places:
            raise self._unknown("column", key, [*self._groups, *self._columns])
        column = self._read(place)
        if column.dtype.kind != "S":
            raise UserError(f"{self.path}: column '{key}' holds numbers (expected text); use column()")
        return np.array(self._decode(place, column), dtype=str)

    def column(self, name: str) -> np.ndarray:
        """A further column of the items, (items,): text or float64."""
        place = f"items/attr/{name}"
        if place not in self._places:
            raise self._unknown("column", name, self._columns)
        column = self._read(place)
        return column if column.dtype.kind == "f" else self.group(name)

    def text(self) -> list[str] | None:
        """Transcript of each item, or None when the file has none."""
        if "items/text" not in self._places:
            return None
        return self._decode("items/text", self._read("items/text"))

    def values(self, modality: str, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Rows start to stop of a modality, (rows, dim) float32; zero where `valid` is False."""
        self._known("modality", modality, self.modalities)
        return self._read(f"modalities/{modality}/values", start, stop).astype(np.float32, copy=False)

    def valid(self, modality: str, start: int = 0, stop: int | None = None) -> np.ndarray:
        """(rows,) bool, False where extraction failed."""
        info = self._known("modality", modality, self.modalities)
        place = f"modalities/{modality}/valid"
        if place not in self._places:
            return np.ones(len(range(*slice(start, stop).indices(info.rows))), dtype=bool)
        return self._read(place, start, stop).astype(bool)

    def times(self, modality: str) -> np.ndarray | None:
        """(rows, 2) start and end in seconds, or None when the modality has a regular clock."""
        self._known("modality", modality, self.modalities)
        return self._optional(f"modalities/{modality}/times")

    def label(self, task: str) -> tuple[np.ndarray, np.ndarray]:
        """Values and mask of a label table.

        Multiclass and ordinal: int64 (items,), mask (items,). Multilabel and regression: float32 (items, size), mask
        of that shape. Frame level: the first axis is label frames.
        """
        info = self._known("label table", task, self.labels)
        dtype = np.int64 if info.kind in CLASS_KINDS else np.float32
        values = self._read(f"labels/{task}/values").astype(dtype, copy=False)
        return values, self._read(f"labels/{task}/mask").astype(bool)

    def label_times(self, task: str) -> np.ndarray | None:
        """(frames, 2) seconds of each label frame, or None when the clock is regular or labels are per item."""
        self._known("label table", task, self.labels)
        return self._optional(f"labels/{task}/times")

    def split_table(self, scheme: str) -> np.ndarray:
        """(folds, items) uint8: 0 unused, 1 train, 2 validation, 3 test."""
        self._known("split", scheme, self.splits)
        return self._read(f"splits/{scheme}/table")

    def _known(self, what: str, name: str, table: dict[str, Any]) -> Any:
        if name not in table:
            raise self._unknown(what, name, table)
        return table[name]

    def _unknown(self, what: str, name: str, known: Any) -> UserError:
        return UserError(f"{self.path}: no {what} '{name}'; {did_you_mean(name, known)}")

    def _decode(self, place: str, column: np.ndarray) -> list[str]:
        texts, faults = decoded(place, column)
        if faults:
            raise refusal(self.path, faults)
        return texts

    def _optional(self, place: str) -> np.ndarray | None:
        return self._read(place) if place in self._places else None

    def _read(self, place: str, start: int = 0, stop: int | None = None) -> np.ndarray:
        where = self._places[place]
        first, last, _ = slice(start, stop).indices(where.shape[0])
        shape = (max(0, last - first), *where.shape[1:])
        dtype = np.dtype(where.dtype)
        try:
            unchanged = _stamp(self.path.stat()) == self._stamp
        except OSError as exc:
            raise UserError(f"{self.path}: cannot be read any more: {exc.strerror}") from None
        if not unchanged:
            raise UserError(f"{self.path}: the file changed after it was opened; start again")
        if where.offset is None or 0 in shape:
            return np.zeros(shape, dtype)
        row_bytes = dtype.itemsize * int(np.prod(where.shape[1:], dtype=np.int64))
        count = int(np.prod(shape, dtype=np.int64))
        rows = np.fromfile(self.path, dtype, count, offset=where.offset + first * row_bytes)
        if len(rows) != count:
            raise UserError(f"{self.path}: ends inside {place}")
        return rows.reshape(shape)


def _stamp(stat: os.stat_result) -> tuple[int, int, int, int]:
    return stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns


def _texts(column: Any) -> list[str]:
    return [item.decode() for item in column[:].tolist()]


def _modality(tree: Tree, place: str) -> ModalityInfo:
    names = tree.data.get(f"{place}/names")
    return ModalityInfo(
        **tree.attrs[place],
        rows=tree.data[f"{place}/values"].shape[0],
        offsets=tree.data[f"{place}/offsets"][:],
        present=tree.data[f"{place}/present"][:].astype(bool),
        names=None if names is None else _texts(names),
    )


def _labels(tree: Tree, place: str) -> LabelsInfo:
    attrs = tree.attrs[place]
    offsets = tree.data.get(f"{place}/offsets")
    return LabelsInfo(
        **attrs
        | {
            "names": tuple(attrs["names"]),
            "range": None if attrs["range"] is None else tuple(attrs["range"]),
            "offsets": None if offsets is None else offsets[:],
        }
    )


def _split(tree: Tree, place: str) -> SplitInfo:
    attrs = tree.attrs[place]
    table = tree.data[f"{place}/table"]
    return SplitInfo(table.shape[0], tuple(attrs["disjoint_by"]), attrs["source"], attrs["note"])
