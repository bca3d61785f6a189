"""Frames per second of each video: from a table, from its name, or one number for all others."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mer_bench.errors import UserError
from mer_bench.prepare.ids import unique
from mer_bench.prepare.rates import positive
from mer_bench.prepare.report import Report
from mer_bench.prepare.tables import numbers, read_table

VIDEO = "video"  # the name under which `--rate` takes the rate of the videos
ASSUMED_HZ = 30.0
IN_NAME = re.compile(r"\d+-(?P<fps>\d{2})-\d+x\d+")  # 10-60-1280x720: 60 frames per second


def video_rates(videos: Sequence[str], given: str, report: Report) -> dict[str, float]:
    """Frames per second by video.

    Args:
        videos: names.
        given: what ``--rate video=`` says: a number, a CSV file with columns video and fps, or nothing.
        report: told how many rates are assumed.

    Raises:
        UserError: no positive number, or a malformed table.
    """
    path = Path(given)
    table = _table(path) if given and path.is_file() else {}
    other = positive(given, "--rate video") if given and not table else ASSUMED_HZ
    found, assumed = {}, []
    for video in videos:
        name = IN_NAME.match(video)
        if video in table:
            found[video] = table[video]
        elif name:
            found[video] = float(name["fps"])
        else:
            found[video] = other
            if not given or table:
                assumed.append(video)
    report.repair(f"videos taken to have {ASSUMED_HZ:g} frames per second (--rate video=...)", assumed)
    return found


def _table(path: Path) -> dict[str, float]:
    table = read_table(path, ("video", "fps"))
    unique(path, table["video"])
    rates = numbers(table["fps"], f"{path}: fps")
    if not ((rates > 0) & np.isfinite(rates)).all():
        raise UserError(f"{path}: fps: expected numbers above 0")
    return dict(zip(table["video"], rates.tolist(), strict=True))


def clock(rates: Sequence[float], lengths: Sequence[int]) -> Mapping[str, float | NDArray[np.float64]]:
    """The clock of frames of tracks as arguments of `Labels` and `Modality`: one rate where all agree, else times.

    Args:
        rates: (tracks,) frames per second.
        lengths: (tracks,) frames.
    """
    if len(set(rates)) == 1:
        return {"rate_hz": float(rates[0])}
    starts = [np.arange(length) / rate for rate, length in zip(rates, lengths, strict=True)]
    ends = [np.arange(1, length + 1) / rate for rate, length in zip(rates, lengths, strict=True)]
    return {"times": np.stack([np.concatenate(starts), np.concatenate(ends)], axis=1)}
