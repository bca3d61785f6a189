"""The recipe of a run: from names and dotted overrides to its full settings."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mer_bench.errors import UserError, did_you_mean
from mer_bench.recipes import tuned
from mer_bench.recipes.classes import expand_names
from mer_bench.recipes.files import chain, find, merge_files, search_path, shipped, unique
from mer_bench.recipes.settings import Settings, merge, parse_value, set_dotted
from mer_bench.recipes.tuned import Tuned


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
