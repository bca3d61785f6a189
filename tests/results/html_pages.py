"""Reads the HTML leaderboard back, and makes one to read."""

from __future__ import annotations

import dataclasses
import json
from html.parser import HTMLParser
from typing import Any

from mer_bench.data.corpora import find_protocol
from mer_bench.results.leaderboard import render
from tests.results.factory import PROTOCOL, runs
from tests.results.test_leaderboard import ERROR, SIZES, SKILLS, extended, loaded, table_of

VOID = {"meta", "br", "hr", "img", "input", "link", "wbr"}
#: as the present definition of the protocol, so that it comes first
SHIPPED = dataclasses.replace(PROTOCOL, hash=find_protocol("iemocap4").hash)
ERRORS = dataclasses.replace(ERROR, title="MOSI", hash="6" * 16, note="")


class Document(HTMLParser):
    """Elements in their order, and the text of each; complains of tags that do not match.

    Attributes:
        elements: tag, attributes and text, in the order of the opening tags.
        shape: opening and closing tags with the names of attributes.
    """

    def __init__(self, content: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None], list[str]]] = []
        self.shape: list[tuple[str, ...]] = []
        self._open: list[int] = []
        self.feed(content)
        self.close()
        assert not self._open, [self.elements[i][0] for i in self._open]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element."""
        assert len({name for name, _ in attrs}) == len(attrs), (tag, attrs)
        self.elements.append((tag, dict(attrs), []))
        self.shape.append((tag, *(name for name, _ in attrs)))
        if tag not in VOID:
            self._open.append(len(self.elements) - 1)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element without content, as SVG has them."""
        self.handle_starttag(tag, attrs)
        self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        """Close the last element, which must be this one."""
        self.shape.append((f"/{tag}",))
        assert self.elements[self._open.pop()][0] == tag, tag

    def handle_data(self, data: str) -> None:
        """Text belongs to all open elements."""
        for i in self._open:
            self.elements[i][2].append(data)

    def all(self, *tags: str) -> list[tuple[dict[str, str | None], str]]:
        """Attributes and text of the elements with such a tag."""
        return [(attributes, "".join(text)) for tag, attributes, text in self.elements if tag in tags]

    def tables(self, kind: str | None = None) -> list[list[dict[str, str]]]:
        """Rows by column of every table of a class, white space made single."""
        found: list[list[list[str]]] = []
        inside = False
        for tag, attributes, text in self.elements:
            if tag == "table":
                inside = attributes.get("class") == kind
                found += [[]] if inside else []
            elif inside and tag == "tr":
                found[-1].append([])
            elif inside and tag in ("th", "td"):
                found[-1][-1].append(" ".join("".join(text).split()))
        return [[dict(zip(head, row, strict=True)) for row in body] for head, *body in found]

    @property
    def data(self) -> dict[str, Any]:
        """What is embedded for the script."""
        (found,) = [text for attributes, text in self.all("script") if attributes.get("id") == "data"]
        return json.loads(found)


def two_boards() -> dict[str, str]:
    """Files of a board where more is better, with every column, and one where less is; one row is incomplete."""
    more = {**SKILLS, "late": 0.58}
    records = [r for r in extended(table_of(more, protocol=SHIPPED)) if r.method.slug != "late" or r.fold]
    records += extended(runs("tie", [[0.50125, 0.50125]] * 3, items=SIZES, protocol=SHIPPED))
    less = {"concat": 0.75, "foal": 0.7, "gated": 0.8}
    records += table_of(less, protocol=ERRORS, data_fingerprint="b" * 64)
    files, *_ = render(loaded(records))
    return files
