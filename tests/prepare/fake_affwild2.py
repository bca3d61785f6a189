"""Fake annotations and features of Aff-Wild2 in their true layouts, with the faults of the real ones.

Every feature vector says which frame of which track it belongs to: ``[track number, frame number]``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

HEADERS = {
    "va": "valence,arousal",
    "expr": "Neutral,Anger,Disgust,Fear,Happiness,Sadness,Surprise,Other",
    "au": "AU1,AU2,AU4,AU6,AU7,AU10,AU12,AU15,AU23,AU24,AU25,AU26",
}
OLD = {"va": "VA_Set", "expr": "EXPR_Set", "au": "AU_Set"}
NEW = {"va": "VA_Estimation_Challenge", "expr": "EXPR_Recognition_Challenge", "au": "AU_Detection_Challenge"}
#: track -> frames; two people share a video, one name tells its rate
TRACKS = {"1-60-1280x720": 40, "talk_left": 33, "talk_right": 33, "video5": 25, "video6": 30, "video7": 28}
VALIDATION = ("video6", "video7")
LOST = {"talk_left": (1, 2, 17), "video5": (25,)}  # frames without an image


@dataclass
class Tree:
    """Where everything lies, and the lines of every annotation file without its header, by task and track."""

    root: Path
    lines: dict[tuple[str, str], list[str]] = field(default_factory=dict)

    def path(self, task: str, track: str) -> Path:
        """The annotation file of a track."""
        return next((self.root / "annotations").glob(f"{task.upper()}_*/*/{track}.txt"))

    @property
    def annotations(self) -> Path:
        return self.root / "annotations"


def write_annotations(root: Path, folders: dict[str, str] | None = None, train: str = "Train_Set") -> Tree:
    rng = np.random.default_rng(0)
    tree = Tree(root)
    for task, folder in (folders or NEW).items():
        for track, frames in TRACKS.items():
            if task == "au" and track == "video5":
                continue  # annotated in two tasks only
            lines = LINES[task](rng, frames)
            if task == "expr" and track == "video6":
                lines = lines[:-1]  # one frame short of the other tasks
            tree.lines[task, track] = lines
            part = root / "annotations" / folder / ("Validation_Set" if track in VALIDATION else train)
            part.mkdir(parents=True, exist_ok=True)
            (part / f"{track}.txt").write_text("\n".join([HEADERS[task], *lines]) + "\n\n")
    return tree


def _va(rng: np.random.Generator, frames: int) -> list[str]:
    values = rng.uniform(-1, 1, (frames, 2)).round(3)
    values[3] = -5
    values[4, 0] = -5  # one of the two is enough
    return [f"{v:g},{a:g}" for v, a in values]


def _expr(rng: np.random.Generator, frames: int) -> list[str]:
    values = rng.integers(0, 8, frames)
    values[5:8] = -1
    return [str(value) for value in values]


def _au(rng: np.random.Generator, frames: int) -> list[str]:
    values = rng.integers(0, 2, (frames, 12))
    values[2] = -1
    values[6, 4] = -1  # partly
    return [",".join(map(str, row)) for row in values]


LINES = {"va": _va, "expr": _expr, "au": _au}


def rows(track: str, frames: int) -> np.ndarray:
    """(frames, 2) features that name their place."""
    return np.stack([np.full(frames, 1.0 + list(TRACKS).index(track)), np.arange(1, frames + 1)], axis=1)


def present(track: str, extra: int = 0) -> np.ndarray:
    """Numbers of the frames that have an image."""
    return np.array([n for n in range(1, TRACKS[track] + extra + 1) if n not in LOST.get(track, ())])


def write_frames(folder: Path, form: str, extra: int = 2) -> Path:
    """Features joined by frame number: one file per frame, an archive, or a table; `extra` frames past the labels."""
    for track in TRACKS:
        numbers = present(track, extra)
        values = rows(track, TRACKS[track] + extra)[numbers - 1].astype(np.float32)
        if form == "frames":
            (folder / track).mkdir(parents=True)
            for number, row in zip(numbers, values, strict=True):
                np.save(folder / track / f"{number:05d}.npy", row[None])
            continue
        folder.mkdir(parents=True, exist_ok=True)
        if form == "npz":
            turned = np.random.default_rng(1).permutation(len(numbers))
            np.savez(folder / f"{track}.npz", values=values[turned], frames=numbers[turned])
        else:
            lines = ["frame, face_id, timestamp, confidence, success, a, b"]
            lines += [
                f"{n}, 0, {n / 30:.3f}, 0.9, {int(n != 9)}, {a:g}, {b:g}"
                for n, (a, b) in zip(numbers, values, strict=True)
            ]
            (folder / f"{track}.csv").write_text("\n".join(lines) + "\n")
    return folder


def write_sound(folder: Path, rate: float = 100.0) -> Path:
    """One array per video: a column of seconds."""
    folder.mkdir(parents=True)
    for video in {track.removesuffix("_left").removesuffix("_right") for track in TRACKS}:
        seconds = np.arange(1, 151) / rate
        np.save(folder / f"{video}.npy", seconds[:, None])
    return folder
