"""Rows of features that are no measurement: found, masked, counted. And the rows of some of the items."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from mer_bench.merh5 import Modality
from mer_bench.prepare.report import Report

CHUNK = 1 << 18  # rows judged at once, so that no copy of a large modality is made


def finite_rows(
    name: str, values: np.ndarray, ids: Sequence[str], owner: Sequence[int] | np.ndarray, report: Report
) -> NDArray[np.bool_]:
    """Which rows are finite; the others are reported as masked. `owner` is the item of each row."""
    finite = _judge(values, lambda part: np.isfinite(part).all(axis=1))
    _tell(f"{name} rows with a value that is not finite masked", ~finite, ids, owner, report)
    return finite


def filled_rows(
    name: str, values: np.ndarray, ids: Sequence[str], owner: Sequence[int] | np.ndarray, report: Report
) -> NDArray[np.bool_]:
    """Which rows are not zero throughout, which is how trackers write that they found nothing; likewise."""
    filled = _judge(values, lambda part: (part != 0).any(axis=1))
    _tell(f"{name} rows of nothing but zeros masked", ~filled, ids, owner, report)
    return filled


def rows_without(
    name: str, values: np.ndarray, sentinels: np.ndarray, ids: Sequence[str], owner: np.ndarray, report: Report
) -> NDArray[np.bool_]:
    """Which rows hold none of the values that stand for "nothing here"; likewise."""
    free = _judge(values, lambda part: np.asarray(~np.isin(part, sentinels).any(axis=1)))
    _tell(f"{name} rows with a value that stands for nothing masked", ~free, ids, owner, report)
    return free


def measured_rows(
    name: str, values: np.ndarray, lengths: np.ndarray, ids: Sequence[str], report: Report
) -> NDArray[np.bool_]:
    """Which rows are finite and not zero throughout; the others are reported as masked."""
    owner = np.repeat(np.arange(len(ids)), lengths)
    return finite_rows(name, values, ids, owner, report) & filled_rows(name, values, ids, owner, report)


@dataclasses.dataclass
class Faults:
    """Rows of one modality that are no measurement, judged item by item and told together.

    Attributes:
        name: of the modality.
    """

    name: str
    found: dict[str, tuple[list[str], int]] = dataclasses.field(default_factory=dict)

    def judge(self, item: str, values: np.ndarray, tracked: NDArray[np.bool_] | None = None) -> NDArray[np.bool_]:
        """Which rows of an item are a measurement.

        Finite ones, of which the tracker says that it found something; where it says nothing, rows of nothing but zeros
        are what it writes when it found nothing. Where it says that it did, such a row is a face at rest.
        """
        finite = np.isfinite(values).all(axis=1)
        self.add("rows with a value that is not finite masked", item, int((~finite).sum()))
        found = (values != 0).any(axis=1) if tracked is None else tracked
        why = "rows of nothing but zeros" if tracked is None else "rows that the tracker marks as failed"
        self.add(f"{why} masked", item, int((~found & finite).sum()))
        return finite & found

    def add(self, what: str, item: str, count: int) -> None:
        """Note so many rows of an item."""
        if count:
            ids, total = self.found.setdefault(what, ([], 0))
            self.found[what] = ([*ids, item], total + count)

    def tell(self, note: Callable[[str, list[str], int], None]) -> None:
        """Pass them on to `Report.repair` or `Report.drop`."""
        for what, (ids, count) in self.found.items():
            note(f"{self.name} {what}", ids, count)


def pick(modality: Modality, keep: NDArray[np.bool_]) -> Modality:
    """The same modality of some of the items only."""
    lengths = np.asarray(modality.lengths)
    rows = np.repeat(keep, lengths)
    return dataclasses.replace(
        modality,
        values=modality.values[rows],
        lengths=lengths[keep],
        valid=None if modality.valid is None else modality.valid[rows],
        times=None if modality.times is None else modality.times[rows],
    )


def _judge(values: np.ndarray, judge: Callable[[np.ndarray], np.ndarray]) -> NDArray[np.bool_]:
    parts = [judge(values[start : start + CHUNK]) for start in range(0, len(values), CHUNK)]
    return np.concatenate([np.zeros(0, bool), *parts])


def _tell(what: str, bad: np.ndarray, ids: Sequence[str], owner: Sequence[int] | np.ndarray, report: Report) -> None:
    rows = np.flatnonzero(bad)
    touched = [ids[item] for item in np.unique(np.asarray(owner)[rows]).tolist()]
    report.repair(what, touched, len(rows))
