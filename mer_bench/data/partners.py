"""Which items the additive projection of a network uses (`training.projection`): the same for every method. numpy only.

Partners lend their modalities; the projection is computed and scored on the chosen items, and compared with the network
on the same ones. All are chosen by a hash of their ids from the test part of the fold, without labels. Their numbers
are ours. A projection costs as much as 64 passes over the chosen items for each modality: so not all are chosen.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

PARTNERS = 64
CHOSEN = 256
FEWEST = 8

Ints = NDArray[np.int64]


def choose_partners(ids: Sequence[str], complete: NDArray[np.bool_]) -> Ints:
    """Places of at most `PARTNERS` of the complete items; none where there are fewer than `FEWEST`."""
    able = np.flatnonzero(complete).tolist()
    return _first(ids, able, PARTNERS, "partner") if len(able) >= FEWEST else np.zeros(0, np.int64)


def choose_items(ids: Sequence[str]) -> Ints:
    """Places of at most `CHOSEN` items, ascending."""
    return np.sort(_first(ids, range(len(ids)), CHOSEN, "item"))


def _first(ids: Sequence[str], places: Sequence[int], count: int, salt: str) -> Ints:
    ordered = sorted(places, key=lambda place: hashlib.sha256(f"emap/{salt}/{ids[place]}".encode()).digest())
    return np.array(ordered[:count], np.int64)
