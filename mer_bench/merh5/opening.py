"""Open an HDF5 file from strangers: nothing is followed, and nothing is read before its size is known to fit.

The walk visits only the groups and datasets that the layout names. What it does not trust becomes a fault and stays
out of the tree. Datasets lie in one piece and without filters, so nothing can unpack to more than the file's own size.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py

from mer_bench.errors import UserError
from mer_bench.merh5.layout import DATA, GROUPS, NAME, REQUIRED_GROUPS, Tree, pattern
from mer_bench.merh5.report import show, unreadable
from mer_bench.merh5.schema import SCHEMA, VERSION, Fault
from mer_bench.merh5.storage import BadAttrError, dataset_fault, read_attr

MAX_OBJECTS = 10_000
UNREADABLE = (OSError, RuntimeError, KeyError, TypeError, ValueError, RecursionError, MemoryError)


class Unreadable(UserError):
    """The file cannot be opened as merh5 at all.

    Attributes:
        reason: why, without the path.
    """

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.reason = reason


@contextmanager
def opened(path: Path) -> Iterator[h5py.File]:
    """The file, read-only, after a look at its signature, its length and its version.

    Raises:
        Unreadable: it is missing, truncated, not HDF5, not merh5, or of another version.
    """
    try:
        if path.exists() and not path.is_file():
            raise Unreadable(path, "not a file (expected a merh5 feature file)")
        with path.open("rb"):
            pass
        if not h5py.is_hdf5(path):
            raise Unreadable(path, "not an HDF5 file (expected a merh5 feature file)")
        file = h5py.File(path, "r", locking="best-effort")
    except Unreadable:
        raise
    except FileNotFoundError:
        raise Unreadable(path, "no such file (expected a merh5 feature file)") from None
    except (OSError, ValueError) as exc:
        raise Unreadable(path, _why(exc)) from None
    with file:
        _version(path, file)
        yield file


def open_tree(file: h5py.File) -> tuple[Tree, list[Fault]]:
    """The trusted parts of an opened file, and what is wrong with the way the rest is stored."""
    walk = _Walk(Path(file.filename).stat().st_size)
    if file.userblock_size:
        walk.blame("", f"a user block of {file.userblock_size} bytes (expected none)")
    try:
        walk.group(file, "")
    except UNREADABLE as exc:
        walk.blame("", unreadable(exc))
    walk.completeness()
    walk.overlaps()
    walk.shapes()
    return walk.tree, walk.faults


def _why(exc: Exception) -> str:
    text = str(exc)
    sizes = re.search(r"truncated file: eof = (\d+).*stored_eof = (\d+)", text)
    if sizes:
        return f"truncated: {sizes[1]} bytes (expected {sizes[2]}); copy or make it again"
    if isinstance(exc, OSError) and exc.errno and exc.strerror:
        return f"cannot be opened: {exc.strerror}"
    return f"damaged, cannot be opened as HDF5 (expected a merh5 feature file): {show(text)}"


def _version(path: Path, file: h5py.File) -> None:
    try:
        schema, version = (read_attr(file, name, "text") for name in ("schema", "schema_version"))
    except (OSError, RuntimeError) as exc:
        raise Unreadable(path, unreadable(exc)) from None
    except (*UNREADABLE, BadAttrError):
        raise Unreadable(path, f"not a merh5 file (expected attributes schema = {SCHEMA}, schema_version)") from None
    if schema != SCHEMA:
        raise Unreadable(path, f"schema {show(schema)!r} (expected {SCHEMA})")
    if version != VERSION:
        raise Unreadable(
            path, f"schema version {show(version)} (expected {VERSION}); this release reads {VERSION} only"
        )


class _Walk:
    """One pass over the structure of a file."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.tree = Tree({"": {}})
        self.faults: list[Fault] = []
        self.seen: dict[int, str] = {}
        self.visited = 0

    def blame(self, place: str, message: str) -> None:
        self.faults.append(Fault(show(place), "", message))

    def group(self, group: h5py.Group, path: str) -> None:
        self.seen[h5py.h5o.get_info(group.id).addr] = path
        self.attributes(group, path)
        for name in group:
            place = f"{path}/{name}" if path else name
            self.visited += 1
            if self.visited > MAX_OBJECTS:
                self.blame(path, f"more than {MAX_OBJECTS} objects (expected fewer); the rest was not looked at")
                return
            try:
                fault = self.child(group, name, place)
            except UNREADABLE as exc:
                fault = unreadable(exc)
            if fault:
                self.blame(place, fault)

    def child(self, group: h5py.Group, name: str, place: str) -> str | None:
        link = group.get(name, getclass=True, getlink=True)
        if link is not h5py.HardLink:
            return f"{'a soft' if link is h5py.SoftLink else 'an external'} link (expected the data itself)"
        item = group[name]
        address = h5py.h5o.get_info(item.id).addr
        if address in self.seen:
            return f"a second link to /{show(self.seen[address])} (expected each object once)"
        key, free = pattern(place)
        if free and not NAME.fullmatch(free):
            return "an illegal name (expected letters, digits, _ and -, at most 64)"
        if isinstance(item, h5py.Group) and key in GROUPS:
            self.group(item, place)
            return None
        if not isinstance(item, h5py.Dataset) or key not in DATA:
            return f"{type(item).__name__.lower()} not known to {SCHEMA} {VERSION} (expected none)"
        self.seen[address] = place
        fault = dataset_fault(item, DATA[key].dtypes, len(DATA[key].shape), self.size)
        if fault is None:
            self.tree.data[place] = item
        return fault

    def attributes(self, group: h5py.Group, path: str) -> None:
        rules = GROUPS[pattern(path)[0]]
        found: dict[str, Any] = {}
        for name in group.attrs:
            if name not in rules:
                self.blame(f"{path}@{name}", "unknown attribute (expected none)")
        for name, rule in rules.items():
            try:
                found[name] = read_attr(group, name, rule.type)
            except KeyError:
                if rule.required:
                    self.blame(f"{path}@{name}", f"missing attribute (expected {rule.type})")
            except (BadAttrError, *UNREADABLE) as exc:
                self.blame(f"{path}@{name}", f"{show(exc)} (expected {rule.type})")
        self.tree.attrs[path] = found

    def completeness(self) -> None:
        known = {fault.place for fault in self.faults}
        for path in REQUIRED_GROUPS:
            if path not in self.tree.attrs and path not in known:
                self.blame(path, f"missing group (expected in {SCHEMA} {VERSION})")
        for key, rule in DATA.items():
            parent, _, name = key.rpartition("/")
            for path in self.tree.attrs:
                place = f"{path}/{name}"
                if rule.required and pattern(path)[0] == parent and place not in {*self.tree.data, *known}:
                    self.blame(place, f"missing dataset (expected in {SCHEMA} {VERSION})")

    def overlaps(self) -> None:
        spans = [(item.id.get_offset(), item.nbytes, place) for place, item in self.tree.data.items() if item.nbytes]
        end, last = 0, ""
        for start, length, place in sorted(spans):
            if start < end:
                self.blame(place, f"shares bytes with /{last} (expected its own)")
                del self.tree.data[place]
            end, last = max(end, start + length), place

    def shapes(self) -> None:
        ids = self.tree.data.get("items/id")
        sizes: dict[tuple[str, str], int] = {}
        if ids is not None:
            sizes |= {("", "N"): ids.shape[0], ("", "N+1"): ids.shape[0] + 1}
        for key, rule in DATA.items():  # values before what must match them
            for place in [place for place in self.tree.data if pattern(place)[0] == key]:
                shape = self.tree.data[place].shape
                scope = [("" if axis in ("N", "N+1") else place.rpartition("/")[0], str(axis)) for axis in rule.shape]
                wanted = [
                    axis if isinstance(axis, int) else sizes.setdefault(slot, size)
                    for axis, slot, size in zip(rule.shape, scope, shape, strict=False)
                ]
                if rule.shape and shape != tuple(wanted):
                    self.blame(place, f"shape {shape} (expected {tuple(wanted)})")
                    del self.tree.data[place]
