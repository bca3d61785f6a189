"""How many items stand behind sums by cluster; what may be published of them, and what a record says of them.

Sums over one item are that item's label and prediction. So in public no sum is over fewer than `MINIMUM` items, and no
two sums differ by fewer: the additive projection is scored on some of the items only, and what it leaves out of a
cluster can be had by subtraction.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from mer_bench.errors import UserError
from mer_bench.metrics import families, group_summary
from mer_bench.metrics.clusters import ClusterStatistics
from mer_bench.metrics.counts import Floats
from mer_bench.metrics.definitions import METRICS, split
from mer_bench.metrics.groups import MINIMUM
from mer_bench.results.samples import FULL

#: items by output (cluster, outputs), from the sums of a family
_ITEMS: Mapping[families.Family, Callable[[Floats], Floats]] = {
    families.class_confusion: lambda sums: sums.sum(axis=(-2, -1))[:, None],
    families.class_brier: lambda sums: sums[:, None, 1],
    families.label_tables: lambda sums: sums.sum(axis=(-2, -1)),
    families.label_brier: lambda sums: sums[..., 1],
    families.label_jaccard: lambda sums: sums[:, None, 1],
    families.value_moments: lambda sums: sums[..., 0],
    families.value_polarity: lambda sums: sums[..., 0, :, :].sum(axis=(-2, -1)),
    families.value_bins: lambda sums: sums[..., 3],
}


def items(sums: ClusterStatistics) -> Floats:
    """Observed items by cluster and output of the task."""
    return _ITEMS[sums.additive.family](sums.values)


def few(counts: Floats) -> NDArray[np.bool_]:
    """Which rows have an output with some items, yet fewer than may be published."""
    return np.asarray(((counts > 0) & (counts < MINIMUM)).any(axis=-1))


def publishable(sums: Mapping[str, ClusterStatistics]) -> dict[str, Floats]:
    """Values by condition in which small clusters stand together.

    The sums of clusters that are merged stand in the place of the first one; the others are zero. Which are merged
    depends on the number of items and the order of the clusters alone, so runs on the same items still pair.

    Args:
        sums: by condition, in the order in which they will be published.

    Raises:
        UserError: the whole test part has too few items.
    """
    whole, found = items(sums[FULL]), {}
    for condition, one in sums.items():
        own = items(one)
        packs = _packs(np.concatenate([own, whole - own], axis=1))
        if packs is None and condition == FULL:
            raise UserError(f"the test part has fewer than {MINIMUM} items; statistics of so few are not published")
        if packs is None:
            continue  # such as a projection of all items but one
        values = one.values.copy()
        for pack in packs:
            values[pack] = 0.0
            values[pack[0]] = one.values[pack].sum(axis=0)
        found[condition] = values
    return found


def _packs(counts: Floats) -> list[list[int]] | None:
    """Rows to be merged: small ones until they are enough, in their order; None where all together are too few."""
    packs, open_ = list[list[int]](), list[int]()
    small = few(counts)
    for row in np.flatnonzero(small).tolist():
        open_.append(row)
        if not few(counts[open_].sum(axis=0)):
            packs, open_ = [*packs, open_], []
    while few(counts[open_].sum(axis=0)) and packs:
        open_ = packs.pop() + open_
    others = [row for row in np.argsort(counts.sum(axis=1), kind="stable").tolist() if not small[row]]
    for row in others:
        if few(counts[open_].sum(axis=0)):
            open_.append(row)
    if few(counts[open_].sum(axis=0)):
        return None
    return [sorted(pack) for pack in [*packs, open_] if pack]


def summary(sums: ClusterStatistics) -> dict[str, float] | None:
    """As a record holds it under ``groups``: of the clusters with enough items, or enough of each class."""
    enough = items(sums).max(axis=-1)
    if METRICS[split(sums.metric)[1]].per_class:
        enough = sums.values.sum(axis=-1).reshape(len(sums.clusters), -1).min(axis=-1)
    values = sums.value(sums.values)
    kept = zip(sums.clusters, values.tolist(), (enough >= MINIMUM) & ~np.isnan(values), strict=True)
    return group_summary({name: value for name, value, good in kept if good}, sums.metric)


def merged(sums: ClusterStatistics) -> bool:
    """Whether some clusters are empty, as after merging."""
    return bool((items(sums) == 0).all(axis=-1).any())
