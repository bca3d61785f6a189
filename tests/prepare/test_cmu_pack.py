"""The MOSI research pack and bc-LSTM's tables: joined by name, compared with each other, leaks declared and refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mer_bench.cli import main
from mer_bench.errors import UserError
from mer_bench.merh5 import FeatureFile, check
from mer_bench.prepare import Report, Request, prepare
from mer_bench.prepare.cmu import mosi
from mer_bench.prepare.cmu.folds import official
from mer_bench.prepare.cmu.pack import Expected, ResearchPack
from tests.prepare.fake_cmu import make_index
from tests.prepare.fake_mosi_pack import Pack, make, write_labels, write_tables


@pytest.fixture
def pack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pack:
    pack = make(tmp_path / "pack")
    monkeypatch.setattr(mosi, "LAYOUTS", (ResearchPack(pack.expected), *mosi.LAYOUTS[1:]))
    return pack


def convert(pack: Pack, source: Path | None = None, **options) -> tuple[Report, FeatureFile]:
    out = pack.root.parent / f"out{len(list(pack.root.parent.glob('out*')))}" / "mosi.h5"
    report = prepare("mosi", Request(source or pack.root, **options), out)
    assert check(out) == []
    return report, FeatureFile(out)


def rows(file: FeatureFile, modality: str, item: int) -> np.ndarray:
    start, stop = file.modalities[modality].offsets[item : item + 2]
    return file.values(modality, start, stop)


def test_every_clip_gets_its_own_rows(pack: Pack) -> None:
    report, file = convert(pack, text=True)
    assert report.recognised == "CMU-MOSI research pack"
    assert file.ids == pack.ids
    assert set(file.modalities) == {"text", "text_sentence", "audio", "text_cnn", "vision_c3d"}
    for item, name in enumerate(file.ids):
        for modality, given in pack.values.items():
            np.testing.assert_allclose(rows(file, modality, item), np.atleast_2d(given[name]), rtol=1e-6)
        video, number = name.rsplit("_", 1)
        assert (file.group("dialogue")[item], file.order[item]) == (video, int(number) - 1)
    np.testing.assert_allclose(file.label("sentiment")[0][:, 0], [pack.sentiment[name] for name in pack.ids], rtol=1e-6)
    assert list(file.label("polarity")[0]) == [int(pack.sentiment[name] >= 0) for name in pack.ids]
    assert file.text() == [pack.text[name] for name in pack.ids]


def test_splits(pack: Pack) -> None:
    _, file = convert(pack)
    own = {**dict.fromkeys(pack.train, 1), **dict.fromkeys(pack.test, 3)}
    assert list(file.split_table("bclstm")[0]) == [own[name] for name in pack.ids]
    assert list(file.split_table("sdk")[0]) == [official("mosi").of(name.rpartition("_")[0]) for name in pack.ids]
    fitted = {name: info.fitted_on for name, info in file.modalities.items()}
    assert fitted == {"text": "", "text_sentence": "", "audio": "", "text_cnn": "bclstm", "vision_c3d": "bclstm"}


def datamodule(file: FeatureFile, **settings):
    from mer_bench.data.datamodules import CMUMOSI

    return CMUMOSI(file=str(file.path), **settings)


@pytest.mark.parametrize("leaking", ["text_cnn", "vision_c3d"])
def test_networks_that_saw_the_test_part_are_refused(pack: Pack, leaking: str) -> None:
    _, file = convert(pack)
    with pytest.raises(UserError) as caught:
        datamodule(file, modalities=["text", leaking, "audio"])
    test = [name for name in pack.ids if official("mosi").of(name.rpartition("_")[0]) == 3]
    seen = len(set(test) & set(pack.train))
    assert f"{leaking!r} was trained on {seen} of the {len(test)} test items of mosi_sentiment" in str(caught.value)
    assert "use --data.modalities '[text, audio]'" in str(caught.value)
    assert datamodule(file, modalities=["text", "audio", "text_sentence"]).modalities == (
        "text",
        "audio",
        "text_sentence",
    )


def test_their_own_split_allows_them(pack: Pack) -> None:
    _, file = convert(pack)
    data = datamodule(file, protocol="mosi_bclstm", modalities=["text_cnn", "vision_c3d", "audio"])
    parts = {name: [file.ids[row] for row in getattr(data.split, name)] for name in ("train", "val", "test")}
    assert parts == {"train": sorted(pack.train), "val": [], "test": sorted(pack.test)}
    assert data.val_dataloader() == []
    assert data.modalities == ("text_cnn", "vision_c3d", "audio")


def test_what_a_user_sees(pack: Pack, here: None, capsys: pytest.CaptureFixture[str]) -> None:
    out = pack.root.parent / "new" / "mosi.h5"
    assert main(["prepare", "mosi", "--from", str(pack.root), "--out", str(out)]) == 0
    shown = capsys.readouterr().out
    assert {path.name for path in out.parent.iterdir()} == {"mosi.h5", "mosi.report.json"}
    for word in ("recognised  CMU-MOSI research pack", "counted ", "verified ", "written "):
        assert word in shown
    settings = ["--data.file", str(out), "--data.modalities", "[text_cnn]", "--runs", str(pack.root.parent / "runs")]
    assert main(["fit", "mosi_majority", *settings]) == 2
    assert "so its scores there are memory" in capsys.readouterr().err
    assert main(["fit", "mosi_majority", "--data.protocol", "mosi_bclstm", *settings]) == 0
    assert "test        sentiment/wa" in capsys.readouterr().out


@pytest.mark.parametrize("arranged", ["flat", "as in the repository"])
def test_tables_alone(pack: Pack, tmp_path: Path, arranged: str) -> None:
    folder = pack.root / "bclstm_utterance"
    if arranged != "flat":
        for path in folder.glob("*0.csv"):
            place = folder / path.name.partition("_")[0]
            place.mkdir(exist_ok=True)
            path.rename(place / path.name)
    whole = convert(pack)[1] if arranged == "flat" else None
    with pytest.raises(UserError, match="holds signs only; --labels names"):
        convert(pack, folder)
    for labels in ("merbench_labels/label.npz", "gcnet_index/CMUMOSI_features_raw_2way.pkl"):
        report, file = convert(pack, folder, labels=pack.root / labels)
        assert report.recognised == "bc-LSTM tables"
        assert file.ids == pack.ids
        if whole is not None:
            for modality in ("audio", "text_cnn", "vision_c3d"):
                np.testing.assert_array_equal(file.values(modality), whole.values(modality))
            assert (file.label("sentiment")[0] == whole.label("sentiment")[0]).all()


def _first(path: Path, change: Callable[[list[str]], list[str]]) -> None:
    lines = path.read_text().splitlines()
    path.write_text("\n".join(change(lines)) + "\n")


def _flip(pack: Pack) -> None:
    """A sentiment of the other sign, in both label files."""
    name = next(name for name, value in pack.sentiment.items() if value < 0)
    pack.sentiment[name] = 0.2
    write_labels(pack)
    make_index(pack.root / "gcnet_index" / "CMUMOSI_features_raw_2way.pkl", pack.sentiment, "mosi", pack.text)


def _other_label(pack: Pack) -> None:
    name = next(name for name, value in pack.sentiment.items() if value > 0.5)
    pack.sentiment[name] -= 0.2
    write_labels(pack)


def _other_words(pack: Pack) -> None:
    pack.text[pack.ids[0]] = "SOMETHING ELSE"
    write_tables(pack)


def _shared_video(pack: Pack) -> None:
    pack.test.append(pack.train.pop())
    write_tables(pack)


TABLES = "bclstm_utterance"
SPOILT = {
    "labels differ": (_other_label, "clip, label or part differs from"),
    "signs differ": (_flip, "the sign of the sentiment differs from bc-LSTM's label"),
    "transcripts differ": (_other_words, "transcript differs from transcripts.csv"),
    "one video in both parts": (_shared_video, "videos in both parts|in the train and the test part"),
    "rows exchanged": (
        lambda pack: _first(pack.root / TABLES / "text_train0.csv", lambda lines: [lines[1], lines[0], *lines[2:]]),
        "labels differ from text_train.csv|rows of other clips",
    ),
    "a row is missing": (
        lambda pack: _first(pack.root / TABLES / "audio_test0.csv", lambda lines: lines[1:]),
        "their number or labels differ",
    ),
    "a row twice": (
        lambda pack: _first(pack.root / TABLES / "text_test.csv", lambda lines: [lines[0], *lines[:-1]]),
        "does not name rows of transcripts.csv, each once",
    ),
    "a cell too few": (
        lambda pack: _first(pack.root / TABLES / "video_train0.csv", lambda lines: [*lines[:3], lines[3][:40] + '"']),
        "line 4: .* cells; expected 101",
    ),
    "no number": (
        lambda pack: _first(pack.root / TABLES / "audio_train0.csv", lambda lines: ['"a' + lines[0][1:], *lines[1:]]),
        "is not a number",
    ),
    "other labels": (
        lambda pack: _first(
            pack.root / TABLES / "audio_train0.csv", lambda lines: [*lines[:-1], lines[-1][:-2] + '7"']
        ),
        "labels other than 0 and 1",
    ),
}


@pytest.mark.parametrize("fault", SPOILT)
def test_spoilt_packs_are_refused(pack: Pack, fault: str) -> None:
    change, says = SPOILT[fault]
    change(pack)
    with pytest.raises(UserError, match=says) as caught:
        convert(pack)
    assert str(pack.root) in str(caught.value) or "bc-LSTM tables" in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
    assert not list(pack.root.parent.glob("**/*.h5"))


def test_counts_must_be_those_of_the_corpus(pack: Pack) -> None:
    with pytest.raises(UserError, match=r"72.* expected .*2199"):
        ResearchPack(Expected()).read(Request(pack.root), Report("mosi", ""))


def test_non_finite_rows_are_masked(pack: Pack) -> None:
    name = pack.train[3]
    pack.values["audio"][name] = pack.values["audio"][name].copy()
    pack.values["audio"][name][5] = -np.inf
    write_tables(pack)
    report, file = convert(pack)
    assert report.repaired["audio rows with a value that is not finite masked"].ids == [name]
    assert list(np.flatnonzero(~file.valid("audio"))) == [pack.ids.index(name)]


def test_no_layout(pack: Pack) -> None:
    with pytest.raises(UserError, match=rf"not a known layout of mosi .* Did you mean --from {pack.root}\?"):
        convert(pack, pack.root / "text_minilm")
