"""What a synthetic file states: how it was made, the optimum of each metric, and what the oracle reached on its items.

Aggregates only; the oracle's predictions for single items are drawn again by `oracle.oracle_predictions`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mer_bench.data.synthetic.optimum import metrics_of, optima
from mer_bench.data.synthetic.oracle import GENERATOR, VERSION, Oracle
from mer_bench.metrics import by_group, score

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
    groups = _parts(oracle)
    return {
        name: {
            "+".join(sorted(subset)): {m: _score(oracle, name, m, subset, groups) for m in metrics_of(table)}
            for subset in oracle.settings.subsets()
        }
        for name, table in oracle.settings.profile.tables.items()
    }


def _parts(oracle: Oracle) -> dict[str, NDArray[np.str_]]:
    """By prefix, the part of each item: groups that protocols leave out, parts of the official splits."""
    who = oracle.twin.who
    found = {key: groups for key in oracle.settings.profile.parts if (groups := who.groups(key)) is not None}
    named = np.array(["", "train", "val", "test"])
    return found | {scheme: named[split.table[0]] for scheme, split in who.splits.items() if len(split.table) == 1}


def _score(
    oracle: Oracle, name: str, metric: str, subset: tuple[str, ...], parts: dict[str, NDArray[np.str_]]
) -> dict[str, float]:
    spec, values, mask = oracle.task(name)
    if not mask.any():
        return {}
    tasks, asked = {name: spec}, f"{name}/{metric}"
    said = {name: oracle.predict(name, metric, modalities=subset)}
    target = {name: (values, mask)}
    found = {"all": score(tasks, [asked], said, target, absent_classes=True)[asked]}
    for key, groups in parts.items():
        scores = by_group(tasks, asked, said, target, groups[oracle.twin.line.grain_item], minimum=1)
        found |= {f"{key}/{group}": value for group, value in scores.items() if group}
    return {part: round(value, 6) for part, value in found.items()}
