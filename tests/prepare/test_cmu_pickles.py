"""Pickles with a dictionary per part: padding goes, every clip keeps its own rows, faults are caught."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mer_bench.errors import UserError
from mer_bench.merh5 import FeatureFile, check
from mer_bench.prepare import Report, Request, prepare
from mer_bench.prepare.cmu import padded, split_pickle
from mer_bench.prepare.cmu.folds import official
from tests.prepare.fake_cmu import OUTSIDE, Split, make_pickle, videos

DIALECTS = ("MMSA", "MulT", "MultiBench")


def convert(split: Split, corpus: str = "mosei", **options) -> tuple[Report, FeatureFile]:
    out = split.path.parent / f"out{len(list(split.path.parent.glob('*.h5')))}.h5"
    report = prepare(corpus, Request(split.path, **options), out)
    assert check(out) == []
    return report, FeatureFile(out)


def rows(file: FeatureFile, modality: str, item: int) -> tuple[np.ndarray, np.ndarray]:
    start, stop = file.modalities[modality].offsets[item : item + 2]
    return file.values(modality, start, stop), file.valid(modality, start, stop)


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("front", [False, True], ids=["padded behind", "padded in front"])
@pytest.mark.parametrize("aligned", [True, False], ids=["aligned", "unaligned"])
def test_every_clip_keeps_its_rows(tmp_path: Path, dialect: str, front: bool, aligned: bool) -> None:
    split = make_pickle(tmp_path / "data.pkl", dialect, aligned=aligned, front=front)
    report, file = convert(split)
    assert report.recognised == f"{dialect} pickle"
    expected = [name for name in split.sentiment if not name.startswith(OUTSIDE)]
    assert file.ids == expected
    np.testing.assert_allclose(file.label("sentiment")[0][:, 0], [split.sentiment[name] for name in expected])
    np.testing.assert_array_equal(file.split_table("sdk")[0], [split.part[name] for name in expected])
    for item, name in enumerate(expected):
        for modality, given_rows in split.rows.items():
            values, valid = rows(file, modality, item)
            truth = given_rows[name]
            good = np.isfinite(truth).all(axis=1) & (truth != 0).any(axis=1)
            if not good.any():
                assert len(values) == 0
                continue
            np.testing.assert_array_equal(values[valid], truth[good])
            assert len(values) == len(truth)
    guessed = [what for what in report.repaired if "inferred from padding" in what]
    assert len(guessed) == (0 if dialect == "MMSA" else 3)  # MMSA states lengths
    assert file.modalities["text"].aligned_to == ("word" if aligned else "")
    assert report.repaired["audio rows with a value that is not finite masked"].count == 3
    assert report.repaired["vision rows of nothing but zeros masked"].count == 3


def test_text_and_empty_text(tmp_path: Path) -> None:
    split = make_pickle(tmp_path / "data.pkl", "MMSA")
    report, file = convert(split, text=True)
    assert file.text() == [split.text[name] for name in file.ids]
    assert report.counted["clips of empty text"] == 3
    assert convert(split)[1].text() is None


def test_times_of_mult(tmp_path: Path) -> None:
    _, file = convert(make_pickle(tmp_path / "data.pkl", "MulT"))
    for item, name in enumerate(file.ids):
        video, times = name.split(".at")
        assert file.group("dialogue")[item] == video
        assert [file.start_s[item], file.end_s[item]] == [float(time) for time in times.split("-")]
    by_video = {(video, place) for video, place in zip(file.group("dialogue"), file.order, strict=True)}
    assert len(by_video) == file.n


def test_pickle_of_python_2(tmp_path: Path) -> None:
    plain = convert(make_pickle(tmp_path / "a" / "data.pkl", "MulT"))[1]
    old = convert(make_pickle(tmp_path / "b" / "data.pkl", "MulT", protocol=2))[1]
    assert plain.content_sha256 == old.content_sha256


def test_seven_labels(tmp_path: Path) -> None:
    def change(content: dict) -> None:
        for part in content.values():
            n = len(part["labels"])
            emotions = np.tile([0, 1 / 3, 3, 0, 2, 0], (n, 1, 1)).astype(np.float64)
            part["labels"] = np.concatenate([part["labels"], emotions], axis=2)

    _, file = convert(make_pickle(tmp_path / "data.pkl", "MultiBench", change=change))
    assert (file.label("emotions6")[0] == [0, 1, 1, 0, 1, 0]).all()


def test_known_hash_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    split = make_pickle(tmp_path / "data.pkl", "MMSA")
    report, file = convert(split)
    assert any("none of the four" in line for line in report.absent)
    monkeypatch.setitem(split_pickle.MMSA_FILES, file.attrs["sources"][0]["sha256"], "the file of this test")
    report, _ = convert(split)
    assert "sha256 of data.pkl: that of the file of this test" in report.verified
    assert not any("none of the four" in line for line in report.absent)


def _each(change):
    def all_parts(content: dict) -> None:
        for part in content.values():
            change(part)

    return all_parts


def _rename(content: dict) -> None:
    content["dev"] = content.pop("valid")


def _move(content: dict) -> None:
    """A test clip among the training clips."""
    content["train"]["id"][0] = f"{videos('mosei')[4]}$_$99"


def _hole(part: dict) -> None:
    part["text_bert"][0, 1, 1] = 0


def _twice(content: dict) -> None:
    content["train"]["id"][1] = content["train"]["id"][0]


SPOILT = {
    "other parts": ("MMSA", _rename, "not a dictionary of train, valid, test"),
    "no labels": ("MMSA", _each(lambda part: part.pop("regression_labels")), "no labels"),
    "labels of one part": ("MMSA", lambda c: c["test"].pop("regression_labels"), "in train, valid only"),
    "no ids": ("MMSA", _each(lambda part: part.pop("id")), "no 'id'"),
    "fewer ids": ("MMSA", lambda c: c["test"]["id"].pop(), "entries of id for"),
    "fewer rows": ("MMSA", lambda c: c["test"].update(audio=c["test"]["audio"][1:]), "entries of audio for"),
    "fewer labels": (
        "MulT",
        lambda c: c["test"].update(labels=c["test"]["labels"][1:]),
        r"\[9, 6, 6\] entries of id for \[9, 6, 5\] labels",
    ),
    "odd name": ("MMSA", lambda c: c["test"]["id"].__setitem__(0, "../../etc/passwd"), "clip name '../../etc/passwd'"),
    "another part": ("MMSA", _move, "another part than the official one"),
    "one clip, two labels": ("MMSA", _twice, "one clip twice with different labels"),
    "flat features": ("MMSA", _each(lambda part: part.update(audio=part["audio"][:, 0])), r"expected \(clips, steps"),
    "widths differ": ("MMSA", lambda c: c["test"].update(audio=c["test"]["audio"][..., :2]), "audio has shapes"),
    "fewer classes": (
        "MMSA",
        lambda c: c["test"].update(classification_labels=c["test"]["classification_labels"][1:]),
        "entries of classification_labels for",
    ),
    "mask with holes": ("MMSA", _each(_hole), "masks with holes"),
    "mask of another size": (
        "MMSA",
        _each(lambda part: part.update(text_bert=part["text_bert"][..., :3])),
        "text_bert has shape",
    ),
    "three labels": ("MulT", _each(lambda part: part.update(labels=np.repeat(part["labels"], 3, 2))), "3.* columns"),
    "labels rescaled": ("MulT", _each(lambda part: part.update(labels=part["labels"] * 0.123)), "spoilt labels"),
    "times that are none": (
        "MulT",
        lambda c: c["test"]["id"].__setitem__((0, 1), b"soon"),
        "ids without possible times",
    ),
    "strings for features": (
        "MulT",
        _each(lambda part: part.update(audio=np.full(part["audio"].shape, "x"))),
        "holds no numbers",
    ),
    "no features": (
        "MulT",
        _each(lambda part: [part.pop(name) for name in ("text", "audio", "vision")]),
        "none of the arrays",
    ),
}


@pytest.mark.parametrize("fault", SPOILT)
def test_spoilt_files_are_refused(tmp_path: Path, fault: str) -> None:
    dialect, change, says = SPOILT[fault]
    split = make_pickle(tmp_path / "data.pkl", dialect, change=change)
    with pytest.raises(UserError, match=says) as caught:
        convert(split)
    assert "data.pkl" in str(caught.value) and len(str(caught.value).splitlines()) == 1
    assert list(tmp_path.iterdir()) == [split.path]


def test_a_clip_that_stands_there_twice_is_dropped(tmp_path: Path) -> None:
    def change(content: dict) -> None:
        part = content["train"]
        n = len(part["labels"])
        for name, column in part.items():
            part[name] = np.concatenate([column, column[:1]])
        assert len(part["labels"]) == n + 1

    split = make_pickle(tmp_path / "data.pkl", "MultiBench", change=change)
    report, file = convert(split)
    assert report.dropped["clips that stand there a second time"].count == 1
    assert file.n == 18


def test_classes_that_do_not_follow_the_sign_are_told(tmp_path: Path) -> None:
    plain = make_pickle(tmp_path / "a" / "data.pkl", "MMSA")
    assert not any("classification_labels" in line for line in convert(plain)[0].absent)
    split = make_pickle(
        tmp_path / "b" / "data.pkl", "MMSA", change=lambda c: c["test"]["classification_labels"].__setitem__(0, 2)
    )
    report, file = convert(split)
    assert any(f"in 1 clips: {videos('mosei')[4]}_2" in line for line in report.absent)
    assert file.content_sha256 == convert(plain)[1].content_sha256


def test_clips_that_start_together_are_two(tmp_path: Path) -> None:
    """Three pairs of clips of MOSEI share video and start."""

    def change(content: dict) -> None:
        ids = content["test"]["id"]
        ids[1] = [ids[0][0], ids[0][1], b"77.5"]

    split = make_pickle(tmp_path / "data.pkl", "MulT", change=change)
    _, file = convert(split)
    assert file.n == 18
    together = [name for name in file.ids if name.endswith("-77.500")]
    assert len(together) == 1 and f"{together[0].removesuffix('77.500')}3.500" in file.ids


def test_stated_lengths_win_over_zeros(tmp_path: Path) -> None:
    """Rows beyond the stated length are padding, whatever they hold; zero rows inside are lost frames."""

    def change(content: dict) -> None:
        part = content["train"]
        part["audio"][0, -1] = 7.0
        part["audio_lengths"][0] = 2

    split = make_pickle(tmp_path / "data.pkl", "MMSA", aligned=False, change=change)
    report, file = convert(split)
    values, _ = rows(file, "audio", 0)
    np.testing.assert_array_equal(values, split.rows["audio"][file.ids[0]][:2])
    outside = len(split.rows["audio"][file.ids[0]]) - 2 + (len(split.rows["audio"][file.ids[0]]) < 20)
    assert report.dropped["audio rows outside the stated lengths"].count == outside


def test_the_wrong_corpus(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is it `mer-bench prepare mosei`"):
        convert(make_pickle(tmp_path / "data.pkl", "MMSA"), corpus="mosi")
    assert convert(make_pickle(tmp_path / "mosi" / "data.pkl", "MMSA", corpus="mosi"), corpus="mosi")[1].n == 18


def test_a_folder_with_one_pickle(tmp_path: Path) -> None:
    split = make_pickle(tmp_path / "Processed" / "aligned_50.pkl", "MMSA")
    out = tmp_path / "x.h5"
    prepare("mosei", Request(split.path.parent), out)
    make_pickle(tmp_path / "Processed" / "unaligned_50.pkl", "MMSA", aligned=False)
    with pytest.raises(UserError, match=r"one \.pkl file \(there are aligned_50.pkl, unaligned_50.pkl"):
        prepare("mosei", Request(split.path.parent), out)


def test_options_that_make_no_difference_are_refused(tmp_path: Path) -> None:
    split = make_pickle(tmp_path / "data.pkl", "MMSA")
    for options in ({"labels": tmp_path}, {"align": "none"}, {"features": {"audio": tmp_path}}):
        with pytest.raises(UserError, match="makes no difference here"):
            convert(split, **options)


def test_hostile_pickles_do_nothing(tmp_path: Path) -> None:
    canary = tmp_path / "canary"

    class Gadget:
        def __reduce__(self):
            return os.system, (f"touch {canary}",)

    for content in (Gadget(), {"train": Gadget()}, {"train": {"audio": np.array([Gadget()], object)}}):
        path = tmp_path / "data.pkl"
        path.write_bytes(pickle.dumps(content))
        with pytest.raises(UserError, match="refused, nothing was executed"):
            prepare("mosei", Request(path), tmp_path / "x.h5")
    assert not canary.exists() and not (tmp_path / "x.h5").exists()


def test_pickled_tensors_are_arrays(tmp_path: Path) -> None:
    """Some files hold tensors where others hold arrays; the same clips come out."""
    torch = pytest.importorskip("torch")
    made = make_pickle(tmp_path / "data.pkl", "MMSA")
    _, before = convert(made)
    content = pickle.loads(made.path.read_bytes())
    for part in content.values():
        part |= {name: torch.from_numpy(np.array(part[name])) for name in ("audio", "vision", "regression_labels")}
    made.path.write_bytes(pickle.dumps(content))
    _, after = convert(made)
    for name in ("audio", "vision", "text"):
        np.testing.assert_array_equal(after.values(name), before.values(name))


@given(
    hnp.arrays(np.int64, st.integers(1, 12), elements=st.integers(0, 6)),
    st.booleans(),
    st.integers(0, 2**32 - 1),
)
def test_inferred_extents_hold_every_row(lengths: np.ndarray, front: bool, seed: int) -> None:
    """Whatever the guess of the side: no row that holds something is lost, and what is cut away is empty."""
    rng = np.random.default_rng(seed)
    values = np.zeros((len(lengths), 6, 2))
    for clip, n in enumerate(lengths):
        rows = rng.normal(size=(n, 2)) * rng.integers(0, 2, (n, 1))
        values[clip, 6 - n if front else 0 : 6 if front else n] = rows
    held = padded.occupied(values)
    np.testing.assert_array_equal(held, (values != 0).any(axis=2))
    extent = padded.without_absent(padded.inferred(held), held)
    inside = extent.rows(6)
    assert not values[~inside].any()
    assert ((extent.lengths == 0) == ~held.any(axis=1)).all()


def test_official_folds() -> None:
    for corpus, counts in (("mosei", (2249, 300, 678)), ("mosi", (52, 10, 31))):
        part = official(corpus).part
        assert tuple(sum(number == k for number in part.values()) for k in (1, 2, 3)) == counts


def test_an_empty_part_is_refused(tmp_path: Path) -> None:
    def change(content: dict) -> None:
        content["test"] = {name: value[:0] for name, value in content["test"].items()}

    split = make_pickle(tmp_path / "data.pkl", "MMSA", aligned=False, change=change)
    with pytest.raises(UserError, match=r"data\.pkl: test/\w+_lengths is empty"):
        convert(split)
