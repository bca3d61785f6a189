"""What a feature file was made from: names, sizes, hashes and, where the folder's README tells, origins."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from pathlib import Path

from mer_bench.errors import UserError
from mer_bench.merh5 import Source

README_ROW = re.compile(
    r"\| (?P<name>[^|]+) \| (?P<origin>[^|]+ @ [0-9a-f]+) \|[^|]*\|[^|]*\| (?P<sha>[0-9a-f]{12}) \|"
)


def source(path: Path) -> Source:
    """One file.

    Raises:
        UserError: unreadable, or its hash is not the one that the README beside it states.
    """
    origin, stated = _stated(path.parent / "README.md").get(path.name, ("", ""))
    digest, size = _sha256(path)
    if not digest.startswith(stated):
        raise UserError(f"{path}: sha256 {digest[:12]}, but README.md beside it says {stated}; fetch the file again")
    return Source(path.name, digest, size, origin)


def folder_source(paths: Iterable[Path], root: Path | None = None) -> Source:
    """Many files as one entry: the hash is that of the lines ``<sha256>  <name>``, sorted by name.

    Args:
        paths: of one folder, or below `root`; a folder stands for the arrays in it.
        root: names are relative to it; None: they are file names, and the folder is that of the first one.

    Raises:
        UserError: a file cannot be read.
    """
    files = sorted(file for path in paths for file in (path.glob("*.npy") if path.is_dir() else (path,)))
    home = root or files[0].parent
    told = [(file.relative_to(home).as_posix() if root else file.name, *_sha256(file)) for file in files]
    digest = hashlib.sha256("".join(f"{sha}  {name}\n" for name, sha, _ in told).encode()).hexdigest()
    return Source(f"{home.name}/ ({len(told)} files)", digest, sum(size for *_, size in told))


def _stated(readme: Path) -> dict[str, tuple[str, str]]:
    """File name -> (repository and commit, first digits of the hash), from the table of a README; empty without one."""
    if not readme.is_file():
        return {}
    rows = README_ROW.finditer(readme.read_text(encoding="utf-8", errors="replace"))
    return {row["name"]: (row["origin"], row["sha"]) for row in rows}


def _sha256(path: Path) -> tuple[str, int]:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest(), path.stat().st_size
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error}") from None
