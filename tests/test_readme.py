"""What README.md and CONTRIBUTING.md say is true: commands run as written, tables and links name what exists.

Blocks of the README marked `bash` or `python` run here, in order, in an empty folder. Those marked `console` do not:
they need a licensed corpus, or a checkout whose environment they would make again.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mer_bench.cli import COMMANDS
from tests.source import ROOT, blocks

README = (ROOT / "README.md").read_text(encoding="utf-8")


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


def test_links_lead_somewhere():
    for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md"):
        text = (ROOT / name).read_text(encoding="utf-8")
        for target in re.findall(r"\]\(([^)#:]+)\)", text):
            assert (ROOT / target).exists(), f"{name} links to {target}"


@pytest.mark.slow
def test_adding_a_method_as_contributing_says(tmp_path: Path):
    """Word for word, in a copy: the titled blocks are written, the commands run, nothing else is touched."""
    for name in ("mer_bench", "configs", "tests"):
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
