"""The content hash: equal for equal content, whoever wrote the file and in whichever order.

It covers every dataset (path, type, shape, values in C order, little-endian) and every attribute that changes what the
data mean (names and order of classes, kinds, rates, extractor, synthetic, the stated truth). It leaves out dates, the
tool's version, licence, sources and notes. Strings enter with their own length, so padding does not matter.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from mer_bench.merh5.layout import GROUPS, Tree, pattern
from mer_bench.merh5.opening import open_tree, opened

CHUNK_BYTES = 8 << 20


def chunks(array: Any) -> Iterator[tuple[int, np.ndarray]]:
    """Slices of the first axis of at most about 8 MiB, each with its first row.

    Args:
        array: anything with ``shape``, ``dtype`` and slicing: numpy array or h5py dataset.
    """
    row_bytes = max(1, int(np.prod(array.shape[1:], dtype=np.int64)) * array.dtype.itemsize)
    step = max(1, CHUNK_BYTES // row_bytes)
    for start in range(0, array.shape[0], step):
        yield start, np.ascontiguousarray(array[start : start + step])


def content_sha256(tree: Tree) -> str:
    """Hash of a feature file's content, 64 hex digits."""
    return _digest(tree, b"").hexdigest()


def content_key(path: Path, purpose: str) -> bytes:
    """A key that only who has the file's content can make; the content hash, which is public, does not give it away.

    Args:
        path: a feature file.
        purpose: other purposes give other keys.

    Returns:
        32 bytes.

    Raises:
        UserError: the file cannot be read.
    """
    with opened(path) as file:
        return _digest(open_tree(file)[0], f"key {purpose}\n".encode()).digest()


def _digest(tree: Tree, prefix: bytes) -> hashlib._Hash:
    digest = hashlib.sha256(prefix)
    for path in sorted(tree.attrs):
        rules = GROUPS[pattern(path)[0]]
        counted = {name: value for name, value in tree.attrs[path].items() if rules[name].counts}
        digest.update(f"group /{path} {_json(counted)}\n".encode())
    for path in sorted(tree.data):
        array = tree.data[path]
        kind = "utf-8" if array.dtype.kind == "S" else array.dtype.str
        digest.update(f"dataset /{path} {kind} {_json(list(array.shape))}\n".encode())
        for _, part in chunks(array):
            digest.update(_text_bytes(part) if part.dtype.kind == "S" else part.data)
    return digest


def _text_bytes(part: np.ndarray) -> bytes:
    return b"".join(len(item).to_bytes(8, "little") + item for item in part.ravel().tolist())


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
