"""Write a feature file: judge the contents, then store them, whole or not at all."""

from __future__ import annotations

import json
import os
import secrets
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from mer_bench.errors import UserError
from mer_bench.merh5.encode import encode
from mer_bench.merh5.hashing import content_sha256
from mer_bench.merh5.layout import GROUPS, AttrType, Tree, pattern
from mer_bench.merh5.schema import Contents
from mer_bench.merh5.validator import judge, refusal

LIBVER = ("v108", "v108")  # object headers and superblock carry checksums from here on; any HDF5 since 1.8 reads it


def write(path: str | Path, contents: Contents) -> str:
    """Validate contents and write them as a merh5 1.0 file.

    The file appears under its name only when it is complete and on disk; a failure leaves what was there before.
    Missing folders on the way are made.

    Args:
        path: the file to write; an existing one is replaced.
        contents: what to write.

    Returns:
        The content hash, 64 hex digits.

    Raises:
        UserError: the contents break a rule of the schema, or the file cannot be written.
    """
    try:
        tree = encode(contents)
    except UserError as exc:
        raise UserError(f"{path}: not written: {exc}") from None
    faults = judge(tree, deep=True)
    if faults:
        raise refusal(path, faults, "not written")
    digest = content_sha256(tree)
    tree.attrs[""] |= {
        "content_sha256": digest,
        "created_utc": datetime.now(UTC).isoformat(timespec="seconds"),
        "creator": f"mer-bench {_version()}",
    }
    _publish(Path(path), tree)
    return digest


def _version() -> str:
    """Version of the package; its front door is not imported by name, because it leads to every other room."""
    return import_module(__name__.partition(".")[0]).__version__


def _publish(path: Path, tree: Tree) -> None:
    if path.is_dir():
        raise UserError(f"{path}: is a folder (expected the name of a file to write)")
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        store(temporary, tree)
        _sync(temporary)
        temporary.replace(path)
        _sync(path.parent)
    except (OSError, RuntimeError) as exc:  # h5py tells of a full disk by either
        raise UserError(f"{path}: cannot be written: {exc}") from exc
    finally:
        temporary.unlink(missing_ok=True)


def store(path: Path, tree: Tree) -> None:
    """Put the parts of a tree into a new HDF5 file, contiguous and without filters."""
    with h5py.File(path, "x", libver=LIBVER, alignment_threshold=4096, alignment_interval=64) as file:
        for group in sorted(tree.attrs):
            target = file.require_group(group or "/")
            for name, value in tree.attrs[group].items():
                _attr(target, name, GROUPS[pattern(group)[0]][name].type, value)
        for name in sorted(tree.data):
            array = tree.data[name]
            if array.dtype.kind == "S":
                array = array.astype(h5py.string_dtype("utf-8", array.dtype.itemsize))
            file.create_dataset(name, data=array, track_times=False)


def _attr(target: h5py.Group, name: str, kind: AttrType, value: Any) -> None:
    match kind:
        case "float":
            target.attrs[name] = np.float64(value)
        case "int":
            target.attrs[name] = np.int64(value)
        case "flag":
            target.attrs[name] = np.uint8(value)
        case "text" | "json":
            text = (value if kind == "text" else json.dumps(value, ensure_ascii=False, allow_nan=False)).encode()
            target.attrs.create(name, np.bytes_(text), dtype=h5py.string_dtype("utf-8", max(1, len(text))))


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
