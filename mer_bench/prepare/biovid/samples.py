"""What a sample name says, and what follows from the subject: labels, columns, the two named rules about subjects.

``071309_w_21-BL1-081``: subject 071309 (text: the zero stays), a woman of 21, no pain, sample 81 of her 100.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mer_bench.errors import UserError
from mer_bench.merh5 import Labels, SplitTable
from mer_bench.prepare.ids import shown, unique
from mer_bench.prepare.report import Report

LEVELS = ("BL1", "PA1", "PA2", "PA3", "PA4")
SUBJECT = re.compile(r"(?P<code>\d{6})_(?P<sex>[mw])_(?P<age>\d{2})")
SAMPLE = re.compile(rf"(?P<subject>\d{{6}}_[mw]_\d{{2}})-(?P<level>{'|'.join(LEVELS)})-(?P<number>\d{{3}})")
LICENCE = "BioVid Heat Pain Database, Otto von Guericke University Magdeburg; for local use only"

#: the 20 subjects that most papers leave out because they show no visible reaction; 67 are left
NOT_REACTIVE = (
    *("082315_w_60", "082414_m_64", "082909_m_47", "083009_w_42", "083013_w_47", "083109_m_60"),
    *("083114_w_55", "091914_m_46", "092009_m_54", "092014_m_56", "092509_w_51", "092714_m_64"),
    *("100514_w_51", "100914_m_39", "101114_w_37", "101209_w_61", "101809_m_59", "101916_m_40"),
    *("111313_m_64", "120614_w_61"),
)
#: the 26 subjects of the hold-out that the organisers proposed; five of them are among the 20
HOLDOUT = (
    *("100914_m_39", "101114_w_37", "082315_w_60", "083114_w_55", "083109_m_60", "072514_m_27"),
    *("080309_m_29", "112016_m_25", "112310_m_20", "092813_w_24", "112809_w_23", "112909_w_20"),
    *("071313_m_41", "101309_m_48", "101609_m_36", "091809_w_43", "102214_w_36", "102316_w_50"),
    *("112009_w_43", "101814_m_58", "101908_m_61", "102309_m_61", "112209_m_51", "112610_w_60"),
    *("112914_w_51", "120514_w_56"),
)


@dataclass(frozen=True)
class Samples:
    """The samples by columns, sorted by id."""

    ids: list[str]
    subject: list[str]
    level: list[str]

    def labels(self) -> dict[str, Labels]:
        """`pain5`, and `pain_binary`: no pain against the strongest heat, the other levels masked."""
        level = np.array([LEVELS.index(name) for name in self.level], np.int64)
        ends = np.isin(level, (0, len(LEVELS) - 1))
        return {
            "pain5": Labels(
                "multiclass", LEVELS, level, np.ones(len(level), bool), definition="no pain and four levels of heat"
            ),
            "pain_binary": Labels(
                "multiclass",
                (LEVELS[0], LEVELS[-1]),
                np.where(ends, level // (len(LEVELS) - 1), 0),
                ends,
                definition="pain5, all but BL1 and PA4 masked",
            ),
        }

    def attrs(self) -> dict[str, list[str] | np.ndarray]:
        """Sex (m, w), age in years, and whether the subject is among the 67 (`reactive`: yes, no)."""
        parts = [match.groupdict() for match in map(SUBJECT.fullmatch, self.subject) if match]
        return {
            "sex": [part["sex"] for part in parts],
            "age": np.array([float(part["age"]) for part in parts]),
            "reactive": ["no" if subject in NOT_REACTIVE else "yes" for subject in self.subject],
        }

    def splits(self, report: Report) -> dict[str, SplitTable]:
        """The hold-out, where both of its parts are there."""
        present = sorted(set(HOLDOUT) & set(self.subject))
        held = np.isin(self.subject, present)
        if held.all() or not held.any():
            report.absent.append("the split 'holdout': none of its training or of its test subjects is here")
            return {}
        report.counted |= {"subjects held out": len(present)}
        table = SplitTable(
            np.where(held, 3, 1).astype(np.uint8)[None],
            disjoint_by=("speaker",),
            source="the organisers' proposal: 26 of 87 subjects held out",
            note="No validation part of its own.",
        )
        return {"holdout": table}

    def count(self, report: Report) -> None:
        """Tell the report how many samples, subjects and samples of each level there are."""
        subjects = set(self.subject)
        report.counted |= {"samples": len(self.ids), "subjects": len(subjects)}
        report.counted |= {level: count for level, count in sorted(Counter(self.level).items())}
        report.counted["subjects usually left out"] = len(subjects & set(NOT_REACTIVE))


def parse(where: object, ids: Sequence[str]) -> Samples:
    """Sort sample names and take them apart.

    Raises:
        UserError: duplicates, names that are none of BioVid, or one subject code with two sexes or ages.
    """
    unique(where, ids)
    ids = sorted(ids)
    foreign = [name for name in ids if not SAMPLE.fullmatch(name)]
    if foreign:
        raise UserError(f"{where}: not BioVid sample names: {shown(foreign)}; expected such as 071309_w_21-BL1-081")
    parts = [match.groupdict() for match in map(SAMPLE.fullmatch, ids) if match]
    subject = [part["subject"] for part in parts]
    codes = Counter(name[:6] for name in set(subject))
    two = [code for code, count in codes.items() if count > 1]
    if two:
        raise UserError(f"{where}: subjects with two sexes or ages: {shown(sorted(two))}")
    return Samples(ids, subject, [part["level"] for part in parts])


def check_design(where: object, samples: Samples, subjects: int, each: int) -> None:
    """Refuse anything but so many subjects with so many samples of each level.

    Raises:
        UserError: naming subjects or levels that deviate.
    """
    cells = Counter(zip(samples.subject, samples.level, strict=True))
    found = len(set(samples.subject))
    if found != subjects:
        raise UserError(f"{where}: {found} subjects; expected {subjects}")
    odd = [f"{subject} {level} {cells[subject, level]}" for subject in sorted(set(samples.subject)) for level in LEVELS
           if cells[subject, level] != each]  # fmt: skip
    if odd:
        raise UserError(f"{where}: expected {each} samples of each level and subject, found: {shown(odd)}")
