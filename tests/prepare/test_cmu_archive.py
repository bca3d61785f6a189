"""Label files of MERBench and GCNet with feature folders: joined by name, never by position."""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest

from mer_bench.errors import UserError
from mer_bench.merh5 import FeatureFile, check
from mer_bench.prepare import Report, Request, prepare
from tests.prepare.fake_cmu import OUTSIDE, make_folder, make_index, make_labels, videos


@pytest.fixture
def labels(tmp_path: Path) -> dict[str, float]:
    return make_labels(tmp_path / "data" / "label.npz")


def convert(root: Path, source: Path, **features: Path) -> tuple[Report, FeatureFile]:
    out = root / f"out{len(list(root.glob('*.h5')))}.h5"
    report = prepare("mosei", Request(source, features=features), out)
    assert check(out) == []
    return report, FeatureFile(out)


def rows(file: FeatureFile, modality: str, name: str) -> np.ndarray:
    item = file.ids.index(name)
    start, stop = file.modalities[modality].offsets[item : item + 2]
    return file.values(modality, start, stop)


def test_every_clip_gets_its_own_file(tmp_path: Path, labels: dict[str, float]) -> None:
    kept = [name for name in labels if not name.startswith(OUTSIDE)]
    frames = make_folder(tmp_path / "wavlm-FRA", [*kept[1:], f"{OUTSIDE}_1", "unrelated_7"])
    means = make_folder(tmp_path / "bert-UTT", kept, width=3, frames=False, seed=1)
    report, file = convert(tmp_path, tmp_path / "data", audio=tmp_path / "wavlm-FRA", text=tmp_path / "bert-UTT")
    assert file.ids == kept
    for name in kept:
        np.testing.assert_array_equal(rows(file, "audio", name), frames.get(name, np.empty((0, 5))))
        np.testing.assert_array_equal(rows(file, "text", name), means[name][None])
    assert (file.modalities["audio"].kind, file.modalities["text"].kind) == ("sequence", "utterance")
    assert file.modalities["audio"].extractor == "wavlm-FRA"
    np.testing.assert_allclose(file.label("sentiment")[0][:, 0], [labels[name] for name in kept])
    assert [int(name.rpartition("_")[2]) for name in file.ids[:3]] == [1, 2, 10]
    assert [file.order[file.ids.index(f"{videos('mosei')[0]}_{k}")] for k in (1, 2, 10)] == [0, 1, 2]
    assert report.dropped["files of audio without a clip"].ids == [f"{OUTSIDE}_1", "unrelated_7"]
    assert report.dropped["clips of videos outside every official fold"].count == 3
    assert report.counted["without a file in audio"] == 1
    assert report.counted["clips found"] == 21 and report.counted["of them train"] == 9


def test_a_clip_without_any_feature_is_left_out(tmp_path: Path, labels: dict[str, float]) -> None:
    kept = [name for name in labels if not name.startswith(OUTSIDE)]
    make_folder(tmp_path / "audio", kept[2:])
    report, file = convert(tmp_path, tmp_path / "data" / "label.npz", audio=tmp_path / "audio")
    assert file.ids == kept[2:]
    assert report.dropped["clips without any feature"].ids == kept[:2]
    np.testing.assert_allclose(file.label("sentiment")[0][:, 0], [labels[name] for name in kept[2:]])


def test_index_of_gcnet(tmp_path: Path, labels: dict[str, float]) -> None:
    said = {name: f"said in {name}" for name in labels}
    make_index(tmp_path / "CMUMOSEI_features_raw_2way.pkl", labels, text=said)
    make_folder(tmp_path / "audio", list(labels))
    request = Request(tmp_path / "CMUMOSEI_features_raw_2way.pkl", True, features={"audio": tmp_path / "audio"})
    report = prepare("mosei", request, tmp_path / "x.h5")
    file = FeatureFile(tmp_path / "x.h5")
    archive = convert(tmp_path, tmp_path / "data", audio=tmp_path / "audio")[1]
    assert report.recognised == "GCNet index with feature folders"
    assert set(file.ids) == set(archive.ids)
    assert file.text() == [said[name] for name in file.ids]
    for name in file.ids:
        np.testing.assert_array_equal(rows(file, "audio", name), rows(archive, "audio", name))


def test_lost_frames_are_masked(tmp_path: Path, labels: dict[str, float]) -> None:
    folder = tmp_path / "audio"
    make_folder(folder, list(labels))
    name = next(iter(labels))
    np.save(folder / f"{name}.npy", np.array([[1.0, 2, 3, 4, 5], [0, 0, 0, 0, 0], [1, np.nan, 0, 0, 0]]))
    report, file = convert(tmp_path, tmp_path / "data", audio=folder)
    np.testing.assert_array_equal(rows(file, "audio", name), [[1, 2, 3, 4, 5], [0] * 5, [0] * 5])
    assert list(file.valid("audio", 0, 3)) == [True, False, False]
    assert report.repaired["audio rows with a value that is not finite masked"].ids == [name]
    assert report.repaired["audio rows of nothing but zeros masked"].ids == [name]


def _folder(content) -> object:
    def write(folder: Path, names: list[str]) -> None:
        make_folder(folder, names)
        content(folder, names)

    return write


SPOILT = {
    "no folder": (lambda folder, names: None, "is no folder with one .npy or .csv file"),
    "of other clips": (lambda folder, names: make_folder(folder, ["x_1"]), "no file of any item; its first is 'x_1'"),
    "widths differ": (_folder(lambda f, n: np.save(f / f"{n[0]}.npy", np.ones((2, 6)))), "files of different shape"),
    "axes differ": (_folder(lambda f, n: np.save(f / f"{n[0]}.npy", np.ones(5))), "files of different shape"),
    "text": (_folder(lambda f, n: np.save(f / f"{n[0]}.npy", np.full((2, 5), "x"))), "expected numbers"),
    "damaged": (_folder(lambda f, n: (f / f"{n[0]}.npy").write_bytes(b"\x93NUMPY\x01\x00")), "not a .npy array"),
    "objects": (
        _folder(lambda f, n: np.save(f / f"{n[0]}.npy", np.array([[1, Path()]], object), allow_pickle=True)),
        "refused, nothing was executed: the pickle asks for pathlib",
    ),
}


@pytest.mark.parametrize("fault", SPOILT)
def test_spoilt_folders_are_refused(tmp_path: Path, labels: dict[str, float], fault: str) -> None:
    write, says = SPOILT[fault]
    write(tmp_path / "audio", [name for name in labels if not name.startswith(OUTSIDE)])
    with pytest.raises(UserError, match=says) as caught:
        convert(tmp_path, tmp_path / "data", audio=tmp_path / "audio")
    assert str(tmp_path / "audio") in str(caught.value)
    assert not list(tmp_path.glob("*.h5"))


def test_labels_without_features(tmp_path: Path, labels: dict[str, float]) -> None:
    make_folder(tmp_path / "data" / "features" / "wavlm-UTT", list(labels))
    with pytest.raises(UserError, match=r"labels only; name the features .* there are .*wavlm-UTT"):
        convert(tmp_path, tmp_path / "data")


def _edit(path: Path, change) -> None:
    tables = {name: table.item() for name, table in np.load(path, allow_pickle=True).items()}
    change(tables)
    np.savez_compressed(path, **{name: np.array(table, object) for name, table in tables.items()})


ARCHIVES = {
    "a part is missing": (lambda tables: tables.pop("val_corpus"), "holds no dictionary 'val_corpus'"),
    "no label": (lambda tables: tables["train_corpus"].update({"a_1": {"emo": 0}}), "no number 'val' at a_1"),
    "a label in words": (
        lambda tables: tables["train_corpus"].update({"a_1": {"val": "good"}}),
        "no number 'val' at a_1",
    ),
    "an id that is a path": (
        lambda tables: tables["train_corpus"].update({"../../etc/passwd": {"emo": 0, "val": 1.0}}),
        "clip name '../../etc/passwd'",
    ),
    "one clip twice": (
        lambda tables: tables["test_corpus"].update({next(iter(tables["train_corpus"])): {"emo": 0, "val": 1.0}}),
        "duplicate ids",
    ),
    "another part": (
        lambda tables: tables["train_corpus"].update({f"{videos('mosei')[4]}_77": {"emo": 0, "val": 1.0}}),
        "another part than the official one",
    ),
    "not finite": (
        lambda tables: [entry.update(val=np.inf) for entry in tables["train_corpus"].values()][:0],
        None,  # masked and counted, not refused
    ),
}


@pytest.mark.parametrize("fault", ARCHIVES)
def test_spoilt_label_files(tmp_path: Path, labels: dict[str, float], fault: str) -> None:
    change, says = ARCHIVES[fault]
    make_folder(tmp_path / "audio", list(labels))
    _edit(tmp_path / "data" / "label.npz", change)
    if says is None:
        report, file = convert(tmp_path, tmp_path / "data", audio=tmp_path / "audio")
        assert report.repaired["sentiment without a value masked"].count == 6
        assert file.label("sentiment")[1].sum() == 12
        return
    with pytest.raises(UserError, match=says):
        convert(tmp_path, tmp_path / "data", audio=tmp_path / "audio")


def test_hostile_archives(tmp_path: Path, labels: dict[str, float]) -> None:
    """Members that would unpack to far more than they hold, or lie outside: refused; no file appears anywhere."""
    make_folder(tmp_path / "audio", list(labels))
    path = tmp_path / "data" / "label.npz"
    before = sorted(tmp_path.rglob("*"))
    for members, says in (
        ({"train_corpus.npy": b"\0" * (1 << 29)}, "would unpack to"),
        ({"../../escaped.npy": b"x"}, "could lead out of a folder"),
        ({"/etc/cron.d/escaped": b"x"}, "could lead out of a folder"),
    ):
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in members.items():
                archive.writestr(name, content)
        with pytest.raises(UserError, match=says):
            convert(tmp_path, tmp_path / "data", audio=tmp_path / "audio")
    assert sorted(tmp_path.rglob("*")) == before


INDEXES = {
    "columns differ": (lambda c: next(iter(c[1].values())).pop(), "not columns of equal length"),
    "in two parts": (lambda c: c[6].update(c[4]), "videos in two parts, or in none"),
    "in no part": (lambda c: c[4].clear(), "videos in two parts, or in none"),
    "under another video": (
        lambda c: c[0][videos("mosei")[0]].__setitem__(0, f"{videos('mosei')[1]}_55"),
        "another video than their name says",
    ),
}


@pytest.mark.parametrize("fault", INDEXES)
def test_spoilt_indexes(tmp_path: Path, labels: dict[str, float], fault: str) -> None:
    change, says = INDEXES[fault]
    path = tmp_path / "index.pkl"
    make_index(path, labels)
    content = pickle.loads(path.read_bytes())
    change(content)
    path.write_bytes(pickle.dumps(content))
    make_folder(tmp_path / "audio", list(labels))
    with pytest.raises(UserError, match=says):
        convert(tmp_path, path, audio=tmp_path / "audio")
