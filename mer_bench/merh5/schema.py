"""What a feature file holds: the dataclasses that `write` takes, and the fault that `check` reports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np

from mer_bench.types import Level

SCHEMA = "merh5"
VERSION = "1.0"
GROUP_KEYS = ("speaker", "session", "dialogue")
PARTS = ("unused", "train", "validation", "test")

ModalityKind = Literal["sequence", "utterance", "signal"]
LabelKind = Literal["multiclass", "multilabel", "regression", "ordinal"]
CLASS_KINDS = ("multiclass", "ordinal")


class Fault(NamedTuple):
    """One thing that is wrong with a feature file.

    Attributes:
        place: path inside the file, ``modalities/audio/values``; empty for the file as a whole.
        id: the item (or group, or class) concerned; empty when the fault is not about one.
        message: what is wrong and, in brackets, what was expected.
    """

    place: str
    id: str
    message: str

    def __str__(self) -> str:
        return ": ".join(part for part in self if part)


@dataclass(frozen=True)
class Source:
    """One file that the features were made from.

    Attributes:
        name: file name without its folder.
        sha256: of its bytes, hex.
        bytes: its size.
        origin: where it came from: a corpus release, or a repository and commit.
    """

    name: str
    sha256: str = ""
    bytes: int = 0
    origin: str = ""


@dataclass(frozen=True)
class Modality:
    """The frames of one modality, all items end to end, and what is known of them.

    Attributes:
        values: (rows, dim) float; float16 stays, everything else becomes float32. Rows that ``valid`` marks False may
            hold anything (NaN too); they are stored as zero.
        lengths: (items,) rows of each item, in the order of the ids; 0 means that the item lacks this modality.
        kind: sequence, utterance (at most one row per item) or signal.
        rate_hz: rows per second; 0 when irregular or when there is one row per item.
        t0_s: time of the first row, in seconds after the start of the item.
        valid: (rows,) False where a row exists but extraction failed (no face, no pitch). None: all are good.
        times: (rows, 2) start and end in seconds, where the rate is irregular (words).
        names: name of each feature, or None.
        extractor: what computed the features.
        extractor_version: its version.
        weights_sha256: of its weights, where it has any.
        unit: physical unit of a signal.
        aligned_to: what rows are aligned to: empty, ``word``, ``video-frame``.
        normalised: ``none``, or how the values were normalised before they came here.
        note: free text.
        fitted_on: scheme of the split (of this file, one fold) on whose training part the extractor itself was trained
            with the labels of this corpus; empty for an extractor that saw none of them. Whoever scores or selects on
            those items measures memory: datamodules refuse it.
    """

    values: np.ndarray
    lengths: np.ndarray | Sequence[int]
    kind: ModalityKind = "sequence"
    rate_hz: float = 0.0
    t0_s: float = 0.0
    valid: np.ndarray | None = None
    times: np.ndarray | None = None
    names: Sequence[str] | None = None
    extractor: str = ""
    extractor_version: str = ""
    weights_sha256: str = ""
    unit: str = ""
    aligned_to: str = ""
    normalised: str = "none"
    note: str = ""
    fitted_on: str = ""


@dataclass(frozen=True)
class Labels:
    """One label table.

    Attributes:
        kind: multiclass, multilabel, regression or ordinal.
        names: class names in the order of their indices; label names; names of the regression's dimensions.
        values: multiclass and ordinal: (items,) class index. Multilabel: (items, size) of 0 and 1. Regression:
            (items, size). Frame level: the first axis is frames. Where the mask is False anything may stand; it is
            stored as zero.
        mask: shape of the values, True where a usable label exists.
        level: one label per item, or one per frame.
        range: lowest and highest legal value of a regression, or None.
        lengths: (items,) label frames of each item; frame level only.
        rate_hz: label frames per second; frame level only.
        times: (frames, 2) start and end in seconds, when the label clock is irregular; frame level only.
        native_missing: what stood for "no label" in the corpus (``-5``, ``xxx``).
        definition: how the labels were made, in a sentence.
    """

    kind: LabelKind
    names: tuple[str, ...]
    values: np.ndarray
    mask: np.ndarray
    level: Level = "item"
    range: tuple[float, float] | None = None
    lengths: np.ndarray | Sequence[int] | None = None
    rate_hz: float = 0.0
    times: np.ndarray | None = None
    native_missing: str = ""
    definition: str = ""


@dataclass(frozen=True)
class SplitTable:
    """A split that the corpus ships, or that a paper used.

    Attributes:
        table: (folds, items) uint8: 0 unused, 1 train, 2 validation, 3 test.
        disjoint_by: keys (speaker, session, dialogue or an item attribute) of which no group may appear in two parts
            of one fold. A promise, which `check` holds the table to.
        source: where the split comes from.
        note: free text.
    """

    table: np.ndarray
    disjoint_by: tuple[str, ...] = ("speaker",)
    source: str = ""
    note: str = ""


@dataclass(frozen=True)
class Contents:
    """Everything that goes into one feature file: one corpus, one set of modalities.

    Attributes:
        corpus: slug, small letters, digits and hyphens.
        ids: unique name of each item: letters, digits, ``_ . -``, at most 128, no dot in front.
        modalities: by name.
        labels: by name.
        speaker: speaker of each item, or None where the corpus does not say.
        session: session of each item, or None.
        dialogue: dialogue (or video) of each item, or None.
        order: (items,) position inside the dialogue, -1 where there is none; or None.
        start_s: (items,) start inside the recording in seconds, NaN where unknown; or None.
        end_s: (items,) end, likewise.
        text: transcript of each item, or None.
        attrs: further columns by name, text (sex) or numbers (age; NaN where unknown).
        splits: by scheme.
        synthetic: made by a generator, not by people.
        sources: the files it was made from.
        corpus_version: version of the corpus.
        corpus_part: which part of it.
        licence: under which the features are held.
        redistributable: whether the file may be passed on.
        notes: free text.
        repairs: number of repairs by kind, such as non-finite values that were masked.
        truth: synthetic files: what is known of the optimum (anything JSON can hold).
    """

    corpus: str
    ids: Sequence[str]
    modalities: Mapping[str, Modality]
    labels: Mapping[str, Labels] = field(default_factory=dict)
    speaker: Sequence[str] | None = None
    session: Sequence[str] | None = None
    dialogue: Sequence[str] | None = None
    order: np.ndarray | Sequence[int] | None = None
    start_s: np.ndarray | None = None
    end_s: np.ndarray | None = None
    text: Sequence[str] | None = None
    attrs: Mapping[str, Sequence[str] | np.ndarray] = field(default_factory=dict)
    splits: Mapping[str, SplitTable] = field(default_factory=dict)
    synthetic: bool = False
    sources: Sequence[Source] = ()
    corpus_version: str = ""
    corpus_part: str = ""
    licence: str = ""
    redistributable: bool = False
    notes: str = ""
    repairs: Mapping[str, int] = field(default_factory=dict)
    truth: Mapping[str, Any] | None = None
