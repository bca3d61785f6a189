"""RoBERTa features of COSMIC and M3Net: ten things without names, and without ids of the turns.

Speakers, class numbers, the vectors of four layers, sentences (each by dialogue, a list of turns), training, test and
validation dialogues. The turns are those of a file that names them, in its order; as nothing but the position says
so, every speaker and every class must be the same in both.

RoBERTa was fine-tuned on the classes of the training dialogues, so the features know those: whoever reads them gets the
parts too.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mer_bench.errors import UserError
from mer_bench.prepare.ids import same, shown
from mer_bench.prepare.iemocap.conversations import Conversations, dialogues, is_class
from mer_bench.prepare.iemocap.pack_labels import ERC6
from mer_bench.prepare.report import Report
from mer_bench.prepare.unpickle import load_pickle

THINGS, LAYERS = 10, slice(2, 6)
#: what the last three things are, as parts of a split: training, test, validation
PARTS = (1, 3, 2)


class Layers(NamedTuple):
    """What the pickle holds: the mean of four layers by turn, as M3Net takes it, and the part of each dialogue."""

    vectors: dict[str, np.ndarray]
    parts: dict[str, int]


def read_layers(path: Path, given: Conversations | None, report: Report) -> Layers:
    """The features, and on which dialogues RoBERTa was fine-tuned.

    Args:
        path: the pickle.
        given: a file of the conversation papers with six classes, which names the turns.
        report: told what was checked.

    Raises:
        UserError: another structure, no file that names the turns, or turns that are not the same in both.
    """
    content = load_pickle(path)
    whole = isinstance(content, list | tuple) and len(content) == THINGS
    if not whole or not all(isinstance(part, dict) for part in content[:7]):
        raise UserError(f"{path}: no features; expected a folder, or the RoBERTa pickle of COSMIC and M3Net")
    if given is None or not given.orders or 6 not in given.tables:
        raise UserError(
            f"{path}: does not name its turns; needs a pickle or index with six classes (--from or --labels)"
        )
    speakers, labels = content[:2]
    same(path, set(map(str, speakers)), given.orders)
    parts = _parts(path, content[7:], given.orders)
    found: dict[str, np.ndarray] = {}
    wrong: list[str] = []
    for dialogue, turns in given.orders.items():
        columns = [part.get(dialogue) for part in content[:6]]
        if [_length(column) for column in columns] != [len(turns)] * len(columns):
            raise UserError(f"{path}: dialogue {dialogue} has not {len(turns)} turns in each of its columns")
        for place, turn in enumerate(turns):
            number, actor = labels[dialogue][place], speakers[dialogue][place]
            agree = is_class(number, len(ERC6)) and ERC6[int(number)] == given.tables[6][turn] and actor == turn[-4]
            wrong += [] if agree else [turn]
            found[turn] = _mean(path, turn, [layer[dialogue][place] for layer in content[LAYERS]])
    widths = {vector.size for vector in found.values()}
    if len(widths) > 1:
        raise UserError(f"{path}: vectors of {' and '.join(map(str, sorted(widths)))} numbers; expected one width")
    if wrong:
        raise UserError(f"{path}: speaker or class differs from {given.files[0]} at {shown(wrong)}; another order?")
    report.verified.append(
        f"{path.name}: speakers and classes of {len(found):,} turns are those of {given.files[0].name}"
    )
    return Layers(found, parts)


def _parts(path: Path, lists: Any, orders: Mapping[str, Any]) -> dict[str, int]:
    """The part of each dialogue.

    Raises:
        UserError: not three lists of its dialogues, each in one of them.
    """
    found: dict[str, int] = {}
    listed = [dialogue for part in lists for dialogue in dialogues(path, part)]
    wrong = sorted({name for name in listed if listed.count(name) > 1} | (set(listed) ^ set(orders)))
    if wrong:
        raise UserError(
            f"{path}: on which dialogues RoBERTa was trained is not told: {shown(wrong)} in several of the training, "
            "test and validation lists, or in none; expected each dialogue in one"
        )
    for part, names in zip(PARTS, lists, strict=True):
        found |= dict.fromkeys(map(str, names), part)
    return found


def _length(column: Any) -> int:
    return len(column) if isinstance(column, list | tuple | np.ndarray) else -1


def _mean(path: Path, turn: str, cells: list[Any]) -> np.ndarray:
    vectors = [np.asarray(cell) for cell in cells]
    if {(one.ndim, one.shape, one.dtype.kind) for one in vectors} != {(1, vectors[0].shape, "f")}:
        raise UserError(f"{path}: not one vector of numbers, as long in every layer, for {turn}")
    return np.mean(vectors, axis=0).astype(np.float32)
