"""Computational sequences: every clip and word gets its own rows, and every known fault of the files is caught."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pytest

from mer_bench.errors import UserError
from mer_bench.merh5 import FeatureFile, check
from mer_bench.prepare import Report, Request, prepare
from mer_bench.prepare.cmu.folds import official
from tests.prepare.fake_cmu import OUTSIDE, WIDTHS, Sdk, make_sdk, videos, write_csd


@pytest.fixture
def sdk(tmp_path: Path) -> Sdk:
    return make_sdk(tmp_path / "sdk")


def convert(sdk: Sdk, corpus: str = "mosei", **options) -> tuple[Report, FeatureFile]:
    out = sdk.root.parent / f"out{len(list(sdk.root.parent.glob('*.h5')))}.h5"
    report = prepare(corpus, Request(sdk.root, **options), out)
    assert check(out) == []
    return report, FeatureFile(out)


def rows(file: FeatureFile, modality: str, item: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Values, validity and times of one item."""
    start, stop = file.modalities[modality].offsets[item : item + 2]
    times = file.times(modality)
    assert times is not None
    return file.values(modality, start, stop), file.valid(modality, start, stop), times[start:stop]


def inside(sequence, start: float, end: float) -> list[int]:
    """Rows of a video whose middle is in the interval, in order of time."""
    _, spans = sequence
    middle = spans.mean(axis=1)
    return sorted((k for k in range(len(spans)) if start <= middle[k] < end), key=lambda k: middle[k])


def measured(row: np.ndarray) -> bool:
    return bool(np.isfinite(row).all() and (row != 0).any())


def test_clips(sdk: Sdk) -> None:
    report, file = convert(sdk, text=True)
    assert set(file.ids) == {name for name in sdk.segments if not name.startswith(OUTSIDE)}
    for item, name in enumerate(file.ids):
        video = name.rpartition(".")[0]
        start, end = sdk.segments[name]
        assert file.group("dialogue")[item] == video
        assert (file.start_s[item], file.end_s[item]) == (start, end)
        assert file.order[item] == sum(sdk.segments[f"{video}.{k}"][0] < start for k in range(3))
        words = [sdk.words[video][0][k, 0].decode() for k in inside(sdk.words[video], start, end)]
        assert file.text()[item] == " ".join(word for word in words if word != "sp")
    outside = [name for name in sdk.segments if name.startswith(OUTSIDE)]
    assert sorted(report.dropped["clips of videos outside every official fold"].ids) == outside


def test_labels(sdk: Sdk) -> None:
    _, file = convert(sdk)
    expected = np.array([sdk.labels[name] for name in file.ids])
    sentiment, mask = file.label("sentiment")
    assert mask.all()
    np.testing.assert_array_equal(sentiment[:, 0], expected[:, 0])
    np.testing.assert_array_equal(file.label("emotions6_intensity")[0], expected[:, 1:])
    np.testing.assert_array_equal(file.label("emotions6")[0], (expected[:, 1:] > 0).astype(np.float32))
    assert file.labels["emotions6"].names == ("happy", "sad", "anger", "surprise", "disgust", "fear")
    assert file.labels["sentiment"].range == (-3, 3)


def test_split(sdk: Sdk) -> None:
    _, file = convert(sdk)
    (table,) = file.split_table("sdk")
    assert [int(part) for part in table] == [official("mosei").of(video) for video in file.group("dialogue")]
    assert set(table) == {1, 2, 3}


def test_word_means(sdk: Sdk) -> None:
    _, file = convert(sdk)
    for item, name in enumerate(file.ids):
        video = name.rpartition(".")[0]
        clip = sdk.segments[name]
        words = inside(sdk.vectors[video], *clip)
        spans = sdk.vectors[video][1][words]
        values, valid, times = rows(file, "text", item)
        np.testing.assert_array_equal(values, sdk.vectors[video][0][words])
        np.testing.assert_array_equal(valid, [measured(sdk.vectors[video][0][k]) for k in words])
        np.testing.assert_allclose(times, spans - clip[0])
        for modality, sequence in (("audio", sdk.audio), ("vision", sdk.vision)):
            values, valid, times = rows(file, modality, item)
            if video not in sequence:
                assert len(values) == 0
                continue
            frames, clock = sequence[video]
            means = []
            for start, end in spans:
                under = inside(sequence[video], start, end)
                if not under:  # shorter than a frame: the one that covers its middle
                    middle = (start + end) / 2
                    under = [k for k, (a, b) in enumerate(clock) if a <= middle <= b][:1]
                good = [frames[k].astype(float) for k in under if measured(frames[k])]
                means.append(np.mean(good, axis=0) if good else np.full(WIDTHS[modality], np.nan))
            if all(np.isnan(mean).any() for mean in means):
                assert len(values) == 0
                continue
            np.testing.assert_array_equal(valid, [not np.isnan(mean).any() for mean in means])
            np.testing.assert_allclose(values, np.nan_to_num(means), rtol=1e-5, atol=1e-6)
            np.testing.assert_allclose(times, spans - clip[0])
        assert file.modalities["vision"].aligned_to == "word"


def test_own_clocks(sdk: Sdk) -> None:
    report, file = convert(sdk, align="none")
    infinite = zeros = 0
    for item, name in enumerate(file.ids):
        video = name.rpartition(".")[0]
        for modality, sequence in (("audio", sdk.audio), ("vision", sdk.vision)):
            values, valid, times = rows(file, modality, item)
            if video not in sequence:
                assert len(values) == 0
                continue
            frames, clock = sequence[video]
            under = inside(sequence[video], *sdk.segments[name])
            good = np.array([measured(frames[k]) for k in under])
            np.testing.assert_array_equal(valid, good)
            np.testing.assert_array_equal(values, np.where(good[:, None], frames[under], 0))
            np.testing.assert_allclose(times, clock[under] - sdk.segments[name][0])
            infinite += sum(not np.isfinite(frames[k]).all() for k in under)
            zeros += sum(not frames[k].any() for k in under)
    assert infinite and report.repaired["audio rows with a value that is not finite masked"].count == infinite
    assert zeros and report.repaired["vision rows of nothing but zeros masked"].count == zeros
    assert report.repaired["audio rows put in order of time"].ids == [videos("mosei")[3]]
    assert file.modalities["audio"].aligned_to == "" and file.modalities["audio"].rate_hz == 0


def test_alignment_of_the_sdk(sdk: Sdk) -> None:
    """After the SDK's own alignment every clip stands under a name of its own."""
    whole = convert(sdk)[1]
    (sdk.root / "CMU_MOSEI_Labels.csd").unlink()
    for path in sdk.root.glob("highlevel/*"):
        path.unlink()
    labels, text, audio = {}, {}, {}
    for item, name in enumerate(whole.ids):
        video, row = name.rsplit(".", 1)
        start, end = sdk.segments[name]
        labels[f"{video}[{row}]"] = sdk.labels[name][None], np.array([[start, end]])
        words = inside(sdk.vectors[video], start, end)
        if not words:
            continue
        spans = sdk.vectors[video][1][words]
        text[f"{video}[{row}]"] = sdk.vectors[video][0][words], spans
        values, _, _ = rows(whole, "audio", item)
        if len(values):
            audio[f"{video}[{row}]"] = values, spans
    write_csd(sdk.root / "labels.csd", "labels", labels)
    write_csd(sdk.root / "wordvectors.csd", "text", text)
    write_csd(sdk.root / "covarep.csd", "audio", audio)
    again = convert(sdk)[1]
    kept = [name for name in whole.ids if name in again.ids]
    assert len(kept) == len(again.ids) > 10
    for name in kept:
        one, two = whole.ids.index(name), again.ids.index(name)
        for modality in ("text", "audio"):
            for first, second in zip(rows(whole, modality, one), rows(again, modality, two), strict=True):
                np.testing.assert_allclose(first, second, atol=1e-6)


def test_labels_and_features_elsewhere(sdk: Sdk, tmp_path: Path) -> None:
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    (sdk.root / "CMU_MOSEI_Labels.csd").rename(moved / "segments.csd")
    with pytest.raises(UserError, match=r"no sequence of labels .* use --labels"):
        convert(sdk)
    (sdk.root / "highlevel" / "CMU_MOSEI_COVAREP.csd").rename(moved / "mine.csd")
    _, file = convert(sdk, labels=moved / "segments.csd", features={"audio_mine": moved / "mine.csd"})
    assert {"text", "vision", "audio_mine"} == set(file.modalities)
    assert file.modalities["audio_mine"].extractor == "mine"


def test_what_is_not_read_is_told(sdk: Sdk) -> None:
    write_csd(sdk.root / "CMU_MOSEI_VisualOpenFace2.csd", "x", sdk.vision)
    write_csd(sdk.root / "CMU_MOSEI_TimestampedPhones.csd", "x", sdk.words)
    report, file = convert(sdk)
    assert file.modalities["vision"].extractor == "FACET 4.2"
    assert any("OpenFace2.csd: not read, vision is CMU_MOSEI_VisualFacet42.csd" in line for line in report.absent)
    assert any("Phones.csd: not read" in line for line in report.absent)


def test_without_words(sdk: Sdk) -> None:
    for name in ("TimestampedWords", "TimestampedWordVectors"):
        (sdk.root / "highlevel" / f"CMU_MOSEI_{name}.csd").unlink()
    with pytest.raises(UserError, match=r"no sequence of words .* --align none"):
        convert(sdk)
    assert set(convert(sdk, align="none")[1].modalities) == {"audio", "vision"}


def test_words_alone_are_a_clock(sdk: Sdk) -> None:
    whole = convert(sdk)[1]
    (sdk.root / "highlevel" / "CMU_MOSEI_TimestampedWordVectors.csd").unlink()
    file = convert(sdk)[1]
    np.testing.assert_array_equal(file.values("audio"), whole.values("audio"))
    assert set(file.modalities) == {"audio", "vision"}


def edit(path: Path, change) -> None:
    with h5py.File(path, "r+") as file:
        change(next(iter(file.values()))["data"])


def _swap(group: h5py.Group, name: str, values: np.ndarray) -> None:
    del group[name]
    group[name] = values


FAULTS = {
    "fewer times than rows": (
        "highlevel/CMU_MOSEI_COVAREP.csd",
        lambda data, video: _swap(data[video], "intervals", data[video]["intervals"][:-1]),
        "rows of features and intervals of shape",
    ),
    "another width": (
        "highlevel/CMU_MOSEI_COVAREP.csd",
        lambda data, video: _swap(data[video], "features", np.zeros((len(data[video]["intervals"]), 9))),
        "9 features, others have 4",
    ),
    "text for numbers": (
        "highlevel/CMU_MOSEI_COVAREP.csd",
        lambda data, video: _swap(data[video], "features", np.full((len(data[video]["intervals"]), 4), b"x")),
        "expected numbers",
    ),
    "no features": (
        "highlevel/CMU_MOSEI_VisualFacet42.csd",
        lambda data, video: data[video].__delitem__("features"),
        "features: missing",
    ),
    "odd name": (
        "highlevel/CMU_MOSEI_VisualFacet42.csd",
        lambda data, video: data.move(video, "..%2f..%2fpasswd"),
        "no names of videos",
    ),
    "labels of emotions averaged": (
        "CMU_MOSEI_Labels.csd",
        lambda data, _: [_swap(data[v], "features", np.repeat(data[v]["features"][()].mean(1, keepdims=True) / 7, 7, 1))
                         for v in data],
        "spoilt labels",
    ),
    "labels on another scale": (
        "CMU_MOSEI_Labels.csd",
        lambda data, video: _swap(data[video], "features", data[video]["features"][()] * 10),
        "outside -3 to 3",
    ),
    "negative emotion": (
        "CMU_MOSEI_Labels.csd",
        lambda data, video: _swap(data[video], "features", -np.ones((3, 7))),
        "emotions outside 0 to 3",
    ),
    "two columns of labels": (
        "CMU_MOSEI_Labels.csd",
        lambda data, video: _swap(data[video], "features", np.zeros((3, 2))),
        "2 labels; expected 1 or 7",
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_spoilt_files_are_refused(sdk: Sdk, fault: str) -> None:
    file, change, says = FAULTS[fault]
    edit(sdk.root / file, lambda data: change(data, videos("mosei")[1]))
    with pytest.raises(UserError, match=says) as caught:
        convert(sdk)
    assert str(sdk.root) in str(caught.value) and len(str(caught.value).splitlines()) == 1
    assert list(sdk.root.parent.iterdir()) == [sdk.root]


def test_faults_of_single_segments_are_counted(sdk: Sdk) -> None:
    one, two = videos("mosei")[:2]

    def change(data: h5py.Group) -> None:
        times, values = data[one]["intervals"][()], data[one]["features"][()]
        _swap(data[one], "intervals", np.concatenate([times, times[:1], [[5.0, 5.0], [np.nan, 1.0]]]))
        _swap(data[one], "features", np.concatenate([values, values[:1], values[:2]]))
        values = data[two]["features"][()]
        values[0, 0], values[1, 0], values[2, 3] = 3.6666667, np.nan, 4.0  # four raters divided by three; no rater
        _swap(data[two], "features", values)

    edit(sdk.root / "CMU_MOSEI_Labels.csd", change)
    report, file = convert(sdk)
    assert report.dropped["segments without a duration"].ids == [f"{one}.4", f"{one}.5"]
    assert report.dropped["segments that cover the same time as an earlier one"].ids == [f"{one}.3"]
    assert report.repaired["sentiment outside -3 to 3 masked"].ids == [f"{two}.0"]
    assert report.repaired["sentiment without a value masked"].ids == [f"{two}.1"]
    assert report.repaired["emotions outside 0 to 3 masked"].ids == [f"{two}.2"]
    values, mask = file.label("sentiment")
    hidden = [file.ids[row] for row in np.flatnonzero(~mask[:, 0])]
    assert sorted(hidden) == [f"{two}.0", f"{two}.1"]
    assert not values[~mask].any()
    assert len(file.ids) == 18


def test_rows_with_impossible_times_are_left_out(sdk: Sdk) -> None:
    video = videos("mosei")[0]

    def change(data: h5py.Group) -> None:
        times = data[video]["intervals"][()]
        times[450, 0], times[460] = np.nan, times[460, ::-1]
        data[video]["intervals"][()] = times

    edit(sdk.root / "highlevel" / "CMU_MOSEI_COVAREP.csd", change)
    report, file = convert(sdk, align="none")
    assert (report.dropped["audio rows with impossible times"].count, report.dropped[
        "audio rows with impossible times"].ids) == (2, [video])  # fmt: skip
    before = len(inside(sdk.audio[video], *sdk.segments[f"{video}.0"]))
    assert len(rows(file, "audio", file.ids.index(f"{video}.0"))[0]) == before - 2


def test_folds_beside_the_features(sdk: Sdk) -> None:
    known = official("mosei").part
    lists = {name: sorted(video for video, part in known.items() if part == number)
             for name, number in (("train", 1), ("valid", 2), ("test", 3))}  # fmt: skip
    path = sdk.root / "cmu_mosei_std_folds.py"
    path.write_text("\n".join(f"standard_{name}_fold={names!r}" for name, names in lists.items()))
    report, _ = convert(sdk)
    assert any("std_folds.py: the official folds of mosei (3,227 videos)" in line for line in report.verified)
    canary = sdk.root / "canary"
    for text, says in (
        (path.read_text() + f"\nopen({str(canary)!r}, 'w').close()\n", None),  # parsed, never run
        (path.read_text().replace(lists["test"][0], "zzzzzzzzzzz"), "differs from the official folds"),
        ("standard_train_fold=['a']\nstandard_valid_fold=['a']\nstandard_test_fold=['b']", "in two folds"),
        ("standard_train_fold=[open('x')]", "not a Python file of plain lists"),
        ("standard_train_fold=['a'", "not a Python file of plain lists"),
        ("x=" + "(" * 100_000, "not a Python file of plain lists"),
        ("pass", "no list of video names standard_train_fold"),
    ):
        path.write_text(text)
        if says is None:
            convert(sdk)
        else:
            with pytest.raises(UserError, match=says):
                convert(sdk)
        assert not canary.exists()


def test_another_corpus(sdk: Sdk) -> None:
    with pytest.raises(UserError, match=r"none of 21 clips .* is it `mer-bench prepare mosei`"):
        convert(sdk, corpus="mosi")


def test_mosi_labels_have_one_column(tmp_path: Path) -> None:
    sdk = make_sdk(tmp_path / "sdk", corpus="mosi")
    path = sdk.root / "CMU_MOSI_Labels.csd"
    edit(path, lambda data: [_swap(data[v], "features", data[v]["features"][:, :1]) for v in data])
    path.rename(sdk.root / "CMU_MOSI_Opinion_Labels.csd")
    _, file = convert(sdk, corpus="mosi")
    assert set(file.labels) == {"sentiment"}
    assert file.corpus == "mosi"


def test_report_is_written(sdk: Sdk) -> None:
    convert(sdk)
    report = json.loads((sdk.root.parent / "out0.report.json").read_text())
    assert report["recognised"] == "computational sequences of the SDK"
    assert report["counted"]["clips found"] == 21 and report["counted"]["clips"] == 18
    assert report["counted"]["with vision"] == 15
    assert any("without audio" in what for what in report["counted"])
    assert report["repaired"]["audio frames with a value that is not finite left out of the means"]["count"] > 0


def test_the_same_bits_again(sdk: Sdk) -> None:
    assert convert(sdk)[1].content_sha256 == convert(sdk)[1].content_sha256
