"""The rules of modalities and label tables."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, get_args

import numpy as np

from mer_bench.merh5.hashing import chunks
from mer_bench.merh5.report import at_counts, at_rows, decoded, few, name_faults, show
from mer_bench.merh5.rules import SHA256, Scope
from mer_bench.merh5.schema import CLASS_KINDS, Fault, LabelKind, ModalityKind
from mer_bench.types import Level


def modality_rules(scope: Scope, place: str) -> Iterator[Fault]:
    """Attributes, offsets, presence and names; deep: also every value."""
    data, attrs = scope.tree.data, scope.tree.attrs[place]
    values, offsets = data[f"{place}/values"], data[f"{place}/offsets"][:]
    yield from _one_of(place, "kind", attrs["kind"], get_args(ModalityKind))
    yield from _clock(place, attrs, "rate_hz", lowest=0.0)
    yield from _clock(place, attrs, "t0_s", lowest=-math.inf)
    if attrs["weights_sha256"] and not SHA256.fullmatch(attrs["weights_sha256"]):
        yield Fault(f"{place}@weights_sha256", show(attrs["weights_sha256"]), "not a sha256 (expected 64 hex digits)")
    yield from _fitted_on(scope, place, attrs.get("fitted_on", ""))
    if attrs["dim"] != values.shape[1] or not values.shape[1]:
        yield Fault(f"{place}@dim", "", f"{attrs['dim']} (expected {values.shape[1]}, the width of values, and not 0)")
    names = data.get(f"{place}/names")
    if names is not None:
        texts, faults = decoded(f"{place}/names", names)
        yield from faults or few(name_faults(f"{place}/names", texts))
    broken = list(_offset_rules(scope, f"{place}/offsets", offsets, values.shape[0]))
    yield from broken
    if broken:
        return  # rows cannot be told to items
    yield from _presence(scope, place, attrs["kind"], offsets)
    if scope.deep:
        yield from _value_pass(scope, place, offsets)
        yield from _times(scope, place, offsets)


def _fitted_on(scope: Scope, place: str, scheme: str) -> Iterator[Fault]:
    table = scope.tree.data.get(f"splits/{scheme}/table")
    if scheme and (table is None or table.shape[0] != 1):
        yield Fault(f"{place}@fitted_on", show(scheme), "no such split (expected the name of one with a single fold)")


def _presence(scope: Scope, place: str, kind: str, offsets: np.ndarray) -> Iterator[Fault]:
    present, lengths = scope.tree.data[f"{place}/present"][:], np.diff(offsets)
    rows = np.flatnonzero(present != (lengths > 0))
    yield from at_rows(
        f"{place}/present", scope.ids, rows, "does not match (expected 1 when the length is above 0, else 0)"
    )
    if kind == "utterance":
        rows = np.flatnonzero(lengths > 1)
        yield from at_rows(f"{place}/offsets", scope.ids, rows, "several rows (expected at most one in an utterance)")


def _offset_rules(scope: Scope, place: str, offsets: np.ndarray, rows: int) -> Iterator[Fault]:
    if offsets[0] != 0:
        yield Fault(f"{place}[0]", "", f"{offsets[0]} (expected 0)")
    if offsets[-1] != rows:
        yield Fault(f"{place}[{len(offsets) - 1}]", "", f"{offsets[-1]} (expected {rows}, the number of rows)")
    falling = np.flatnonzero(offsets[1:] < offsets[:-1])
    yield from at_rows(place, scope.ids, falling, "ends before it starts (expected offsets that never fall)")


def _value_pass(scope: Scope, place: str, offsets: np.ndarray) -> Iterator[Fault]:
    data = scope.tree.data
    valid = data.get(f"{place}/valid")
    infinite, hidden, strange = (np.zeros(scope.n, dtype=np.int64) for _ in range(3))
    for start, part in chunks(data[f"{place}/values"]):
        flags = np.ones(len(part), dtype=np.uint8) if valid is None else valid[start : start + len(part)]
        finite = np.isfinite(part)
        _count(infinite, offsets, start, (flags != 0) * (~finite).sum(axis=1))
        _count(hidden, offsets, start, (flags == 0) * (part != 0).sum(axis=1))
        _count(strange, offsets, start, flags > 1)
    yield from at_counts(
        f"{place}/values", scope.ids, infinite, "non-finite values", "finite ones, or valid = 0 for their rows"
    )
    yield from at_counts(f"{place}/values", scope.ids, hidden, "non-zero values in rows with valid = 0", "0 there")
    yield from at_counts(f"{place}/valid", scope.ids, strange, "entries above 1", "0 or 1")


def _times(scope: Scope, place: str, offsets: np.ndarray) -> Iterator[Fault]:
    times = scope.tree.data.get(f"{place}/times")
    if times is None:
        return
    wrong = np.zeros(scope.n, dtype=np.int64)
    for start, part in chunks(times):
        _count(wrong, offsets, start, ~np.isfinite(part).all(axis=1) | (part[:, 1] < part[:, 0]))
    yield from at_counts(f"{place}/times", scope.ids, wrong, "impossible times", "finite, start <= end")


def _count(counts: np.ndarray, offsets: np.ndarray, start: int, per_row: np.ndarray) -> None:
    """Add numbers per row to the items that the rows belong to."""
    rows = np.flatnonzero(per_row)
    np.add.at(counts, np.searchsorted(offsets, rows + start, side="right") - 1, per_row[rows].astype(np.int64))


def label_rules(scope: Scope, place: str) -> Iterator[Fault]:
    """Attributes, shapes and the values of item-level tables; deep: also those of frame-level tables."""
    data, attrs = scope.tree.data, scope.tree.attrs[place]
    broken = [*_label_attrs(place, attrs), *_label_shapes(scope, place)]
    yield from broken
    if broken:
        return
    frames = attrs["level"] == "frame"
    offsets = data[f"{place}/offsets"][:] if frames else np.arange(scope.n + 1)
    wrong = list(_offset_rules(scope, f"{place}/offsets", offsets, data[f"{place}/values"].shape[0]))
    yield from wrong
    if not wrong and (scope.deep or not frames):
        yield from _label_pass(scope, place, offsets)
        yield from _times(scope, place, offsets)


def _label_attrs(place: str, attrs: dict[str, Any]) -> Iterator[Fault]:
    yield from _one_of(place, "kind", attrs["kind"], get_args(LabelKind))
    yield from _one_of(place, "level", attrs["level"], get_args(Level))
    yield from _clock(place, attrs, "rate_hz", lowest=0.0)
    names = attrs["names"]
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        yield Fault(f"{place}@names", "", "malformed (expected a list of names)")
    else:
        if len(names) < (2 if attrs["kind"] in CLASS_KINDS else 1):
            yield Fault(f"{place}@names", "", f"{len(names)} names (expected one, or two or more classes)")
        yield from few(name_faults(f"{place}@names", names))
    ends = attrs["range"]
    if ends is not None and not (attrs["kind"] == "regression" and _is_range(ends)):
        yield Fault(f"{place}@range", "", "malformed (expected lowest and highest value, of a regression only)")


def _is_range(ends: Any) -> bool:
    numbers = isinstance(ends, list) and len(ends) == 2 and all(type(end) in (int, float) for end in ends)
    return numbers and all(math.isfinite(end) for end in ends) and ends[0] < ends[1]


def _label_shapes(scope: Scope, place: str) -> Iterator[Fault]:
    data, attrs = scope.tree.data, scope.tree.attrs[place]
    values, mask = data[f"{place}/values"], data[f"{place}/mask"]
    classes, frames = attrs["kind"] in CLASS_KINDS, attrs["level"] == "frame"
    clocks = [name for name in ("offsets", "times") if f"{place}/{name}" in data]
    if frames and "offsets" not in clocks:
        yield Fault(f"{place}/offsets", "", "missing (expected with labels per frame)")
    if frames and "times" not in clocks and not attrs["rate_hz"]:
        yield Fault(f"{place}@rate_hz", "", "frames without a clock (expected a rate above 0, or times)")
    if not frames and (clocks or attrs["rate_hz"]):
        yield Fault(place, "", "a clock with one label per item (expected no offsets, times or rate)")
    rows = values.shape[0] if frames and values.ndim else scope.n
    shape = (rows,) if classes else (rows, len(attrs["names"] if isinstance(attrs["names"], list) else ()))
    for name, array in (("values", values), ("mask", mask)):
        if array.shape != shape:
            yield Fault(f"{place}/{name}", "", f"shape {array.shape} (expected {shape})")
    dtype = "<i8" if classes else "<f4"
    if values.dtype.str != dtype:
        yield Fault(f"{place}/values", "", f"type {values.dtype.str} (expected {dtype} for {show(attrs['kind'])})")
    times = data.get(f"{place}/times")
    if times is not None and times.shape != (rows, 2):
        yield Fault(f"{place}/times", "", f"shape {times.shape} (expected {(rows, 2)})")


def _label_pass(scope: Scope, place: str, offsets: np.ndarray) -> Iterator[Fault]:
    data, attrs = scope.tree.data, scope.tree.attrs[place]
    mask = data[f"{place}/mask"]
    low, high, expected = _legal(attrs)
    outside, hidden, strange = (np.zeros(scope.n, dtype=np.int64) for _ in range(3))
    for start, part in chunks(data[f"{place}/values"]):
        part = part.reshape(len(part), -1)
        flags = mask[start : start + len(part)].reshape(len(part), -1)
        legal = np.isfinite(part) & (part >= low) & (part <= high)
        if attrs["kind"] == "multilabel":
            legal &= (part == 0) | (part == 1)
        _count(outside, offsets, start, ((flags != 0) & ~legal).sum(axis=1))
        _count(hidden, offsets, start, ((flags == 0) & (part != 0)).sum(axis=1))
        _count(strange, offsets, start, (flags > 1).sum(axis=1))
    yield from at_counts(f"{place}/values", scope.ids, outside, "labels out of range", expected)
    yield from at_counts(f"{place}/values", scope.ids, hidden, "non-zero labels where the mask is 0", "0 there")
    yield from at_counts(f"{place}/mask", scope.ids, strange, "entries above 1", "0 or 1")


def _legal(attrs: dict[str, Any]) -> tuple[float, float, str]:
    if attrs["kind"] in CLASS_KINDS:
        last = len(attrs["names"]) - 1
        return 0, last, f"a class index in 0..{last}"
    if attrs["kind"] == "multilabel":
        return 0, 1, "0 or 1"
    low, high = attrs["range"] or (-math.inf, math.inf)
    return low, high, f"{low:g} to {high:g}" if attrs["range"] else "finite numbers"


def _one_of(place: str, name: str, value: str, allowed: tuple[str, ...]) -> Iterator[Fault]:
    if value not in allowed:
        yield Fault(f"{place}@{name}", show(value), f"unknown {name} (expected {', '.join(allowed)})")


def _clock(place: str, attrs: dict[str, Any], name: str, lowest: float) -> Iterator[Fault]:
    value = attrs[name]
    if not math.isfinite(value) or value < lowest:
        yield Fault(f"{place}@{name}", "", f"{value} (expected a finite number{', 0 or more' if lowest == 0 else ''})")
