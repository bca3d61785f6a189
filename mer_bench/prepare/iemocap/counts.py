"""How many there are of everything in the published corpus."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Expected:
    """Counts; those of the published corpus unless a test says otherwise.

    Attributes:
        turns: that were rated.
        dialogues: of the conversation papers: train, test.
        erc_only: turns without majority that the conversation papers call happy.
        codes: turns by category code.
    """

    turns: int = 10_039
    dialogues: tuple[int, int] = (120, 31)
    erc_only: int = 53
    codes: Mapping[str, int] = field(
        default_factory=lambda: {
            "ang": 1103,
            "dis": 2,
            "exc": 1041,
            "fea": 40,
            "fru": 1849,
            "hap": 595,
            "neu": 1708,
            "oth": 3,
            "sad": 1084,
            "sur": 107,
            "xxx": 2507,
        }
    )

    def four(self) -> dict[str, int]:
        """Turns of each class of the four-class files, excited counted as happy."""
        count = self.codes
        return {
            "happy": count["hap"] + count["exc"],
            "sad": count["sad"],
            "neutral": count["neu"],
            "angry": count["ang"],
        }

    def six(self) -> dict[str, int]:
        """Turns of each class of the six-class files of the conversation papers."""
        count = self.codes
        return {
            "happy": count["hap"] + self.erc_only,
            "sad": count["sad"],
            "neutral": count["neu"],
            "angry": count["ang"],
            "excited": count["exc"],
            "frustrated": count["fru"],
        }
