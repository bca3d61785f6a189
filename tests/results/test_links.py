"""Links and pictures of generated pages lead somewhere."""

from __future__ import annotations

import dataclasses
import posixpath
import re
from collections.abc import Collection, Mapping

import pytest

from mer_bench.results.facts import Confusion
from mer_bench.results.leaderboard import render
from tests.results.factory import make
from tests.results.test_leaderboard import SKILLS, extended, loaded, table_of
from tests.source import ROOT

LINK = re.compile(r'\]\(([^)\s]+)\)|(?:href|src)="([^"]+)"')


def dead(pages: Mapping[str, str], there: Collection[str]) -> list[str]:
    """Relative links of pages to files that are not there."""
    found = []
    for name, text in pages.items():
        for target in ("".join(pair) for pair in LINK.findall(text)):
            path = target.partition("#")[0]
            outside = target.startswith("#") or re.match(r"[a-z]+:", target)
            place = posixpath.normpath(posixpath.join(posixpath.dirname(name), path))
            if not outside and place not in there:
                found.append(f"{name}: {target}")
    return found


def readable(files: Mapping[str, str]) -> dict[str, str]:
    return {name: text for name, text in files.items() if name.endswith((".md", ".html"))}


def first_run(**more):
    """What a newcomer has: one run of many, with its confusion."""
    one = make("foal", 0, 0, 0.5, confusion={"emotion": Confusion(("a", "b"), ((3, 1), (2, 4)))}, **more)
    return [one, make("concat", 0, 0, 0.5, **more)]


@pytest.mark.parametrize(
    "records",
    [
        first_run(synthetic=True),
        first_run(),
        [*extended(table_of(SKILLS)), *first_run(variant="tuned-20", settings={"lr": 0.01})],
        [dataclasses.replace(r, status="diverged", metrics={}) for r in table_of({"foal": 0.5})],
    ],
)
def test_no_generated_page_links_what_was_not_made(records):
    files, *_ = render(loaded(records), beside=("statistics.md",))
    assert not dead(readable(files), {*files, "statistics.md"})
    pictures = {name for name in files if name.endswith(".svg")}
    linked = "".join(readable(files).values())
    assert all(name.rpartition("/")[2] in linked for name in pictures)


def test_the_search_finds_what_is_dead():
    pages = {"a/b.md": "[x](../c.md#y) ![z](d.svg) [w](https://example.org) [v](#here)"}
    assert dead(pages, {"c.md"}) == ["a/b.md: d.svg"]


def test_committed_pages_link_what_is_committed():
    folder = ROOT / "leaderboards"
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    pages = {name: path.read_text(encoding="utf-8") for name, path in files.items() if path.suffix in (".md", ".html")}
    outside = {f"../{path.relative_to(ROOT).as_posix()}" for path in ROOT.rglob("*.md")}
    assert len(pages) > 20 and not dead(pages, {*files, *outside})
