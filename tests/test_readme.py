"""What the pages say is true: commands of README.md and CONTRIBUTING.md run as written, tables and links hold.

Blocks of the README marked `bash` or `python` run here, in order, in an empty folder. Those marked `console` do not:
they need a licensed corpus, or a checkout whose environment they would make again.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from itertools import takewhile
from pathlib import Path

import pytest

from mer_bench.cli import COMMANDS
from tests.source import ROOT, blocks

README = (ROOT / "README.md").read_text(encoding="utf-8")

#: all that people write; the pages of leaderboards are made
PAGES = sorted(
    str(path.relative_to(ROOT))
    for path in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "benchmarks").glob("*.md"))
)


def commands(page: str) -> list[str]:
    """Every command of the `bash` and `console` blocks."""
    lines = "\n".join(block.body for block in blocks(page, "bash", "console")).splitlines()
    return [line.removeprefix("$ ").split("  #")[0].strip() for line in lines if line and not line.startswith("#")]


@pytest.mark.slow
def test_the_blocks_run_in_order(tmp_path: Path):
    env = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    runnable = blocks("README.md", "bash", "python")
    assert {block.kind for block in runnable} == {"bash", "python"}
    for kind, _, body in runnable:
        argv = ["bash", "-euo", "pipefail", "-c", body] if kind == "bash" else [sys.executable, "-c", body]
        done = subprocess.run(argv, cwd=tmp_path, env=env, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        assert done.returncode == 0, f"{body}\n{done.stderr}"
    recorded = {path.parts[-3] for path in tmp_path.glob("runs/*/*/*/record.json")}
    assert recorded == {"foal", "concat", "majority"}
    assert list(tmp_path.glob("board/*.md"))


@pytest.mark.parametrize("page", PAGES)
def test_every_command_that_a_page_writes_exists(page: str):
    text = (ROOT / page).read_text(encoding="utf-8")
    assert set(re.findall(r"(?:^ *\$ |^ {4,}|`)mer-bench ([a-z]+)\b", text, re.M)) <= set(COMMANDS)


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md"])
def test_every_command_exists(page: str):
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^\.PHONY: (\S+)$", makefile, re.M))
    called = set(re.findall(r"mer-bench ([a-z]+)\b", "\n".join(commands(page))))
    made = set(re.findall(r"\bmake ([a-z-]+)\b", "\n".join(commands(page))))
    assert called | made, "no command found"
    assert called <= set(COMMANDS)
    assert made <= targets


def test_the_table_names_every_command():
    table = README.partition("| command |")[2].partition("\n\n")[0]
    named = set(re.findall(r"`(?:mer-bench )?([a-z]+)\b", table))
    assert set(COMMANDS) <= named


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str):
    text = (ROOT / page).read_text(encoding="utf-8")
    for target, anchor in re.findall(r"\]\(([^)#:\s]*)(?:#([^)\s]*))?\)", text):
        place = (ROOT / page).parent / target if target else ROOT / page
        assert place.exists(), f"{page} links to {target}"
        assert not anchor or anchor in anchors(place), f"{page} links to #{anchor}, which {place.name} has not"


def anchors(page: Path) -> set[str]:
    """What GitHub makes of the headings of a page: small, without punctuation, words joined."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def cells(row: str) -> int:
    """By GitHub's rules: every bar that is not escaped parts two cells, in code too; those at the ends are optional."""
    inner = row.strip().removeprefix("|")
    inner = inner.removesuffix("|") if not inner.endswith("\\|") else inner
    return len(re.split(r"(?<!\\)\|", inner))


def test_a_bar_in_code_parts_cells_unless_it_is_escaped():
    assert (cells("| a | `b|c` |"), cells(r"| a | `b\|c` |"), cells("a | b")) == (3, 2, 2)


@pytest.mark.parametrize("page", PAGES)
def test_every_row_of_a_table_has_as_many_cells_as_its_head(page: str):
    lines = (ROOT / page).read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines):
        if number and re.fullmatch(r"[\s|:-]*\|[\s|:-]*-[\s|:-]*", line):
            assert cells(lines[number - 1]) == cells(line), f"{page}:{number}: {lines[number - 1]}"
            for row in takewhile(str.strip, lines[number + 1 :]):
                assert cells(row) == cells(line), f"{page}: {row}"


@pytest.mark.slow
def test_adding_a_method_as_contributing_says(tmp_path: Path):
    """Word for word, in a copy: the titled blocks are written, the commands run, nothing else is touched."""
    for name in ("mer_bench", "configs", "tests", "benchmarks"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    env = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(tmp_path),
    }
    ran = []
    for kind, title, body in blocks("CONTRIBUTING.md", "python", "yaml", "bash"):
        if kind != "bash":
            assert title and not (tmp_path / title).exists()
            (tmp_path / title).write_text(body, encoding="utf-8")
            continue
        argv = ["bash", "-euo", "pipefail", "-c", body]
        done = subprocess.run(argv, cwd=tmp_path, env=env, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        assert done.returncode == 0, f"{body}\n{done.stdout}\n{done.stderr}"
        ran.append(done.stdout)
    listed, tested = ran
    assert re.search(r"^ *mean +Mean ", listed, re.M)
    assert re.search(r"\d+ passed", tested)
    assert list(tmp_path.glob("runs/iemocap4/mean/*/record.json"))
