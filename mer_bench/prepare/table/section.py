"""One mapping of the specification, read with checks: no unknown key, no wrong type, every path inside reach."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mer_bench.errors import UserError, did_you_mean


class Section:
    """A mapping and its place, for messages.

    Args:
        path: the YAML file.
        place: dotted, empty at the top.
        content: what stands there.
        known: keys that may stand there; None for names of the user's choice.

    Raises:
        UserError: not a mapping, or an unknown key.
    """

    def __init__(self, path: Path, place: str, content: Any, known: tuple[str, ...] | None) -> None:
        self.path, self.place = path, place
        if not isinstance(content, Mapping):
            raise UserError(f"{path}: {place or 'the file'}: expected a mapping, got {content!r:.60}")
        self.content = content
        for key in content:
            if known is not None and key not in known:
                raise UserError(f"{path}: {self._at(str(key))}: unknown key; {did_you_mean(str(key), known)}")

    def _at(self, key: str) -> str:
        return f"{self.place}.{key}" if self.place else key

    def refuse(self, key: str, expected: str) -> UserError:
        """The error for a value that does not fit."""
        told = f"got {self.content[key]!r:.60}" if key in self.content else "it is missing"
        return UserError(f"{self.path}: {self._at(key)}: expected {expected}, {told}")

    def text(self, key: str, default: str | None = None) -> str:
        """Text; without a default it must be there."""
        value = self.content.get(key, default)
        if not isinstance(value, str) or (default is None and not value):
            raise self.refuse(key, "text")
        return value

    def number(self, key: str) -> float:
        """A number, 0 where it is not given."""
        value = self.content.get(key, 0)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.refuse(key, "a number")
        return float(value)

    def texts(self, key: str) -> list[str]:
        """A list of texts, empty where it is not given; numbers are taken as they are written."""
        value = self.content.get(key, [])
        if not isinstance(value, list) or not all(isinstance(part, str | int | float) for part in value):
            raise self.refuse(key, "a list")
        return [str(part) for part in value]

    def span(self, key: str) -> tuple[float, float] | None:
        """Lowest and highest value, or None."""
        value = self.content.get(key)
        if value is None:
            return None
        if not isinstance(value, list) or len(value) != 2 or not all(isinstance(end, int | float) for end in value):
            raise self.refuse(key, "[lowest, highest]")
        return float(value[0]), float(value[1])

    def file(self, key: str) -> Path:
        """A path relative to the YAML file, which must be there.

        Raises:
            UserError: nothing there.
        """
        path = self.path.parent / self.text(key)
        if not path.exists():
            raise self.refuse(key, "a file or folder beside the YAML file")
        return path

    def section(self, key: str, known: tuple[str, ...] | None) -> Section:
        """The mapping below a key; empty where it is not given."""
        return Section(self.path, self._at(key), self.content.get(key) or {}, known)

    def one_of(self, *keys: str) -> str:
        """Which one of these keys is given.

        Raises:
            UserError: none, or several.
        """
        given = [key for key in keys if key in self.content]
        if len(given) != 1:
            raise UserError(
                f"{self.path}: {self.place}: expected exactly one of {', '.join(keys)}, got {given or 'none'}"
            )
        return given[0]
