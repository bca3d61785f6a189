"""The official evaluation files: categories, ratings and times of the turns, as the release holds them.

``Session1/dialog/EmoEvaluation/Ses01F_impro01.txt`` has a header and, for each turn, one line of what its raters agreed
on, followed by a line for each rater; only the first kind is read:

    [6.2901 - 8.2357]	Ses01F_impro01_F000	neu	[2.5000, 2.5000, 2.5000]

The three ratings are valence, activation and dominance, in this order.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mer_bench.errors import UserError
from mer_bench.prepare.iemocap.counts import Expected
from mer_bench.prepare.iemocap.labels import WORDS
from mer_bench.prepare.iemocap.turns import NO_TURN, TURN, Turns, parse
from mer_bench.prepare.report import Report

SESSIONS = tuple(f"Session{number}" for number in range(1, 6))
FILES = "dialog/EmoEvaluation"
SPOKEN = "dialog/transcriptions"
NUMBER = r"\s*(\d+(?:\.\d+)?)\s*"
LINE = re.compile(rf"\[{NUMBER}-{NUMBER}\]\s+(\S+)\s+([a-z]{{3}})\s+\[{NUMBER},{NUMBER},{NUMBER}\]\s*")
TEXT = re.compile(r"(?P<turn>\S+)\s+\[[\d.]+-[\d.]+\]:\s*(?P<text>.*)")


@dataclass(frozen=True)
class Evaluation:
    """What the files say, in the order of `turns`.

    Attributes:
        root: of the release.
        turns: all rated turns.
        codes: category codes.
        ratings: (turns, 3) valence, activation, dominance.
        start_s: (turns,) seconds in the dialogue.
        end_s: likewise.
        files: that were read.
    """

    root: Path
    turns: Turns
    codes: list[str]
    ratings: NDArray[np.float64]
    start_s: NDArray[np.float64]
    end_s: NDArray[np.float64]
    files: list[Path]

    def words(self) -> dict[str, str]:
        """Class of each turn by the majority of its raters, empty where there is none."""
        return {turn: WORDS[code] for turn, code in zip(self.turns.ids, self.codes, strict=True)}


def sessions(root: Path) -> list[Path]:
    """The folders of the sessions that have evaluation files."""
    return [root / name for name in SESSIONS if (root / name / FILES).is_dir()]


def read_evaluation(root: Path, expected: Expected, report: Report) -> Evaluation:
    """Read every evaluation file of a release.

    Raises:
        UserError: a malformed line, a turn that is not of its file, a turn twice, an unknown category.
    """
    files = [path for session in sessions(root) for path in sorted((session / FILES).glob("Ses*.txt"))]
    rows = [row for path in files for row in _rows(path)]
    if not rows:
        raise UserError(
            f"{root}: no turn in {len(files)} evaluation files; expected lines such as [0.0 - 1.0] <turn> neu"
        )
    turns = parse(root, [row[0] for row in rows])
    by_id = {row[0]: row for row in rows}
    numbers = np.array([by_id[turn][2] for turn in turns.ids])
    codes = [by_id[turn][1] for turn in turns.ids]
    _count(turns, codes, expected, report)
    return Evaluation(root, turns, codes, numbers[:, 2:], numbers[:, 0], numbers[:, 1], files)


def _rows(path: Path) -> list[tuple[str, str, list[float]]]:
    """Turn, code, and start, end and three ratings of each turn of a file."""
    found = []
    for number, line in enumerate(lines(path), start=1):
        if not line.startswith("["):
            continue  # the header, and what single raters said
        match = LINE.fullmatch(line)
        if match is None:
            raise UserError(f"{path}, line {number}: {line!r:.80}; expected [start - end], turn, code, [V, A, D]")
        start, end, turn, code, *ratings = match.groups()
        home = TURN.fullmatch(turn)
        if home is None or home["dialogue"] != path.stem or home["session"][-1] != path.parents[2].name[-1]:
            raise UserError(f"{path}, line {number}: turn {turn!r:.40}; expected turns of {path.stem}")
        if code not in WORDS:
            raise UserError(f"{path}, line {number}: category {code!r}; expected one of {', '.join(WORDS)}")
        if not float(start) < float(end):
            raise UserError(f"{path}, line {number}: turn {turn} ends at {end} s, before it starts at {start} s")
        found.append((turn, code, [float(start), float(end), *map(float, ratings)]))
    return found


def lines(path: Path) -> list[str]:
    """Lines of a text file of the release; bytes that are no UTF-8 are replaced (they stand in comments only).

    Raises:
        UserError: unreadable.
    """
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error}") from None


def _count(turns: Turns, codes: list[str], expected: Expected, report: Report) -> None:
    """Say whether this is the whole release; a part of it is read too, but never passes for the whole."""
    report.counted |= {
        "turns": len(turns.ids),
        "dialogues": len(set(turns.dialogue)),
        "speakers": len(set(turns.speaker)),
        "sessions": len(set(turns.session)),
    }
    found = Counter(codes)
    wrong = [code for code in WORDS if found[code] != expected.codes.get(code, 0)]
    if not wrong and len(turns.ids) == expected.turns:
        report.verified.append(f"{expected.turns:,} turns, and as many in each category as the release has")
        return
    told = ", ".join(f"{code} {found[code]:,} instead of {expected.codes.get(code, 0):,}" for code in wrong[:4])
    report.absent.append(f"the whole release: {len(turns.ids):,} of {expected.turns:,} rated turns ({told})")


def read_transcripts(evaluation: Evaluation, report: Report) -> list[str] | None:
    """Transcripts of the turns, or None where the release came without them.

    Raises:
        UserError: two different transcripts of one turn.
    """
    files = [path for session in sessions(evaluation.root) for path in sorted((session / SPOKEN).glob("Ses*.txt"))]
    if not files:
        report.absent.append(f"{SPOKEN}: no transcripts")
        return None
    known = set(evaluation.turns.ids)
    spoken: dict[str, str] = {}
    unrated: list[str] = []
    other = 0
    for path in files:
        for line in lines(path):
            match = TEXT.fullmatch(line)
            name = match["turn"] if match else ""
            if match and name in known:
                if spoken.setdefault(name, match["text"].strip()) != match["text"].strip():
                    raise UserError(f"{path}: two different transcripts of {name}")
            elif match and (NO_TURN.fullmatch(name) or TURN.fullmatch(name)):
                unrated.append(name)
            else:
                other += bool(line.strip())
    report.drop("transcripts of unrated speech", unrated)
    report.drop("lines of transcripts without a turn", (), other)
    silent = [turn for turn in evaluation.turns.ids if turn not in spoken]
    report.repair("turns without a transcript, taken to be empty", silent)
    return [spoken.get(turn, "") for turn in evaluation.turns.ids]
