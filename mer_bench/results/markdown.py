"""Markdown that no name can break: one way to write text, numbers and tables."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence

DASH = "—"
# the first character may not start a list, a rule or a quote; full stops and colons only end a word, or they make links
_UNSAFE = re.compile(r"^[^A-Za-z]|[^A-Za-z0-9 ,;()%/+.:-]|[.:](?! |$)|(?<![A-Za-z])[.:]")
_SPACE = re.compile(r"\s+")
_HIDDEN = frozenset(("Cc", "Cf", "Cs", "Co", "Cn"))


def text(value: str) -> str:
    """Any text, safe in a table cell, a heading and a sentence.

    Everything but letters, digits and signs that are harmless where they stand becomes a numeric entity, so that no
    markup, link, table border, list or formula can arise. Control and formatting characters (bidi, zero width) become
    U+FFFD. An ``@`` becomes its wide form, since renderers make mail links of decoded text.
    """
    line = _SPACE.sub(" ", value).strip().replace("@", "\uff20")
    visible = "".join("\ufffd" if unicodedata.category(c) in _HIDDEN else c for c in line)
    return _UNSAFE.sub(lambda match: f"&#{ord(match[0])};", visible)


def code(value: str) -> str:
    """A slug or hash as code; anything else as text."""
    return f"`{value}`" if re.fullmatch(r"[A-Za-z0-9_.=/-]+", value) else text(value)


def number(value: float | None, digits: int, *, sign: bool = False) -> str:
    """A number with fixed digits, the only way in which one reaches a page; a dash for none, never a minus zero."""
    if value is None:
        return DASH
    shown = f"{value:+.{digits}f}" if sign else f"{value:.{digits}f}"
    return shown.lstrip("+-") if float(shown) == 0 else shown


def count(value: int | None) -> str:
    """A whole number with commas; a dash for none."""
    return DASH if value is None else f"{value:,}"


def table(header: Sequence[str], rows: Iterable[Sequence[str]], left: int = 1) -> str:
    """A table; the first ``left`` columns are text, the others are set to the right.

    Args:
        header: safe text.
        rows: safe text, as many cells as the header.
        left: number of columns of text.
    """
    borders = [":--" if index < left else "--:" for index in range(len(header))]
    lines = [header, borders, *rows]
    if any(len(line) != len(header) for line in lines):
        raise ValueError("a row has other cells than the header")
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
