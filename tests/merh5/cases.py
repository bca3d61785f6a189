"""Contents that use everything the schema has, and ways to damage a written file."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np

from mer_bench.merh5 import Contents, Fault, Labels, Modality, Source, SplitTable, check, write

IDS = ["-a_1", "_b.2", "C-3", "d", "e", "f"]


def rich() -> Contents:
    """Six items: three modalities of three kinds, five label tables, two splits, all optional columns."""
    rng = np.random.default_rng(0)
    audio = rng.normal(size=(11, 3)).astype(np.float32)
    valid = np.ones(11, dtype=bool)
    valid[[1, 7]] = False
    audio[1] = np.nan  # hidden by the mask
    starts = np.arange(7) / 4
    classes = np.array([0, 1, 2, 0, 1, -1])
    return Contents(
        corpus="toy",
        ids=IDS,
        modalities={
            "audio": Modality(audio, [3, 0, 2, 4, 1, 1], rate_hz=50.0, valid=valid, names=["f0", "é", "jitter"]),
            "words": Modality(
                rng.normal(size=(7, 2)).astype(np.float16),
                [1, 2, 0, 0, 3, 1],
                times=np.stack([starts, starts + 0.2], 1),
            ),
            "bio": Modality(rng.normal(size=(5, 4)), [1, 1, 1, 1, 0, 1], kind="utterance", extractor="stats"),
        },
        labels={
            "emotion": Labels("multiclass", ("angry", "happy", "sad"), classes, classes >= 0, native_missing="xxx"),
            "pain": Labels("ordinal", ("BL1", "PA1"), np.zeros(6, dtype=int), np.ones(6, dtype=bool)),
            "vad": Labels("regression", ("v", "a"), rng.uniform(1, 5, (6, 2)), np.ones((6, 2), bool), range=(1, 5)),
            "au": Labels("multilabel", ("au1", "au2"), rng.integers(0, 2, (6, 2)), np.ones((6, 2), bool)),
            "trace": Labels(
                "regression",
                ("valence",),
                rng.uniform(-1, 1, (9, 1)),
                np.arange(9)[:, None] != 4,
                level="frame",
                lengths=[2, 2, 0, 3, 1, 1],
                rate_hz=10.0,
                range=(-1, 1),
            ),
        },
        speaker=["ana", "bo", "ana", "cé", "bo", "cé"],
        session=["1", "1", "1", "2", "2", "2"],
        dialogue=["d1", "d1", "d2", "d3", "d3", "d4"],
        order=[0, 1, -1, 0, 1, -1],
        start_s=np.array([0, 1, np.nan, 0, 3, 0.0]),
        end_s=np.array([1, 2, 5, 4, 4, 1.0]),
        text=["hello there", "", "naïve\nlines", "x" * 300, "ok", "日本語"],
        attrs={"sex": ["f", "m", "f", "", "m", ""], "age": np.array([30, 41, 30, np.nan, 41, np.nan])},
        splits={
            "official": SplitTable(np.array([[1, 2, 1, 3, 2, 3], [3, 1, 3, 2, 1, 2]]), source="a paper"),
            "halves": SplitTable(np.array([[1, 1, 1, 3, 3, 3]]), disjoint_by=("session", "dialogue")),
        },
        synthetic=True,
        sources=[Source("features.csv", "0" * 64, 12, "somewhere")],
        corpus_version="1",
        corpus_part="whole",
        licence="none",
        redistributable=True,
        notes="two\nlines",
        repairs={"non-finite": 3},
        truth={"optimum": {"wa": 0.9}, "by": [1, 2]},
    )


def with_modality(contents: Contents, name: str, **changes: object) -> Contents:
    """The contents with one modality changed."""
    return replace(contents, modalities={**contents.modalities, name: replace(contents.modalities[name], **changes)})


def with_labels(contents: Contents, name: str, **changes: object) -> Contents:
    """The contents with one label table changed."""
    return replace(contents, labels={**contents.labels, name: replace(contents.labels[name], **changes)})


@functools.cache
def sound() -> bytes:
    """The file of `rich`, without a fault."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.h5"
        write(path, rich())
        assert check(path) == []
        return path.read_bytes()


def damaged(path: Path, change: Callable[[h5py.File], object]) -> list[Fault]:
    """Faults of a sound file after a change made with h5py."""
    path.write_bytes(sound())
    with h5py.File(path, "r+") as file:
        change(file)
    return check(path)


def put(file: h5py.File, place: str, value: object, where: object = ...) -> None:
    """Overwrite values in place."""
    file[place][where] = value


def put_text(file: h5py.File, place: str, text: str) -> None:
    """Overwrite an attribute, ``group@name``, by text of fixed length."""
    group, name = place.split("@")
    target = file[group or "/"]
    del target.attrs[name]
    raw = text.encode()
    target.attrs.create(name, np.bytes_(raw), dtype=h5py.string_dtype("utf-8", max(1, len(raw))))


def put_number(file: h5py.File, place: str, number: float) -> None:
    """Overwrite a numeric attribute, keeping its type."""
    group, name = place.split("@")
    file[group or "/"].attrs.modify(name, number)


def swap(file: h5py.File, place: str, data: np.ndarray, **how: object) -> None:
    """Replace a dataset by another one."""
    del file[place]
    file.create_dataset(place, data=data, **how)


def plain_copy(source: Path, target: Path) -> None:
    """The same content stored by plain h5py: other order, wider strings, no alignment, a format without checksums."""
    with h5py.File(source) as old, h5py.File(target, "w", libver="earliest") as new:
        found: list[str] = []
        old.visit(found.append)
        for name in reversed(found):
            if isinstance(old[name], h5py.Dataset):
                values = old[name][...]
                if values.dtype.kind == "S":
                    values = values.astype(h5py.string_dtype("utf-8", values.dtype.itemsize + 5))
                new[name] = values
        for name in ["/", *(name for name in found if isinstance(old[name], h5py.Group))]:
            for key, value in old[name].attrs.items():
                new.require_group(name).attrs.create(key, value, dtype=old[name].attrs.get_id(key).dtype)
