"""Small invented files in the true layouts of CMU-MOSI and CMU-MOSEI, with the faults that the real ones have.

    python -m tests.prepare.fake_cmu FOLDER

Nothing in them comes from the corpora, except names of videos, which the official folds list. What each clip was
given is returned, so that a test can look it up.
"""

from __future__ import annotations

import pickle
import sys
from dataclasses import dataclass, field
from pathlib import Path

import h5py
import numpy as np

from mer_bench.prepare.cmu.folds import PARTS, official

OUTSIDE = "no-fold-has-me"  # a video in no official fold
WIDTHS = {"text": 6, "audio": 4, "vision": 3}
Sequence = dict[str, tuple[np.ndarray, np.ndarray]]  # key -> features, intervals


def videos(corpus: str, per_part: int = 2) -> list[str]:
    """The first videos of each official part."""
    names = sorted(official(corpus).part)
    return [
        video
        for number in PARTS.values()
        for video in [name for name in names if official(corpus).of(name) == number][:per_part]
    ]


def ratings(rng: np.random.Generator, n: int, low: int, high: int) -> np.ndarray:
    """Means of three raters, as float32."""
    return (rng.integers(low * 3, high * 3 + 1, n) / 3).astype(np.float32)


# computational sequences --------------------------------------------------------------------------------------------


def write_csd(path: Path, name: str, sequence: Sequence, metadata: bool = True) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        for key, (features, intervals) in sequence.items():
            group = file.create_group(f"{name}/data/{key}")
            group["features"], group["intervals"] = features, intervals
        if metadata:
            file.create_dataset(f"{name}/metadata/md5", data=np.array([b"None"], object), dtype=h5py.string_dtype())


@dataclass
class Sdk:
    """Where the folder lies, and what is in it."""

    root: Path
    segments: dict[str, tuple[float, float]] = field(default_factory=dict)  # id -> start, end
    labels: dict[str, np.ndarray] = field(default_factory=dict)  # id -> 7 values
    words: Sequence = field(default_factory=dict)
    vectors: Sequence = field(default_factory=dict)
    audio: Sequence = field(default_factory=dict)
    vision: Sequence = field(default_factory=dict)


def make_sdk(root: Path, corpus: str = "mosei", seed: int = 0) -> Sdk:
    """Six videos in the folds and one outside; COVAREP with -inf, FACET that lost the face, a video at 25 fps."""
    rng = np.random.default_rng(seed)
    sdk = Sdk(root)
    labels: Sequence = {}
    for number, video in enumerate([*videos(corpus), OUTSIDE]):
        ends = np.array([[4.0, 7.0], [0.5, 3.5], [8.0, 8.9]])  # not in order of time
        present = (np.arange(3)[:, None] + np.arange(6)) % 2  # every emotion is there, and is not, in every video
        table = np.concatenate([ratings(rng, 3, -3, 3)[:, None], present * rng.integers(1, 10, (3, 6)) / 3], axis=1)
        table = table.astype(np.float32)
        labels[video] = table, ends
        for row, (start, end) in enumerate(ends):
            sdk.segments[f"{video}.{row}"], sdk.labels[f"{video}.{row}"] = (start, end), table[row]
        starts = np.sort(rng.uniform(0, 9, 14))
        spans = np.stack([starts, np.append(starts[1:], 9.5)], axis=1)
        said = np.array([b"sp" if k % 5 == 2 else f"w{number}{k}".encode() for k in range(14)], "S8")[:, None]
        vectors = rng.normal(size=(14, WIDTHS["text"])).astype(np.float32)
        vectors[said[:, 0] == b"sp"] = 0
        sdk.words[video], sdk.vectors[video] = (said, spans), (vectors, spans)
        sdk.audio[video] = _frames(rng, 100.0, WIDTHS["audio"])
        sdk.audio[video][0][30::97, 1] = -np.inf
        sdk.vision[video] = _frames(rng, 25.0 if number == 1 else 30.0, WIDTHS["vision"])
        sdk.vision[video][0][40:75] = 0
    del sdk.vision[videos(corpus)[2]]  # a video that the tracker never saw
    shuffled = sdk.audio[videos(corpus)[3]]
    order = rng.permutation(len(shuffled[0]))
    sdk.audio[videos(corpus)[3]] = shuffled[0][order], shuffled[1][order]
    prefix = f"CMU_{corpus.upper()}"
    write_csd(root / f"{prefix}_Labels.csd", "All Labels", labels)
    write_csd(root / "highlevel" / f"{prefix}_TimestampedWords.csd", "words", sdk.words)
    write_csd(root / "highlevel" / f"{prefix}_TimestampedWordVectors.csd", "glove_vectors", sdk.vectors)
    write_csd(root / "highlevel" / f"{prefix}_COVAREP.csd", "COVAREP", sdk.audio)
    write_csd(root / "highlevel" / f"{prefix}_VisualFacet42.csd", "FACET 4.2", sdk.vision)
    return sdk


def _frames(rng: np.random.Generator, rate: float, width: int) -> tuple[np.ndarray, np.ndarray]:
    count = int(9.5 * rate)
    start = np.arange(count) / rate
    return rng.normal(size=(count, width)).astype(np.float32), np.stack([start, start + 1 / rate], axis=1)


# one pickle with a dictionary per part ------------------------------------------------------------------------------


@dataclass
class Split:
    """What each clip of a pickle was given, by its id in the feature file."""

    path: Path
    sentiment: dict[str, float] = field(default_factory=dict)
    rows: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)  # modality -> id -> (steps, features)
    part: dict[str, int] = field(default_factory=dict)
    text: dict[str, str] = field(default_factory=dict)


def make_pickle(
    path: Path,
    dialect: str,
    corpus: str = "mosei",
    *,
    aligned: bool = True,
    front: bool = False,
    seed: int = 0,
    protocol: int = 4,
    change=lambda content: None,
) -> Split:
    """A file of MMSA, MulT or MultiBench; `change` edits what is about to be pickled.

    In every part the second clip has no text, the third no face, the fourth a frame of -inf in its audio.
    """
    rng = np.random.default_rng(seed)
    split = Split(path, rows={name: {} for name in WIDTHS})
    steps = dict.fromkeys(WIDTHS, 8) if aligned else {"text": 8, "audio": 20, "vision": 12}
    content = {}
    names = videos(corpus)
    for part, number in PARTS.items():
        here = [*names[2 * number - 2 : 2 * number], *([OUTSIDE] if part == "train" else [])]
        clips = [(video, k) for video in here for k in (2, 10, 3)]
        content[part] = _part(split, rng, dialect, clips, number, steps, aligned=aligned, front=front)
    change(content)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(content, protocol))
    return split


def _part(
    split: Split, rng, dialect: str, clips: list, number: int, steps: dict, *, aligned: bool, front: bool
) -> dict:
    n = len(clips)
    sentiment = ratings(rng, n, -3, 3)
    sentiment[0], sentiment[1] = 0, -1
    lengths = {name: rng.integers(3, size + 1, n) for name, size in steps.items()}
    if aligned:
        lengths = dict.fromkeys(lengths, lengths["text"])
    arrays = {name: np.zeros((n, steps[name], width), np.float32) for name, width in WIDTHS.items()}
    for clip, (video, k) in enumerate(clips):
        name = {
            "MMSA": f"{video}_{k}",
            "MultiBench": f"{video}.{k}",
            "MulT": f"{video}.at{k + 0.25:.3f}-{k + 1.5:.3f}",
        }[dialect]
        for m, width in WIDTHS.items():
            rows = rng.normal(size=(lengths[m][clip], width)).astype(np.float32)
            if (clip, m) in ((1, "text"), (2, "vision")):
                rows[:] = 0
            if (clip, m) == (3, "audio"):
                rows[1, 0] = -np.inf
            if (clip, m) == (4, "vision"):
                rows[1] = 0
            start = steps[m] - len(rows) if front else 0
            arrays[m][clip, start : start + len(rows)] = rows
            split.rows[m][name] = rows
        split.sentiment[name], split.part[name] = float(sentiment[clip]), number
        split.text[name] = "" if clip == 1 else f"said in {name}"
    names = list(split.sentiment)[-n:]
    if dialect == "MMSA":
        return _mmsa(
            arrays, lengths, clips, sentiment, [split.text[name] for name in names], front=front, aligned=aligned
        )
    plain = {**{m: array.astype(np.float64) for m, array in arrays.items()}, "labels": sentiment.reshape(n, 1, 1)}
    if dialect == "MultiBench":
        return {**plain, "id": np.array([f"{video}[{k}]" for video, k in clips])}
    ids = [[video.encode(), f"{k + 0.25}".encode(), f"{k + 1.5}".encode()] for video, k in clips]
    return {**plain, "id": np.array(ids)}


def _mmsa(arrays, lengths, clips, sentiment, texts, *, front: bool, aligned: bool) -> dict:
    time = np.arange(arrays["text"].shape[1])
    count = lengths["text"][:, None]
    mask = time >= time.size - count if front else time < count
    bert = np.stack([np.where(mask, 101, 0), mask, np.zeros_like(mask)], axis=1).astype(np.float32)
    part = {
        **arrays,
        "text_bert": bert,
        "raw_text": np.array(texts),
        "id": [f"{video}$_${k}" for video, k in clips],
        "annotations": ["Neutral"] * len(clips),
        "regression_labels": sentiment,
        "classification_labels": np.sign(sentiment) + 1,
    }
    if not aligned:
        part |= {f"{m}_lengths": lengths[m].tolist() for m in ("audio", "vision")}
    return part


# label files and feature folders ------------------------------------------------------------------------------------


def make_labels(path: Path, corpus: str = "mosei", seed: int = 0) -> dict[str, float]:
    """MERBench's archive; sentiment by id."""
    rng = np.random.default_rng(seed)
    tables: dict[str, dict] = {"train_corpus": {}, "val_corpus": {}, "test_corpus": {}}
    names = videos(corpus)
    found = {}
    for number, table in enumerate(tables.values(), start=1):
        for video in [*names[2 * number - 2 : 2 * number], *([OUTSIDE] if number == 1 else [])]:
            for k in (1, 2, 10):
                value = ratings(rng, 1, -3, 3)[0]
                table[f"{video}_{k}"] = {"emo": 0, "val": value}
                found[f"{video}_{k}"] = float(value)
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, **{name: np.array(table, object) for name, table in tables.items()})
    return found


def make_index(path: Path, labels: dict[str, float], corpus: str = "mosei", text: dict[str, str] | None = None) -> None:
    """GCNet's index of the same clips."""
    by_video: dict[str, list[str]] = {}
    for name in labels:
        by_video.setdefault(name.rpartition("_")[0], []).append(name)
    parts = [{v for v in by_video if (official(corpus).of(v) or 1) == number} for number in PARTS.values()]
    content = [
        by_video,
        {video: [np.float64(labels[name]) for name in names] for video, names in by_video.items()},
        {video: [""] * len(names) for video, names in by_video.items()},
        {video: np.array([(text or {}).get(name, "WORDS") for name in names]) for video, names in by_video.items()},
        *parts,
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(content, 4))


def make_folder(
    folder: Path, ids: list[str], width: int = 5, frames: bool = True, seed: int = 0
) -> dict[str, np.ndarray]:
    """One `.npy` per clip."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    found = {}
    for name in ids:
        found[name] = rng.normal(size=(int(rng.integers(1, 6)), width) if frames else width).astype(np.float32)
        np.save(folder / f"{name}.npy", found[name])
    return found


if __name__ == "__main__":
    place = Path(sys.argv[1])
    make_sdk(place / "sdk")
    make_pickle(place / "aligned_50.pkl", "MMSA")
    make_folder(place / "merbench" / "features" / "wavlm-FRA", list(make_labels(place / "merbench" / "label.npz")))
    print(f"computational sequences, a pickle and a label archive in {place}")
