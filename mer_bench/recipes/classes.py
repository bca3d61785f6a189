"""Classes that a config names: short names become import paths, and only packages that are allowed are imported."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mer_bench.errors import UserError, did_you_mean

PACKAGE = Path(__file__).parents[1]
#: rooms whose public classes may be named by their short name in a YAML file
ROOMS = ("methods", "losses", "data", "training")


#: prefixes of import paths that a config may name; `--trust PACKAGE` adds to it
ALLOWED = ("mer_bench.", "lightning.pytorch.callbacks.", "lightning.pytorch.loggers.", "torch.optim.")


@functools.cache
def catalogue(room: str | None = None) -> dict[str, str]:
    """Short name -> import path of the rooms' public classes, found by reading the sources, not importing them."""
    names: dict[str, str] = {}
    for folder in (room,) if room else ROOMS:
        for path in sorted((PACKAGE / folder).rglob("*.py")):
            module = ".".join(("mer_bench", *path.relative_to(PACKAGE).with_suffix("").parts))
            for node in ast.parse(path.read_text(encoding="utf-8")).body:
                if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                    names[node.name] = f"{module.removesuffix('.__init__')}.{node.name}"
    return names


def full_name(class_path: str) -> str:
    """The import path of a class that may be given by its short name."""
    return catalogue().get(class_path, class_path) if isinstance(class_path, str) else class_path


def expand_names(settings: Any, where: str = "") -> Any:
    """Replace short class names by import paths, everywhere in the settings.

    Raises:
        UserError: a short name that no room has.
    """
    if isinstance(settings, Mapping):
        expanded = {}
        for key, value in settings.items():
            place = f"{where}.{key}" if where else str(key)
            if key == "class_path" and isinstance(value, str):
                if "." not in value and value not in catalogue():
                    raise UserError(f"{place}: no class named {value!r}; {did_you_mean(value, catalogue())}")
                expanded[key] = full_name(value)
            else:
                expanded[key] = expand_names(value, place)
        return expanded
    if isinstance(settings, list):
        return [expand_names(value, f"{where}[{i}]") for i, value in enumerate(settings)]
    return settings


def class_paths(settings: Any, where: str = "") -> Iterable[tuple[str, str]]:
    """(place, import path) of every class that the settings name."""
    if isinstance(settings, Mapping):
        for key, value in settings.items():
            place = f"{where}.{key}" if where else str(key)
            if key == "class_path" and isinstance(value, str):
                yield place, value
            yield from class_paths(value, place)
    elif isinstance(settings, list):
        for i, value in enumerate(settings):
            yield from class_paths(value, f"{where}[{i}]")


def refuse_foreign_classes(settings: Any, trusted: Iterable[str] = ()) -> None:
    """Stop before anything is imported when a config names a class outside the allow-list.

    Raises:
        UserError: with the place, the class and how to allow it.
    """
    allowed = (*ALLOWED, *(f"{package}." for package in trusted))
    for place, path in class_paths(settings):
        if not path.startswith(allowed):
            package = path.split(".")[0]
            raise UserError(
                f"{place}: class {path!r} is outside the packages that a config may name "
                f"({', '.join(p.rstrip('.') for p in allowed)}); if you trust it, add --trust {package}"
            )
