"""Frame-level views: windows cover every frame, alignment by time, stitching gives each frame once."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mer_bench.data.views import align, windows
from mer_bench.errors import UserError
from mer_bench.merh5 import FeatureFile
from tests.files import recordings


@settings(max_examples=60, deadline=None)
@given(lengths=st.lists(st.integers(0, 50), min_size=1, max_size=6), window=st.integers(1, 20), share=st.floats(0.1, 1))
def test_windows_cover_every_frame(lengths, window, share):
    stride = max(1, int(window * share))
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    views = windows(offsets, np.arange(len(lengths)), window, stride)
    covered = np.zeros(offsets[-1], dtype=int)
    for item, start, length in zip(views.item, views.start, views.length, strict=True):
        assert offsets[item] <= start and start + length <= offsets[item + 1]
        assert length == min(window, lengths[item])
        covered[start : start + length] += 1
    assert (covered > 0).all()
    if stride == window:  # at most the last window of an item overlaps
        assert covered.max(initial=0) <= 2


def test_stride_beyond_the_window_is_refused():
    with pytest.raises(UserError, match=r"--data.stride must be between 1 and --data.window \(4\), got 5"):
        windows(np.array([0, 10]), np.array([0]), 4, 5)


def test_alignment_takes_the_nearest_row(tmp_path):
    file = FeatureFile(recordings(tmp_path / "affwild2.h5"))
    offsets, audio = file.labels["va"].offsets, file.modalities["audio"].offsets
    index = align(file, "audio", "va")
    for i in range(file.n):
        times = (np.arange(offsets[i + 1] - offsets[i]) + 0.5) / 30
        own = (np.arange(audio[i + 1] - audio[i]) + 0.5) / 100
        nearest = np.abs(own[None] - times[:, None]).min(axis=1)
        chosen = index[offsets[i] : offsets[i + 1]]
        assert (chosen >= audio[i]).all() and (chosen < audio[i + 1]).all()
        assert np.allclose(np.abs(own[chosen - audio[i]] - times), nearest)
    assert np.array_equal(align(file, "vision", "va"), np.arange(offsets[-1]))


def test_frames_without_a_row_near_are_absent(tmp_path):
    from mer_bench.merh5 import Contents, Labels, Modality, write

    times = np.array([[0.0, 0.1], [0.1, 0.2], [0.8, 0.9]])
    contents = Contents(
        corpus="affwild2",
        ids=["v"],
        modalities={"vision": Modality(np.ones((3, 1), np.float32), np.array([3]), kind="sequence", times=times)},
        labels={
            "va": Labels(
                kind="regression",
                names=("valence", "arousal"),
                values=np.zeros((10, 2), np.float32),
                mask=np.ones((10, 2), bool),
                level="frame",
                lengths=np.array([10]),
                rate_hz=10.0,
            )
        },
        synthetic=True,
    )
    write(tmp_path / "x.h5", contents)
    index = align(FeatureFile(tmp_path / "x.h5"), "vision", "va")
    assert index.tolist() == [0, 1, 1, -1, -1, -1, -1, 2, 2, 2]  # a row touches a frame when their spans meet


def test_windows_train_and_stitch(tmp_path, monkeypatch):
    """Overlapping windows of a recording come back as one prediction per frame, the mean where they overlap."""
    from dataclasses import replace

    from mer_bench.data import datamodule as room
    from mer_bench.data.corpora import find_protocol
    from mer_bench.module import FusionModule
    from mer_bench.protocol import OfficialTable
    from mer_bench.types import Outputs, TaskSpec

    spec = TaskSpec("regression", ("valence", "arousal"), level="frame", labels="va", range=(-1.0, 1.0))
    protocol = replace(
        find_protocol("iemocap4"),
        corpus="affwild2",
        tasks={"va": spec},
        primary="va/ccc",
        metrics=("va/ccc", "va/mae"),
        split=OfficialTable("abaw"),
        folds=1,
    )
    monkeypatch.setattr(room, "find_protocol", lambda name, corpus: protocol)

    class Recordings(room.MERDataModule):
        corpus = "affwild2"

    path = recordings(tmp_path / "affwild2.h5")
    data = Recordings(file=str(path), window=16, stride=8, eval_window=16, eval_stride=4, normalise=False)
    data.setup()
    batch = next(iter(data.train_dataloader())).batch(0)
    assert batch.inputs["vision"].values.shape[:2] == batch.targets["va"].values.shape[:2]
    # the features of a frame hold its own labels, so the two clocks must agree frame by frame
    both = batch.inputs["vision"].mask & batch.targets["va"].mask[..., 0]
    assert torch.equal(batch.inputs["vision"].values[both][:, :2], batch.targets["va"].values[both])

    from mer_bench.contracts import FusionMethod

    class Copy(FusionMethod):
        """Answers a frame's first two features plus the number of its window, so that overlaps differ."""

        def __init__(self, features, tasks):
            super().__init__(features, tasks)
            self.scale = torch.nn.Parameter(torch.ones(()))

        def forward(self, batch):
            return Outputs({"va": batch.inputs["vision"].values[..., :2] + batch.rows[:, None, None]}, {})

    module = FusionModule(data.features, data.tasks, data.metrics, Copy).eval()
    for block in data.test_dataloader()[0]:
        module.test_step(block, 0)
    module.on_test_epoch_end()
    got = module.predictions["full"]
    offsets = data.file.labels["va"].offsets
    test = data.split.test
    assert np.array_equal(got["rows"], np.concatenate([np.arange(offsets[i], offsets[i + 1]) for i in test]))
    vision = np.where(data.file.valid("vision")[:, None], data.file.values("vision"), 0)[:, :2]
    views = data.parts["test"]
    expected = [
        vision[frame]
        + np.mean([v for v in views if data.views.start[v] <= frame < data.views.start[v] + data.views.length[v]])
        for frame in got["rows"]
    ]
    np.testing.assert_allclose(got["va"], expected, rtol=1e-5)
