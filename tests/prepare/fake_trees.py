"""The official tree of each corpus, invented, and the words after ``mer-bench prepare`` that convert it.

python -m tests.prepare.fake_trees FOLDER
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from tests.prepare import fake_affwild2, fake_biovid, fake_iemocap
from tests.prepare.fake_cmu import make_sdk

SUBJECTS = tuple(f"{number:06d}_{'wm'[number % 2]}_{20 + number}" for number in range(1, 11))


def iemocap(root: Path) -> list[str]:
    """The release, features of every turn, and the labels of the conversation papers."""
    fake_iemocap.make(root)
    features = [f"audio={root / 'wavlm'}", f"vision={root / 'clip'}"]
    argv = [word for one in features for word in ("--features", one)]
    return ["--from", str(root / "IEMOCAP_full_release"), "--labels", str(root / "papers"), "--rate", "audio=50", *argv]


def mosei(root: Path) -> list[str]:
    """Computational sequences, aligned to the words."""
    return ["--from", str(make_sdk(root / "sdk").root)]


def mosi(root: Path) -> list[str]:
    """The same of the other corpus, each on its own clock."""
    return ["--from", str(make_sdk(root / "sdk", "mosi").root), "--align", "none"]


def affwild2(root: Path) -> list[str]:
    """Annotations, one file per frame, and sound on its own clock."""
    fake_affwild2.write_annotations(root)
    frames, sound = fake_affwild2.write_frames(root / "vit", "frames"), fake_affwild2.write_sound(root / "vggish")
    given = ["--features", f"vision={frames}", "--features", f"audio={sound}", "--rate", "audio=100"]
    return ["--from", str(root), *given]


def biovid(root: Path) -> list[str]:
    """Part A of ten subjects, with features of every sample's video."""
    signals = fake_biovid.write_tree(root / "PartA", subjects=SUBJECTS)
    faces = fake_iemocap.write_features(root / "faces", list(signals), 6, frames=False)
    return ["--from", str(root / "PartA"), "--features", f"vision={faces}"]


TREES: dict[str, Callable[[Path], list[str]]] = {
    "affwild2": affwild2,
    "biovid": biovid,
    "iemocap": iemocap,
    "mosei": mosei,
    "mosi": mosi,
}


if __name__ == "__main__":
    for corpus, make in TREES.items():
        words = " ".join(make(Path(sys.argv[1]) / corpus))
        print(f"mer-bench prepare {corpus} {words} --out {corpus}.h5")
