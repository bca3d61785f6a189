"""CMU-MOSI and CMU-MOSEI on real files: known counts, and the scores that linear models must reach."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import h5py
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mer_bench.data.corpora.mosi import MOSI_SENTIMENT
from mer_bench.data.datamodules import CMUMOSI
from mer_bench.errors import UserError
from mer_bench.merh5 import FeatureFile, check
from mer_bench.metrics import score
from mer_bench.prepare import Report, Request, prepare
from mer_bench.prepare.cmu.clips import settle
from mer_bench.prepare.cmu.folds import check_beside, official, read_python
from mer_bench.prepare.cmu.label_files import agree, read_labels
from mer_bench.prepare.unpickle import load_pickle
from tests.prepare.fake_cmu import write_csd
from tests.realdata import REALDATA, needs_real

MOSI, MOSEI = REALDATA / "cmu_mosi", REALDATA / "cmu_mosei"
pytestmark = needs_real("cmu_mosi")


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Report, FeatureFile]:
    out = tmp_path_factory.mktemp("real") / "mosi.h5"
    return prepare("mosi", Request(MOSI, text=True), out), FeatureFile(out)


@pytest.fixture(scope="module")
def file(converted: tuple[Report, FeatureFile]) -> FeatureFile:
    return converted[1]


def test_counts(converted: tuple[Report, FeatureFile]) -> None:
    report, file = converted
    assert check(file.path) == []
    assert file.n == 2199 and len(set(file.group("dialogue"))) == 93
    assert Counter(file.split_table("sdk")[0].tolist()) == {1: 1284, 2: 229, 3: 686}
    assert Counter(file.split_table("bclstm")[0].tolist()) == {1: 1447, 3: 752}
    shapes = {name: (info.rows, info.dim, int(info.present.sum())) for name, info in file.modalities.items()}
    assert shapes == {
        "text": (29_311, 128, 2199),
        "text_sentence": (2199, 384, 2199),
        "audio": (2199, 73, 2199),
        "text_cnn": (2199, 100, 2199),
        "vision_c3d": (2199, 100, 2199),
    }
    assert not report.repaired and not report.dropped
    assert {source["name"] for source in file.attrs["sources"]} >= {"label.npz", "tokens_rp128.npz", "text_test0.csv"}


def test_videos_of_the_two_splits_overlap(file: FeatureFile) -> None:
    """24 of the 31 official test videos trained bc-LSTM's networks."""
    videos = file.group("dialogue")
    own, sdk = file.split_table("bclstm")[0], file.split_table("sdk")[0]
    assert len(set(videos[sdk == 3]) & set(videos[own == 1])) == 24
    for name in ("text_cnn", "vision_c3d"):
        with pytest.raises(UserError, match="was trained on 558 of the 686 test items of mosi_sentiment"):
            CMUMOSI(file=str(file.path), modalities=["text", name])
    assert CMUMOSI(file=str(file.path)).modalities == ("audio", "text")


@pytest.mark.parametrize(
    ("modalities", "accuracy"),
    [(("text_cnn",), 75.3), (("audio",), 54.1), (("vision_c3d",), 52.1), (("text_cnn", "audio", "vision_c3d"), 76.9)],
    ids=["text", "audio", "video", "all"],
)
def test_anchor_of_bclstm(file: FeatureFile, modalities: tuple[str, ...], accuracy: float) -> None:
    data = CMUMOSI(file=str(file.path), protocol="mosi_bclstm", modalities=list(modalities))
    x = np.concatenate([file.values(name).astype(np.float64) for name in modalities], axis=1)
    y, _ = file.label("polarity")
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.05, max_iter=5000))
    model.fit(x[data.split.train], y[data.split.train])
    assert abs(100 * model.score(x[data.split.test], y[data.split.test]) - accuracy) < 0.5


def test_anchor_of_the_official_split(file: FeatureFile) -> None:
    data = CMUMOSI(file=str(file.path), modalities=["text_sentence"])
    x, (y, mask) = file.values("text_sentence").astype(np.float64), file.label("sentiment")
    model = make_pipeline(StandardScaler(), Ridge(alpha=300.0))
    model.fit(x[data.split.train], y[data.split.train, 0])
    test = data.split.test
    found = score(
        MOSI_SENTIMENT.tasks,
        MOSI_SENTIMENT.metrics,
        {"sentiment": model.predict(x[test])[:, None]},
        {"sentiment": (y[test], mask[test])},
    )
    for name, expected, within in (
        ("mae", 0.964, 0.005),
        ("corr", 0.684, 0.005),
        ("acc2_nonneg", 0.792, 0.005),
        ("acc2_pos", 0.805, 0.005),
        ("acc7", 0.292, 0.005),
    ):
        assert abs(found[f"sentiment/{name}"] - expected) < within, name


def test_label_files_agree() -> None:
    archive, index = MOSI / "merbench_labels" / "label.npz", MOSI / "gcnet_index" / "CMUMOSI_features_raw_2way.pkl"
    agree(archive, read_labels(archive), index, read_labels(index))


def test_labels_and_folds_of_mosei() -> None:
    path, report = MOSEI / "merbench_labels" / "label.npz", Report("mosei", "")
    clips, rows = settle("mosei", path, read_labels(path), report)
    assert report.counted == {
        "clips found": 22_856,
        "of them train": 16_326,
        "of them validation": 1_871,
        "of them test": 4_659,
    }
    outside = report.dropped["clips of videos outside every official fold"].ids
    assert len(outside) == 4 and {name.rpartition("_")[0] for name in outside} == {"-NFrJFQijFE"}
    parts = Counter(official("mosei").of(video) for video in clips.video)
    assert parts == {1: 16_322, 2: 1_871, 3: 4_659} and len(rows) == 22_852
    test = clips.sentiment[[official("mosei").of(video) == 3 for video in clips.video]]
    assert ((test < 0).sum(), (test == 0).sum(), (test > 0).sum()) == (1350, 1025, 2284)


def test_folds_of_the_sdk() -> None:
    (path,) = (MOSEI / "std_folds").glob("*std_folds*")
    assert read_python(path).part == official("mosei").part
    report = Report("mosei", "")
    check_beside("mosei", MOSEI, report)
    assert len(report.verified) == 1
    without = set(official("mosei").part) - set(read_labels(MOSEI / "merbench_labels" / "label.npz").video)
    assert without == {"HuIKyKkEL0Q", "dZFV0lyedX4", "7l3BNtSE0xc"}  # official, but without a clip


def test_label_archive_of_mosei_with_features(tmp_path: Path) -> None:
    """A few clips have invented features; all others are left out, and told."""
    labels = read_labels(MOSEI / "merbench_labels" / "label.npz")
    folder = tmp_path / "wavlm-UTT"
    folder.mkdir()
    for row in range(0, len(labels), 40):
        np.save(folder / f"{labels.ids[row]}.npy", np.full(4, row + 1, np.float32))
    report = prepare("mosei", Request(MOSEI / "merbench_labels", features={"audio": folder}), tmp_path / "mosei.h5")
    file = FeatureFile(tmp_path / "mosei.h5")
    values = file.values("audio")
    for item, name in enumerate(file.ids):
        row = int(values[item, 0]) - 1
        assert labels.ids[row] == name
        assert file.label("sentiment")[0][item, 0] == np.float32(labels.sentiment[row])
    assert file.n + report.dropped["clips without any feature"].count == 22_852


def test_real_words(tmp_path: Path) -> None:
    """The one genuine `.csd`: words of 93 videos; segments and a 10 Hz clock are invented around it."""
    words = MOSI / "real_csd" / "CMU_MOSI_ModifiedTimestampedWords.csd"
    with h5py.File(words) as source:
        (root,) = source.values()
        spans = {video: group["intervals"][()] for video, group in root["data"].items()}
        said = {video: group["features"][:, 0] for video, group in root["data"].items()}
    segments, clock = {}, {}
    for video, times in spans.items():
        edges = np.linspace(times.min(), times.max() + 1e-3, 4)
        segments[video] = np.zeros((3, 1)), np.stack([edges[:-1], edges[1:]], axis=1)
        start = np.arange(0, times.max() + 1, 0.1)
        clock[video] = np.stack([start + 0.05, np.ones_like(start)], axis=1), np.stack([start, start + 0.1], axis=1)
    write_csd(tmp_path / "Opinion_Labels.csd", "labels", segments)
    write_csd(tmp_path / "clock.csd", "clock", clock)
    (tmp_path / words.name).write_bytes(words.read_bytes())
    request = Request(tmp_path, text=True, features={"audio": tmp_path / "clock.csd"})
    report = prepare("mosi", request, tmp_path / "out.h5")
    file = FeatureFile(tmp_path / "out.h5")
    assert (file.n, len(spans)) == (279, 93)
    assert report.counted["words"] == sum(len(times) for times in spans.values())
    offsets, values, texts = file.modalities["audio"].offsets, file.values("audio"), file.text()
    for item, name in enumerate(file.ids):
        video = name.rpartition(".")[0]
        middle = spans[video].mean(axis=1)
        mine = np.flatnonzero((middle >= file.start_s[item]) & (middle < file.end_s[item]))
        assert texts[item] == " ".join(word.decode() for word in said[video][mine] if word != b"sp")
        means = values[offsets[item] : offsets[item + 1], 0]
        assert len(means) == len(mine)
        for mean, (start, end) in zip(means, spans[video][mine], strict=True):
            frames = clock[video][0][:, 0]
            inside = frames[(frames >= start - 1e-9) & (frames < end - 1e-9)]
            if len(inside):
                assert abs(mean - inside.mean()) < 0.051  # one frame at an edge, after rounding
            else:
                assert abs(mean - (start + end) / 2) < 0.051


@needs_real("cmu_mosei")
def test_real_frames_of_facet(tmp_path: Path) -> None:
    """Frames of FACET at 25 and 30 Hz, thousands of them all zero: 44 segments keep exactly theirs."""
    frames, spans = {}, {}
    for path in sorted((MOSEI / "facet42_au_sequences").glob("*.csv")):
        video = path.name.removesuffix("_au_activations.csv")
        video = video[3:] if video[:2].isdigit() and video[2] == "_" else video
        with path.open() as stream:
            table = np.array([row for row in list(csv.reader(stream))[1:]], np.float64)
        frames[video], spans[video] = table[:, 3:].astype(np.float32), table[:, 1:3]
    lost = {video: int((~values.any(axis=1)).sum()) for video, values in frames.items()}
    assert (7262, 14_249) in {(lost[video], len(values)) for video, values in frames.items()}
    assert (1110, 1756) in {(lost[video], len(values)) for video, values in frames.items()}
    rates = [1 / np.median(np.diff(times[:, 0])) for times in spans.values()]
    assert min(rates) < 25.1 and max(rates) > 29.9
    times = {}
    for part in ("train", "valid", "test"):
        for name, start, end in load_pickle(MOSEI / "umons_segments" / f"d_{part}.pkl").values():
            times.setdefault(name.partition("[")[0], []).append((int(name.partition("[")[2][:-1]), start, end))
    segments = {}
    for video in set(frames) & set(times):
        ends = np.array([ends for _, *ends in sorted(times[video])])
        segments[video] = np.zeros((len(ends), 1)), ends
    write_csd(tmp_path / "CMU_MOSEI_Labels.csd", "All Labels", segments)
    write_csd(tmp_path / "CMU_MOSEI_VisualFacet42.csd", "FACET 4.2", {v: (frames[v], spans[v]) for v in sorted(frames)})
    report = prepare("mosei", Request(tmp_path, align="none"), tmp_path / "out.h5")
    file = FeatureFile(tmp_path / "out.h5")
    assert check(file.path) == []
    offsets, valid, values = file.modalities["vision"].offsets, file.valid("vision"), file.values("vision")
    zero = 0
    for item, name in enumerate(file.ids):
        video, here = name.rpartition(".")[0], slice(offsets[item], offsets[item + 1])
        middle = spans[video].mean(axis=1)
        mine = frames[video][(middle >= file.start_s[item]) & (middle < file.end_s[item])]
        np.testing.assert_array_equal(values[here], mine)
        np.testing.assert_array_equal(valid[here], mine.any(axis=1))
        zero += int((~mine.any(axis=1)).sum())
    assert zero and report.repaired["vision rows of nothing but zeros masked"].count == zero
    assert file.n == sum(len(ends) for _, ends in segments.values())
