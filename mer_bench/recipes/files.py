"""YAML files: where they are, what they hold, and the chain of those that one extends."""

from __future__ import annotations

import copy
import functools
import os
from collections.abc import Iterable
from pathlib import Path

import yaml

from mer_bench.errors import UserError
from mer_bench.recipes.classes import PACKAGE
from mer_bench.recipes.settings import Settings, from_yaml, merge


def packaged_configs() -> Path:
    """The folder of shipped YAML files: inside the wheel, or beside the package in a checkout."""
    inside = PACKAGE / "configs"
    return inside if inside.is_dir() else PACKAGE.parent / "configs"


def search_path() -> list[Path]:
    """Folders that are searched for a config name, in this order."""
    extra = [Path(p) for p in os.environ.get("MER_BENCH_CONFIG_PATH", "").split(os.pathsep) if p]
    return [Path(), Path("configs"), *extra, packaged_configs()]


def find(name: str, folder: str = "") -> Path | None:
    """The file that a name means: as given, or on the search path, with or without ``.yaml``."""
    spellings = [name] if name.endswith((".yaml", ".yml")) else [f"{name}.yaml", name]
    for base in search_path():
        for spelling in spellings:
            path = base / folder / spelling
            if path.is_file():
                return path
    return None


def shipped(folder: str = "") -> dict[str, Path]:
    """Every config of a folder of the search path by stem; the first one found counts."""
    found: dict[str, Path] = {}
    for base in search_path()[1:]:
        for path in sorted((base / folder).glob("*.yaml")):
            found.setdefault(path.stem, path)
    return found


def load_yaml(path: Path) -> Settings:
    """Read one YAML file that must hold a mapping.

    Raises:
        UserError: not readable, not YAML, or not a mapping; with line and column.
    """
    try:
        found = path.stat()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error})") from None
    return copy.deepcopy(_parsed(path.absolute(), path, (found.st_ino, found.st_size, found.st_mtime_ns)))


@functools.lru_cache(1024)
def _parsed(absolute: Path, path: Path, version: tuple[int, ...]) -> Settings:
    """A plan reads the same few files for every run."""
    try:
        content = from_yaml(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read ({error})") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise UserError(f"{path}: not valid YAML{where} ({getattr(error, 'problem', error)})") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise UserError(f"{path}: expected a mapping of settings, got {type(content).__name__}")
    return content


def chain(path: Path, _above: tuple[Path, ...] = ()) -> tuple[Path, ...]:
    """A YAML file after everything it extends, general first, each file once.

    Entries of ``extends`` are relative to the file that names them, or names on the search path.
    """
    if path.resolve() in _above:
        raise UserError(f"{path}: `extends` goes round in a circle through {path.name}")
    files: list[Path] = []
    parents = load_yaml(path).get("extends") or []
    for parent in [parents] if isinstance(parents, str) else parents:
        beside = Path(os.path.normpath(path.parent / str(parent)))
        found = beside if beside.is_file() else find(str(parent))
        if found is None:
            raise UserError(f"{path}: extends {parent!r}, which is neither beside it nor on the search path")
        files += chain(found, (*_above, path.resolve()))
    return unique((*files, path))


def unique(files: Iterable[Path]) -> tuple[Path, ...]:
    """The files in order, each at its first place."""
    first: dict[Path, Path] = {}
    for file in files:
        first.setdefault(file.resolve(), file)
    return tuple(first.values())


def merge_files(files: Iterable[Path]) -> Settings:
    """The settings of a chain of files, later ones on top, without `extends`."""
    merged: Settings = {}
    for file in files:
        own = dict(load_yaml(file))
        own.pop("extends", None)
        merged = merge(merged, own)
    return merged
