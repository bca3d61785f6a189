"""`.npy` and `.npz` files of strangers: sizes are checked before anything is unpacked, objects are read as plain data.

`numpy.load(..., allow_pickle=True)` would run whatever an object array's pickle says; here its payload goes through the
restricted unpickler.
"""

from __future__ import annotations

import io
import re
import zipfile
import zlib
from math import prod
from pathlib import Path

import numpy as np
from numpy.lib import format as npy

from mer_bench.errors import UserError
from mer_bench.prepare.unpickle import loads

HEADER_LIMIT = 10_000  # bytes; NumPy's own limit
FREE_SIZE = 2**28  # ours: archives that unpack to no more than this are never called a bomb
MAX_RATIO = 200  # ours: padded feature files reach about 20, DEFLATE can reach 1032
PLAIN_NAME = re.compile(r"(?!\.)[^/\\:\x00-\x1f\x7f]{1,200}")  # of a member: no folders, drives, dots in front
HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}


def load_npy(path: Path) -> np.ndarray:
    """The array in a `.npy` file; an object array holds plain data only.

    Raises:
        UserError: missing, damaged or of an unsafe type.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error}") from None
    return _array(data, str(path))


def load_npz(path: Path) -> dict[str, np.ndarray]:
    """The arrays in a `.npz` archive by name, each as from `load_npy`.

    Raises:
        UserError: missing or damaged archive, one that unpacks to far more than it holds, or an unsafe member.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            _check_sizes(path, members)
            found = {}
            for member in members:
                where = f"{path}: {member.filename}"
                found[member.filename.removesuffix(".npy")] = _array(archive.read(member), where)
            return found
    except (OSError, EOFError, ValueError, zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError) as error:
        raise UserError(f"{path}: not a complete .npz archive: {error}") from None


def _check_sizes(path: Path, members: list[zipfile.ZipInfo]) -> None:
    names = [member.filename for member in members]
    outside = [member.orig_filename for member in members if not PLAIN_NAME.fullmatch(member.orig_filename)]
    if outside:
        raise UserError(f"{path}: refused: member {outside[0]!r:.80} has a name that could lead out of a folder")
    foreign = [name for name in names if not name.endswith(".npy")]
    if foreign or len(set(names)) < len(names):
        what = f"holds {foreign[0]!r}, which is no array" if foreign else "holds two arrays of the same name"
        raise UserError(f"{path}: {what}; expected an archive written by numpy.savez")
    packed, held = sum(member.compress_size for member in members), path.stat().st_size
    unpacked = sum(member.file_size for member in members)
    if packed > held:
        raise UserError(f"{path}: refused: declares {packed:,} packed bytes, but has {held:,} (overlapping members?)")
    if unpacked > max(FREE_SIZE, MAX_RATIO * held):
        raise UserError(f"{path}: refused: {held:,} bytes would unpack to {unpacked:,} (more than {MAX_RATIO} times)")


def _array(data: bytes, where: str) -> np.ndarray:
    """Parse the content of a `.npy` file."""
    stream = io.BytesIO(data[: HEADER_LIMIT + 16])
    try:
        version = npy.read_magic(stream)
        if version not in HEADERS:
            raise ValueError(f"version {version} of the format")
        shape, fortran, kind = HEADERS[version](stream, max_header_size=HEADER_LIMIT)
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError) as error:
        raise UserError(f"{where}: not a .npy array: {error}") from None
    payload = data[stream.tell() :]
    if kind == np.dtype(object):
        return _objects(payload, shape, where)
    if kind.kind not in "biufcSU" or kind.itemsize == 0:
        raise UserError(f"{where}: refused: array type {kind}; expected numbers or strings")
    if any(size < 0 for size in shape) or len(payload) != prod(shape) * kind.itemsize:
        raise UserError(
            f"{where}: declares {shape} x {kind}, {prod(shape) * kind.itemsize:,} bytes, but holds {len(payload):,}"
        )
    array = np.frombuffer(payload, kind) if payload else np.empty(0, kind)
    return array.reshape(shape, order="F" if fortran else "C")


def _objects(payload: bytes, shape: tuple[int, ...], where: str) -> np.ndarray:
    found = loads(payload, where)
    if not isinstance(found, np.ndarray) or found.shape != shape:
        raise UserError(f"{where}: declares objects of shape {shape}, but holds something else")
    return found
