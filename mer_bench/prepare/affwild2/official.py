"""The official annotation folders, joined with features that lie elsewhere.

An item is a track: one person in one video. All labels of a track lie on one clock, that of the video's frames; a
frame without a label of a task is masked in that task alone. Features named by frame are put on the same clock, frame n
to line n, and a frame without them is a row that is not valid. Features with a rate of their own keep it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mer_bench.errors import UserError
from mer_bench.merh5 import Contents, Labels, Modality, SplitTable
from mer_bench.prepare.affwild2 import features
from mer_bench.prepare.affwild2.annotations import (
    EXPRESSIONS,
    FOLDERS,
    NO_CLASS,
    NO_VA,
    VA,
    Track,
    read_tracks,
    task_folders,
)
from mer_bench.prepare.affwild2.clock import VIDEO, clock, video_rates
from mer_bench.prepare.ids import shown
from mer_bench.prepare.layout import Layout, Request
from mer_bench.prepare.rates import positive
from mer_bench.prepare.report import Report
from mer_bench.prepare.rows import Faults
from mer_bench.prepare.sources import folder_source
from mer_bench.prepare.spool import Spool

SOUND = "audio"  # belongs to the video, so two tracks share it
KNOWN_SLIP = 1  # frames by which a file may differ from the container without being refused


class OfficialAnnotations(Layout):
    """Annotation folders of any edition, in the folder itself or in ``annotations`` below it."""

    name = "Aff-Wild2 annotations"
    options = ("features", "rate")

    def missing(self, root: Path) -> list[str]:
        """At least one folder of a task."""
        return [] if root.is_dir() and task_folders(_root(root)) else [f"{FOLDERS['va'][0]} (or of another task)"]

    def read(self, request: Request, report: Report) -> Contents:
        """Read annotations, then features modality by modality."""
        if not request.features:
            raise UserError(f"{request.source}: annotations only; name features with --features vision=PATH")
        unknown = [name for name in request.rate if name not in (VIDEO, *request.features)]
        if unknown:
            raise UserError(f"--rate {unknown[0]}: no --features of that name (or {VIDEO})")
        tracks, files = read_tracks(task_folders(_root(request.source)))
        rates = video_rates(sorted({t.video for t in tracks}), request.rate.get(VIDEO, ""), report)
        found = {}
        for name, folder in request.features.items():
            rate = positive(request.rate[name], f"--rate {name}") if name in request.rate else 0.0
            found[name] = _modality(name, folder, tracks, [rates[t.video] for t in tracks], rate, report)
        labels = _labels(tracks, [rates[t.video] for t in tracks], report)
        report.counted |= {"tracks": len(tracks), "videos": len(rates), "frames": sum(t.frames for t in tracks)}
        for name, table in labels.items():
            report.counted[f"frames with {name}"] = int(table.mask.reshape(len(table.mask), -1).any(axis=1).sum())
        return Contents(
            corpus="affwild2",
            ids=[t.name for t in tracks],
            modalities=found,
            labels=labels,
            dialogue=[t.video for t in tracks],
            order=_order(tracks),
            splits=_splits(tracks, report),
            sources=[
                folder_source(files, _root(request.source)),
                *(folder_source(features.entries(folder).values(), folder) for folder in request.features.values()),
            ],
            licence="Aff-Wild2 (Imperial College London, Queen Mary University of London); for local use only",
            notes="item: one person in one video. dialogue: the video. The test part is the official validation part.",
        )


def _root(root: Path) -> Path:
    return root / "annotations" if (root / "annotations").is_dir() else root


def _order(tracks: Sequence[Track]) -> NDArray[np.int64]:
    seen: dict[str, int] = {}
    order = []
    for track in tracks:
        order.append(seen.get(track.video, 0))
        seen[track.video] = order[-1] + 1
    return np.array(order, np.int64)


def _labels(tracks: Sequence[Track], rates: Sequence[float], report: Report) -> dict[str, Labels]:
    """A table per task, on the frames of the tracks; where a task is annotated over fewer frames the rest is masked."""
    lengths = [track.frames for track in tracks]
    short = [t.name for t in tracks if len({len(a.values) for a in t.labels.values()}) > 1]
    report.repair("tracks whose tasks differ in length: frames of the longer one masked in the other", short)
    found = {}
    for task in FOLDERS:
        annotated = [t for t in tracks if task in t.labels]
        if not annotated:
            report.absent.append(f"{' or '.join(FOLDERS[task][:2])}: no labels '{task}'")
            continue
        names = {t.labels[task].names for t in annotated}
        if task == "expr":
            names = {EXPRESSIONS}
        if len(names) > 1:
            raise UserError(f"{task}: files of two editions of the challenge: {' and '.join(map(str, sorted(names)))}")
        columns = next(iter(names))
        shape = (sum(lengths),) if task == "expr" else (sum(lengths), len(columns))
        values = np.zeros(shape, np.int64 if task == "expr" else np.float32)
        mask = np.zeros(shape, bool)
        for start, track in zip(np.cumsum([0, *lengths]).tolist(), tracks, strict=False):
            if task in track.labels:
                stop = start + len(track.labels[task].values)
                values[start:stop], mask[start:stop] = track.labels[task].values, track.labels[task].mask
        told = sum(len(t.labels[task].values) for t in annotated) - int(mask.reshape(len(mask), -1).any(axis=1).sum())
        report.repair(f"frames of {task} without a label masked", [t.name for t in annotated], told)
        found[task] = Labels(
            {"va": "regression", "expr": "multiclass", "au": "multilabel"}[task],  # type: ignore[arg-type]
            columns,
            values,
            mask,
            level="frame",
            lengths=lengths,
            range=(-1.0, 1.0) if columns == VA else None,
            native_missing=f"{NO_VA if task == 'va' else NO_CLASS:g}",
            definition="one line per video frame, of either official part",
            **clock(rates, lengths),  # type: ignore[arg-type]
        )
    return found


def _splits(tracks: Sequence[Track], report: Report) -> dict[str, SplitTable]:
    """A table per task, and `abaw` over all of them without the videos on which they disagree."""
    tables = {
        f"abaw_{task}": np.array([t.parts.get(task, 0) for t in tracks], np.uint8)
        for task in FOLDERS
        if any(task in t.parts for t in tracks)
    }
    parts: dict[str, set[int]] = {}
    for track in tracks:
        parts.setdefault(track.video, set()).update(track.parts.values())
    torn = [t.name for t in tracks if len(parts[t.video]) > 1]
    report.drop("tracks in no part of split abaw, because the tasks disagree on the part of their video", torn)
    tables["abaw"] = np.array([0 if t.name in torn else next(iter(parts[t.video])) for t in tracks], np.uint8)
    source = "official parts of the challenge; its validation part is the test part here, as test labels are private"
    return {
        name: SplitTable(table[None], disjoint_by=("dialogue",), source=source)
        for name, table in tables.items()
        if (table == 1).any()
    }


def _modality(
    name: str, folder: Path, tracks: Sequence[Track], rates: Sequence[float], rate: float, report: Report
) -> Modality:
    """One modality: on the clock of the frames, or (`rate` above 0) on its own."""
    entries = features.entries(folder)
    masked, dropped = Faults(name), Faults(name)
    lengths: list[int] = []
    valid: list[NDArray[np.bool_]] = []
    with Spool() as spool:
        for track in tracks:
            path = features.find(entries, track.name, track.video, shared=name == SOUND)
            if path is None:
                lengths.append(0)
                continue
            values, good = _rows(name, path, track, bool(rate), masked, dropped)
            spool.add(np.where(good[:, None], values, np.float32(0)), path)
            lengths.append(len(values))
            valid.append(good)
        if not spool.rows:
            raise UserError(
                f"{folder}: nothing of any track; its first is {next(iter(entries))!r}, expected such as "
                f"{shown([t.name for t in tracks], 2)}"
            )
        everything = spool.array()
    masked.tell(report.repair)
    dropped.tell(report.drop)
    report.counted[f"with {name}"] = sum(length > 0 for length in lengths)
    own = {"rate_hz": rate} if rate else clock(rates, lengths)
    return Modality(
        everything,
        lengths,
        valid=np.concatenate(valid),
        extractor=folder.name,
        aligned_to="" if rate else "video-frame",
        **own,  # type: ignore[arg-type]
    )


def _rows(
    name: str, path: Path, track: Track, own_clock: bool, masked: Faults, dropped: Faults
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Rows of one track, (rows, features), and which are a measurement."""
    rows = features.read(path)
    good = masked.judge(track.name, rows.values, rows.tracked)
    if not own_clock:
        return _on_frames(name, path, rows, good, track, masked, dropped)
    if rows.frames is not None:
        raise UserError(f"--rate {name}: {path} names its rows by video frame; leave the rate out")
    return rows.values, good


def _on_frames(
    name: str,
    path: Path,
    rows: features.Rows,
    good: NDArray[np.bool_],
    track: Track,
    masked: Faults,
    dropped: Faults,
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Rows put on the frames of the track by their numbers: values (frames, features) and which are a measurement."""
    total, frames = track.frames, rows.frames
    if frames is None:
        if abs(len(rows.values) - total) > KNOWN_SLIP:
            raise UserError(
                f"{path}: {len(rows.values)} rows without frame numbers, {total} annotated frames; expected as many, "
                f"or --rate {name}=HZ where they have a clock of their own"
            )
        frames = np.arange(1, len(rows.values) + 1)
    inside = frames <= total
    values = np.zeros((total, rows.values.shape[1]), np.float32)
    there = np.zeros(total, bool)
    values[frames[inside] - 1] = rows.values[inside]
    there[frames[inside] - 1] = good[inside]
    dropped.add("rows beyond the last annotated frame", track.name, int((~inside).sum()))
    masked.add("annotated frames without a row masked", track.name, total - int(inside.sum()))
    return values, there
