"""Files that name clips and their sentiment, without features: MERBench's label archive and GCNet's index."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mer_bench.errors import UserError
from mer_bench.prepare.arrays import load_npz
from mer_bench.prepare.cmu.clips import Clips, named
from mer_bench.prepare.ids import shown, unique
from mer_bench.prepare.unpickle import load_pickle

ARCHIVE_PARTS = {"train_corpus": 1, "val_corpus": 2, "test_corpus": 3}
#: what GCNet's list holds, each by video: ids, labels, speakers, sentences; then the videos of the three parts
INDEX_KINDS = ((dict,) * 4, (set,) * 3)


def read_labels(path: Path) -> Clips:
    """The clips in a label file of either kind.

    Raises:
        UserError: neither kind, or damaged.
    """
    if path.suffix == ".npz":
        return read_archive(path)
    if path.suffix in (".pkl", ".pickle"):
        return read_index(path, load_pickle(path))
    raise UserError(f"{path}: not a label file; expected MERBench's label.npz or GCNet's index (.pkl)")


def read_archive(path: Path) -> Clips:
    """MERBench's `label.npz`: three pickled dictionaries of ``{"emo": 0, "val": sentiment}``.

    Raises:
        UserError: another structure, or a clip without a number.
    """
    tables = load_npz(path)
    missing = [name for name in ARCHIVE_PARTS if name not in tables or not _is_dictionary(tables[name])]
    if missing:
        raise UserError(f"{path}: holds no dictionary {missing[0]!r}; expected {', '.join(ARCHIVE_PARTS)}")
    entries = [(name, entry, part) for key, part in ARCHIVE_PARTS.items() for name, entry in tables[key].item().items()]
    wrong = [str(name) for name, entry, _ in entries if not (isinstance(name, str) and _is_entry(entry))]
    if wrong:
        raise UserError(f"{path}: no number 'val' at {shown(wrong)}")
    return _clips(
        path, [name for name, *_ in entries], [entry["val"] for _, entry, _ in entries], [part for *_, part in entries]
    )


def _is_dictionary(table: np.ndarray) -> bool:
    return table.shape == () and isinstance(table.item(), dict)


def _is_entry(entry: Any) -> bool:
    return isinstance(entry, dict) and _is_number(entry.get("val"))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.floating | np.integer) and not isinstance(value, bool)


def is_index(content: Any) -> bool:
    """Whether unpickled data look like GCNet's index of MOSI or MOSEI."""
    if not isinstance(content, list | tuple) or len(content) != 7:
        return False
    return (tuple(map(type, content[:4])), tuple(map(type, content[4:]))) == INDEX_KINDS


def read_index(path: Path, content: Any) -> Clips:
    """GCNet's index: ids, sentiment, speakers and sentences by video, then three sets of videos.

    Args:
        path: the file, for messages.
        content: what it holds.

    Raises:
        UserError: another structure, columns of different length, or a video in two parts or in none.
    """
    if not is_index(content):
        raise UserError(f"{path}: not an index of ids, labels, speakers, sentences, train, validation and test videos")
    ids, labels, _, sentences, *parts = content
    broken = [str(video) for video in ids if not _is_video(ids[video], labels.get(video), sentences.get(video))]
    if broken:
        raise UserError(f"{path}: ids, labels and sentences are not columns of equal length in {shown(broken)}")
    homes = {video: [number for number, videos in enumerate(parts, start=1) if video in videos] for video in ids}
    lost = [str(video) for video, home in homes.items() if len(home) != 1]
    if lost:
        raise UserError(f"{path}: videos in two parts, or in none: {shown(lost)}")
    clips = _clips(
        path,
        [name for video in ids for name in ids[video]],
        [value for video in ids for value in labels[video]],
        [homes[video][0] for video in ids for _ in ids[video]],
        [str(text) for video in ids for text in sentences[video]],
    )
    if clips.video != [video for video in ids for _ in ids[video]]:
        raise UserError(f"{path}: clips that stand under another video than their name says")
    return clips


def _is_video(names: Any, values: Any, texts: Any) -> bool:
    columns = [np.ndim(column) == 1 and len(column) for column in (names, values, texts)]
    if columns[0] is False or len({*columns}) != 1:
        return False
    return all(isinstance(name, str) for name in names) and all(map(_is_number, values))


def _clips(
    path: Path, names: Sequence[str], values: Sequence[float], parts: Sequence[int], text: list[str] | None = None
) -> Clips:
    told = [named(path, name) for name in names]
    unique(path, [name for name, *_ in told])
    return Clips(
        ids=[name for name, *_ in told],
        video=[video for _, video, _ in told],
        place=np.array([number for *_, number in told], np.float64),
        sentiment=np.array(values, np.float64),
        text=text,
        part=np.array(parts, np.int64),
    )


def agree(path: Path, clips: Clips, other: Path, others: Clips) -> None:
    """Check that two files name the same clips, with the same sentiment and part.

    Raises:
        UserError: naming the clips that differ.
    """
    here, there = _facts(clips), _facts(others)
    wrong = sorted(name for name in {*here, *there} if here.get(name) != there.get(name))
    if wrong:
        raise UserError(f"{path}: clip, label or part differs from {other} at {shown(wrong)}")


def _facts(clips: Clips) -> dict[str, tuple[float, int]]:
    """Sentiment (to five digits: some files hold float32) and part of each clip."""
    parts = np.zeros(len(clips), np.int64) if clips.part is None else clips.part
    told = zip(clips.sentiment.round(5).tolist(), parts.tolist(), strict=True)
    return dict(zip(clips.ids, told, strict=True))
