"""From JSON data to frozen dataclasses, strictly: no unknown key, no missing one, no wrong type, no NaN.

A field with the metadata ``added`` came later than the first records, and may be missing.

Decoders are built once from the type hints, so that reading thousands of records stays fast.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import types
from collections.abc import Callable, Mapping
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from mer_bench.errors import UserError, did_you_mean

Decoder = Callable[[Any], Any]


class _Unfit(Exception):
    """A value that does not fit, and the keys that lead to it, the innermost first."""

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.keys: list[str] = []


def decode(kind: Any, value: Any, where: str) -> Any:
    """An instance of a dataclass from plain data.

    Args:
        kind: a dataclass, or a type that its fields may have: str, int, float, bool, Literal, ``X | None``,
            ``tuple[X, ...]``, ``Mapping[str, X]``, another dataclass.
        value: what json.loads gave.
        where: name of the value, for messages.

    Raises:
        UserError: the data do not fit.
    """
    try:
        return decoder(kind)(value)
    except _Unfit as error:
        raise UserError(f"{'.'.join([where, *reversed(error.keys)])} {error}") from None


@functools.cache
def decoder(kind: Any) -> Decoder:
    """The decoder of a type."""
    if dataclasses.is_dataclass(kind):
        return _dataclass(kind)
    if kind in _SCALARS:
        return _SCALARS[kind]
    return _GENERICS[get_origin(kind)](get_args(kind))


def _wrong(expected: str, value: Any) -> _Unfit:
    shown = repr(value)
    return _Unfit(f"is {shown[:60] + '...' if len(shown) > 60 else shown}; expected {expected}")


def _scalar(kind: type, expected: str) -> Decoder:
    def run(value: Any) -> Any:
        if type(value) is not kind:
            raise _wrong(expected, value)
        return value

    return run


def _float(value: Any) -> float:
    if type(value) is float and math.isfinite(value):
        return value
    if type(value) is int and abs(value) < 2**53:
        return float(value)
    raise _wrong("a finite number", value)


def _optional(arguments: tuple[Any, ...]) -> Decoder:
    inner = decoder(next(a for a in arguments if a is not types.NoneType))
    return lambda value: None if value is None else inner(value)


def _literal(arguments: tuple[Any, ...]) -> Decoder:
    def run(value: Any) -> Any:
        if type(value) is not str or value not in arguments:
            raise _wrong(f"one of {', '.join(map(str, arguments))}", value)
        return value

    return run


def _tuple(arguments: tuple[Any, ...]) -> Decoder:
    inner = decoder(arguments[0])

    def run(value: Any) -> Any:
        if type(value) is not list:
            raise _wrong("a list", value)
        return tuple([inner(item) for item in value])

    return run


def _mapping(arguments: tuple[Any, ...]) -> Decoder:
    inner = decoder(arguments[1])

    def run(value: Any) -> Any:
        if type(value) is not dict:
            raise _wrong("a mapping", value)
        found, key = {}, ""
        try:
            for key, item in value.items():
                found[key] = inner(item)
        except _Unfit as error:
            error.keys.append(key[:60])
            raise
        return found

    return _unless_all_finite(run) if inner is _float else run


def _unless_all_finite(run: Decoder) -> Decoder:
    """Skip the loop where it would change nothing: a third of the time to read records of many conditions."""

    def quick(value: Any) -> Any:
        plain = type(value) is dict and set(map(type, value.values())) == {float}
        return value if plain and math.isfinite(sum(value.values())) else run(value)

    return quick


def _dataclass(kind: Any) -> Decoder:
    hints = get_type_hints(kind)
    fields = {field.name: decoder(hints[field.name]) for field in dataclasses.fields(kind) if field.init}
    added = {field.name for field in dataclasses.fields(kind) if field.metadata.get("added")}

    def run(value: Any) -> Any:
        if type(value) is not dict:
            raise _wrong("a mapping", value)
        if value.keys() != fields.keys():
            missing, unknown = sorted(fields.keys() - value.keys() - added), sorted(value.keys() - fields.keys())
            if missing:
                raise _Unfit(f"lacks {', '.join(missing)}")
            if unknown:
                raise _Unfit(f"has the unknown key {unknown[0][:60]!r}; {did_you_mean(unknown[0], fields)}")
        found, name = {}, ""
        try:
            for name in [name for name in fields if name in value] if added else fields:
                found[name] = fields[name](value[name])
        except _Unfit as error:
            error.keys.append(name)
            raise
        return kind(**found)

    return run


_SCALARS: dict[Any, Decoder] = {
    str: _scalar(str, "text"),
    int: _scalar(int, "a whole number"),
    bool: _scalar(bool, "true or false"),
    float: _float,
}
_GENERICS: dict[Any, Callable[[tuple[Any, ...]], Decoder]] = {
    Literal: _literal,
    Union: _optional,
    types.UnionType: _optional,
    tuple: _tuple,
    Mapping: _mapping,
}
