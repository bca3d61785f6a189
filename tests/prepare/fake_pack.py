"""A small invented copy of the IEMOCAP research pack, in the true layout: files, columns, codes, quirks of order.

    python -m tests.prepare.fake_pack FOLDER

Nothing in it comes from the corpus. `make` returns what each turn was given, by id, so that a test can look it up.
"""

from __future__ import annotations

import csv
import pickle
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mer_bench.prepare.iemocap.counts import Expected

CODES = ("ang", "hap", "exc", "neu", "sad", "fru", "xxx", "sur", "fea", "oth", "dis")
ERC = {"hap": 0, "sad": 1, "neu": 2, "ang": 3, "exc": 4, "fru": 5}
ERC_FOUR = {"hap": 0, "exc": 0, "sad": 1, "neu": 2, "ang": 3}
AU_HEADER = (
    "frame,face_id,timestamp,confidence,success,AU01_r,AU02_r,AU04_r,AU05_r,AU06_r,AU07_r,AU09_r,AU10_r,AU12_r,AU14_r,"
    "AU15_r,AU17_r,AU20_r,AU23_r,AU25_r,AU26_r,AU45_r,AU01_c,AU02_c,AU04_c,AU05_c,AU06_c,AU07_c,AU09_c,AU10_c,AU12_c,"
    "AU14_c,AU15_c,AU17_c,AU20_c,AU23_c,AU25_c,AU26_c,AU28_c,AU45_c"
)


@dataclass
class Pack:
    """Where the pack lies and what its turns were given, by id."""

    root: Path
    spoken: dict[str, list[str]]  # dialogue -> its turns as spoken
    codes: dict[str, str] = field(default_factory=dict)
    ratings: dict[str, np.ndarray] = field(default_factory=dict)
    gemaps: dict[str, np.ndarray] = field(default_factory=dict)
    prosody: dict[str, np.ndarray] = field(default_factory=dict)
    tokens: dict[str, np.ndarray] = field(default_factory=dict)
    sentences: dict[str, np.ndarray] = field(default_factory=dict)
    faces: dict[str, np.ndarray] = field(default_factory=dict)  # frames x 35; NaN where tracking failed
    erc_only: list[str] = field(default_factory=list)

    @property
    def ids(self) -> list[str]:
        return sorted(self.codes)

    @property
    def expected(self) -> Expected:
        train = sum(not name.startswith("Ses05") for name in self.spoken)
        return Expected(
            len(self.codes), (train, len(self.spoken) - train), len(self.erc_only), Counter(self.codes.values())
        )


def invent(root: Path, turns: int = 14, seed: int = 0) -> Pack:
    """Two dialogues per session, so many turns in each; nothing is written."""
    rng = np.random.default_rng(seed)
    pack = Pack(root, {name: _speak(name, turns, rng) for s in range(1, 6) for name in _dialogues(s)})
    for number, name in enumerate(turn for block in pack.spoken.values() for turn in block):
        _invent(pack, name, CODES[number % len(CODES)], rng)
    pack.erc_only = [name for name in pack.ids if pack.codes[name] == "xxx"][1:3]
    pack.ratings[pack.ids[3]][:] = (5.5, 5.0, 0.5)
    for name in pack.ids[:3]:
        frames = rng.uniform(0, 5, (int(rng.integers(4, 9)), 35)).round(2)
        frames[1] = np.nan
        pack.faces[name] = frames
    return pack


def make(root: Path, turns: int = 14, seed: int = 0) -> Pack:
    """Write a pack."""
    pack, rng = invent(root, turns, seed), np.random.default_rng(seed)
    for folder in ("prosody_10039", "gemaps_hsf_10039", "merbench_labels_text", "gcnet_dialogue_index", "text_minilm"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    _write_tables(pack, rng)
    _write_arrays(pack)
    write_lists(pack)
    _write_transcripts(pack)
    _write_faces(pack)
    return pack


def _dialogues(session: int) -> tuple[str, str]:
    return f"Ses{session:02d}F_impro01", f"Ses{session:02d}M_script02_1b"


def _speak(dialogue: str, turns: int, rng: np.random.Generator) -> list[str]:
    """Both actors count their turns from 000; who is next is left to chance."""
    actors = ["F", "M", *rng.choice(["F", "M"], turns - 2)]
    seen = Counter()
    block = []
    for actor in actors:
        block.append(f"{dialogue}_{actor}{seen[actor]:03d}")
        seen[actor] += 1
    return block


def _invent(pack: Pack, name: str, code: str, rng: np.random.Generator) -> None:
    pack.codes[name] = code
    pack.ratings[name] = rng.integers(2, 11, 3) / 2
    pack.gemaps[name] = rng.normal(size=47)
    pack.prosody[name] = np.append(rng.uniform(0, 100, 4), 1 + 0.3 * pack.gemaps[name][0])
    pack.tokens[name] = rng.normal(size=(int(rng.integers(1, 6)), 128)).astype(np.float16)
    pack.sentences[name] = rng.normal(size=384).astype(np.float16)


def write_csv(path: Path, header: list[str], rows: list[list]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *rows])


def _write_tables(pack: Pack, rng: np.random.Generator) -> None:
    folder = pack.root / "prosody_10039"
    rows = [[name, pack.codes[name], *pack.ratings[name][:2]] for name in pack.ids]
    write_csv(folder / "val_aro.csv", ["filename", "emotion", "valence", "arousal"], rows)
    shuffled = [pack.ids[place] for place in rng.permutation(len(pack.ids))]
    rows = [[name, str([float(value) for value in pack.prosody[name]])] for name in shuffled]
    write_csv(folder / "prosody_mean.csv", ["filename", "embedding"], rows)


def _write_arrays(pack: Pack) -> None:
    folder, ids = pack.root / "gemaps_hsf_10039", pack.ids
    np.save(folder / "feat_ws_3.npy", np.array([pack.gemaps[name] for name in ids]))
    np.save(folder / "y_egemaps.npy", np.array([pack.ratings[name] for name in ids]))
    lengths = [len(pack.tokens[name]) for name in ids]
    np.savez(
        pack.root / "text_minilm" / "tokens_rp128.npz",
        values=np.concatenate([pack.tokens[name] for name in ids]),
        offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        ids=np.array(ids),
    )
    np.savez(
        pack.root / "text_minilm" / "sentence_mean384.npz",
        values=np.array([pack.sentences[name] for name in ids]),
        ids=np.array(ids),
    )


def label_lists(pack: Pack) -> tuple[dict[str, int], dict[str, int]]:
    """Turn -> integer of the conversation papers, four and six classes."""
    spoken = [turn for block in pack.spoken.values() for turn in block]
    four = {name: ERC_FOUR[pack.codes[name]] for name in spoken if pack.codes[name] in ERC_FOUR}
    six = {name: ERC.get(pack.codes[name], 0) for name in spoken if pack.codes[name] in ERC or name in pack.erc_only}
    return four, six


def write_lists(pack: Pack) -> None:
    for ways, labels in zip((4, 6), label_lists(pack), strict=True):
        write_label_list(pack, ways, labels)
        orders = {name: [turn for turn in block if turn in labels] for name, block in reversed(pack.spoken.items())}
        write_index(pack, ways, orders, labels)


def write_label_list(pack: Pack, ways: int, labels: dict[str, int]) -> None:
    corpus = {name: {"emo": index, "val": -10} for name, index in labels.items()}
    path = pack.root / "merbench_labels_text" / f"label_{ways}way.npz"
    np.savez_compressed(path, whole_corpus=np.array(corpus, dtype=object))


def write_index(pack: Pack, ways: int, orders: dict[str, list[str]], labels: dict[str, int]) -> None:
    test = {name for name in orders if name.startswith("Ses05")}
    content = [
        orders,
        {name: [labels[turn] for turn in turns] for name, turns in orders.items()},
        {name: [turn[-4] for turn in turns] for name, turns in orders.items()},
        {name: ["words" for _ in turns] for name, turns in orders.items()},
        set(orders) - test,
        test,
    ]
    path = pack.root / "gcnet_dialogue_index" / f"IEMOCAP_features_raw_{ways}way.pkl"
    path.write_bytes(pickle.dumps(content, 4))


def transcript_rows(pack: Pack) -> list[list[str]]:
    rows = []
    for dialogue, block in reversed(pack.spoken.items()):
        rows += [[name, "…", f'said, "{name}"'] for name in block]
        rows.insert(len(rows) - 3, [f"{dialogue}_MXX0", "…", "Yeah."])
    return [*rows, rows[-1]]  # one line stands twice


def _write_transcripts(pack: Pack) -> None:
    path = pack.root / "merbench_labels_text" / "transcription-engchi-polish.csv"
    write_csv(path, ["name", "chinese", "english"], transcript_rows(pack))


def _write_faces(pack: Pack) -> None:
    folder = pack.root / "openface_au_129" / "au"
    folder.mkdir(parents=True, exist_ok=True)
    for name, frames in pack.faces.items():
        tracked = np.isfinite(frames).all(axis=1)
        rows = [
            [number + 1, 0, f"{number * 1001 / 30000:.3f}", 0.9, int(good), *np.where(good, row, 1.5)]
            for number, (row, good) in enumerate(zip(frames, tracked, strict=True))
        ]
        write_csv(folder / f"{name}.csv", AU_HEADER.split(","), rows)


if __name__ == "__main__":
    print(f"{len(make(Path(sys.argv[1])).ids)} turns in {sys.argv[1]}")
