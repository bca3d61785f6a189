"""The repository as text and syntax trees, for tests of the house rules."""

from __future__ import annotations

import ast
import functools
import re
import subprocess
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "mer_bench"


@functools.cache
def tracked() -> tuple[Path, ...]:
    """Files that git has or would take, relative to the root; skips outside a checkout."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return tuple(sorted({Path(name) for name in listed.split("\0") if name and (ROOT / name).is_file()}))


def modules(*folders: str) -> Iterator[tuple[Path, ast.Module]]:
    """(path relative to the root, syntax tree) of every Python file of some folders."""
    for path in sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py")):
        yield path.relative_to(ROOT), _parsed(path)


@functools.cache
def _parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def calls(tree: ast.Module) -> Iterator[tuple[str, ast.Call]]:
    """(dotted name of what is called, call) for every call of a module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


def docstrings(tree: ast.Module) -> set[int]:
    """Identities of the constants that are docstrings."""
    owners = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, owners) and ast.get_docstring(node, clean=False) is not None:
            first = node.body[0]
            assert isinstance(first, ast.Expr)
            found.add(id(first.value))
    return found


class Block(NamedTuple):
    """A fenced block of a page: its language, the file it is titled with, its content."""

    kind: str
    title: str
    body: str


def blocks(page: str, *kinds: str) -> list[Block]:
    """The fenced blocks of some kinds of a page of the root folder, in order."""
    text = (ROOT / page).read_text(encoding="utf-8")
    fenced = re.findall(r"^( *)```(\w+)(?: title=(\S+))?\n(.*?)^\1```$", text, re.M | re.S)
    return [Block(kind, title, textwrap.dedent(body)) for _, kind, title, body in fenced if kind in kinds]
