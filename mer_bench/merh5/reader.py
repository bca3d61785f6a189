"""Read a feature file, a part at a time.

No HDF5 handle stays open: opening remembers where each dataset lies in the file, and every read opens the file anew.
So a `FeatureFile` can be pickled, forked and sent to a spawned process. A file that changes after it was opened is
refused.
"""

from __future__ import annotations

import math
import os
from io import FileIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mer_bench.errors import UserError, did_you_mean
from mer_bench.merh5.info import labels_info, modality_info, split_info, texts
from mer_bench.merh5.layout import Tree
from mer_bench.merh5.opening import opened
from mer_bench.merh5.report import decoded
from mer_bench.merh5.schema import CLASS_KINDS, GROUP_KEYS
from mer_bench.merh5.validator import check, examine, refusal


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
        path: the file, as it was named.
        n: number of items.
        ids: name of each item.
        corpus: slug of the corpus.
        synthetic: made by a generator.
        content_sha256: content hash, as stored.
        attrs: all attributes of the file as Python values.
        truth: what a synthetic file states about its optimum, or None.
        columns: names of the columns that `group` and `column` know.
        has_text: whether there are transcripts.
        order: (items,) int, position in the dialogue; -1 where there is none.
        start_s: (items,) seconds, NaN where unknown.
        end_s: (items,) seconds, NaN where unknown.
        modalities: by name.
        labels: by name.
        splits: by scheme.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._where = self.path.absolute()  # a worker may live in another folder
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
        self.ids = texts(data["items/id"])
        self.n = len(self.ids)
        self.order = data["items/order"][:].astype(np.int64) if "items/order" in data else np.full(self.n, -1)
        self.start_s = data["items/start_s"][:] if "items/start_s" in data else np.full(self.n, np.nan)
        self.end_s = data["items/end_s"][:] if "items/end_s" in data else np.full(self.n, np.nan)
        self._groups = {
            key: np.array(texts(data[f"vocab/{key}"]))[data[f"items/{key}"][:]]
            for key in GROUP_KEYS
            if f"items/{key}" in data
        }
        further = [name.removeprefix("items/attr/") for name in data if name.startswith("items/attr/")]
        self.columns = [*self._groups, *further]
        self.has_text = "items/text" in data
        self.modalities = {name: modality_info(tree, f"modalities/{name}") for name in tree.names("modalities")}
        self.labels = {name: labels_info(tree, f"labels/{name}") for name in tree.names("labels")}
        self.splits = {name: split_info(tree, f"splits/{name}") for name in tree.names("splits")}

    def verify(self) -> None:
        """Check every value and the content hash, as `check` does.

        Raises:
            UserError: something is wrong.
        """
        faults = check(self.path)
        if faults:
            raise refusal(self.path, faults)

    def group(self, key: str) -> np.ndarray:
        """Group of each item as text, (items,): speaker, session, dialogue, or a text column of the items.

        Raises:
            UserError: there is no such column, or it holds numbers.
        """
        if key in self._groups:
            return self._groups[key]
        place = f"items/attr/{key}"
        if place not in self._places:
            raise self._unknown("column", key, self.columns)
        column = self._read(place)
        if column.dtype.kind != "S":
            raise UserError(f"{self.path}: column '{key}' holds numbers (expected text); use column()")
        return np.array(self._decode(place, column), dtype=str)

    def column(self, name: str) -> np.ndarray:
        """A column of the items, (items,): text or float64 (NaN where unknown)."""
        if name in self._groups:
            return self._groups[name]
        place = f"items/attr/{name}"
        if place not in self._places:
            raise self._unknown("column", name, self.columns)
        column = self._read(place)
        return column if column.dtype.kind == "f" else self.group(name)

    def text(self) -> list[str] | None:
        """Transcript of each item, or None when the file has none."""
        if not self.has_text:
            return None
        return self._decode("items/text", self._read("items/text"))

    def values(self, modality: str, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Rows start to stop of a modality, (rows, dim) float32; zero where `valid` is False."""
        self._known("modality", modality, self.modalities)
        return self._read(f"modalities/{modality}/values", start, stop).astype(np.float32, copy=False)

    def read_values(self, modality: str, start: int, out: np.ndarray) -> None:
        """Read the rows from `start` on into `out`, (rows, dim) float32; no other memory is used for values.

        Rows past the last one of the modality are an error of the caller.
        """
        place = f"modalities/{modality}/values"
        if self._places[place].dtype == out.dtype.str and out.flags.c_contiguous:
            self._read_into(place, start, out)
        else:
            out[:] = self.values(modality, start, start + len(out))

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
        if where.offset is None or 0 in shape:
            return np.zeros(shape, where.dtype)
        rows = np.empty(shape, where.dtype)
        self._read_into(place, first, rows)
        return rows

    def _read_into(self, place: str, first: int, rows: np.ndarray) -> None:
        """Fill an array with rows of a dataset that is not empty, from the given one on."""
        where = self._places[place]
        assert where.offset is not None
        try:
            with self._where.open("rb", buffering=0) as raw:
                if _stamp(os.fstat(raw.fileno())) != self._stamp:
                    raise UserError(f"{self.path}: the file changed after it was opened; start again")
                raw.seek(where.offset + first * math.prod(rows.shape[1:]) * rows.itemsize)
                _fill(raw, rows)
        except OSError as exc:
            raise UserError(f"{self.path}: cannot be read any more: {exc}") from None


def _fill(raw: FileIO, rows: np.ndarray) -> None:
    """Read until the array is full; one call of the system reads 2 GiB at most."""
    left = rows.reshape(-1).view(np.uint8).data
    while len(left):
        done = raw.readinto(left)
        if not done:
            raise OSError("the file ends too early")
        left = left[done:]


def _stamp(stat: os.stat_result) -> tuple[int, int, int, int]:
    return stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns
