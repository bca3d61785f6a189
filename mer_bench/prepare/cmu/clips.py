"""The clips of MOSI or MOSEI as a table, and what is settled before any feature is read.

Three namings of clips are about, and they must not be mixed up: the number in the transcripts (``<video>_<number>``,
in most files), the row in the SDK's label sequence (``<video>[<row>]``, here ``<video>.<row>``), and start and end in
seconds (``<video>.at<start>-<end>``; three pairs of clips share video and start). The first two differ in about a
quarter of the clips of MOSEI, so ids keep apart what cannot be told to be the same.
"""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mer_bench.errors import UserError
from mer_bench.prepare.cmu.folds import CORPORA, PART_NAMES, official
from mer_bench.prepare.ids import shown
from mer_bench.prepare.report import Report

NAMES = (
    re.compile(r"(?P<video>[A-Za-z0-9_-]{1,100})\$_\$(?P<number>\d{1,6})"),
    re.compile(r"(?P<video>[A-Za-z0-9_-]{1,100})_(?P<number>\d{1,6})"),
    re.compile(r"(?P<video>[A-Za-z0-9_-]{1,100})\[(?P<row>\d{1,6})\]"),
)


@dataclass(frozen=True)
class Clips:
    """Clips by columns.

    Attributes:
        ids: unique names in the feature file.
        video: the video of each.
        place: (clips,) what orders them in their video: number, row or seconds.
        sentiment: (clips,), NaN where unknown.
        emotions: (clips, 6) intensities, or None.
        start_s: (clips,) seconds in the video, or None.
        end_s: likewise.
        text: transcripts, or None.
        part: (clips,) the part that the source puts each clip in, 0 unknown; or None.
    """

    ids: list[str]
    video: list[str]
    place: NDArray[np.float64]
    sentiment: NDArray[np.float64]
    emotions: NDArray[np.float64] | None = None
    start_s: NDArray[np.float64] | None = None
    end_s: NDArray[np.float64] | None = None
    text: list[str] | None = None
    part: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, rows: NDArray[np.int64]) -> Clips:
        """Some of the clips, in the order of `rows`."""
        chosen = rows.tolist()
        taken: dict[str, Any] = {}
        for column in dataclasses.fields(self):
            values = getattr(self, column.name)
            taken[column.name] = [values[row] for row in chosen] if isinstance(values, list) else values
            if isinstance(values, np.ndarray):
                taken[column.name] = values[rows]
        return Clips(**taken)


def named(where: object, name: str) -> tuple[str, str, int]:
    """Id in the feature file, video and number of a clip from the name that a file gives it.

    Raises:
        UserError: a name of no known form.
    """
    for form in NAMES:
        match = form.fullmatch(name)
        if match:
            parts = match.groupdict()
            sign, number = ("_", parts["number"]) if "number" in parts else (".", parts["row"])
            return f"{parts['video']}{sign}{int(number)}", parts["video"], int(number)
    raise UserError(f"{where}: clip name {name!r:.60}; expected forms such as abc_3, abc$_$3 or abc[3]")


def settle(corpus: str, where: object, clips: Clips, report: Report) -> tuple[Clips, NDArray[np.int64]]:
    """The clips that are kept, and their rows in what was given: each once, and in an official fold.

    Raises:
        UserError: one id with two different labels, a clip in another part than the official one, or none left.
    """
    report.counted["clips found"] = len(clips)
    if clips.part is not None:
        found = {f"of them {name}": int((clips.part == number).sum()) for number, name in PART_NAMES.items()}
        report.counted |= found
    rows = _once(where, clips, report)
    clips = clips.take(rows)
    folds = official(corpus)
    part = np.array([folds.of(video) for video in clips.video], np.int64)
    report.drop("clips of videos outside every official fold", [clips.ids[row] for row in np.flatnonzero(part == 0)])
    inside = np.flatnonzero(part)
    if not len(inside):
        other = next((slug for slug in CORPORA if any(official(slug).of(video) for video in clips.video)), "")
        hint = f"; is it `mer-bench prepare {other}`?" if other else ""
        raise UserError(f"{where}: none of {len(clips):,} clips is of a video in the official folds of {corpus}{hint}")
    if clips.part is not None:
        moved = [clips.ids[row] for row in inside if clips.part[row] not in (0, part[row])]
        if moved:
            raise UserError(f"{where}: clips in another part than the official one: {shown(moved)}")
        report.verified.append(f"parts of {len(inside):,} clips: those of the official folds")
    return clips.take(inside), rows[inside]


def _once(where: object, clips: Clips, report: Report) -> NDArray[np.int64]:
    """Rows of the first clip of each name."""
    first: dict[str, int] = {}
    again: list[str] = []
    differing: list[str] = []
    for row, name in enumerate(clips.ids):
        if first.setdefault(name, row) != row:
            same = np.array_equal(clips.sentiment[row], clips.sentiment[first[name]], equal_nan=True)
            (again if same else differing).append(name)
    if differing:
        raise UserError(f"{where}: one clip twice with different labels: {shown(differing)}")
    report.drop("clips that stand there a second time", again)
    return np.array(list(first.values()), np.int64)
