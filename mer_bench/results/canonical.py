"""One text for one content, and its hash."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from mer_bench.errors import UserError


def canonical(value: Any) -> bytes:
    """JSON with sorted keys and without white space, UTF-8, as in RFC 8785.

    It differs from the RFC where that needs no number other than ours: floats are written as Python's shortest
    round-trip form (``1.0``, ``1e-07``), keys are sorted by code point.

    Raises:
        ValueError: NaN or infinity.
        TypeError: something that JSON cannot hold.
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode("utf-8", "surrogatepass")


def digest(value: Any) -> str:
    """Sha256 of the canonical form, 64 hex digits."""
    return hashlib.sha256(canonical(value)).hexdigest()


def plain(value: Any, where: str = "settings") -> Any:
    """Settings as JSON data of one form: tuples as lists, whole floats as integers (YAML writes 1 and 1.0 alike).

    Raises:
        UserError: a key is no text, or a value is neither text, number, boolean, null, list nor mapping.
    """
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            if value != value or value in (float("inf"), float("-inf")):
                raise UserError(f"{where} is {value}; expected a finite number")
            return int(value) if value.is_integer() and abs(value) < 2**53 else value
        case list() | tuple():
            return [plain(item, f"{where}[{index}]") for index, item in enumerate(value)]
        case Mapping():
            for key in value:
                if not isinstance(key, str):
                    raise UserError(f"{where}: key {key!r} is not text")
            return {key: plain(item, f"{where}.{key}") for key, item in value.items()}
    raise UserError(f"{where} is a {type(value).__name__}; settings hold text, numbers, booleans, lists and mappings")
