"""What a profile of a corpus says: modalities, hidden things, label tables, sizes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from mer_bench.types import Level


@dataclass(frozen=True)
class ModalityProfile:
    """One modality of a twin.

    Attributes:
        dim: features per frame, dead ones included; always 1 for a signal.
        rate_hz: frames per second. Words: mean number per second, stored as 0 (irregular) with their times.
        kind: sequence, utterance or signal.
        missing: share of items that lack it.
        invalid: share of its frames where extraction failed.
        words: rows are words with a start and an end.
        names: of the features, or empty.
        dead: columns that are zero everywhere.
        optional: only made when asked for.
        unit: of a signal.
    """

    dim: int
    rate_hz: float = 0.0
    kind: Literal["sequence", "utterance", "signal"] = "sequence"
    missing: float = 0.0
    invalid: float = 0.0
    words: bool = False
    names: tuple[str, ...] = ()
    dead: tuple[int, ...] = ()
    optional: bool = False
    unit: str = ""


@dataclass(frozen=True)
class Classes:
    """Something hidden with classes, shown by one-hot codes.

    Attributes:
        prior: class frequencies, one row per label (one row: multiclass; several: independent binary labels).
        by_design: the classes are balanced within each person instead of drawn.
    """

    prior: tuple[tuple[float, ...], ...]
    by_design: bool = False

    @property
    def labels(self) -> int:
        """How many independent labels."""
        return len(self.prior)

    @property
    def size(self) -> int:
        """Classes per label."""
        return len(self.prior[0])


@dataclass(frozen=True)
class Scales:
    """Something hidden that is continuous, one independent scale per dimension."""

    labels: int


@dataclass(frozen=True)
class Table:
    """One label table of the file, seen through a hidden thing.

    Attributes:
        latent: name of the hidden thing.
        kind: as the file says it.
        names: classes, labels or dimensions.
        keep: which classes of the hidden thing this table has, in its own order; the others are masked. Empty: all.
        annotated: an item carries this table when its one uniform number lies in here; tables that share a part of
            the interval are annotated together.
        unusable: share of frames whose label is invalid (frame level only).
        range: of a regression.
        native_missing: what the corpus itself writes where there is no label.
        definition: one sentence.
    """

    latent: str
    kind: Literal["multiclass", "multilabel", "regression"]
    names: tuple[str, ...]
    keep: tuple[int, ...] = ()
    annotated: tuple[float, float] = (0.0, 1.0)
    unusable: float = 0.0
    range: tuple[float, float] | None = None
    native_missing: str = ""
    definition: str = ""

    @property
    def sd(self) -> float:
        """Standard deviation of a regression: its range is ±4 of them; what lies outside (6e-5) is cut off. Ours."""
        assert self.range is not None
        return (self.range[1] - self.range[0]) / 8.0

    @property
    def middle(self) -> float:
        """Mean of a regression."""
        assert self.range is not None
        return sum(self.range) / 2.0


@dataclass(frozen=True)
class Profile:
    """The twin of one corpus.

    Attributes:
        modalities: by name.
        latents: hidden things by name; independent of each other, each with its own block of code dimensions.
        tables: label tables by name.
        pair: the two modalities a and b that hold the synergy.
        items: default and full number of items.
        seconds: mean, shortest and longest duration of an item.
        level: of the labels.
        clock_hz: of frame-level labels, and of all modalities then.
        parts: keys whose groups get an oracle score of their own.
    """

    modalities: Mapping[str, ModalityProfile]
    latents: Mapping[str, Classes | Scales]
    tables: Mapping[str, Table]
    pair: tuple[str, str]
    items: tuple[int, int]
    seconds: tuple[float, float, float]
    level: Level = "item"
    clock_hz: float = 0.0
    parts: tuple[str, ...] = ()
