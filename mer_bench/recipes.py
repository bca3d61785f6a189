"""From a name or a file to the full settings of a run. No torch here.

A recipe is a plain dictionary: what LightningCLI will read (`model`, `data`, `trainer`, `seed_everything`, ...), made
from a chain of YAML files (`extends`), composed pairs (``<dataset>_<method>``) and overrides of the command line.
A later layer changes single keys; where it names another class, the settings of the old class go; ``null`` in a
mapping of a YAML file removes the key.
"""

from __future__ import annotations

import ast
import copy
import functools
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from mer_bench import tuned
from mer_bench.errors import UserError, did_you_mean
from mer_bench.protocol import Protocol
from mer_bench.tuned import Tuned

PACKAGE = Path(__file__).parent
#: rooms whose public classes may be named by their short name in a YAML file
ROOMS = ("methods", "losses", "data", "training")
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

Settings = dict[str, Any]


@dataclass(frozen=True)
class Recipe:
    """Settings of one run.

    Attributes:
        name: ``<dataset>_<method>`` or the stem of the file.
        dataset: slug of the corpus, from the data part.
        method: slug of the method, from the method part or file.
        card: what `configs/method/<slug>.yaml` says of the method.
        settings: the merged dictionary, class names in full, without `card` and `extends`.
        files: the YAML files it was made from, general first.
        tuned: what a search says of the run's fold; None without a search.
    """

    name: str
    dataset: str
    method: str
    card: Settings
    settings: Settings
    files: tuple[Path, ...] = field(default=())
    tuned: Tuned | None = None


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
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=_LOADER)
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


def merge(base: Settings, top: Mapping[str, Any]) -> Settings:
    """A new mapping: `top` on `base`, key by key; a changed ``class_path`` drops the old class's settings."""
    if "class_path" in top and "class_path" in base and full_name(top["class_path"]) != full_name(base["class_path"]):
        base = {}
    merged = dict(base)
    for key, value in top.items():
        if value is None and key in merged and isinstance(merged[key], dict):
            del merged[key]
        elif isinstance(value, Mapping):
            old = merged.get(key)
            merged[key] = merge(old if isinstance(old, dict) else {}, value)
        else:
            merged[key] = value
    return merged


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


#: prefixes of import paths that a config may name; `--trust PACKAGE` adds to it
ALLOWED = ("mer_bench.", "lightning.pytorch.callbacks.", "lightning.pytorch.loggers.", "torch.optim.")


def refuse_foreign_classes(settings: Settings, trusted: Iterable[str] = ()) -> None:
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


def set_dotted(settings: Settings, key: str, value: Any) -> None:
    """Set ``model.method.dim`` in place; inside a class, a plain name means one of its ``init_args``."""
    node, parts = settings, key.split(".")
    for i, part in enumerate(parts):
        if "class_path" in node and part not in ("class_path", "init_args"):
            node = node.setdefault("init_args", {})
        if i == len(parts) - 1:
            break
        below = node.get(part)
        node[part] = below = below if isinstance(below, dict) else {}
        node = below
    last = parts[-1]
    old = node.get(last)
    if isinstance(old, dict) and "class_path" in old and isinstance(value, str):
        value = {"class_path": value}  # `--model.method TFN` names another class
    if last == "class_path" and full_name(node.get(last, value)) != full_name(value):
        node.pop("init_args", None)
    node[last] = merge(old, value) if isinstance(old, dict) and isinstance(value, dict) else value


def parse_value(text: str) -> Any:
    """A command-line value, read as YAML; ``[audio, text]`` is a list, ``1e-3`` a number."""
    try:
        value = yaml.load(text, Loader=_LOADER)
    except yaml.YAMLError:
        return text
    if isinstance(value, str):
        try:
            return float(value)  # YAML 1.1 reads 1e-3 as text
        except ValueError:
            return value
    return value


def to_text(value: Any) -> str:
    """The reverse of `parse_value`, for settings given in Python."""
    return value if isinstance(value, str) else json.dumps(value)


def resolve(names: Iterable[str], overrides: Iterable[tuple[str, str]] = ()) -> Recipe:
    """The recipe that one or more ``--config`` names and dotted overrides mean.

    Args:
        names: files, or names such as ``iemocap_foal``; later ones lie on top.
        overrides: (dotted key, text) pairs from the command line.

    Raises:
        UserError: unknown config, data set, method or class; with the nearest names.
    """
    name = dataset = method = ""
    files: tuple[Path, ...] = ()
    for given in names:
        files = unique((*files, *_files_of(given)))
        name = name or Path(given).stem
    merged = merge_files(files)
    for path in files:
        dataset = path.stem if path.parent.name == "data" else dataset
        method = path.stem if path.parent.name == "method" else method
    values = [(key, parse_value(text)) for key, text in overrides]
    found = _searched(merged, values)
    for key, value in values:
        set_dotted(merged, key, value)
    card = merged.pop("card", {})
    settings = expand_names(merged)
    return Recipe(name, dataset, method or name.partition("_")[2] or name, card, settings, files, found)


def _searched(merged: Settings, values: list[tuple[str, Any]]) -> Tuned | None:
    """Put the settings that a search chose for the run's fold in place; the fold itself may be among the values."""
    if "tuned" not in merged:
        return None
    part = tuned.read(merged.pop("tuned"))
    for key, value in part["set"].items():
        set_dotted(merged, key, value)
    last = dict(values)
    data = merged.get("data", {}).get("init_args", {})
    fold, protocol = (last.get(f"data.{name}", data.get(name, 0)) for name in ("fold", "protocol"))
    found = tuned.choose(part, fold, protocol, last)
    for key, value in found.settings.items():
        set_dotted(merged, key, value)
    return found


def _files_of(given: str) -> tuple[Path, ...]:
    """The chain of files that one ``--config`` means."""
    path = find(given)
    if path is not None:
        return chain(path)
    stem = Path(given).name.removesuffix(".yaml").removesuffix(".yml")
    dataset, _, method = stem.partition("_")
    data_file, method_file = find(dataset, "data"), find(method, "method") if method else None
    if data_file and method_file:
        return unique((*chain(data_file), *chain(method_file)))
    raise UserError(_not_found(given, dataset, method, bool(data_file), bool(method_file)))


def _not_found(given: str, dataset: str, method: str, has_data: bool, has_method: bool) -> str:
    searched = ", ".join(str(p) if str(p) != "." else "the working folder" for p in search_path()[:-1])
    if has_data and method:
        detail = f"no method named {method!r}; {did_you_mean(method, shipped('method'))}"
    elif has_method:
        detail = f"no data set named {dataset!r}; {did_you_mean(dataset, shipped('data'))}"
    else:
        known = set(shipped()) | {f"{d}_{m}" for d in shipped("data") for m in shipped("method")}
        detail = did_you_mean(Path(given).name.removesuffix(".yaml"), known - {"base"})
    return f"config {given!r} not found in {searched} or among the shipped ones: {detail}"


def cards() -> dict[str, Settings]:
    """The card of every method on the search path, by slug."""
    found = {}
    for slug, path in shipped("method").items():
        settings = merge_files(chain(path))
        if "card" in settings:
            found[slug] = settings["card"]
    return found


def unsupported(card: Mapping[str, Any], protocol: Protocol, modalities: Sequence[str] | None) -> str:
    """Why a method's card rules a protocol out; empty when it does not."""
    for name, spec in protocol.tasks.items():
        if spec.kind not in card.get("tasks", (spec.kind,)):
            return f"task {name} is {spec.kind}; the method takes {', '.join(card['tasks'])}"
        if spec.level not in card.get("levels", (spec.level,)):
            return f"task {name} is asked per {spec.level}; the method answers per {', '.join(card['levels'])}"
    asked = str(card.get("modalities", "1+"))
    n = len(modalities) if modalities else None
    if n is not None and not card.get("per_modality") and asked.endswith("+") and n < int(asked[:-1]):
        return f"{n} modality is offered; the method needs {asked[:-1]} or more"
    if n is not None and not card.get("per_modality") and asked.isdigit() and n != int(asked):
        return f"{n} modalities are offered; the method takes {asked}"
    return ""


def per_modality(recipe: Recipe, available: Iterable[str]) -> list[Recipe]:
    """One recipe per modality for a method that takes exactly one (card: ``per_modality``), else the recipe itself."""
    if not recipe.card.get("per_modality"):
        return [recipe]
    data = recipe.settings.get("data", {})
    asked = data.get("init_args", {}).get("modalities") or list(available)
    if len(asked) == 1:
        return [recipe]
    runs = []
    for modality in asked:
        settings = merge(recipe.settings, {"data": {"init_args": {"modalities": [modality]}}})
        runs.append(replace(recipe, settings=settings))
    return runs
