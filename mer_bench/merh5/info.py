"""What a feature file tells of its parts without reading their values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from mer_bench.merh5.layout import Tree
from mer_bench.merh5.schema import LabelKind, ModalityKind


@dataclass(frozen=True)
class ModalityInfo:
    """What is known of a modality without reading its values.

    Attributes:
        kind: sequence, utterance or signal.
        dim: features per row.
        rate_hz: rows per second, 0 when irregular.
        t0_s: time of the first row.
        rows: rows of all items together.
        offsets: (items + 1,) int64, item i has rows offsets[i] to offsets[i + 1].
        present: (items,) bool.
        extractor: what computed the features.
        extractor_version: its version.
        unit: of a signal.
        aligned_to: what the rows are aligned to.
        names: of the features, or None.
        weights_sha256: of the extractor's weights.
        normalised: how values were normalised, ``none``.
        note: free text.
        fitted_on: split scheme on whose training part the extractor was trained; empty for none.
    """

    kind: ModalityKind
    dim: int
    rate_hz: float
    t0_s: float
    rows: int
    offsets: np.ndarray
    present: np.ndarray
    extractor: str
    extractor_version: str
    unit: str
    aligned_to: str
    names: list[str] | None
    weights_sha256: str
    normalised: str
    note: str
    fitted_on: str = ""


@dataclass(frozen=True)
class LabelsInfo:
    """What is known of a label table without reading it.

    Attributes:
        kind: multiclass, multilabel, regression or ordinal.
        names: of classes, labels or dimensions, in order.
        level: item or frame.
        range: legal values of a regression, or None.
        rate_hz: label frames per second, frame level only.
        definition: how the labels were made.
        offsets: (items + 1,) int64 for frame level, else None.
        native_missing: what stood for "no label" in the corpus.
    """

    kind: LabelKind
    names: tuple[str, ...]
    level: str
    range: tuple[float, float] | None
    rate_hz: float
    definition: str
    offsets: np.ndarray | None
    native_missing: str


@dataclass(frozen=True)
class SplitInfo:
    """What is known of a split table.

    Attributes:
        folds: number of folds.
        disjoint_by: keys of which no group stands in two parts of a fold.
        source: where it comes from.
        note: free text.
    """

    folds: int
    disjoint_by: tuple[str, ...]
    source: str
    note: str


def texts(column: Any) -> list[str]:
    """A column of strings that is known to be sound."""
    return [item.decode() for item in column[:].tolist()]


def modality_info(tree: Tree, place: str) -> ModalityInfo:
    """Info of the modality at a place of an opened, sound file."""
    names = tree.data.get(f"{place}/names")
    return ModalityInfo(
        **tree.attrs[place],
        rows=tree.data[f"{place}/values"].shape[0],
        offsets=tree.data[f"{place}/offsets"][:],
        present=tree.data[f"{place}/present"][:].astype(bool),
        names=None if names is None else texts(names),
    )


def labels_info(tree: Tree, place: str) -> LabelsInfo:
    """Info of the label table at a place of an opened, sound file."""
    attrs = tree.attrs[place]
    offsets = tree.data.get(f"{place}/offsets")
    return LabelsInfo(
        **attrs
        | {
            "names": tuple(attrs["names"]),
            "range": None if attrs["range"] is None else tuple(attrs["range"]),
            "offsets": None if offsets is None else offsets[:],
        }
    )


def split_info(tree: Tree, place: str) -> SplitInfo:
    """Info of the split at a place of an opened, sound file."""
    attrs = tree.attrs[place]
    table = tree.data[f"{place}/table"]
    return SplitInfo(table.shape[0], tuple(attrs["disjoint_by"]), attrs["source"], attrs["note"])
