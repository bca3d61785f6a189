"""Labels of MOSI and MOSEI: sentiment on -3 to 3, six emotions on 0 to 3, each the mean of a few raters."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mer_bench.errors import UserError
from mer_bench.merh5 import Labels
from mer_bench.prepare.ids import shown
from mer_bench.prepare.report import Report

#: columns of the label sequences after sentiment, in the SDK's order
EMOTIONS = ("happy", "sad", "anger", "surprise", "disgust", "fear")
LARGEST = 3.0
#: the sum of four raters was divided by three in a few segments (SDK issue 101), so 12 / 3 can occur; no more
WRONGLY_DIVIDED = 4.0
RATERS = np.arange(1, 7)  # ours: real labels are means of at most five ratings (MOSI) or three (MOSEI, a few of six)
NEAR = 1e-3  # ours: how near a label must be to such a mean; text files round to four digits
SPOILT = 0.01  # ours: the share of labels that may be none; averages over segments or columns give more than .9


def label_tables(
    where: object,
    ids: Sequence[str],
    sentiment: NDArray[np.float64],
    emotions: NDArray[np.float64] | None,
    report: Report,
) -> dict[str, Labels]:
    """The label tables of the clips.

    Args:
        where: the file, for messages.
        ids: of the clips.
        sentiment: (clips,), NaN where there is none.
        emotions: (clips, 6) intensities in the order of `EMOTIONS`, NaN where there are none; or None.
        report: told of what is masked.

    Raises:
        UserError: values that no rater can have given.
    """
    values, mask = _usable(where, "sentiment", ids, sentiment[:, None], -LARGEST, report)
    tables = {
        "sentiment": Labels(
            "regression",
            ("sentiment",),
            values,
            mask,
            range=(-LARGEST, LARGEST),
            definition="mean of the raters, -3 (very negative) to 3 (very positive)",
        )
    }
    if emotions is not None:
        values, mask = _usable(where, "emotions", ids, emotions, 0.0, report)
        tables["emotions6"] = Labels(
            "multilabel", EMOTIONS, values > 0, mask, definition="present where the mean intensity is above 0"
        )
        tables["emotions6_intensity"] = Labels(
            "regression", EMOTIONS, values, mask, range=(0.0, LARGEST), definition="mean of the raters, 0 to 3"
        )
    for name, table in tables.items():
        report.counted[f"with {name}"] = int(np.asarray(table.mask).any(axis=1).sum())
    return tables


def _usable(
    where: object, name: str, ids: Sequence[str], values: NDArray[np.float64], low: float, report: Report
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Values and mask, after a look at the range and at whether these can be means of ratings."""
    known: NDArray[np.bool_] = np.isfinite(values)
    report.repair(f"{name} without a value masked", _ids(ids, (~known).any(axis=1)), int((~known).sum()))
    far = known & ((values < low * WRONGLY_DIVIDED / LARGEST - NEAR) | (values > WRONGLY_DIVIDED + NEAR))
    if far.any():
        worst = _ids(ids, far.any(axis=1))
        raise UserError(f"{where}: {name} outside {low:g} to {LARGEST:g} at {shown(worst)}; are these other labels?")
    beyond = known & ((values < low - NEAR) | (values > LARGEST + NEAR))
    report.repair(f"{name} outside {low:g} to {LARGEST:g} masked", _ids(ids, beyond.any(axis=1)), int(beyond.sum()))
    usable: NDArray[np.bool_] = known & ~beyond
    strange = usable & ~_is_mean_of_ratings(np.where(usable, values, 0.0))
    share = strange.sum() / max(1, usable.sum())
    if share > SPOILT:
        raise UserError(
            f"{where}: {share:.0%} of {name} are no mean of whole ratings, first at "
            f"{shown(_ids(ids, strange.any(axis=1)), 3)}: spoilt labels, averaged over segments or columns, or scaled?"
        )
    return np.where(usable, np.clip(values, low, LARGEST), 0.0), usable


def _is_mean_of_ratings(values: NDArray[np.float64]) -> NDArray[np.bool_]:
    sums = values[..., None] * RATERS
    return np.asarray((np.abs(sums - np.round(sums)) / RATERS < NEAR).any(axis=-1))


def _ids(ids: Sequence[str], rows: ArrayLike) -> list[str]:
    return [ids[row] for row in np.flatnonzero(rows).tolist()]
