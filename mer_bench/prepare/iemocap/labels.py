"""Label sets of IEMOCAP. Class names travel with the labels; their order is alphabetical, unlike that of any source."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

from mer_bench.errors import UserError
from mer_bench.merh5 import Labels
from mer_bench.prepare.ids import shown
from mer_bench.prepare.report import Report

#: code in the evaluation files -> class; xxx: the raters found no majority
WORDS = {
    "ang": "angry",
    "dis": "disgusted",
    "exc": "excited",
    "fea": "fearful",
    "fru": "frustrated",
    "hap": "happy",
    "neu": "neutral",
    "oth": "other",
    "sad": "sad",
    "sur": "surprised",
    "xxx": "",
}
EMO4 = ("angry", "happy", "neutral", "sad")
EMO6 = ("angry", "excited", "frustrated", "happy", "neutral", "sad")
MERGED = {"excited": "happy"}


def merged(word: str) -> str:
    """Class of the four-class set: excited counts as happy."""
    return MERGED.get(word, word)


def emotion_tables(words: Sequence[str], erc_words: Sequence[str]) -> dict[str, Labels]:
    """The three class sets.

    Args:
        words: class of each turn by the majority of its raters, empty where there is none.
        erc_words: the same in the label files of the conversation papers.
    """
    return {
        "emo4": emo4([merged(word) for word in words]),
        "emo6": _classes(EMO6, words, "majority of the raters"),
        "emo6_erc": emo6_erc(erc_words),
    }


def emo4(words: Sequence[str]) -> Labels:
    """Four classes, excited counted as happy."""
    return _classes(EMO4, words, "majority of the raters; excited and happy are one class")


def emo6_erc(words: Sequence[str]) -> Labels:
    """Six classes as the conversation papers have them."""
    return _classes(
        EMO6,
        words,
        "label files of the conversation papers: the majority of the raters, and 53 turns without one called happy",
    )


def _classes(names: tuple[str, ...], words: Sequence[str], definition: str) -> Labels:
    index = {name: number for number, name in enumerate(names)}
    mask = np.array([word in index for word in words])
    values = np.array([index.get(word, 0) for word in words], np.int64)
    return Labels("multiclass", names, values, mask, native_missing="xxx", definition=definition)


def vad_table(where: object, ids: Sequence[str], ratings: np.ndarray, report: Report) -> Labels:
    """Valence, arousal and dominance on [-1, 1].

    Args:
        where: the file, for messages.
        ids: of the turns.
        ratings: (turns, 3) means of the raters on the native scale 1..5.
        report: told of ratings outside the scale.

    Raises:
        UserError: ratings that are not finite, or further outside the scale than the half point known of the corpus.
    """
    far = (~((ratings >= 0.5) & (ratings <= 5.5))).any(axis=1)  # NaN is far too
    if far.any():
        raise UserError(f"{where}: ratings missing or outside 0.5..5.5: {shown(_pick(ids, far))}; expected 1..5")
    clipped = np.clip(ratings, 1, 5)
    outside = clipped != ratings
    report.repair("ratings outside 1..5 clipped", _pick(ids, outside.any(axis=1)), int(outside.sum()))
    return Labels(
        "regression",
        ("valence", "arousal", "dominance"),
        (clipped - 3) / 2,
        np.ones(ratings.shape, bool),
        range=(-1.0, 1.0),
        definition="mean of the raters on 1..5, clipped into that range, then (rating - 3) / 2; arousal is the "
        "corpus's activation",
    )


def count_classes(labels: Mapping[str, Labels], report: Report) -> None:
    """Tell the report how many turns carry each label set."""
    for name, table in labels.items():
        mask = table.mask.reshape(len(table.mask), -1).any(axis=1)
        report.counted[f"with {name}"] = int(mask.sum())


def _pick(ids: Sequence[str], mask: ArrayLike) -> list[str]:
    return [ids[int(row)] for row in np.flatnonzero(mask)]
