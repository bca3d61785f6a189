"""From clips and their modalities to the contents of the feature file."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mer_bench.errors import UserError
from mer_bench.merh5 import Contents, Labels, Modality, Source, SplitTable
from mer_bench.prepare.cmu.clips import Clips
from mer_bench.prepare.cmu.folds import PART_NAMES, SOURCE, official
from mer_bench.prepare.cmu.labels import label_tables
from mer_bench.prepare.layout import Request
from mer_bench.prepare.report import Report
from mer_bench.prepare.rows import pick

LICENCE = {
    "mosei": "CMU-MOSEI, Carnegie Mellon University (MultiComp); for local use only",
    "mosi": "CMU-MOSI, Carnegie Mellon University (MultiComp); for local use only",
}
#: clips in train, validation and test of what is in use, and where
KNOWN_COUNTS: dict[str, dict[tuple[int, ...], str]] = {
    "mosei": {
        (16_327, 1_871, 4_662): "the SDK's alignment with imputation",
        (16_322, 1_871, 4_659): "MMSA, MERBench and TAILOR, less the 4 clips of a video outside every official fold",
        (16_265, 1_869, 4_643): "MulT and MultiBench, without clips of empty text",
    },
    "mosi": {
        (1_284, 229, 686): "the papers",
        (1_283, 214, 686): "the SDK's alignment",
    },
}


@dataclass(frozen=True)
class Extras:
    """What a layout adds to the common contents.

    Attributes:
        labels: further label tables.
        splits: further splits.
        part: which part of the corpus.
        notes: free text.
    """

    labels: dict[str, Labels] = field(default_factory=dict)
    splits: dict[str, SplitTable] = field(default_factory=dict)
    part: str = ""
    notes: str = ""


def contents(
    corpus: str,
    where: object,
    clips: Clips,
    modalities: Mapping[str, Modality],
    request: Request,
    report: Report,
    sources: Sequence[Source],
    extras: Extras | None = None,
) -> Contents:
    """The contents of the feature file; clips without any feature are left out.

    Raises:
        UserError: labels that no rater can have given, or no features at all.
    """
    extras = extras or Extras()
    if not modalities:
        raise UserError(f"{where}: no features; name them with --features NAME=PATH")
    some = np.any([np.asarray(modality.lengths) > 0 for modality in modalities.values()], axis=0)
    report.drop("clips without any feature", [clips.ids[row] for row in np.flatnonzero(~some)])
    if not some.any():
        raise UserError(f"{where}: none of the {len(clips):,} clips has features in any modality")
    if not some.all():
        clips = clips.take(np.flatnonzero(some))
        modalities = {name: pick(modality, some) for name, modality in modalities.items()}
        extras = _kept(extras, some)
    table = _sdk(corpus, clips, report)
    for name, modality in modalities.items():
        report.counted[f"with {name}"] = int((np.asarray(modality.lengths) > 0).sum())
    return Contents(
        corpus=corpus,
        ids=clips.ids,
        modalities=modalities,
        labels=label_tables(where, clips.ids, clips.sentiment, clips.emotions, report) | extras.labels,
        dialogue=clips.video,
        order=_order(clips),
        start_s=clips.start_s,
        end_s=clips.end_s,
        text=clips.text if request.text else None,
        splits={"sdk": table, **extras.splits},
        sources=sources,
        corpus_part=extras.part,
        licence=LICENCE[corpus],
        notes=extras.notes or "dialogue: the video. order: position of the clip in it.",
    )


def _kept(extras: Extras, some: NDArray[np.bool_]) -> Extras:
    labels = {
        name: dataclasses.replace(table, values=np.asarray(table.values)[some], mask=np.asarray(table.mask)[some])
        for name, table in extras.labels.items()
    }
    splits = {name: dataclasses.replace(split, table=split.table[:, some]) for name, split in extras.splits.items()}
    return dataclasses.replace(extras, labels=labels, splits=splits)


def _sdk(corpus: str, clips: Clips, report: Report) -> SplitTable:
    folds = official(corpus)
    part = np.array([folds.of(video) for video in clips.video], np.uint8)
    counts = tuple(int((part == number).sum()) for number in PART_NAMES)
    report.counted |= {"clips": len(clips), "videos": len(set(clips.video))}
    report.counted |= dict(zip(PART_NAMES.values(), counts, strict=True))
    known = KNOWN_COUNTS[corpus].get(counts)
    if known:
        report.verified.append(f"{'/'.join(f'{count:,}' for count in counts)} clips: as in {known}")
    return SplitTable(part[None], disjoint_by=("dialogue",), source=SOURCE, note="Speakers may recur between videos.")


def _order(clips: Clips) -> NDArray[np.int64]:
    """Position of each clip in its video."""
    order = np.empty(len(clips), np.int64)
    position: dict[str, int] = {}
    for row in np.argsort(clips.place, kind="stable").tolist():
        order[row] = position[clips.video[row]] = position.get(clips.video[row], -1) + 1
    return order
