"""What a turn id says: ``Ses05F_script03_1b_M008`` is session 05, its dialogue ``..._1b``, spoken by the man.

The letter after the session tells which actor wears the markers, not who speaks: the speaker is the letter of the last
part. Ten speakers: session and that letter.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mer_bench.errors import UserError
from mer_bench.merh5 import SplitTable
from mer_bench.prepare.ids import shown, unique

TURN = re.compile(
    r"(?P<dialogue>(?P<session>Ses0[1-5])[FM]_(?P<style>impro|script)\d{2}[a-z]?(?:_\d[a-z]?)?)_(?P<actor>[FM])\d{3}"
)
NO_TURN = re.compile(r"Ses0[1-5][FM]_(?:impro|script)\d{2}[a-z]?(?:_\d[a-z]?)?_[FM]XX\d")  # transcribed, never rated
GENDERS = {"F": "female", "M": "male"}


@dataclass(frozen=True)
class Turns:
    """The turns of the corpus by columns, in lexicographic order of their ids."""

    ids: list[str]
    dialogue: list[str]
    session: list[str]
    speaker: list[str]
    gender: list[str]
    style: list[str]

    def row(self) -> dict[str, int]:
        """Id -> row."""
        return {name: row for row, name in enumerate(self.ids)}


def parse(where: object, ids: Sequence[str]) -> Turns:
    """Sort turn ids and take them apart.

    Args:
        where: the file they come from, for messages.
        ids: in any order.

    Raises:
        UserError: duplicates, or ids that are no turn of IEMOCAP.
    """
    unique(where, ids)
    ids = sorted(ids)
    foreign = [name for name in ids if not TURN.fullmatch(name)]
    if foreign:
        raise UserError(f"{where}: not IEMOCAP turn ids: {shown(foreign)}; expected names such as Ses01F_impro01_F000")
    parts = [match.groupdict() for match in map(TURN.fullmatch, ids) if match]
    return Turns(
        ids=ids,
        dialogue=[part["dialogue"] for part in parts],
        session=[part["session"] for part in parts],
        speaker=[f"{part['session']}_{part['actor']}" for part in parts],
        gender=[GENDERS[part["actor"]] for part in parts],
        style=[part["style"] for part in parts],
    )


def speaker10(turns: Turns) -> SplitTable:
    """Ten folds: in fold k the k-th speaker tests, the other speaker of that session validates, the rest trains."""
    speaker, session = np.array(turns.speaker), np.array(turns.session)
    table = []
    for name in sorted(set(turns.speaker)):
        here = session == name.split("_")[0]
        table.append(np.where(speaker == name, 3, np.where(here, 2, 1)))
    return SplitTable(
        np.array(table, np.uint8),
        disjoint_by=("speaker",),
        source="MEmoBERT and MMIN: ten folds, four sessions train, the fifth gives a validation and a test speaker",
        note="Folds in the order of the test speaker's name. Validation and test speaker share their dialogues.",
    )


def erc(turns: Turns, test: set[str], train: set[str] | None = None) -> SplitTable:
    """The one fold of the conversation papers: dialogues of four sessions train, those of the fifth test.

    Args:
        turns: of the file.
        test: dialogues that test.
        train: dialogues that train, the rest is unused; None: all others.
    """
    dialogue = np.array(turns.dialogue)
    testing = np.isin(dialogue, sorted(test))
    training = ~testing if train is None else np.isin(dialogue, sorted(train))
    return SplitTable(
        np.where(testing, 3, np.where(training, 1, 0)).astype(np.uint8)[None],
        disjoint_by=("dialogue", "session", "speaker"),
        source="the conversation papers: sessions 1-4 train, session 5 tests",
        note="No validation part: papers take 10 % of the training dialogues, in no stated order.",
    )
