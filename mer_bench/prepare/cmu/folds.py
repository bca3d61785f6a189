"""The official folds of MOSI and MOSEI: lists of videos.

The SDK states them in a Python file of plain lists. This package carries the same lists (`official/*.txt`), so that no
converter depends on what else lies beside the features; a Python file that does lie there is compared with them.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from mer_bench.errors import UserError
from mer_bench.prepare.ids import shown
from mer_bench.prepare.report import Report

CORPORA = ("mosei", "mosi")
PARTS = {"train": 1, "valid": 2, "test": 3}
PART_NAMES = {1: "train", 2: "validation", 3: "test"}
MAX_BYTES = 4 << 20
SOURCE = "official video folds of CMU-MultiComp-Lab/CMU-MultimodalSDK"


@dataclass(frozen=True)
class Folds:
    """Which part each video belongs to.

    Attributes:
        part: video -> 1 train, 2 validation, 3 test.
    """

    part: Mapping[str, int]

    def of(self, video: str) -> int:
        """The part of a video, 0 when it is in none."""
        return self.part.get(video, 0)


@cache
def official(corpus: str) -> Folds:
    """The lists that this package carries."""
    text = (Path(__file__).parent / "official" / f"{corpus}.txt").read_text(encoding="utf-8")
    part: dict[str, int] = {}
    current = 0
    for line in text.splitlines():
        if line.startswith("["):
            current = PARTS[line.strip("[]")]
        elif not line.startswith("#"):
            part.update(dict.fromkeys(line.split(), current))
    return Folds(part)


def read_python(path: Path) -> Folds:
    """The lists in a Python file of the SDK, which is parsed and never executed.

    Raises:
        UserError: no Python, or not three lists of video names that share none.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise UserError(f"{path}: {path.stat().st_size:,} bytes; expected a short file of lists")
        tree = ast.parse(path.read_text(encoding="utf-8"))
        lists = {}
        for statement in tree.body:
            match statement:
                case ast.Assign(targets=[ast.Name(id=name)], value=ast.List() as value):
                    lists[name] = ast.literal_eval(value)
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise UserError(f"{path}: not a Python file of plain lists: {error}") from None
    part: dict[str, int] = {}
    for name, number in PARTS.items():
        videos = lists.get(f"standard_{name}_fold")
        if not videos or not all(isinstance(video, str) for video in videos):
            raise UserError(f"{path}: no list of video names standard_{name}_fold")
        twice = [video for video in videos if video in part]
        if twice:
            raise UserError(f"{path}: videos in two folds: {shown(twice)}")
        part.update(dict.fromkeys(videos, number))
    return Folds(part)


def check_beside(corpus: str, root: Path, report: Report) -> None:
    """Compare a fold file of the SDK that lies in a folder with the official lists.

    Raises:
        UserError: it says something else.
    """
    folder = root if root.is_dir() else root.parent
    for path in sorted([*folder.glob("*std_folds.py*"), *folder.glob("*/*std_folds.py*")]):
        found, known = read_python(path).part, official(corpus).part
        differing = sorted(video for video in {*found, *known} if found.get(video) != known.get(video))
        if differing:
            raise UserError(
                f"{path}: differs from the official folds of {corpus} at {shown(differing)}; a split called 'sdk' "
                "must be the SDK's. Move the file away to use the official folds"
            )
        report.verified.append(f"{path.name}: the official folds of {corpus} ({len(found):,} videos)")
