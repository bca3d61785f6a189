"""Helpers to word faults: names from strangers made printable, long lists cut."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

import numpy as np

from mer_bench.merh5.schema import Fault

LIMIT = 20
NAME_BYTES = 200


def show(value: object) -> str:
    """A value from a file as one short printable line."""
    text = str(value)
    text = text if len(text) <= 160 else text[:157] + "..."
    return "".join(char if char.isprintable() else char.encode("unicode_escape", "replace").decode() for char in text)


def unreadable(exc: Exception) -> str:
    """What a library says of bytes it cannot read, as the message of a fault."""
    return f"cannot be read: {show(exc.args[-1] if exc.args else exc)} (expected an undamaged file)"


def few(faults: Iterable[Fault]) -> Iterator[Fault]:
    """The first 20 of faults of one kind, and how many more there are."""
    rest = iter(faults)
    place = ""
    for fault in islice(rest, LIMIT):
        place = fault.place
        yield fault
    more = sum(1 for _ in rest)
    if more:
        yield Fault(place, "", f"and {more} more of this kind")


def at_rows(place: str, ids: Sequence[str], rows: np.ndarray, message: str) -> Iterator[Fault]:
    """One fault for each of some items."""
    return few(Fault(place, show(ids[row]), message) for row in rows.tolist())


def at_counts(place: str, ids: Sequence[str], counts: np.ndarray, what: str, expected: str) -> Iterator[Fault]:
    """One fault for each item with a count above zero."""
    return few(
        Fault(place, show(ids[row]), f"{counts[row]} {what} (expected {expected})")
        for row in np.flatnonzero(counts).tolist()
    )


def decoded(place: str, column: Any) -> tuple[list[str], list[Fault]]:
    """A column of strings, and a fault for each entry that is not UTF-8 (kept with escapes)."""
    texts, faults = [], []
    for row, item in enumerate(np.asarray(column[:]).tolist()):
        try:
            texts.append(item.decode())
        except UnicodeDecodeError:
            texts.append(item.decode(errors="backslashreplace"))
            faults.append(Fault(f"{place}[{row}]", show(texts[-1]), "not UTF-8 (expected text)"))
    return texts, list(few(faults))


def name_faults(place: str, names: Sequence[str], *, unique: bool = True, empty: bool = False) -> Iterator[Fault]:
    """Faults of names that people read (classes, features, speakers): printable, not padded, not repeated."""
    seen: set[str] = set()
    for row, name in enumerate(names):
        where = f"{place}[{row}]"
        if not name and not empty:
            yield Fault(where, "", "an empty name (expected text)")
        elif not name.isprintable() or name != name.strip():
            yield Fault(where, show(name), "control, invisible or outer blank characters (expected printable text)")
        elif len(name.encode()) > NAME_BYTES:
            yield Fault(where, show(name), f"{len(name.encode())} bytes (expected at most {NAME_BYTES})")
        elif unique and name in seen:
            yield Fault(where, show(name), "a name that stands there already (expected each name once)")
        seen.add(name)
