"""A small invented copy of the MOSI research pack, in the true layout: files, columns, quirks of order.

    python -m tests.prepare.fake_mosi_pack FOLDER

Nothing in it comes from the corpus, except names of videos, which the official folds list.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mer_bench.prepare.cmu.folds import official
from mer_bench.prepare.cmu.pack import Expected
from tests.prepare.fake_cmu import make_index, videos

TRAIN_VIDEOS = 4  # of bc-LSTM, out of six: some of them in the official test part
TABLES = {"text": ("text_cnn", 100), "audio": ("audio", 73), "video": ("vision_c3d", 100)}


@dataclass
class Pack:
    """Where the pack lies and what its clips were given, by id."""

    root: Path
    sentiment: dict[str, float] = field(default_factory=dict)
    text: dict[str, str] = field(default_factory=dict)
    values: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)  # modality -> id -> row or rows
    train: list[str] = field(default_factory=list)  # of bc-LSTM, in the order of its tables
    test: list[str] = field(default_factory=list)

    @property
    def ids(self) -> list[str]:
        return sorted(self.sentiment)

    @property
    def expected(self) -> Expected:
        parts = [official("mosi").of(name.rpartition("_")[0]) for name in self.ids]
        counts = (parts.count(1), parts.count(2), parts.count(3))
        return Expected(len(self.ids), counts, (len(self.train), len(self.test)))


def make(root: Path, seed: int = 0) -> Pack:
    """Two videos of each official part, 12 clips each (so that lexicographic order is not that of the numbers)."""
    rng = np.random.default_rng(seed)
    names = videos("mosi")
    pack = Pack(root)
    for video in names:
        for number in range(1, 13):
            name = f"{video}_{number}"
            pack.sentiment[name] = float(rng.integers(-15, 16) / 5)
            pack.text[name] = f'SAID, "{name}"'
    split = [names[0], names[2], names[4], names[5], names[1], names[3]]
    for place, video in enumerate(split):
        part = pack.train if place < TRAIN_VIDEOS else pack.test
        part += [f"{video}_{number}" for number in (10, 11, 12, *range(1, 10))]
    for modality, width in TABLES.values():
        pack.values[modality] = {name: rng.normal(size=width).round(6) for name in pack.ids}
    pack.values["text"] = {
        name: rng.normal(size=(int(rng.integers(1, 6)), 128)).astype(np.float16) for name in pack.ids
    }
    pack.values["text_sentence"] = {name: rng.normal(size=384).astype(np.float16) for name in pack.ids}
    write_tables(pack)
    write_labels(pack)
    make_index(root / "gcnet_index" / "CMUMOSI_features_raw_2way.pkl", pack.sentiment, "mosi", pack.text)
    _write_text(pack)
    return pack


def write_csv(path: Path, rows: Iterable[list]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, quoting=csv.QUOTE_ALL).writerows(rows)


def write_tables(pack: Pack) -> None:
    folder = pack.root / "bclstm_utterance"
    sign = {name: int(value >= 0) for name, value in pack.sentiment.items()}
    write_csv(folder / "transcripts.csv", [[name, pack.text[name], "12", sign[name]] for name in pack.ids])
    for part, names in (("train", pack.train), ("test", pack.test)):
        text = pack.values["text_cnn"]
        write_csv(folder / f"text_{part}.csv", [[pack.ids.index(name), *text[name]] for name in names])
        for table, (modality, _) in TABLES.items():
            values = pack.values[modality]
            write_csv(folder / f"{table}_{part}0.csv", [[*values[name], sign[name]] for name in names])


def write_labels(pack: Pack) -> None:
    tables: dict[str, dict] = {"train_corpus": {}, "val_corpus": {}, "test_corpus": {}}
    for number, table in enumerate(tables.values(), start=1):
        for name, value in pack.sentiment.items():
            if official("mosi").of(name.rpartition("_")[0]) == number:
                table[name] = {"emo": 0, "val": np.float64(value)}
    path = pack.root / "merbench_labels" / "label.npz"
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, **{name: np.array(table, object) for name, table in tables.items()})


def _write_text(pack: Pack) -> None:
    folder, ids = pack.root / "text_minilm", pack.ids
    folder.mkdir(parents=True, exist_ok=True)
    tokens = [pack.values["text"][name] for name in ids]
    np.savez(
        folder / "tokens_rp128.npz",
        values=np.concatenate(tokens),
        offsets=np.concatenate([[0], np.cumsum([len(rows) for rows in tokens])]).astype(np.int64),
        ids=np.array(ids),
    )
    means = np.array([pack.values["text_sentence"][name] for name in ids])
    np.savez(folder / "sentence_mean384.npz", values=means, ids=np.array(ids))


if __name__ == "__main__":
    print(f"{len(make(Path(sys.argv[1])).ids)} clips in {sys.argv[1]}")
