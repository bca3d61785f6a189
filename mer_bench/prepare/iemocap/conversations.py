"""Files of the conversation papers: what they say of the turns, and the features that some of them bring.

- The pickle of conv-emotion, DialogueGCN, MMGCN, COGMEN and their like: nine things without names: ids, speakers, class
  numbers, text, audio and visual features, sentences (each by dialogue, a list of turns), training and test dialogues.
- The index of GCNet: six things: ids, class numbers, speakers, sentences, training and test dialogues.
- The label lists of MERBench, ``label_4way.npz`` and ``label_6way.npz``: class numbers by turn.

Class numbers are those of `pack_labels` (`ERC4`, `ERC6`). As they carry no names, a file is believed only if it has as
many turns of each class as the published ones, or if the official evaluation files confirm it turn by turn.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mer_bench.errors import UserError
from mer_bench.prepare.ids import shown, unique
from mer_bench.prepare.iemocap.pack_labels import ERC4, ERC6, label_list
from mer_bench.prepare.unpickle import load_pickle

NAMES = {4: ERC4, 6: ERC6}
LISTS = {ways: f"label_{ways}way.npz" for ways in NAMES}
#: place of what is by dialogue; then come training and test dialogues
FORMS = {
    9: ("ids", "speakers", "labels", "text", "audio", "vision", "sentences"),
    6: ("ids", "labels", "speakers", "sentences"),
}
FEATURES = ("text", "audio", "vision")


@dataclass(frozen=True)
class Conversations:
    """What the files say.

    Attributes:
        files: that were read.
        form: what they are.
        tables: turn -> class, by the number of classes (4: excited counted as happy; 6).
        orders: dialogue -> its turns as they follow each other; empty for label lists.
        train: dialogues that train.
        test: dialogues that test.
        text: sentence of each turn; empty for label lists.
        features: turn -> vector, by modality.
    """

    files: list[Path]
    form: str
    tables: dict[int, dict[str, str]]
    orders: dict[str, list[str]] = field(default_factory=dict)
    train: frozenset[str] = frozenset()
    test: frozenset[str] = frozenset()
    text: dict[str, str] = field(default_factory=dict)
    features: Mapping[str, dict[str, np.ndarray]] = field(default_factory=dict)

    @property
    def turns(self) -> list[str]:
        """All turns, each once."""
        return list(dict.fromkeys(turn for table in self.tables.values() for turn in table))


def conversation_files(path: Path) -> list[Path]:
    """The files at a place: itself, the label lists of a folder, or its only pickle; none where there is nothing."""
    if path.is_file():
        return [path] if path.suffix in (".pkl", ".pickle", ".npz") else []
    lists = [path / name for name in LISTS.values() if (path / name).is_file()]
    pickles = sorted([*path.glob("*.pkl"), *path.glob("*.pickle")]) if path.is_dir() else []
    return lists or (pickles if len(pickles) == 1 else [])


def read_conversations(path: Path) -> Conversations:
    """Read what lies at a place.

    Raises:
        UserError: nothing of these kinds, or damaged.
    """
    files = conversation_files(path)
    if not files:
        raise UserError(
            f"{path}: no labels of the conversation papers; expected one .pkl, or {' and '.join(LISTS.values())}"
        )
    if files[0].suffix != ".npz":
        return _pickle(files[0], load_pickle(files[0]))
    ways = {file: next((ways for ways, name in LISTS.items() if name == file.name), 0) for file in files}
    unknown = [file for file, number in ways.items() if not number]
    if unknown:
        raise UserError(f"{unknown[0]}: not a label list; expected {' or '.join(LISTS.values())}")
    tables = {number: label_list(file, NAMES[number]) for file, number in ways.items()}
    return Conversations(files, "MERBench label lists", tables)


def _pickle(path: Path, content: Any) -> Conversations:
    names = FORMS.get(len(content)) if isinstance(content, list | tuple) else None
    if names is None or not all(isinstance(part, dict) for part in content[: len(names)]):
        raise UserError(
            f"{path}: not a pickle of the conversation papers; expected ids, speakers, labels, ... by dialogue"
        )
    by = dict(zip(names, content, strict=False))
    train, test = (dialogues(path, part) for part in content[len(names) :])
    _check(path, by, train, test)
    ids = by["ids"]
    if not any(ids.values()):
        raise UserError(f"{path}: no turns; expected ids, speakers, labels, ... of at least one dialogue")
    column = {
        key: {turn: cell for name in ids for turn, cell in zip(ids[name], by[key][name], strict=True)} for key in names
    }
    return Conversations(
        [path],
        "pickle of the conversation papers" if "text" in by else "GCNet index",
        _named(path, column["labels"]),
        {name: list(ids[name]) for name in ids},
        frozenset(train),
        frozenset(test),
        {turn: str(cell) for turn, cell in column["sentences"].items()},
        {name: _vectors(path, name, column[name]) for name in FEATURES if name in column},
    )


def _check(path: Path, by: Mapping[str, Mapping[Any, Any]], train: set[str], test: set[str]) -> None:
    """Refuse columns that do not go together, and dialogues or turns that are not where they belong."""
    ids, speakers = by["ids"], by["speakers"]
    broken = [str(name) for name in ids if not _is_dialogue(name, by)]
    if broken:
        raise UserError(f"{path}: ids, labels and the other columns are not of equal length in {shown(broken)}")
    lost = sorted((train & test) | (set(ids) ^ (train | test)))
    if lost:
        raise UserError(f"{path}: dialogues in both parts, or in none: {shown(lost)}")
    told = [(turn, f"{name}_{actor}") for name in ids for turn, actor in zip(ids[name], speakers[name], strict=True)]
    unique(path, [turn for turn, _ in told])
    wrong = [turn for turn, start in told if not turn.startswith(start)]
    if wrong:
        raise UserError(f"{path}: speaker or dialogue is not that of the turn's id at {shown(wrong)}")


def dialogues(path: Path, part: Any) -> set[str]:
    """Names of dialogues; `part` is what a pickle has for them.

    Raises:
        UserError: no list of names.
    """
    if not isinstance(part, list | tuple | set | frozenset | np.ndarray) or not all(
        isinstance(name, str) for name in part
    ):
        raise UserError(f"{path}: training and test dialogues are no lists of names")
    return {str(name) for name in part}


def _is_dialogue(name: Any, by: Mapping[str, Mapping[Any, Any]]) -> bool:
    """Whether every column of a dialogue has one entry for each of its turns."""
    sizes = {len(part[name]) if isinstance(part.get(name), list | tuple | np.ndarray) else -1 for part in by.values()}
    typed = len(sizes) == 1 and min(sizes) >= 0
    return typed and all(isinstance(turn, str) for turn in by["ids"][name])


def _named(path: Path, numbers: Mapping[str, Any]) -> dict[int, dict[str, str]]:
    """The classes by name; a file without the last two classes is one of four."""
    odd = [turn for turn, number in numbers.items() if not is_class(number, len(ERC6))]
    if odd:
        raise UserError(f"{path}: no class 0..5 at {shown(odd)}")
    ways = 4 if max(map(int, numbers.values()), default=0) < len(ERC4) else 6
    return {ways: {turn: NAMES[ways][int(number)] for turn, number in numbers.items()}}


def is_class(number: Any, classes: int) -> bool:
    """Whether a number names one of so many classes."""
    return isinstance(number, int | np.integer) and not isinstance(number, bool) and 0 <= int(number) < classes


def _vectors(path: Path, name: str, cells: Mapping[str, Any]) -> dict[str, np.ndarray]:
    found = {turn: np.asarray(cell) for turn, cell in cells.items()}
    first = next(iter(found.values()))
    odd = [
        turn
        for turn, cell in found.items()
        if cell.ndim != 1 or cell.dtype.kind not in "fiu" or cell.shape != first.shape
    ]
    if odd or not first.size:
        raise UserError(f"{path}: {name} is not one vector of the same length in {shown(odd or found)}")
    return {turn: cell.astype(np.float32) for turn, cell in found.items()}
