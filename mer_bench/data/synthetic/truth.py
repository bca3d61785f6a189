"""What a synthetic file states: how it was made, the optimum of each metric, and what the oracle reached on its items.

Aggregates only; the oracle's predictions for single items are drawn again by `oracle.oracle_predictions`.
"""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mer_bench.data.synthetic.optimum import metrics_of, optima
from mer_bench.data.synthetic.oracle import GENERATOR, VERSION, Oracle
from mer_bench.errors import UserError
from mer_bench.metrics import by_group, score

Groups = dict[str, NDArray[np.str_]]
Parts = dict[str, NDArray[np.bool_]]
Scores = dict[str, dict[str, dict[str, dict[str, float]]]]


def truth(oracle: Oracle) -> dict[str, Any]:
    """What the file states.

    ``optimum``: by label table, subset (names joined by ``+``, sorted) and metric. ``oracle``: the same, and below each
    metric its value on ``all`` items and on each part: ``session/Ses01``, ``sdk/test``.
    """
    settings = oracle.settings
    return {
        "generator": GENERATOR,
        "version": VERSION,
        "structure": settings.structure,
        "seed": settings.seed,
        "parameters": settings.plain(),
        "optimum": optima(settings),
        "oracle": realised(oracle),
    }


def realised(oracle: Oracle) -> Scores:
    """The oracle's own scores; parts that lack a class or have nothing to score are left out."""
    groups, parts = _groups(oracle), _parts(oracle)
    return {
        name: {
            "+".join(sorted(subset)): {m: _score(oracle, name, m, subset, groups, parts) for m in metrics_of(table)}
            for subset in oracle.settings.subsets()
        }
        for name, table in oracle.settings.profile.tables.items()
    }


def _groups(oracle: Oracle) -> Groups:
    """The group of each grain, by the keys whose groups protocols leave out."""
    named = ((key, oracle.twin.who.groups(key)) for key in oracle.settings.profile.parts)
    return {key: names[oracle.twin.line.grain_item] for key, names in named if names is not None}


def _parts(oracle: Oracle) -> Parts:
    """Which grains are in the parts of the official splits of one fold; equal tables count once, by the first name."""
    found: Parts = {"all": np.ones(len(oracle.twin.line.grain_item), dtype=bool)}
    seen: list[bytes] = []
    for scheme, split in oracle.twin.who.splits.items():
        if len(split.table) == 1 and split.table.tobytes() not in seen:
            seen.append(split.table.tobytes())
            part = split.table[0][oracle.twin.line.grain_item]
            found |= {f"{scheme}/{name}": part == k for k, name in ((1, "train"), (2, "val"), (3, "test"))}
    return {name: rows for name, rows in found.items() if rows.any()}


def _score(
    oracle: Oracle, name: str, metric: str, subset: tuple[str, ...], groups: Groups, parts: Parts
) -> dict[str, float]:
    spec, values, mask = oracle.task(name)
    tasks, asked = {name: spec}, f"{name}/{metric}"
    said = oracle.predict(name, metric, modalities=subset)
    found: dict[str, float] = {}
    for part, rows in parts.items():
        with contextlib.suppress(UserError):  # a class is absent, or nothing is labelled
            found[part] = score(tasks, [asked], {name: said[rows]}, {name: (values[rows], mask[rows])})[asked]
    for key, names in groups.items():
        scores = by_group(tasks, asked, {name: said}, {name: (values, mask)}, names, minimum=1)
        found |= {f"{key}/{group}": value for group, value in scores.items()}
    return {part: round(value, 6) for part, value in found.items()}
