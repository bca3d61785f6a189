"""Labels, dialogues and transcripts of the research pack, each checked against the others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from mer_bench.errors import UserError
from mer_bench.prepare.arrays import load_npz
from mer_bench.prepare.ids import same, shown, unique
from mer_bench.prepare.iemocap.labels import EMO4, EMO6, merged
from mer_bench.prepare.iemocap.turns import NO_TURN, Turns
from mer_bench.prepare.report import Report
from mer_bench.prepare.tables import read_table
from mer_bench.prepare.unpickle import load_pickle

#: the integers of the conversation papers, which these files share
ERC4 = ("happy", "sad", "neutral", "angry")
ERC6 = ("happy", "sad", "neutral", "angry", "excited", "frustrated")


def ratings(path: Path, found: np.ndarray, pairs: np.ndarray, other: Path, ids: Sequence[str]) -> np.ndarray:
    """Ratings without ids, shown to stand in the order of `ids`.

    Args:
        path: their file, for messages.
        found: (turns, 3) valence, arousal, dominance.
        pairs: (turns, 2) valence and arousal by id, from the file `other`.
        other: that file, for messages.
        ids: of the turns, sorted.

    Raises:
        UserError: another shape, or a turn whose valence and arousal differ.
    """
    if found.shape != (len(ids), 3) or found.dtype.kind != "f":
        raise UserError(f"{path}: {found.dtype} of shape {found.shape}; expected floating point, ({len(ids)}, 3)")
    wrong = ~np.isclose(found[:, :2], pairs, rtol=0, atol=1e-6).all(axis=1)
    if wrong.any():
        names = [name for name, bad in zip(ids, wrong, strict=True) if bad]
        raise UserError(
            f"{path}: rows are not in lexicographic order of the turn ids, or belong to others: valence and arousal "
            f"differ from {other} at {shown(names)}"
        )
    return found


def label_list(path: Path, names: tuple[str, ...]) -> dict[str, str]:
    """Turn -> class, from an archive that holds one pickled dictionary of ``{"emo": index, "val": -10}``.

    Raises:
        UserError: another structure, or an index that has no name.
    """
    table = load_npz(path).get("whole_corpus")
    entries = table.item() if table is not None and table.shape == () else None
    if not isinstance(entries, dict):
        raise UserError(f"{path}: holds no dictionary 'whole_corpus'")
    wrong = [name for name, entry in entries.items() if not _is_entry(name, entry, len(names))]
    if wrong:
        raise UserError(f"{path}: no label 0..{len(names) - 1} at {shown(map(str, wrong))}")
    return {name: names[entry["emo"]] for name, entry in entries.items()}


def _is_entry(name: Any, entry: Any, classes: int) -> bool:
    index = entry.get("emo") if isinstance(entry, dict) else None
    return isinstance(name, str) and type(index) is int and 0 <= index < classes


def check_four(path: Path, found: Mapping[str, str], words: Mapping[str, str]) -> None:
    """Check the four-class list: exactly the turns of these classes, with the class that their category has.

    Raises:
        UserError: naming the turns that differ.
    """
    same(path, found, [name for name, word in words.items() if merged(word) in EMO4])
    wrong = [name for name, word in found.items() if word != merged(words[name])]
    if wrong:
        raise UserError(f"{path}: label differs from the category of the turn at {shown(wrong)}")


def check_six(path: Path, found: Mapping[str, str], words: Mapping[str, str]) -> list[str]:
    """Check the six-class list; returns its turns without a majority.

    Raises:
        UserError: a turn with a majority is missing or has another class, or one without it is not called happy.
    """
    extra = sorted(name for name in found if words.get(name) == "")
    same(path, set(found) - set(extra), [name for name, word in words.items() if word in EMO6])
    wrong = [name for name, word in found.items() if word != (words[name] or "happy")]
    if wrong:
        raise UserError(f"{path}: label differs from the category of the turn at {shown(wrong)}")
    return extra


@dataclass(frozen=True)
class Index:
    """A dialogue index.

    Attributes:
        orders: dialogue -> its labelled turns as they follow each other.
        train: dialogues that train.
        test: dialogues that test.
    """

    orders: dict[str, list[str]]
    train: set[str]
    test: set[str]


def dialogue_index(path: Path, names: tuple[str, ...], labels: Mapping[str, str]) -> Index:
    """Read an index and check it against the label list of the same turns and against the ids themselves.

    Args:
        path: a pickle of (ids, class indices, speakers, sentences) by dialogue, training and test dialogues.
        names: names of the classes.
        labels: class of each turn in the label list.

    Raises:
        UserError: another structure, or turns whose label, speaker or dialogue differ.
    """
    content = load_pickle(path)
    kinds = (dict, dict, dict, dict, set, set)
    if not isinstance(content, list | tuple) or tuple(map(type, content)) != kinds:
        raise UserError(f"{path}: not an index of ids, labels, speakers, sentences, train and test dialogues")
    orders, classes, actors, _, train, test = content
    broken = [str(name) for name in orders if not _is_dialogue(orders[name], classes.get(name), actors.get(name))]
    if broken:
        raise UserError(f"{path}: ids, labels and speakers are not lists of equal length in {shown(broken)}")
    if set(orders) != train | test or train & test:
        differing = sorted(map(str, (train & test) | (set(orders) ^ (train | test))))
        raise UserError(f"{path}: dialogues in both parts, or in none: {shown(differing)}")
    told = [
        (turn, f"{name}_{actor}", index)
        for name in orders
        for turn, index, actor in zip(orders[name], classes[name], actors[name], strict=True)
    ]
    turns = [turn for turn, _, _ in told]
    unique(path, turns)
    same(path, turns, labels)
    right = dict(enumerate(names))
    wrong = [turn for turn, start, index in told if right.get(index) != labels[turn] or not turn.startswith(start)]
    if wrong:
        raise UserError(f"{path}: label, speaker or dialogue differs from the label list and the id at {shown(wrong)}")
    return Index(orders, train, test)


def _is_dialogue(turns: Any, classes: Any, actors: Any) -> bool:
    columns = ((turns, str), (classes, int), (actors, str))
    typed = all(type(column) is list and all(type(cell) is kind for cell in column) for column, kind in columns)
    return typed and len(turns) == len(classes) == len(actors)


def check_indexes(path: Path, part: Index, whole: Index) -> None:
    """Check that the four-class index `part` is what the six-class index says of fewer turns.

    Raises:
        UserError: naming the dialogues whose order or part differs.
    """
    wrong = sorted((part.train ^ whole.train) | (part.test ^ whole.test))
    for name, turns in part.orders.items():
        known = set(turns)
        if [turn for turn in whole.orders.get(name, []) if turn in known] != turns:
            wrong.append(name)
    if wrong:
        raise UserError(f"{path}: order or part differs from the six-class index in {shown(wrong)}")


def transcripts(
    path: Path, turns: Turns, index: Mapping[str, Sequence[str]], report: Report
) -> tuple[np.ndarray, list[str]]:
    """Position of each turn in its dialogue, and its English transcript.

    The file lists the turns as they were spoken: ids alone do not tell (both speakers count from 000), and the index
    lacks the turns without one of its labels. Where the index has them, the order must be the same.

    Raises:
        UserError: missing or foreign turns, one turn with two transcripts, or another order.
    """
    table = read_table(path, ("name", "chinese", "english"))
    lines = list(zip(table["name"], table["english"], strict=True))
    spoken = dict(lines)
    differing = sorted({name for name, text in lines if spoken[name] != text})
    if differing:
        raise UserError(f"{path}: two different transcripts of {shown(differing)}")
    repeated = [name for name, count in Counter(table["name"]).items() if count > 1]
    report.drop("repeated transcript lines", repeated, len(lines) - len(spoken))
    unrated = [name for name in spoken if NO_TURN.fullmatch(name)]
    report.drop("transcripts of unrated speech", unrated)
    ordered = [name for name in spoken if not NO_TURN.fullmatch(name)]
    same(path, ordered, turns.ids)
    position = _positions(path, ordered, index)
    report.verified.append(f"order of the turns in {len(index)} dialogues: {path.name} agrees with the dialogue index")
    return np.array([position[name] for name in turns.ids]), [spoken[name] for name in turns.ids]


def _positions(path: Path, ordered: Sequence[str], index: Mapping[str, Sequence[str]]) -> dict[str, int]:
    blocks = [(name, list(block)) for name, block in groupby(ordered, lambda turn: turn.rpartition("_")[0])]
    scattered = [name for name, count in Counter(name for name, _ in blocks).items() if count > 1]
    if scattered:
        raise UserError(f"{path}: lines of one dialogue are scattered: {shown(scattered)}")
    same(path, [name for name, _ in blocks], index)
    for name, block in blocks:
        known = set(index[name])
        if [turn for turn in block if turn in known] != list(index[name]):
            raise UserError(f"{path}: turns of dialogue {name} follow each other otherwise than in the dialogue index")
    return {turn: place for _, block in blocks for place, turn in enumerate(block)}
