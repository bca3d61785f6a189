"""Pickles of strangers, read as plain data: nothing that a pickle asks for is ever imported or called.

A pickle is a program. Three fences stand around it:

1. Before its first instruction runs, the byte stream is scanned (`unpickle_scan`): declared lengths must fit into
   the file, memo numbers may not jump, globals outside a short list are refused by name.
2. The names on the list lead to harmless stand-ins (`unpickle_parts`), not to Python's or NumPy's own objects.
3. The result is walked through, object arrays included: None, numbers, strings, bytes, list, tuple, set, dict, and
   arrays of these pass; anything else is refused.

Tensors of PyTorch are read without it (`unpickle_torch`), and pickles of Python 2 (their byte strings as Latin-1, which
keeps each byte).
"""

from __future__ import annotations

import io
import mmap
import pickle
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from mer_bench.errors import UserError
from mer_bench.prepare.unpickle_parts import ALLOWED, ArrayPart, Callee, Decoder
from mer_bench.prepare.unpickle_scan import refusal, scan

MAX_DEPTH = 100  # ours: containers inside containers; the files of the field stay below ten
PLAIN = frozenset({type(None), bool, int, float, complex, str, bytes, bytearray})


def load_pickle(path: Path) -> Any:
    """The plain data in a pickle file.

    Args:
        path: the file.

    Returns:
        Containers of numbers, strings and NumPy arrays (read-only where they are numeric).

    Raises:
        UserError: missing or damaged file, or one that asks for anything but plain data; names file and global.
    """
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
            return _load(mapped, mapped, str(path))
    except (OSError, ValueError) as error:  # mmap refuses an empty file with ValueError
        raise UserError(f"{path}: cannot be read: {error}") from None


def loads(data: bytes, where: str) -> Any:
    """As `load_pickle`, for a pickle held in memory; `where` names it in messages."""
    return _load(data, io.BytesIO(data), where)


def _load(data: bytes | mmap.mmap, stream: Any, where: str) -> Any:
    try:
        scan(data, where, ALLOWED)
        return Plain(where).convert(Reader(stream, where, len(data)).load())
    except (UserError, MemoryError):
        raise
    except Exception as error:  # a hostile stream can raise anything; all of it means the same to the user
        raise UserError(f"{where}: damaged pickle, or not one ({type(error).__name__}: {error})") from None


class Reader(pickle.Unpickler):
    """The unpickler, with stand-ins in the place of globals.

    Args:
        stream: the pickle.
        where: names it in messages.
        size: of the pickle in bytes.
    """

    def __init__(self, stream: Any, where: str, size: int) -> None:
        super().__init__(stream, encoding="latin1")
        self.where = where
        self.decoder = Decoder(size, where)

    def find_class(self, module: str, name: str) -> Callee:
        """The stand-in of a global, fresh each time; refuses those not on the list."""
        stand_in = ALLOWED.get((module, name))
        if stand_in is None:
            raise refusal(self.where, module, name)
        return Callee(partial(stand_in, self.decoder))

    def persistent_load(self, pid: Any) -> Any:
        """Refuse references to data outside the pickle."""
        raise UserError(f"{self.where}: refused: the pickle refers to data outside itself (a PyTorch file?)")


class Plain:
    """Walks through what was read: puts arrays in the place of their stand-ins and refuses every other object.

    Args:
        where: names the pickle in messages.
    """

    def __init__(self, where: str) -> None:
        self.where = where
        self.done: dict[int, Any] = {}
        self.open: set[int] = set()
        self.kinds: dict[type, Callable[[Any], Any]] = {
            list: lambda value: [self.convert(part) for part in value],
            tuple: lambda value: tuple(self.convert(part) for part in value),
            set: lambda value: {self.convert(part) for part in value},
            frozenset: lambda value: frozenset(self.convert(part) for part in value),
            dict: lambda value: {self.convert(key): self.convert(part) for key, part in value.items()},
            ArrayPart: self._array,
        }

    def convert(self, value: Any) -> Any:
        """The same data without stand-ins. Shared parts stay shared, so the result is no larger than the input."""
        kind, key = type(value), id(value)
        if kind in PLAIN or isinstance(value, np.generic):
            return value
        if key in self.done:
            return self.done[key]
        build = self.kinds.get(kind)
        if build is None:
            raise UserError(f"{self.where}: refused: the pickle holds something that is not plain data")
        if key in self.open or len(self.open) >= MAX_DEPTH:
            raise UserError(f"{self.where}: refused: data that contain themselves, or more than {MAX_DEPTH} levels")
        self.open.add(key)
        self.done[key] = build(value)
        self.open.discard(key)
        return self.done[key]

    def _array(self, part: ArrayPart) -> np.ndarray:
        array = part.array
        if array is None:
            raise UserError(f"{self.where}: damaged pickle: an array without content")
        if not array.dtype.hasobject:
            return array
        flat = np.empty(array.size, object)
        for index, element in enumerate(array.ravel()):
            flat[index] = self.convert(element)
        return flat.reshape(array.shape)
