"""Controls whose score is known beforehand. One outside its band means that something is wrong with the whole table.

- ``majority`` answers the same to every item, so its mean recall is exactly one in the number of classes.
- ``shuffled`` was trained on permuted labels, so it cannot be better than ``majority``.
- ``concat`` was trained on the real ones, so it cannot be worse.

How sure we must be before a table is refused is ours.
"""

from __future__ import annotations

from collections.abc import Mapping

from mer_bench.results.facts import ProtocolFacts
from mer_bench.results.rows import Row
from mer_bench.results.samples import Key
from mer_bench.results.statistics import Rule
from mer_bench.results.statistics.estimates import Array

SURE = 0.975
_CHANCE = {"ua": None, "balanced_accuracy": 0.5}
_EXACT = 1e-9


def out_of_band(
    protocol: ProtocolFacts, rows: Mapping[Key, Row], samples: Mapping[Key, Array], rule: Rule
) -> list[str]:
    """What is wrong with the controls, one sentence each; empty when all are where they must be."""
    found = []
    floors = [key for key in samples if key[0] == "majority"]
    for key in floors:
        chance = _chance(protocol, rows[key])
        score = rows[key].mean
        if chance is not None and score is not None and abs(score - chance) > _EXACT:
            found.append(f"majority scores {score:.6f} in {protocol.primary}; a constant answer scores {chance:.6f}")
    for key in sorted(samples):
        if key[0] not in ("shuffled", "concat") or not floors:
            continue
        difference = rule.difference(samples[key], samples[min(floors)])
        if key[0] == "shuffled" and difference.p_clearly_better > SURE:
            found.append(f"shuffled is better than majority by {abs(difference.value):.4f}: labels leak")
        if key[0] == "concat" and difference.p_better < 1 - SURE:
            found.append(f"concat is worse than majority by {abs(difference.value):.4f}: training does not work")
    return found


def _chance(protocol: ProtocolFacts, row: Row) -> float | None:
    """What a constant answer scores, where that does not depend on the data."""
    task, name = protocol.primary.split("/")[:2]
    if name not in _CHANCE:
        return None
    confusion = row.details.confusion.get(task)
    return _CHANCE[name] or (1 / len(confusion.names) if confusion else None)
