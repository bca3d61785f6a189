"""From a sweep file to the runs that it means.

    protocols: [iemocap4]                 # names; the corpus follows from the protocol
    methods: [controls, foal]             # slugs, `all`, or a group: controls, seeds
    modalities: {iemocap4: [audio, text]} # per protocol; what a feature file offers where not given
    folds: [0, 1]                         # all of the protocol's where not given
    seeds: [0]                            # all of the protocol's where not given
    set: {model.optimizer.lr: [1.0e-3, 1.0e-4], trainer.max_epochs: 5}   # dotted settings; lists make a grid

A pair that a method's card rules out is left out with the reason. A run is named by its content, so extending a file
runs only what is new.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mer_bench import recipes
from mer_bench.data.corpora import find_protocol
from mer_bench.errors import UserError, did_you_mean
from mer_bench.protocol import Protocol
from mer_bench.runs import Run, plan

#: names for several methods at once
SEEDS = ("foal", "iccl", "mmtransmt", "jmt")
KEYS = ("protocols", "methods", "modalities", "folds", "seeds", "set", "files", "root")


@dataclass(frozen=True)
class Sweep:
    """What a sweep file says.

    Attributes:
        name: stem of the file.
        protocols: names.
        methods: slugs, groups spelt out.
        modalities: by protocol.
        folds: None means all.
        seeds: None means the protocol's.
        grid: lists of values by dotted setting.
        files: feature file by corpus, where it is not `<root>/<corpus>.h5`.
        root: folder of feature files.
    """

    name: str
    protocols: tuple[str, ...]
    methods: tuple[str, ...]
    modalities: Mapping[str, list[str]] = field(default_factory=dict)
    folds: tuple[int, ...] | None = None
    seeds: tuple[int, ...] | None = None
    grid: Mapping[str, list[Any]] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    root: str = ""


@dataclass(frozen=True)
class Plan:
    """The runs of a sweep, in the order in which they are started, and the pairs that were left out.

    Attributes:
        runs: by key; each once.
        left_out: (protocol, method) and why.
    """

    runs: Mapping[str, Run]
    left_out: Mapping[tuple[str, str], str]


def read(name: str) -> Sweep:
    """The sweep that a file or a name (`controls`) means.

    Raises:
        UserError: not found, an unknown key, or a wrong type.
    """
    path = recipes.find(name, "sweep") or recipes.find(name)
    if path is None:
        raise UserError(f"no sweep named {name!r}; {did_you_mean(name, recipes.shipped('sweep'))}")
    content = recipes.merge_files(recipes.chain(path))
    for key in content:
        if key not in KEYS:
            raise UserError(f"{path}: unknown key {key!r}; {did_you_mean(key, KEYS)}")
    grid = {k: v if isinstance(v, list) else [v] for k, v in _mapping(content, "set", path).items()}
    return Sweep(
        name=path.stem,
        protocols=tuple(_texts(content, "protocols", path)),
        methods=tuple(methods(_texts(content, "methods", path), path)),
        modalities=_mapping(content, "modalities", path),
        folds=_numbers(content, "folds", path),
        seeds=_numbers(content, "seeds", path),
        grid=grid,
        files=_mapping(content, "files", path),
        root=str(content.get("root", "")),
    )


def methods(names: Iterable[str], where: Path) -> list[str]:
    """Slugs from slugs, groups and `all`, each once.

    Raises:
        UserError: a name that is neither.
    """
    cards = recipes.cards()
    groups = {
        "all": [slug for slug, card in cards.items() if not card.get("variant")],
        "controls": [slug for slug, card in cards.items() if card.get("status") == "control"],
        "seeds": [slug for slug in SEEDS if slug in cards],
    }
    found: dict[str, None] = {}
    for name in names:
        if name not in groups and name not in cards:
            raise UserError(f"{where}: no method or group named {name!r}; {did_you_mean(name, (*cards, *groups))}")
        found |= dict.fromkeys(groups.get(name, [name]))
    return list(found)


def make_plan(sweep: Sweep, runs: str, overrides: Iterable[tuple[str, str]] = ()) -> Plan:
    """Every run of a sweep.

    Args:
        sweep: what the file says.
        runs: folder of the runs.
        overrides: dotted settings from the command line, on top of everything.

    Raises:
        UserError: as `fit` would say it.
    """
    found: dict[str, Run] = {}
    left_out: dict[tuple[str, str], str] = {}
    fixed = list(overrides)
    for protocol_name in sweep.protocols:
        protocol = find_protocol(protocol_name)
        for method in sweep.methods:
            reason = unsupported(recipes.cards()[method], protocol, sweep.modalities.get(protocol_name))
            if reason:
                left_out[protocol_name, method] = reason
                continue
            for pairs in _settings(sweep, protocol):
                recipe = recipes.resolve([f"{protocol.corpus}_{method}"], [*pairs, *fixed])
                found |= {run.key: run for run in plan(recipe, runs)}
    return Plan(found, left_out)


def _settings(sweep: Sweep, protocol: Protocol) -> Iterator[list[tuple[str, str]]]:
    """Dotted settings of each run of a pair: seeds outermost, so that a first full table stands early."""
    base: dict[str, Any] = {"data.protocol": protocol.name}
    if protocol.name in sweep.modalities:
        base["data.modalities"] = sweep.modalities[protocol.name]
    if protocol.corpus in sweep.files:
        base["data.file"] = sweep.files[protocol.corpus]
    if sweep.root:
        base["data.root"] = sweep.root
    folds = range(protocol.folds) if sweep.folds is None else sweep.folds
    seeds = protocol.seeds if sweep.seeds is None else sweep.seeds
    for seed, fold, *values in itertools.product(seeds, folds, *sweep.grid.values()):
        chosen = {**base, "seed_everything": seed, "data.fold": fold, **dict(zip(sweep.grid, values, strict=True))}
        yield [(key, recipes.to_text(value)) for key, value in chosen.items()]


def unsupported(card: Mapping[str, Any], protocol: Protocol, modalities: list[str] | None) -> str:
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


def _texts(content: Mapping[str, Any], key: str, path: Path) -> list[str]:
    value = content.get(key)
    value = [value] if isinstance(value, str) else value
    if not isinstance(value, list) or not value or not all(isinstance(v, str) for v in value):
        raise UserError(f"{path}: {key} must be a list of names, got {value!r}")
    return value


def _numbers(content: Mapping[str, Any], key: str, path: Path) -> tuple[int, ...] | None:
    value = content.get(key)
    if value is None or value == "all":
        return None
    value = value if isinstance(value, list) else [value]
    if not all(isinstance(v, int) and not isinstance(v, bool) and v >= 0 for v in value):
        raise UserError(f"{path}: {key} must be a list of whole numbers, got {value!r}")
    return tuple(value)


def _mapping(content: Mapping[str, Any], key: str, path: Path) -> dict[str, Any]:
    value = content.get(key) or {}
    if not isinstance(value, dict):
        raise UserError(f"{path}: {key} must be a mapping, got {value!r}")
    return value
