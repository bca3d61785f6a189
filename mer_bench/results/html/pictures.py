"""The pictures of the markdown pages, put into an HTML document: ids made unique, one style for all of them."""

from __future__ import annotations

import re
from dataclasses import dataclass

from mer_bench.results.model import BoardPage
from mer_bench.results.pages.figures import figures

_STYLE = re.compile(r"<style>(.*?)</style>", re.DOTALL)
_NAMESPACE = re.compile(r'\sxmlns="[^"]*"')
_NAMED = re.compile(r'\b(id|aria-labelledby)="([^"]*)"')
#: one a method; the comparison shows them as numbers
_ELSEWHERE = ("--confusion--", "--missing--")
_ORDER = ("forest", "pareto", "missing")


@dataclass(frozen=True)
class Picture:
    """A picture as a part of a document.

    Attributes:
        kind: forest, pareto, missing.
        markup: an ``svg`` element without style.
        style: what its file had.
    """

    kind: str
    markup: str
    style: str


def pictures(page: BoardPage) -> dict[str, list[Picture]]:
    """Those of a page by the variant of the settings, in the order in which they are read."""
    drawn = figures(page)
    found: dict[str, list[Picture]] = {}
    for table in page.tables:
        stem = f"{page.name}--{table.variant}--"
        names = [name for name in drawn if name.startswith(stem) and not any(kind in name for kind in _ELSEWHERE)]
        parts = [_part(name, drawn[name], name.removeprefix(stem).removesuffix(".svg")) for name in names]
        found[table.variant] = sorted(parts, key=lambda part: (_place(part.kind), part.kind))
    return found


def _place(kind: str) -> int:
    return _ORDER.index(kind) if kind in _ORDER else len(_ORDER)


def _part(name: str, drawing: str, kind: str) -> Picture:
    prefix = name.removesuffix(".svg")

    def unique(match: re.Match[str]) -> str:
        return f'{match[1]}="{" ".join(f"{prefix}--{name}" for name in match[2].split())}"'

    head, end, body = drawing.partition("<title")
    bare = _NAMESPACE.sub("", head) + end + body
    opening, closed, rest = _STYLE.sub("", bare).partition("</desc>")
    return Picture(kind, _NAMED.sub(unique, opening) + closed + rest, "".join(_STYLE.findall(drawing)))
