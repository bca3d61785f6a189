"""HDF5 files of strangers: nothing is followed out of the file, and nothing is read that unpacks to far more than it.

Only hard links are walked, each object once; datasets lie in this file, without virtual or external parts, and are
packed by filters that HDF5 itself brings.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from pathlib import Path

import h5py
import numpy as np

from mer_bench.errors import UserError
from mer_bench.prepare.arrays import FREE_SIZE, MAX_RATIO

FILTERS = {1: "gzip", 2: "shuffle", 3: "fletcher32", 32000: "lzf"}
LAYOUTS = (h5py.h5d.COMPACT, h5py.h5d.CONTIGUOUS, h5py.h5d.CHUNKED)
UNREADABLE = (OSError, RuntimeError, KeyError, TypeError, ValueError, RecursionError)


class Reader:
    """An open file.

    Args:
        file: opened for reading.
        path: its name in messages.
    """

    def __init__(self, file: h5py.File, path: Path) -> None:
        self.path, self.file = path, file
        self.size = path.stat().st_size
        self.budget = max(FREE_SIZE, MAX_RATIO * self.size)
        self._seen = {_address(file)}

    def group(self, parent: h5py.Group, name: str) -> h5py.Group:
        """A group inside a group.

        Raises:
            UserError: there is none, or it is reached by a link.
        """
        found = self._child(parent, name)
        if not isinstance(found, h5py.Group):
            raise UserError(f"{self._where(parent, name)}: not a group")
        return found

    def dataset(self, parent: h5py.Group, name: str, axes: int) -> h5py.Dataset:
        """A dataset of numbers or strings inside a group, judged by its header.

        Raises:
            UserError: there is none, or its storage, type or size is not to be trusted.
        """
        found = self._child(parent, name)
        reason = self._distrust(found, axes) if isinstance(found, h5py.Dataset) else "not a dataset"
        if reason:
            raise UserError(f"{self._where(parent, name)}: refused: {reason}")
        return found

    def _child(self, parent: h5py.Group, name: str) -> h5py.Group | h5py.Dataset:
        where = self._where(parent, name)
        link = parent.get(name, getclass=True, getlink=True)
        if link is None:
            raise UserError(f"{where}: missing")
        if link is not h5py.HardLink:
            raise UserError(
                f"{where}: refused: {'a soft' if link is h5py.SoftLink else 'an external'} link; expected "
                "the data itself in this file"
            )
        found = parent[name]
        address = _address(found)
        if address in self._seen:
            raise UserError(f"{where}: refused: a second name of an object that was met before")
        self._seen.add(address)
        return found

    def _distrust(self, dataset: h5py.Dataset, axes: int) -> str | None:
        """Why a dataset is not read, or None; looks at its header only."""
        plist = dataset.id.get_create_plist()
        if plist.get_external_count():
            return "its values lie in another file (external storage)"
        if plist.get_layout() not in LAYOUTS:
            return "its values are made of other files (virtual dataset)"
        foreign = [plist.get_filter(i) for i in range(plist.get_nfilters()) if plist.get_filter(i)[0] not in FILTERS]
        if foreign:
            return f"packed with filter {foreign[0][0]}; expected one of {', '.join(FILTERS.values())}"
        if dataset.dtype.kind not in "fiuS":  # strings of variable length can share, so multiply, their bytes
            return f"type {dataset.dtype}; expected numbers or strings of fixed length"
        if dataset.shape is None or len(dataset.shape) != axes:
            return f"shape {dataset.shape}; expected {axes} axes"
        declared = prod(dataset.shape) * dataset.dtype.itemsize
        held = dataset.id.get_storage_size()
        if plist.get_layout() != h5py.h5d.CHUNKED and declared != held:
            return f"declares {declared:,} bytes, holds {held:,}"
        self.budget -= declared
        if self.budget < 0:
            return f"the {self.size:,} bytes of the file would unpack to more than {MAX_RATIO} times as many"
        return None

    def _where(self, parent: h5py.Group, name: str) -> str:
        return f"{self.path}: {parent.name.rstrip('/')}/{name}"


@contextmanager
def opened(path: Path) -> Iterator[Reader]:
    """The file, read-only.

    Raises:
        UserError: missing, not HDF5 or damaged, here or while it is being read.
    """
    try:
        if not h5py.is_hdf5(path):
            raise UserError(f"{path}: not an HDF5 file")
        with h5py.File(path, "r", locking="best-effort") as file:
            yield Reader(file, path)
    except UserError:
        raise
    except UNREADABLE as error:
        raise UserError(f"{path}: damaged or cut short: {type(error).__name__}: {str(error)[:200]}") from None


def numbers(dataset: h5py.Dataset, where: str) -> np.ndarray:
    """All values of a numeric dataset.

    Raises:
        UserError: it holds text.
    """
    if dataset.dtype.kind not in "fiu":
        raise UserError(f"{where}: holds {dataset.dtype}; expected numbers")
    return dataset[()]


def strings(dataset: h5py.Dataset, where: str) -> list[str]:
    """All values of a dataset of strings, flat.

    Raises:
        UserError: it holds numbers.
    """
    if dataset.dtype.kind != "S":
        raise UserError(f"{where}: holds {dataset.dtype}; expected text")
    return [bytes(cell).decode("utf-8", "replace") for cell in np.ravel(dataset[()])]


def _address(item: h5py.Group | h5py.Dataset) -> int:
    return h5py.h5o.get_info(item.id).addr
