"""docs/prepare.md: its commands are understood, and it names every layout."""

from __future__ import annotations

import importlib
import shlex

import pytest

from mer_bench.cli.prepare import parser
from mer_bench.prepare import CORPORA
from tests.source import ROOT, blocks

PAGE = "docs/prepare.md"
LINES = [line.removeprefix("$ ") for block in blocks(PAGE, "console") for line in block.body.splitlines() if line]


@pytest.mark.parametrize("line", LINES)
def test_commands_are_understood(line: str) -> None:
    assert line.startswith("mer-bench prepare ")
    assert parser().parse_args(shlex.split(line)[2:]).corpus in CORPORA


def test_every_layout_is_named() -> None:
    text = " ".join((ROOT / PAGE).read_text(encoding="utf-8").split())
    names = {layout.name for module in CORPORA.values() for layout in importlib.import_module(module).LAYOUTS}
    assert [name for name in sorted(names) if name not in text] == []
    assert {line.split()[2] for line in LINES} == {*CORPORA} - {"table"}
