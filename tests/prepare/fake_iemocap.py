"""An invented IEMOCAP release in the true layout, pickles and lists of the conversation papers, and feature folders.

    python -m tests.prepare.fake_iemocap FOLDER

Nothing in it comes from the corpus: the turns, their codes and ratings are those of `fake_pack`.
"""

from __future__ import annotations

import pickle
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tests.prepare.fake_pack import Pack, invent, label_lists

HEADER = "% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]"
WIDTHS = {"text": 6, "audio": 5, "vision": 4}


def start_of(pack: Pack, turn: str) -> float:
    """Seconds at which a turn starts; turns overlap, as people do."""
    return 5.5 + 3 * pack.spoken[turn.rpartition("_")[0]].index(turn)


def make_tree(root: Path, pack: Pack | None = None) -> Pack:
    """The release: evaluation files with a line for every rater, transcripts with lines that are no turn."""
    pack = pack or invent(root)
    for dialogue, block in pack.spoken.items():
        home = root / f"Session{dialogue[4]}" / "dialog"
        for folder in ("EmoEvaluation/Categorical", "transcriptions"):
            (home / folder).mkdir(parents=True, exist_ok=True)
        told = [HEADER, ""]
        for turn in sorted(block):  # the files are sorted by name, not by time
            told += [_line(pack, turn), "C-E2:\tNeutral;\t()", "A-E3:\tval 3; act 2; dom  2;\t([)", "A-F1:\tval 2;", ""]
        (home / "EmoEvaluation" / f"{dialogue}.txt").write_text("\n".join(told), encoding="ascii")
        (home / "EmoEvaluation" / f"._{dialogue}.txt").write_bytes(b"\0\5\x16\7")
        (home / "EmoEvaluation" / "Categorical" / f"{dialogue}_e1_cat.txt").write_text("[0 - 1]\tno turn here")
        said = [
            f"{turn} [{start_of(pack, turn):08.4f}-{start_of(pack, turn) + 4:08.4f}]: said {turn}" for turn in block
        ]
        said.insert(2, f"{dialogue}_MXX0 [001.0000-002.0000]: Yeah.")
        said += [said[1], "F: (clears throat)"]
        (home / "transcriptions" / f"{dialogue}.txt").write_text("\n".join(said) + "\n", encoding="ascii")
    return pack


def _line(pack: Pack, turn: str) -> str:
    start, ratings = start_of(pack, turn), ", ".join(f"{value:.4f}" for value in pack.ratings[turn])
    return f"[{start:.4f} - {start + 4:.4f}]\t{turn}\t{pack.codes[turn]}\t[{ratings}]"


def vectors(pack: Pack, name: str) -> dict[str, np.ndarray]:
    """What stands for a modality of each turn in the pickles."""
    rng = np.random.default_rng(WIDTHS[name])
    return {turn: rng.normal(size=WIDTHS[name]).astype(np.float32) for turn in pack.ids}


def conversation(pack: Pack, ways: int) -> list:
    """The nine things of a pickle of the conversation papers."""
    labels = label_lists(pack)[ways == 6]
    orders = {name: [turn for turn in block if turn in labels] for name, block in pack.spoken.items()}
    test = [name for name in orders if name.startswith("Ses05")]
    features = [
        {name: [vectors(pack, kind)[turn] for turn in block] for name, block in orders.items()} for kind in WIDTHS
    ]
    return [
        orders,
        {name: [turn[-4] for turn in block] for name, block in orders.items()},
        {name: [labels[turn] for turn in block] for name, block in orders.items()},
        *features,
        {name: [f"said {turn}" for turn in block] for name, block in orders.items()},
        [name for name in orders if name not in test],
        test,
    ]


def write_pickle(path: Path, content: Sequence, protocol: int = 2) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(tuple(content), protocol))
    return path


def write_features(folder: Path, turns: Sequence[str], dim: int, *, frames: bool = True, seed: int = 0) -> Path:
    """One `.npy` per turn: (frames, dim), or a vector."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    for turn in turns:
        shape = (int(rng.integers(2, 7)), dim) if frames else (dim,)
        np.save(folder / f"{turn}.npy", rng.normal(size=shape).astype(np.float32))
    return folder


def make(root: Path) -> Pack:
    """A release, feature folders beside it and the pickle with six classes."""
    pack = make_tree(root / "IEMOCAP_full_release")
    write_features(root / "wavlm", pack.ids, 7)
    write_features(root / "clip", pack.ids[: len(pack.ids) // 2], 5, frames=False, seed=1)
    write_pickle(root / "papers" / "IEMOCAP_features.pkl", conversation(pack, 6))
    return pack


if __name__ == "__main__":
    print(f"{len(make(Path(sys.argv[1])).ids)} turns in {sys.argv[1]}")
