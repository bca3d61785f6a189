"""Tensors inside pickles, read without PyTorch.

A tensor in a pickle carries its numbers as a byte string that ``torch.storage._load_from_bytes`` hands to an
unrestricted ``torch.load``, so that a second pickle runs inside the first. Here that string is taken apart by hand:
five small pickles (a magic number, a version, the machine, the storage by reference, its key), each of which may name
nothing but a type of storage, then the number of elements and the numbers themselves.
"""

from __future__ import annotations

import io
import pickle
from math import prod
from typing import Any, NamedTuple

import numpy as np

from mer_bench.prepare.unpickle_scan import end_of, refusal, scan

MAGIC, VERSION = 0x1950A86A20F9469CFC6C, 1001
#: type of storage -> type of its numbers
STORAGES = {
    ("torch", "DoubleStorage"): "<f8",
    ("torch", "FloatStorage"): "<f4",
    ("torch", "HalfStorage"): "<f2",
    ("torch", "LongStorage"): "<i8",
    ("torch", "IntStorage"): "<i4",
    ("torch", "ShortStorage"): "<i2",
    ("torch", "CharStorage"): "|i1",
    ("torch", "ByteStorage"): "|u1",
    ("torch", "BoolStorage"): "|b1",
}


class Reference(NamedTuple):
    """A storage whose numbers follow behind the pickles."""

    code: str
    key: str
    elements: int


class Storage:
    """The numbers of a tensor, before they have a shape."""

    __slots__ = ("flat",)

    def __init__(self, flat: np.ndarray) -> None:
        self.flat = flat


class _Inner(pickle.Unpickler):
    """Reads the small pickles: numbers, text, and one reference to a storage.

    Args:
        data: one of them.
        where: names the file in messages.
    """

    def __init__(self, data: bytes, where: str) -> None:
        super().__init__(io.BytesIO(data), encoding="latin1")
        self.where = where

    def find_class(self, module: str, name: str) -> Any:
        """The code of a type of storage: text, which can neither be called nor changed."""
        if (module, name) not in STORAGES:
            raise refusal(self.where, module, name)
        return STORAGES[module, name]

    def persistent_load(self, pid: Any) -> Reference:
        """The reference: ("storage", type, key, device, elements[, view])."""
        if type(pid) is not tuple or len(pid) not in (5, 6) or pid[0] != "storage" or pid[5:] not in ((), (None,)):
            raise ValueError("a tensor's storage is not named as PyTorch names it")
        _, code, key, _, count, *_ = pid
        if code not in STORAGES.values() or type(key) is not str or type(count) is not int or count < 0:
            raise ValueError("a tensor's storage has no known type, key or size")
        return Reference(code, key, count)


def load_storage(raw: Any, where: str) -> Storage:
    """The numbers in the byte string of a storage, without a copy; `where` names the file in messages.

    Raises:
        UserError: one of the pickles asks for anything but a type of storage.
        ValueError: the string is not what PyTorch writes.
    """
    if type(raw) is not bytes:
        raise ValueError("a tensor's storage is not a string of bytes")
    parts, start = [], 0
    for _ in range(5):
        stop = end_of(raw, start)
        piece = raw[start:stop]
        scan(piece, where, STORAGES.keys())
        parts.append(_Inner(piece, where).load())
        start = stop
    magic, version, system, reference, keys = parts
    if magic != MAGIC or version != VERSION or type(system) is not dict or type(reference) is not Reference:
        raise ValueError("a tensor's storage is not in the form that PyTorch pickles")
    if system.get("little_endian") is not True or keys != [reference.key]:
        raise ValueError("a tensor's storage is big-endian, or not the only one in its string")
    kind = np.dtype(reference.code)
    count = int.from_bytes(raw[start : start + 8], "little")
    if count != reference.elements or len(raw) - start - 8 != count * kind.itemsize:
        raise ValueError(
            f"a tensor's storage declares {reference.elements} x {kind}, but holds {len(raw) - start - 8} bytes"
        )
    return Storage(np.frombuffer(raw, kind, count, start + 8) if count else np.empty(0, kind))


def tensor(storage: Any, offset: Any, size: Any, stride: Any) -> np.ndarray:
    """A tensor's numbers in its shape: a view of its storage, checked to lie inside.

    Raises:
        ValueError: it does not.
    """
    if type(storage) is not Storage or type(size) is not tuple or type(stride) is not tuple or len(size) != len(stride):
        raise ValueError("a tensor without storage, shape or strides")
    if not all(type(n) is int and 0 <= n < 2**48 for n in (offset, *size, *stride)) or len(size) > 32:
        raise ValueError("a tensor of impossible shape")
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    if prod(size) and last >= len(storage.flat):
        raise ValueError("a tensor reaches beyond its storage")
    flat = storage.flat[offset:]
    if not prod(size):
        return np.empty(size, flat.dtype)
    return np.lib.stride_tricks.as_strided(flat, size, [step * flat.itemsize for step in stride], writeable=False)
