"""Tests shown beside the binding one: other assumptions, same question. None of them decides anything."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from mer_bench.errors import UserError
from mer_bench.results.statistics.estimates import Array, finite

SIGN_DRAWS = 99_999
_CHUNK = 4_096


def _units(differences: ArrayLike, what: str) -> Array:
    """One number a unit: seeds, if there is such an axis, are averaged."""
    values = finite(differences, what)
    units = values.reshape(len(values), -1).mean(axis=1)
    if len(units) < 2:
        raise UserError(f"{what}: {len(units)} unit; expected at least 2.")
    return np.where(np.abs(units) < 1e-12, 0.0, units)


def sign_flip(differences: ArrayLike, *, draws: int = SIGN_DRAWS, seed: int = 0) -> float:
    """P value of the sign-flip permutation test on units (subjects, speakers).

    Exact where all 2^J sign patterns are fewer than the draws; else (1 + hits) / (1 + draws).

    Args:
        differences: first minus second, (unit,) or (unit, seed).
        draws: random sign patterns.
        seed: of the draws.

    Raises:
        UserError: fewer than two units, or a value that is not finite.
    """
    units = _units(differences, "sign-flip")
    # averages of rational scores tie often: the tolerance keeps float order from deciding ties
    bar = abs(units.sum()) - 1e-9 * np.abs(units).sum()
    if 2 ** len(units) <= draws + 1:
        codes = np.arange(2 ** len(units))[:, None] >> np.arange(len(units)) & 1
        return float((np.abs((2 * codes - 1) @ units) >= bar).mean())
    rng = np.random.default_rng(seed)
    hits = 0
    for start in range(0, draws, _CHUNK):
        bits = rng.integers(0, 2, size=(min(_CHUNK, draws - start), len(units)), dtype=np.int8)
        hits += int((np.abs((2 * bits - 1) @ units) >= bar).sum())
    return (1 + hits) / (1 + draws)


def wilcoxon(differences: ArrayLike) -> float:
    """P value of Wilcoxon's signed-rank test on units; 1 where no unit differs.

    Args:
        differences: first minus second, (unit,) or (unit, seed).

    Raises:
        UserError: fewer than two units, or a value that is not finite.
    """
    from scipy.stats import wilcoxon as signed_rank

    units = _units(differences, "Wilcoxon")
    return float(signed_rank(units).pvalue) if units.any() else 1.0
