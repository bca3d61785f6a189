"""SEWA (AVEC 2019) as frame-level input: real labels and streams, whose lengths differ, joined by time and trained on.

What the baseline systems of the challenge said of each frame stands in as features: five of sound, four of sight.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from mer_bench.cli import main
from mer_bench.data import corpora as room
from mer_bench.data.datamodules import Custom
from mer_bench.merh5 import Contents, Labels, Modality, check, write
from mer_bench.results.record import read_predictions
from tests.metrics.test_real import SEWA, column
from tests.realdata import needs_real

pytestmark = needs_real("sewa")

STREAMS = {
    "audio": ("deepspectrum", "egemaps-func_STD", "egemaps-xbow", "mfcc-func_STD", "mfcc-xbow"),
    "vision": ("visual-func", "visual-resnet", "visual-vgg", "visual-xbow"),
}
CORPUS = """
from mer_bench.protocol import Condition, Corpus, GroupKFold, Protocol
from mer_bench.types import TaskSpec

VA = TaskSpec("regression", ("arousal", "valence"), level="frame", range=(-1.0, 1.0))
FRAMES = Protocol(
    name="sewa_va", corpus="sewa", tasks={"va": VA}, primary="va/ccc", metrics=("va/ccc", "va/mae"),
    split=GroupKFold("dialogue", 4), folds=4, seeds=(0,), cluster="dialogue", statistics="B",
    conditions=(Condition("full"), Condition("only"), Condition("smoothed", frames=31)),
)
CORPUS = Corpus("sewa", "SEWA", "Arousal and valence, ten times a second.", "AVEC 2019", protocols=(FRAMES,))
"""
NAMES = ["arousal", "valence"]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working folder with the feature file, the corpus and its config; nothing stays registered."""
    monkeypatch.setattr(room, "_REGISTERED", {})
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sewacorpus.py").write_text(CORPUS)
    (tmp_path / "configs" / "data").mkdir(parents=True)
    config = "extends: [base.yaml]\ndata: {class_path: Custom, init_args: {corpus: sewa, window: 100}}\n"
    (tmp_path / "configs" / "data" / "sewa.yaml").write_text(config)
    paths = sorted((SEWA / "labels_devel").glob("*.csv"))
    gold = [column(path, NAMES) for path in paths]
    parts = {}
    for m, names in STREAMS.items():
        folders = [SEWA / "baseline_predictions" / f"predictions_{name}" for name in names]
        per_recording = [[column(folder / path.name, NAMES) for folder in folders] for path in paths]
        shortest = [min(map(len, columns)) for columns in per_recording]
        rows = [np.hstack([x[:n] for x in c]) for c, n in zip(per_recording, shortest, strict=True)]
        parts[m] = Modality(np.concatenate(rows).astype(np.float32), shortest, kind="sequence", rate_hz=10.0)
    truth, lengths = np.concatenate(gold), [len(x) for x in gold]
    labels = Labels(
        "regression",
        tuple(NAMES),
        np.nan_to_num(truth).astype(np.float32),
        np.isfinite(truth),
        level="frame",
        lengths=lengths,
        rate_hz=10.0,
        range=(-1.0, 1.0),
    )
    ids = [path.stem for path in paths]
    write("features/sewa.h5", Contents("sewa", ids, parts, {"va": labels}, dialogue=ids, licence="SEWA EULA"))
    yield tmp_path
    sys.modules.pop("sewacorpus", None)


@pytest.mark.slow
def test_real_frames_through_the_command(home: Path) -> None:
    path = Path("features/sewa.h5")
    assert check(path) == []
    room.register(["sewacorpus"])
    data = Custom(corpus="sewa", file=str(path), normalise=False, window=100)
    lengths = {m: np.diff(info.offsets) for m, info in data.file.modalities.items()}
    frames = np.diff(data.file.labels["va"].offsets)
    assert len(frames) == 28 and frames.sum() == 40_032
    assert any((n != frames).any() for n in lengths.values())  # so they cannot be joined by position from the end
    for block in data.test_dataloader()[0]:
        batch, at = block.batch(0), block.frames(0, "va")
        for row, (item, seen) in enumerate(zip(data.views.item[batch.rows], at, strict=True)):
            first = int(data.file.labels["va"].offsets[item])
            for m, x in batch.inputs.items():
                place = seen[seen >= 0] - first
                here = place < int(lengths[m][item])  # both clocks tick ten times a second, so frame k is row k
                assert torch.equal(x.mask[row][seen >= 0], here)
                own = torch.from_numpy(data.file.values(m, int(data.file.modalities[m].offsets[item])))
                assert torch.equal(x.values[row][seen >= 0][here], own[place[here]])
    quick = ["--data.batch_size", "4", "--model.optimizer.lr", "0.01", "--trainer.accelerator", "cpu"]
    assert main(["fit", "sewa_linear", "--trust", "sewacorpus", *quick]) == 0
    (found,) = home.glob("runs/sewa_va/linear/*/record.json")
    record = json.loads(found.read_text())
    said = read_predictions(found.with_name("predictions.npz"))
    assert said.lengths.tolist() == [int(frames[data.file.ids.index(i)]) for i in said.ids]
    assert set(record["metrics"]) == {"full", "only_audio", "only_vision", "smoothed_31"}
    assert record["metrics"]["full"]["va/ccc"] > 0.4  # the fused stream of the challenge has .61 on all recordings
