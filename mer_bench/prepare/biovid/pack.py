"""The research pack: one table of biosignal statistics and one of face statistics, tab-separated, 8,700 rows each."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from mer_bench.errors import UserError
from mer_bench.merh5 import Contents, Modality
from mer_bench.prepare.biovid.samples import LICENCE, Samples, check_design, parse
from mer_bench.prepare.biovid.signals import CHANNELS, PACK_STATISTICS
from mer_bench.prepare.ids import same
from mer_bench.prepare.layout import Layout, Request
from mer_bench.prepare.report import Report
from mer_bench.prepare.rows import measured_rows
from mer_bench.prepare.sources import source
from mer_bench.prepare.tables import numbers, read_table

BIO, VIDEO = "extracted_bio_features.csv", "extracted_video_features.csv"
FOLDER = "partA_bio_video_8700"  # of the pack, which may be named itself or by the folder above
KEYS = ("SUBJECT_ID", "TRIAL", "AGE", "SEX", "PAIN_LEVEL")
FACE = (
    *("NOSE_X", "NOSE_Y", "NOSE_Z", "HEAD_ROTATION_X", "HEAD_ROTATION_Y", "HEAD_ROTATION_Z"),
    *("MOUTH_HORIZONTAL", "MOUTH_VERTICAL", "LEFT_EYEBROW_IRIS", "LEFT_IRIS_MOUTH", "LEFT_EYEBROW_MOUTH"),
    *("RIGHT_EYEBROW_IRIS", "RIGHT_IRIS_MOUTH", "RIGHT_EYEBROW_MOUTH"),
    *("CORRUGATOR_GRAD", "LEFT_SMILE_GRAD", "RIGHT_SMILE_GRAD", "LEFT_EYE_GRAD", "RIGHT_EYE_GRAD"),
)
STATISTICS = tuple(f"{statistic}_{channel}".upper() for channel in CHANNELS for statistic in PACK_STATISTICS)
LAST_TRIAL = 100  # the table writes sample 100 with its last two digits, as 0


class ResearchPack(Layout):
    """The folder of research files.

    Args:
        subjects: how many there must be.
        each: samples of each subject and level.
    """

    name = "BioVid research pack"
    required = (BIO, VIDEO)

    def __init__(self, subjects: int = 87, each: int = 20) -> None:
        self.subjects, self.each = subjects, each

    def missing(self, root: Path) -> list[str]:
        """The two tables, in this folder or in `FOLDER` below it."""
        return super().missing(_root(root))

    def read(self, request: Request, report: Report) -> Contents:
        """Read and verify both tables; rows are joined by subject, level and trial."""
        root = _root(request.source)
        ids, statistics = _read(root / BIO, STATISTICS)
        others, face = _read(root / VIDEO, FACE)
        samples = parse(root / BIO, ids)
        check_design(root / BIO, samples, self.subjects, self.each)
        same(root / VIDEO, others, ids)
        samples.count(report)
        report.repair(f"sample number 0 read as {LAST_TRIAL}", [i for i in samples.ids if i.endswith(f"{LAST_TRIAL}")])
        report.verified.append(f"{self.subjects} subjects with {self.each} samples of each of five levels")
        report.verified.append(f"rows of {BIO} and {VIDEO}: the same samples, joined by name")
        order = {name: row for row, name in enumerate(ids)}
        statistics = statistics[[order[name] for name in samples.ids]]
        order = {name: row for row, name in enumerate(others)}
        face = face[[order[name] for name in samples.ids]]
        return Contents(
            corpus="biovid",
            ids=samples.ids,
            modalities={
                "bio": _bio(root / BIO, statistics, samples, report),
                "vision": _modality("vision", face, [name.lower() for name in FACE], samples, report),
            },
            labels=samples.labels(),
            speaker=samples.subject,
            attrs=samples.attrs(),
            splits=samples.splits(report),
            sources=[source(root / path) for path in self.required],
            corpus_part="A",
            licence=LICENCE,
            notes="speaker: the subject. reactive: no for the 20 subjects usually left out.",
        )


def _root(root: Path) -> Path:
    return root / FOLDER if (root / FOLDER).is_dir() else root


def _read(path: Path, columns: tuple[str, ...]) -> tuple[list[str], np.ndarray]:
    """Sample names in the order of the rows, and the other columns (rows, columns) as numbers."""
    table = read_table(path, (*KEYS, *columns), delimiter="\t")
    ids = []
    for row, (code, trial, age, sex, level) in enumerate(zip(*(table[key] for key in KEYS), strict=True)):
        if not re.fullmatch(r"\d{6}", code):
            raise UserError(
                f"{path}, row {row + 1}: SUBJECT_ID {code!r}; expected six digits (as a number it loses its zero)"
            )
        if not re.fullmatch(r"\d{1,2}", trial):
            raise UserError(f"{path}, row {row + 1}: TRIAL {trial!r}; expected a whole number below {LAST_TRIAL}")
        ids.append(f"{code}_{sex}_{age}-{level}-{int(trial) or LAST_TRIAL:03d}")
    return ids, np.stack([numbers(table[name], f"{path}: {name}") for name in columns], axis=1)


def _bio(path: Path, values: np.ndarray, samples: Samples, report: Report) -> Modality:
    """The live columns of the statistics, under their right names."""
    names = [name.lower() for name in STATISTICS]
    names = _exchanged(path, names, values, report)
    live = (values != 0).any(axis=0)
    dead = [name for name, keep in zip(names, live, strict=True) if not keep]
    report.drop(f"columns of bio that are zero throughout ({', '.join(dead[:1])} ...)", dead)
    return _modality("bio", values[:, live], [n for n, keep in zip(names, live, strict=True) if keep], samples, report)


def _exchanged(path: Path, names: list[str], values: np.ndarray, report: Report) -> list[str]:
    """Names with `std` and `sum` put right: the header of the table exchanges them. The variance tells which is which.

    Raises:
        UserError: neither column is the root of the variance.
    """
    names, mended = list(names), []
    for channel in CHANNELS:
        std, total, var = (names.index(f"{statistic}_{channel}") for statistic in ("std", "sum", "var"))
        if _squares(values[:, std], values[:, var]):
            continue
        if not _squares(values[:, total], values[:, var]):
            raise UserError(
                f"{path}: neither STD nor SUM of {channel} is the root of its VAR; the columns are mixed up"
            )
        names[std], names[total] = names[total], names[std]
        mended += [names[std], names[total]]
    report.repair("columns STD and SUM, exchanged in the header, named right", mended)
    return names


def _squares(root: np.ndarray, square: np.ndarray) -> bool:
    return bool(np.allclose(root**2, square, rtol=1e-6, atol=1e-12))


def _modality(name: str, values: np.ndarray, names: list[str], samples: Samples, report: Report) -> Modality:
    lengths = np.ones(len(values), np.int64)
    report.counted[f"with {name}"] = len(values)
    return Modality(
        values,
        lengths,
        kind="utterance",
        valid=measured_rows(name, values, lengths, samples.ids, report),
        names=names,
        extractor="signal statistics" if name == "bio" else "MediaPipe face geometry and wrinkle gradients",
        note="columns of pain-recognition-ml; one row per sample",
    )
