"""Stand-ins for the few globals that a pickle of plain data asks for. None of them is Python's or NumPy's own.

Arrays are decoded here: the bytes (or elements) that come with an array must be exactly as many as its shape says, so
nothing is allocated that the file does not hold.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np

from mer_bench.prepare.unpickle_torch import Storage, load_storage, tensor

DTYPE = re.compile(r"([<>|=]?)(b1|[iu][1248]|f[248]|c(?:8|16)|[SU][1-9]\d{0,8}|O[48]?)")
LATIN1 = ("latin1", "latin-1", "iso-8859-1")


class Callee:
    """Something that a pickle may call, and do nothing else with: it has no attributes to change."""

    __slots__ = ("_function",)
    _function: Callable[..., Any]

    def __init__(self, function: Callable[..., Any]) -> None:
        object.__setattr__(self, "_function", function)

    def __call__(self, *arguments: Any) -> Any:
        """Call it."""
        return self._function(*arguments)

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"a pickle may not set {name!r} here")


class DtypePart:
    """`numpy.dtype`: a number or string type; nothing nested, no fields, no dates."""

    __slots__ = ("code", "order")

    def __init__(self, code: str | bytes, align: object = False, copy: object = False) -> None:
        text = code.decode("latin1") if isinstance(code, bytes) else code
        match = DTYPE.fullmatch(text) if isinstance(text, str) else None
        if match is None:
            raise ValueError(f"array type {code!r} is not a plain number or string type")
        self.order, self.code = match.groups()

    def __setstate__(self, state: tuple) -> None:
        _, order, subtype, names, fields = state[:5]
        order = order.decode("latin1") if isinstance(order, bytes) else order
        if order not in ("<", ">", "|", "=") or not subtype is names is fields is None:
            raise ValueError("array type with fields, sub-arrays or an unknown byte order")
        self.order = order

    @property
    def numpy(self) -> np.dtype:
        """The true type."""
        return np.dtype(object) if self.code.startswith("O") else np.dtype(self.order + self.code)


class ArrayPart:
    """An array that is being built; the walk over the result puts the true one in its place."""

    __slots__ = ("array", "decoder")

    def __init__(self, decoder: Decoder, array: np.ndarray | None = None) -> None:
        self.decoder = decoder
        self.array = array

    def __setstate__(self, state: tuple) -> None:
        if self.array is not None:
            raise ValueError("an array is filled twice")
        _, shape, dtype, fortran, raw = state
        self.array = self.decoder.decode(shape, dtype, "F" if fortran else "C", raw)


class Decoder:
    """What the stand-ins share: a budget against tricks that multiply what the file holds.

    Attributes:
        budget: bytes or elements that may still be copied. The size of the pickle is enough for every honest one.
        where: names the pickle in messages.
    """

    def __init__(self, budget: int, where: str) -> None:
        self.budget = budget
        self.where = where

    def pay(self, size: int) -> None:
        """Take `size` from the budget, or raise ValueError."""
        self.budget -= size
        if self.budget < 0:
            raise ValueError("it unpacks to far more than the file holds")

    def decode(self, shape: Any, dtype: Any, order: Any, raw: Any) -> np.ndarray:
        """An array from its pickled parts, after checking that they agree; numeric ones are read-only."""
        if type(dtype) is not DtypePart or type(shape) is not tuple or len(shape) > 32 or order not in ("C", "F"):
            raise ValueError("array without a plain type, shape and order")
        if not all(type(size) is int and 0 <= size < 2**48 for size in shape):
            raise ValueError(f"array of impossible shape {shape}")
        kind, count = dtype.numpy, prod(shape)
        flat = self._objects(count, raw) if kind.hasobject else self._numbers(kind, count, raw)
        return flat.reshape(shape, order=order)

    def _numbers(self, kind: np.dtype, count: int, raw: Any) -> np.ndarray:
        if type(raw) is str:  # bytes of Python 2
            self.pay(len(raw))
            raw = raw.encode("latin1")
        held = len(raw) if type(raw) in (bytes, bytearray) else -1
        if held != count * kind.itemsize:
            raise ValueError(f"array of {count} x {kind} needs {count * kind.itemsize} bytes, {max(held, 0)} are given")
        flat = np.frombuffer(raw, kind) if count else np.empty(0, kind)
        flat.flags.writeable = False
        return flat

    def _objects(self, count: int, raw: Any) -> np.ndarray:
        if type(raw) is not list or len(raw) != count:
            raise ValueError(f"object array of {count} elements does not come with as many")
        self.pay(count)
        flat = np.empty(count, object)
        for index, element in enumerate(raw):
            flat[index] = element
        return flat

    def reconstruct(self, kind: Any, shape: Any, code: Any) -> ArrayPart:
        """NumPy starts every array as an empty one of bytes and fills it afterwards."""
        if shape != (0,) or code not in (b"b", "b"):
            raise ValueError(f"an array starts with shape {shape!r} instead of (0,)")
        return ArrayPart(self)

    def frombuffer(self, raw: Any, dtype: Any, shape: Any, order: Any) -> ArrayPart:
        """How NumPy writes arrays since pickle protocol 5."""
        return ArrayPart(self, self.decode(shape, dtype, order, raw))

    def scalar(self, dtype: Any, raw: Any) -> Any:
        """A NumPy number or string."""
        if type(dtype) is not DtypePart or dtype.numpy.hasobject:
            raise ValueError("scalar of a type that is not plain")
        return self.decode((), dtype, "C", raw)[()]

    def storage(self, raw: Any) -> Storage:
        """The numbers of a tensor."""
        return load_storage(raw, self.where)

    def tensor(self, storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> ArrayPart:
        """A PyTorch tensor, as an array; what repeats its storage (a stride of 0) is paid for."""
        array = tensor(storage, offset, size, stride)
        self.pay(max(0, array.nbytes - storage.flat.nbytes))
        return ArrayPart(self, array)

    def dtype(self, *arguments: Any) -> DtypePart:
        """A type."""
        return DtypePart(*arguments)

    def ndarray(self, *arguments: Any) -> Any:
        """Only ever named, never called: called with a shape it would allocate."""
        raise ValueError("numpy.ndarray is called as a function")

    def encode(self, text: Any, encoding: Any) -> bytes:
        """How Python 3 writes bytes into old protocols."""
        if type(text) is not str or encoding not in LATIN1:
            raise ValueError(f"text encoding {encoding!r} (expected latin1)")
        self.pay(len(text))
        return text.encode("latin1")

    def empty_bytes(self) -> bytes:
        """How Python 3 writes empty bytes into old protocols."""
        return b""

    def new_list(self, *content: Any) -> Any:
        """A list."""
        return list(self._content(content))

    def new_set(self, *content: Any) -> Any:
        """A set."""
        return set(self._content(content))

    def new_frozenset(self, *content: Any) -> Any:
        """A frozen set."""
        return frozenset(self._content(content))

    def new_dict(self, *content: Any) -> Any:
        """An ordered dictionary, for which a plain one serves."""
        return dict(self._content(content))

    def _content(self, content: tuple) -> Any:
        if not content:
            return ()
        if len(content) > 1 or type(content[0]) is not list:
            raise ValueError("a container is made from something that is not a list")
        self.pay(len(content[0]))
        return content[0]


ALLOWED: dict[tuple[str, str], Callable[..., Any]] = {
    ("numpy", "ndarray"): Decoder.ndarray,
    ("numpy", "dtype"): Decoder.dtype,
    ("numpy.core.multiarray", "_reconstruct"): Decoder.reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): Decoder.reconstruct,
    ("numpy.core.multiarray", "scalar"): Decoder.scalar,
    ("numpy._core.multiarray", "scalar"): Decoder.scalar,
    ("numpy.core.numeric", "_frombuffer"): Decoder.frombuffer,
    ("numpy._core.numeric", "_frombuffer"): Decoder.frombuffer,
    ("torch._utils", "_rebuild_tensor_v2"): Decoder.tensor,
    ("torch.storage", "_load_from_bytes"): Decoder.storage,
    ("collections", "OrderedDict"): Decoder.new_dict,
    ("_codecs", "encode"): Decoder.encode,
    ("builtins", "bytes"): Decoder.empty_bytes,
    ("__builtin__", "bytes"): Decoder.empty_bytes,
    ("builtins", "list"): Decoder.new_list,
    ("__builtin__", "list"): Decoder.new_list,
    ("builtins", "set"): Decoder.new_set,
    ("__builtin__", "set"): Decoder.new_set,
    ("builtins", "frozenset"): Decoder.new_frozenset,
    ("__builtin__", "frozenset"): Decoder.new_frozenset,
}
