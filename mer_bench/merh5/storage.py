"""How datasets and attributes may be stored. Looks at headers before it reads anything."""

from __future__ import annotations

import json
import math
from typing import Any

import h5py
import numpy as np

from mer_bench.merh5.layout import MAX_ATTR_BYTES, AttrType
from mer_bench.merh5.report import show

ATTR_TYPES = {"float": "<f8", "int": "<i8", "flag": "|u1"}
LAYOUTS = {h5py.h5d.COMPACT: "compact", h5py.h5d.CHUNKED: "chunked", h5py.h5d.VIRTUAL: "virtual (made of other files)"}


class BadAttrError(Exception):
    """An attribute that is not stored as the layout says."""


def dataset_fault(dataset: h5py.Dataset, dtypes: tuple[str, ...], axes: int, size: int) -> str | None:
    """What is wrong with the storage of a dataset, or None. Looks at headers only."""
    plist = dataset.id.get_create_plist()
    if plist.get_external_count():
        return "external storage (expected the data in this file)"
    if plist.get_layout() != h5py.h5d.CONTIGUOUS:
        kind = LAYOUTS.get(plist.get_layout(), "unknown")
        filters = [plist.get_filter(i)[3].decode(errors="replace") for i in range(plist.get_nfilters())]
        packed = f" with filter {show(', '.join(filters))}" if filters else ""
        return f"{kind} storage{packed} (expected contiguous, without filters); h5repack -l CONTI -f NONE unpacks"
    if dataset.attrs:
        return "attributes on a dataset (expected none)"
    kind = dataset.id.get_type()
    dtype = dataset.dtype
    text = isinstance(kind, h5py.h5t.TypeStringID) and not kind.is_variable_str()
    if (not text and (dtype.hasobject or dtype.str not in dtypes)) or (text and "S" not in dtypes):
        found = "variable-length strings, references or objects" if dtype.hasobject else f"type {dtype.str}"
        return f"{found} (expected {' or '.join(name.replace('S', 'text of fixed length') for name in dtypes)})"
    if dataset.shape is None or (axes and len(dataset.shape) != axes):
        return f"shape {dataset.shape} (expected {axes} axes)"
    declared = math.prod(dataset.shape) * dtype.itemsize
    start = dataset.id.get_offset()
    held = dataset.id.get_storage_size() if start is not None else 0
    if (declared != held and declared) or (declared and start + declared > size):
        return f"declares {declared} bytes, holds {held} (expected a size that fits the file's {size} bytes)"
    return None


def read_attr(group: h5py.Group, name: str, kind: AttrType) -> Any:
    """An attribute as a Python value.

    Raises:
        KeyError: the group has no such attribute.
        BadAttrError: it is of another type, not one value, or too big; nothing was read.
    """
    stored = group.attrs.get_id(name)
    if stored.get_space().get_simple_extent_type() != h5py.h5s.SCALAR or stored.get_storage_size() > MAX_ATTR_BYTES:
        raise BadAttrError("not one value of at most 16 MiB")
    if kind in ATTR_TYPES:
        if stored.dtype.str != ATTR_TYPES[kind]:
            raise BadAttrError(f"type {stored.dtype.str}")
        value = np.zeros((), stored.dtype)
        stored.read(value)
        if kind == "flag" and value > 1:
            raise BadAttrError(f"value {value}")
        return {"float": float, "int": int, "flag": bool}[kind](value)
    type_id = stored.get_type()
    if not isinstance(type_id, h5py.h5t.TypeStringID) or type_id.is_variable_str():
        raise BadAttrError("not a string of fixed length")
    text = np.bytes_(group.attrs[name]).decode()
    return json.loads(text) if kind == "json" else text
