"""Features of the research pack."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mer_bench.errors import UserError
from mer_bench.merh5 import Modality
from mer_bench.prepare.arrays import load_npy
from mer_bench.prepare.ids import same, shown, unique
from mer_bench.prepare.report import Report
from mer_bench.prepare.rows import finite_rows
from mer_bench.prepare.tables import numbers, read_table, vectors

#: low-level descriptors of GeMAPS in the order of openSMILE; the files name none, but the value ranges are theirs
DESCRIPTORS = (
    *("loudness", "alpha_ratio", "hammarberg_index", "slope_0_500", "slope_500_1500", "spectral_flux"),
    *("mfcc1", "mfcc2", "mfcc3", "mfcc4", "f0_semitone", "jitter", "shimmer_db", "hnr_db", "h1_h2", "h1_a3"),
    *("f1_frequency", "f1_bandwidth", "f1_amplitude", "f2_frequency", "f2_amplitude", "f3_frequency", "f3_amplitude"),
)
#: columns of the prosody table; its first two are frame number and seconds (their ratio is 100), so means of half the
#: length; the names of the others follow from their ranges
PROSODY = ("frame", "seconds", "f0_hz", "voicing", "loudness")
GEMAPS_NAMES = (
    *(f"{name}_mean" for name in DESCRIPTORS),
    *(f"{name}_std" for name in DESCRIPTORS),
    "silence_fraction",
)
AUDIO_NAMES = (*GEMAPS_NAMES, *(f"prosody_{name}_mean" for name in PROSODY))
SAME_TURNS = 0.9  # ours: rank correlation that two loudness measures of the same turns exceed (.98), of others never

UNITS = ("01", "02", "04", "05", "06", "07", "09", "10", "12", "14", "15", "17", "20", "23", "25", "26", "45")
PRESENCES = (*UNITS[:-1], "28", "45")
UNIT_NAMES = (*(f"AU{unit}_r" for unit in UNITS), *(f"AU{unit}_c" for unit in PRESENCES))
FRAME_RATE = 30000 / 1001  # frames per second of the corpus's video


def audio(gemaps: Path, prosody: Path, ids: Sequence[str], report: Report) -> Modality:
    """One row per turn: 47 GeMAPS functionals, then the means of five prosody contours.

    The functionals come without ids. They are in the order of `ids` if their loudness goes with that of the prosody
    table, which has ids.

    Raises:
        UserError: wrong shape, missing turns, or rows that belong to other turns.
    """
    values = load_npy(gemaps)
    if values.shape != (len(ids), len(GEMAPS_NAMES)) or values.dtype.kind != "f":
        raise UserError(
            f"{gemaps}: {values.dtype} of shape {values.shape}; expected floating point, "
            f"({len(ids)}, {len(GEMAPS_NAMES)})"
        )
    table = read_table(prosody, ("filename", "embedding"))
    unique(prosody, table["filename"])
    same(prosody, table["filename"], ids)
    row = {name: place for place, name in enumerate(table["filename"])}
    means = vectors(table["embedding"], len(PROSODY), str(prosody))[[row[name] for name in ids]]
    both = np.concatenate([values, means], axis=1)
    valid = finite_rows("audio", both, ids, range(len(ids)), report)
    loudness = both[valid][:, [GEMAPS_NAMES.index("loudness_mean"), AUDIO_NAMES.index("prosody_loudness_mean")]]
    agreement = _rank_correlation(*loudness.T)
    if not agreement > SAME_TURNS:
        raise UserError(
            f"{gemaps}: rows are not in lexicographic order of the turn ids: the rank correlation of loudness with "
            f"{prosody} is {agreement:.2f}; expected more than {SAME_TURNS}"
        )
    report.verified.append(
        f"rows of {gemaps.name}: loudness goes with that of {prosody.name} (rank corr. {agreement:.2f})"
    )
    return Modality(
        both,
        np.ones(len(ids), np.int64),
        kind="utterance",
        valid=valid,
        names=AUDIO_NAMES,
        extractor="openSMILE GeMAPS descriptors (mean, standard deviation, silence); openSMILE prosody contours (mean)",
        note="the first 47 columns are the functionals. Amplitudes of formants are -201 where nothing is voiced.",
    )


def faces(folder: Path, ids: Sequence[str], report: Report) -> Modality:
    """One row per video frame: 17 intensities and 18 presences of facial action units, for the turns that have a file.

    Raises:
        UserError: files of unknown turns, foreign columns, frames that do not follow each other.
    """
    files = {path.stem: path for path in sorted(folder.glob("*.csv"))}
    foreign = sorted(set(files) - set(ids))
    if foreign or not files:
        raise UserError(f"{folder}: files of unknown turns: {shown(foreign)}" if files else f"{folder}: no .csv files")
    parts = {name: _face_frames(files[name]) for name in ids if name in files}
    values = np.concatenate([part.values for part in parts.values()])
    tracked = np.concatenate([part.tracked for part in parts.values()])
    lengths = np.array([len(parts[name].values) if name in parts else 0 for name in ids])
    lost = [name for name, part in parts.items() if not part.tracked.all()]
    report.repair("vision frames without a tracked face masked", lost, int((~tracked).sum()))
    values[~tracked] = 0  # what OpenFace writes there is no measurement
    report.counted["vision frames"] = len(values)
    return Modality(
        values,
        lengths,
        rate_hz=FRAME_RATE,
        valid=tracked & finite_rows("vision", values, ids, np.repeat(np.arange(len(ids)), lengths), report),
        times=np.concatenate([part.times for part in parts.values()]),
        names=UNIT_NAMES,
        extractor="OpenFace 2 action units: 17 intensities, 18 presences",
        aligned_to="video-frame",
        note="the whole frame was tracked: the face may be the listener's. Not valid where OpenFace found no face.",
    )


class _Frames(NamedTuple):
    values: np.ndarray  # (frames, 35)
    tracked: np.ndarray  # (frames,) whether a face was found
    times: np.ndarray  # (frames, 2) start and end in seconds


def _face_frames(path: Path) -> _Frames:
    leading = ("frame", "face_id", "timestamp", "confidence", "success")
    table = read_table(path, (*leading, *UNIT_NAMES))
    columns = {name: numbers(cells, f"{path}: {name}") for name, cells in table.items()}
    frame, start, success = columns["frame"], columns["timestamp"], columns["success"]
    if not len(frame) or (frame != np.arange(1, len(frame) + 1)).any():
        raise UserError(f"{path}: frames are not numbered 1, 2, 3, ...; expected one face and every frame")
    if not (np.abs(start - (frame - 1) / FRAME_RATE) < 2e-3).all():
        raise UserError(f"{path}: timestamps are not those of {FRAME_RATE:.2f} frames per second")
    if not np.isin(success, (0, 1)).all():
        raise UserError(f"{path}: column success holds something else than 0 and 1")
    end = np.append(start[1:], start[-1] + 1 / FRAME_RATE)
    return _Frames(
        np.stack([columns[name] for name in UNIT_NAMES], axis=1), success == 1, np.stack([start, end], axis=1)
    )


def _rank_correlation(first: np.ndarray, second: np.ndarray) -> float:
    one, two = (ranks - ranks.mean() for ranks in (np.argsort(np.argsort(column)) for column in (first, second)))
    return float(one @ two / np.sqrt((one @ one) * (two @ two)))
