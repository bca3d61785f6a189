"""What the class numbers of the conversation papers mean: shown by the official files, or by their counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from mer_bench.errors import UserError
from mer_bench.prepare.ids import shown
from mer_bench.prepare.iemocap.conversations import Conversations


def believe(given: Conversations, known: Mapping[int, Mapping[str, int]]) -> list[str]:
    """Check class counts against the published files; returns what to report as verified.

    Args:
        given: what was read.
        known: turns of each class, by the number of classes.

    Raises:
        UserError: other counts, so nothing tells what the class numbers mean.
    """
    told = []
    for ways, table in given.tables.items():
        found = Counter(table.values())
        wrong = [
            f"{name} {found[name]:,} instead of {count:,}"
            for name, count in known[ways].items()
            if found[name] != count
        ]
        if wrong:
            raise UserError(
                f"{given.files[0]}: class numbers without names, and not as many turns of each of {ways} classes as "
                f"the published files have ({', '.join(wrong[:4])}); --labels IEMOCAP_full_release says what they are"
            )
        told.append(f"{len(table):,} turns of {ways} classes, each as often as in the published files")
    return told


def confirm(given: Conversations, words: Mapping[str, str]) -> list[str]:
    """Check every class against the official categories; returns what to report as verified.

    A happy turn may be an excited one where a file has four classes, and one without a majority anywhere, as the
    conversation papers have it.

    Raises:
        UserError: turns that are no rated turn of the release, or of another class.
    """
    foreign = sorted(turn for turn in given.turns if turn not in words)
    if foreign:
        raise UserError(f"{given.files[0]}: not rated turns of the release: {shown(foreign)}")
    for ways, table in given.tables.items():
        happy = ("happy", "excited", "") if ways == 4 else ("happy", "")
        wrong = [turn for turn, word in table.items() if words[turn] not in (happy if word == "happy" else (word,))]
        if wrong:
            raise UserError(f"{given.files[0]}: another class than the category of the turn at {shown(wrong)}")
    return [f"classes of {len(given.turns):,} turns in {given.form}: the official categories"]
