"""Fake files of BioVid in their true layouts, with the faults of the real ones. Nobody in them exists."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mer_bench.prepare.biovid.pack import BIO, FACE, KEYS, STATISTICS, VIDEO
from mer_bench.prepare.biovid.samples import HOLDOUT, LEVELS, NOT_REACTIVE
from mer_bench.prepare.biovid.signals import CHANNELS

SUBJECTS = ("000109_w_21", "000209_m_45", HOLDOUT[5], NOT_REACTIVE[1])
ROWS = 2816


def trials(level: str, each: int) -> list[int]:
    """Numbers of the samples of one level; the last baseline sample is number 100."""
    if level == "BL1":
        return [*range(81, 81 + each - 1), 100]
    first = 1 + 20 * (LEVELS.index(level) - 1)
    return list(range(first, first + each))


def names(each: int = 2, subjects: Sequence[str] = SUBJECTS) -> list[str]:
    return [f"{s}-{level}-{k:03d}" for s in subjects for level in LEVELS for k in trials(level, each)]


def write_pack(root: Path, each: int = 2, seed: int = 0) -> dict[str, np.ndarray]:
    """The two tables; returns the signals from which the statistics were made, by sample."""
    rng = np.random.default_rng(seed)
    root.mkdir(parents=True, exist_ok=True)
    signals = {name: rng.normal(3, 2, (50, len(CHANNELS))) * [1, 1, 1, 0, 0] for name in names(each)}
    rows, face = [], []
    for name, signal in signals.items():
        keys = key_cells(name)
        cells = []
        for x in signal.T:  # the header says STD and SUM; the columns are sum and standard deviation
            cells += [x.mean(), np.median(x), x.max(), x.min(), x.sum(), x.std(), x.var()]
        rows.append([*keys, *map(repr, map(float, cells))])
        face.append([*keys, *map(repr, rng.normal(size=len(FACE)).tolist())])
    face = [face[k] for k in rng.permutation(len(face))]  # other order
    write_tsv(root / BIO, (*KEYS, *STATISTICS), rows)
    write_tsv(root / VIDEO, (*KEYS, *FACE), face)
    return signals


def key_cells(name: str) -> list[str]:
    subject, level, number = name.split("-")
    code, sex, age = subject.split("_")
    return [code, str(int(number) % 100), age, sex, level]


def write_tsv(path: Path, header: tuple[str, ...], rows: list[list[str]]) -> None:
    path.write_text("\n".join("\t".join(map(str, row)) for row in [header, *rows]) + "\n", encoding="utf-8")


def write_tree(
    root: Path, *, facial: bool = False, seed: int = 0, subjects: Sequence[str] = SUBJECTS
) -> dict[str, np.ndarray]:
    """The official tree, filtered signals; returns the signals by sample."""
    rng = np.random.default_rng(seed)
    samples = names(1, subjects)
    table = []
    for number, name in enumerate(samples):
        subject, level, _ = name.split("-")
        table.append([str(number), subject, str(LEVELS.index(level)), level, str(number), name])
    (root / "starting_point").mkdir(parents=True)
    header = ("subject_id", "subject_name", "class_id", "class_name", "sample_id", "sample_name")
    write_tsv(root / "starting_point" / "samples.csv", header, table)
    signals = {}
    time = np.round(1250 + np.arange(ROWS) * 1e6 / 512).astype(int)
    for name in samples:
        folder = root / "biosignals_filtered" / name.split("-")[0]
        folder.mkdir(parents=True, exist_ok=True)
        beat = np.sin(2 * np.pi * 1.2 * np.arange(ROWS) / 512)
        signal = np.stack(
            [
                np.linspace(2, 3, ROWS),
                100 * beat,
                *(rng.normal(size=ROWS) * k for k in (1, facial, facial)),
            ],
            axis=1,
        )
        signals[name] = np.round(signal, 5)
        rows = [[str(t), *map(repr, map(float, row))] for t, row in zip(time, signals[name], strict=True)]
        write_tsv(folder / f"{name}_bio.csv", ("time", *CHANNELS), rows)
    return signals
