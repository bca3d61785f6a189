"""Small feature files for tests, written in a second; the label is readable from every modality."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mer_bench.merh5 import Contents, Labels, Modality, SplitTable, write

CLASSES = ("angry", "happy", "neutral", "sad")


def people(n: int) -> dict[str, list[str]]:
    """Ids and groups of n turns: five sessions, ten speakers, dialogues inside sessions."""
    ids, speaker, session, dialogue = [], [], [], []
    for i in range(n):
        s, who = i % 5 + 1, "FM"[(i // 5) % 2]
        talk = f"Ses0{s}F_impro0{(i // 10) % 4 + 1}"
        ids.append(f"{talk}_{who}{i:04d}")
        speaker.append(f"Ses0{s}{who}")
        session.append(f"Ses0{s}")
        dialogue.append(talk)
    return {"ids": ids, "speaker": speaker, "session": session, "dialogue": dialogue}


def modality(rng: np.random.Generator, label: np.ndarray, dim: int, low: int, high: int, kind: str, absent=0.0):
    """Ragged noise with a one-hot of the label in the first columns; some items absent."""
    lengths = rng.integers(low, high, len(label))
    lengths[rng.random(len(label)) < absent] = 0
    values = rng.normal(size=(lengths.sum(), dim)).astype(np.float32)
    values[np.arange(len(values)), np.repeat(label, lengths)] += 2.0
    return Modality(values=values, lengths=lengths, kind=kind, rate_hz=10.0 if kind == "sequence" else 0.0)


def iemocap(path: Path, n: int = 300, *, seed: int = 0, absent: float = 0.0, **changed) -> Path:
    """A file in the shape of IEMOCAP: audio (utterance, 6), text and vision (sequences, 8 and 5), `emo4`, `vad`."""
    rng = np.random.default_rng(seed)
    label = rng.integers(0, 4, n)
    vad = np.clip(label[:, None] / 3 + rng.normal(0, 0.2, (n, 3)), -1, 1).astype(np.float32)
    parts = {
        "corpus": "iemocap",
        **people(n),
        "modalities": {
            "audio": modality(rng, label, 6, 1, 2, "utterance", absent),
            "text": modality(rng, label, 8, 2, 12, "sequence"),
            "vision": modality(rng, label, 5, 3, 9, "sequence", absent),
        },
        "labels": {
            "emo4": Labels(kind="multiclass", names=CLASSES, values=label, mask=rng.random(n) < 0.9),
            "vad": Labels(
                kind="regression",
                names=("valence", "arousal", "dominance"),
                values=vad,
                mask=np.ones((n, 3), bool),
                range=(-1.0, 1.0),
            ),
        },
        "synthetic": True,
        **changed,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    write(path, Contents(**parts))
    return path


def recordings(path: Path, tracks: int = 6, *, seed: int = 0) -> Path:
    """A frame-level file: `va` at 30 Hz with gaps, vision at 30 Hz with lost frames, audio at 100 Hz, one split."""
    rng = np.random.default_rng(seed)
    frames = rng.integers(40, 90, tracks)
    frames[0] = 7  # shorter than any window
    va = np.concatenate([np.cumsum(rng.normal(0, 0.1, (t, 2)), axis=0) for t in frames])
    va = np.tanh(va).astype(np.float32)
    rows = np.ceil(frames / 30 * 100).astype(int)
    vision = np.concatenate([va, rng.normal(size=(len(va), 2))], axis=1).astype(np.float32)
    table = np.array([[1] * (tracks - 2) + [2, 3]], dtype=np.uint8)
    mask = np.repeat(rng.random(len(va)) < 0.9, 2).reshape(-1, 2)
    contents = Contents(
        corpus="affwild2",
        ids=[f"video{k}" for k in range(tracks)],
        speaker=[f"person{k}" for k in range(tracks)],
        dialogue=[f"video{k}" for k in range(tracks)],
        modalities={
            "vision": Modality(vision, frames, kind="sequence", rate_hz=30.0, valid=rng.random(len(va)) < 0.8),
            "audio": Modality(
                rng.normal(size=(rows.sum(), 3)).astype(np.float32), rows, kind="sequence", rate_hz=100.0
            ),
        },
        labels={
            "va": Labels(
                kind="regression",
                names=("valence", "arousal"),
                values=va,
                mask=mask,
                level="frame",
                lengths=frames,
                rate_hz=30.0,
                range=(-1.0, 1.0),
            )
        },
        splits={"abaw": SplitTable(table=table, disjoint_by=("speaker",))},
        synthetic=True,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    write(path, contents)
    return path
