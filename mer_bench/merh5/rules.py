"""The rules of the file as a whole, its items and its splits. Each rule yields faults; none of them raises.

Rules see a `Tree`, so the writer judges what it is about to store by the same rules as the validator.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from mer_bench.errors import did_you_mean
from mer_bench.merh5.layout import CORPUS, ID, Tree
from mer_bench.merh5.report import at_rows, decoded, few, name_faults, show
from mer_bench.merh5.schema import GROUP_KEYS, PARTS, Fault

SHA256 = re.compile(r"[0-9a-f]{64}")
SOURCE_TYPES = {"name": str, "sha256": str, "bytes": int, "origin": str}


@dataclass(frozen=True)
class Scope:
    """What every rule may look at.

    Attributes:
        tree: the parts of the file.
        ids: name of each item, for the reports.
        deep: pass over all values, not only over what is small.
    """

    tree: Tree
    ids: list[str]
    deep: bool

    @property
    def n(self) -> int:
        """Number of items."""
        return len(self.ids)


def root_rules(scope: Scope) -> Iterator[Fault]:
    """Corpus, sources, repairs, truth; at least one modality."""
    attrs = scope.tree.attrs[""]
    if not CORPUS.fullmatch(attrs["corpus"]):
        yield Fault("@corpus", show(attrs["corpus"]), "an illegal slug (expected small letters, digits and hyphens)")
    truth = attrs["truth"]
    if truth is not None and (not isinstance(truth, dict) or not attrs["synthetic"]):
        yield Fault("@truth", "", "a stated truth (expected an object, in a synthetic file only)")
    sources = attrs["sources"]
    if not isinstance(sources, list) or not all(_is_source(source) for source in sources):
        yield Fault("@sources", "", "malformed (expected a list of name, sha256, bytes, origin)")
    repairs = attrs["repairs"]
    if not isinstance(repairs, dict) or not all(type(count) is int and count >= 0 for count in repairs.values()):
        yield Fault("@repairs", "", "malformed (expected counts by kind of repair)")
    if not scope.tree.names("modalities"):
        yield Fault("modalities", "", "no modality (expected at least one)")


def _is_source(source: Any) -> bool:
    if not isinstance(source, dict) or {key: type(value) for key, value in source.items()} != SOURCE_TYPES:
        return False
    return source["bytes"] >= 0 and (not source["sha256"] or bool(SHA256.fullmatch(source["sha256"])))


def item_rules(scope: Scope) -> Iterator[Fault]:
    """Ids, groups, order, times and further columns."""
    tree = scope.tree
    if tree.attrs["items"]["n"] != scope.n:
        yield Fault("items@n", "", f"{tree.attrs['items']['n']} (expected {scope.n}, the number of ids)")
    if not scope.n:
        yield Fault("items/id", "", "no items (expected at least one)")
    yield from few(_id_faults(scope.ids))
    for key in GROUP_KEYS:
        yield from _group_rules(scope, key)
    if "items/order" in tree.data:
        rows = np.flatnonzero(tree.data["items/order"][:] < -1)
        yield from at_rows("items/order", scope.ids, rows, "a negative position (expected 0 or more, or -1 for none)")
    yield from _time_rules(scope)
    for place in [place for place in tree.data if place.startswith("items/attr/")]:
        if tree.data[place].dtype.kind == "S":
            texts, faults = decoded(place, tree.data[place])
            yield from faults or few(name_faults(place, texts, unique=False, empty=True))
        else:
            rows = np.flatnonzero(np.isinf(tree.data[place][:]))
            yield from at_rows(place, scope.ids, rows, "infinite (expected a number, or NaN where unknown)")
    if "items/text" in tree.data and scope.deep:
        yield from decoded("items/text", tree.data["items/text"])[1]


def _id_faults(ids: list[str]) -> Iterator[Fault]:
    for row, name in enumerate(ids):
        if not ID.fullmatch(name):
            what = "an illegal id" if name else "an empty id"
            expected = "1 to 128 letters, digits, _ . or -, no dot in front"
            yield Fault(f"items/id[{row}]", show(name), f"{what} (expected {expected})")
    for name, count in Counter(ids).items():
        if count > 1:
            yield Fault("items/id", show(name), f"stands there {count} times (expected unique ids)")


def _group_rules(scope: Scope, key: str) -> Iterator[Fault]:
    codes, names = scope.tree.data.get(f"items/{key}"), scope.tree.data.get(f"vocab/{key}")
    if codes is None and names is None:
        return
    if codes is None or names is None:
        here, there = ("vocab", "items") if codes is None else ("items", "vocab")
        yield Fault(f"{there}/{key}", "", f"missing, while {here}/{key} is there (expected both or none)")
        return
    texts, faults = decoded(f"vocab/{key}", names)
    yield from faults or few(name_faults(f"vocab/{key}", texts))
    codes = codes[:]
    rows = np.flatnonzero((codes < 0) | (codes >= len(texts)))
    yield from at_rows(f"items/{key}", scope.ids, rows, f"an index outside vocab/{key} (expected 0..{len(texts) - 1})")


def _time_rules(scope: Scope) -> Iterator[Fault]:
    columns = {
        key: scope.tree.data[f"items/{key}"][:] for key in ("start_s", "end_s") if f"items/{key}" in scope.tree.data
    }
    for key, column in columns.items():
        rows = np.flatnonzero(np.isinf(column))
        yield from at_rows(f"items/{key}", scope.ids, rows, "infinite (expected seconds, or NaN where unknown)")
    if len(columns) == 2:
        rows = np.flatnonzero(columns["end_s"] < columns["start_s"])
        yield from at_rows("items/end_s", scope.ids, rows, "before start_s (expected start_s <= end_s)")


def split_rules(scope: Scope, place: str) -> Iterator[Fault]:
    """Parts 0..3, a training part in each fold, and no group of a promised key in two parts."""
    table = scope.tree.data[f"{place}/table"][:]
    keys = scope.tree.attrs[place]["disjoint_by"]
    if not len(table):
        yield Fault(f"{place}/table", "", "no fold (expected at least one)")
    for fold, row in enumerate(table):
        where = f"{place}/table[{fold}]"
        rows = np.flatnonzero(row > 3)
        yield from at_rows(where, scope.ids, rows, "no such part (expected 0 unused, 1 train, 2 validation, 3 test)")
        if not (row == 1).any():
            yield Fault(where, "", "no item to train on (expected at least one 1)")
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        yield Fault(f"{place}@disjoint_by", "", "malformed (expected a list of keys)")
        return
    for key in keys:
        yield from _disjoint(scope, place, key, np.where(table > 3, 0, table))


def _disjoint(scope: Scope, place: str, key: str, table: np.ndarray) -> Iterator[Fault]:
    groups = group_codes(scope.tree, key)
    if groups is None:
        columns = [name for name in GROUP_KEYS if f"vocab/{name}" in scope.tree.data]
        yield Fault(
            f"{place}@disjoint_by",
            show(key),
            f"no such groups (expected a column of text; {did_you_mean(key, columns)})",
        )
        return
    names, codes = groups
    for fold, row in enumerate(table):
        inside = np.zeros((len(names), len(PARTS)), dtype=bool)
        inside[codes, row] = True
        inside[:, 0] = False
        yield from few(
            Fault(
                f"{place}/table[{fold}]",
                show(names[group]),
                f"this {key} is in {' and '.join(np.array(PARTS)[inside[group]])} (expected one part)",
            )
            for group in np.flatnonzero(inside.sum(axis=1) > 1)
        )


def group_codes(tree: Tree, key: str) -> tuple[list[str], np.ndarray] | None:
    """Names of the groups of a key and the index of each item's group, or None when there is no such text column."""
    if f"items/{key}" in tree.data and f"vocab/{key}" in tree.data:
        names = decoded("", tree.data[f"vocab/{key}"])[0]
        return names, np.clip(tree.data[f"items/{key}"][:], 0, max(0, len(names) - 1))
    column = tree.data.get(f"items/attr/{key}")
    if column is None or column.dtype.kind != "S":
        return None
    distinct, codes = np.unique(column[:], return_inverse=True)
    return decoded("", distinct)[0], codes.reshape(-1)
