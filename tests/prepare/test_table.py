"""`prepare table`: a corpus of one's own by a YAML file."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import yaml

from mer_bench.cli import main
from mer_bench.errors import UserError
from mer_bench.merh5 import FeatureFile, check
from mer_bench.prepare import Report, Request, prepare
from tests.realdata import REALDATA, needs_real

IDS = [f"clip{k}" for k in range(6)]
LENGTHS = [3, 1, 0, 4, 2, 5]
SPEC = {
    "corpus": "mine",
    "licence": "CC BY 4.0",
    "items": {
        "table": "items.csv",
        "id": "name",
        "speaker": "person",
        "order": "place",
        "start_s": "start",
        "text": "said",
        "attrs": {"sex": "sex", "age": "age"},
    },
    "modalities": {
        "audio": {"folder": "audio", "rate_hz": 50, "extractor": "wavlm-base"},
        "text": {"archive": "text.npz"},
        "bio": {"table": "bio.csv", "id": "clip", "columns": ["eda", "ecg"]},
    },
    "labels": {
        "emotion": {"kind": "multiclass", "column": "label", "names": ["sad", "angry"], "missing": ["xxx"]},
        "va": {"kind": "regression", "columns": ["valence", "arousal"], "range": [-1, 1], "missing": ["-5"]},
        "mood": {"kind": "regression", "columns": ["level"], "folder": "ratings", "rate_hz": 10},
    },
    "splits": {
        "official": {"column": "part", "train": ["train"], "validation": ["dev"], "test": ["test"],
                     "disjoint_by": ["speaker"]},
    },
}  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rows = [
        "name, person, place, start, said, sex, age, label, valence, arousal, part",
        'clip0,p0,0,0.5,"well, yes",f,31,angry,0.5,-0.5,train',
        "clip1,p0,1,,no,f,31,xxx,0.1,-5,train",
        "clip2,p1,0,1.5,maybe,m,,sad,-5,-5.0,dev",
        "clip3,p2,0,2.5,so,m,40,sad,-1,1,test",
        "clip4,p2,1,3.5,it,m,40,,0,0,test",
        "clip5,p3,,4.5,goes,m,22,angry,0.25,0,",
    ]
    (tmp_path / "items.csv").write_text("\n".join(rows) + "\n")
    (tmp_path / "audio").mkdir()
    for k, name in enumerate(IDS[:5]):
        np.save(tmp_path / "audio" / f"{name}.npy", np.full((k + 1, 3), k + 1.0))
    values = np.arange(1, 31, dtype=np.float32).reshape(15, 2)
    turned = [5, 3, 0, 1, 2, 4]
    starts = np.concatenate([[0], np.cumsum(LENGTHS)])
    order = np.concatenate([np.arange(starts[k], starts[k + 1]) for k in turned])
    np.savez(
        tmp_path / "text.npz",
        values=values[order],
        ids=np.array([IDS[k] for k in turned]),
        lengths=np.array([LENGTHS[k] for k in turned]),
    )
    bio = ["eda,other,ecg,clip", *(f"{k + 1},9,{k}.5,clip{k}" for k in (3, 1, 0)), "7,9,7.5,clip99"]
    (tmp_path / "bio.csv").write_text("\n".join(bio) + "\n")
    (tmp_path / "ratings").mkdir()
    for k in (0, 4):
        (tmp_path / "ratings" / f"clip{k}.csv").write_text(
            "\n".join(["time,level", "0,0.5", "0.1,", "0.2,1.5"][: k + 3]) + "\n"
        )
    write(tmp_path, SPEC)
    return tmp_path


def write(folder: Path, spec: dict) -> None:
    (folder / "my.yaml").write_text(yaml.safe_dump(spec))


def convert(folder: Path, text: bool = False) -> tuple[Report, FeatureFile]:
    out = folder / "mine.h5"
    report = prepare("table", Request(folder / "my.yaml", text=text), out)
    assert check(out) == []
    return report, FeatureFile(out)


def test_items_come_as_the_table_says(folder: Path) -> None:
    report, file = convert(folder, text=True)
    assert (file.corpus, file.ids, report.corpus) == ("mine", IDS, "mine")
    assert file.group("speaker").tolist() == ["p0", "p0", "p1", "p2", "p2", "p3"]
    assert file.order.tolist() == [0, 1, 0, 0, 1, -1]
    assert file.text()[0] == "well, yes"
    assert file.group("sex").tolist() == list("ffmmmm")
    np.testing.assert_array_equal(file.start_s, [0.5, np.nan, 1.5, 2.5, 3.5, 4.5])
    assert file.split_table("official").tolist() == [[1, 1, 2, 3, 3, 0]]
    assert convert(folder)[1].text() is None


def test_modalities_are_joined_by_id(folder: Path) -> None:
    report, file = convert(folder)
    assert np.diff(file.modalities["audio"].offsets).tolist() == [1, 2, 3, 4, 5, 0]
    assert (file.modalities["audio"].rate_hz, file.modalities["audio"].extractor) == (50.0, "wavlm-base")
    assert np.diff(file.modalities["text"].offsets).tolist() == LENGTHS
    np.testing.assert_array_equal(file.values("text"), np.arange(1, 31).reshape(15, 2))
    assert file.modalities["bio"].present.tolist() == [True, True, False, True, False, False]
    np.testing.assert_array_equal(file.values("bio"), [[1, 0.5], [2, 1.5], [4, 3.5]])
    assert file.modalities["bio"].names == ["eda", "ecg"]
    assert report.dropped["items of bio that are not in the table of items"].ids == ["clip99"]


def test_missing_labels_are_masked(folder: Path) -> None:
    _, file = convert(folder)
    values, mask = file.label("emotion")
    assert [("sad", "angry")[v] if ok else "" for v, ok in zip(values, mask, strict=True)] == [
        *("angry", "", "sad", "sad", "", "angry")
    ]
    values, mask = file.label("va")
    assert mask.tolist() == [[True, True], [True, False], [False, False], *[[True, True]] * 3]
    assert values[~mask].tolist() == [0, 0, 0]
    values, mask = file.label("mood")
    assert np.diff(file.labels["mood"].offsets).tolist() == [2, 0, 0, 0, 3, 0]
    assert mask[:, 0].tolist() == [True, False, True, False, True] and file.labels["mood"].rate_hz == 10


CHANGES = [
    (("corpus",), "My Corpus", "corpus: expected small letters"),
    (("item",), {}, "item: unknown key; did you mean items"),
    (("items", "id"), "nam", "the table has no column 'nam'; did you mean name"),
    (("items", "table"), "nowhere.csv", "items.table: expected a file or folder"),
    (("modalities", "audio", "rate"), 50, "modalities.audio.rate: unknown key; did you mean rate_hz"),
    (("modalities", "audio", "archive"), "text.npz", "expected exactly one of folder, archive, table"),
    (("modalities", "audio", "rate_hz"), "fast", "modalities.audio.rate_hz: expected a number"),
    (("labels", "emotion", "names"), ["sad"], "labels angry are neither in names nor in missing"),
    (("labels", "emotion", "kind"), "classes", "labels.emotion.kind: expected multiclass"),
    (("labels", "va", "missing"), [], "labels out of range"),
]


@pytest.mark.parametrize(("place", "value", "says"), CHANGES, ids=lambda x: str(x)[:30])
def test_a_wrong_specification_is_explained(folder: Path, place: tuple[str, ...], value: object, says: str) -> None:
    spec = yaml.safe_load(yaml.safe_dump(SPEC))
    node = spec
    for key in place[:-1]:
        node = node[key]
    node[place[-1]] = value
    write(folder, spec)
    with pytest.raises(UserError, match=says):
        convert(folder)
    assert not (folder / "mine.h5").exists()


def test_a_split_is_held_to_its_promise(folder: Path) -> None:
    path = folder / "items.csv"
    path.write_text(path.read_text().replace("40,,0,0,test", "40,,0,0,train"))
    with pytest.raises(UserError, match="p2"):
        convert(folder)


def test_duplicate_ids_are_refused(folder: Path) -> None:
    path = folder / "items.csv"
    path.write_text(path.read_text().replace("clip1,", "clip0,"))
    with pytest.raises(UserError, match="duplicate ids: clip0"):
        convert(folder)


def test_from_the_command_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = folder / "out" / "mine.h5"
    assert main(["prepare", "table", "--spec", str(folder / "my.yaml"), "--out", str(out)]) == 0
    assert "table specification" in capsys.readouterr().out and check(out) == []
    with pytest.raises(SystemExit):
        main(["prepare", "table", "--help"])
    assert "modalities:" in capsys.readouterr().out


def test_values_that_stand_for_nothing_are_masked(folder: Path) -> None:
    """COVAREP clips at 255, other trackers write -1: only a person knows, so the specification says."""
    spec = {**SPEC, "modalities": {**SPEC["modalities"], "audio": {"folder": "audio", "missing": [-255, 3.0]}}}
    write(folder, spec)
    report, file = convert(folder)
    assert report.repaired["audio rows with a value that stands for nothing masked"].count == 3
    assert report.repaired["audio rows with a value that stands for nothing masked"].ids == ["clip2"]
    start, stop = file.modalities["audio"].offsets[2:4]
    assert not file.valid("audio", start, stop).any() and not file.values("audio", start, stop).any()


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        (",0.5,-0.5,train", ",1.5,-0.5,train", "clip0: 1 labels out of range"),
        (",0.5,-0.5,train", ",high,-0.5,train", "'high' is not a number"),
        ("clip1,p0,1,,no,f,31,xxx", "clip1,p0,1,,no,f,31,glad", "labels glad are neither in names nor in missing"),
        ("clip1,p0", "../clip1,p0", r"\.\./clip1"),
    ],
)
def test_labels_and_ids_that_cannot_be_are_refused(folder: Path, old: str, new: str, says: str) -> None:
    path = folder / "items.csv"
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(UserError, match=says):
        convert(folder)
    assert not (folder / "mine.h5").exists()


REAL = REALDATA / "sewa" / "sewa_avec2019"


@needs_real("sewa")
def test_recordings_with_labels_and_streams_of_their_own_length(tmp_path: Path) -> None:
    """SEWA: semicolons, quoted names, a stream that is longer or shorter than its labels; nothing is cut to fit."""
    names = sorted(path.stem for path in (REAL / "labels_devel").glob("*.csv"))
    (tmp_path / "items.csv").write_text("\n".join(["name", *names]) + "\n")
    columns = ["arousal", "valence"]
    given = {"columns": columns, "delimiter": ";", "rate_hz": 10}
    spec = {
        "corpus": "sewa",
        "items": {"table": "items.csv", "id": "name"},
        "modalities": {"fused": {"folder": str(REAL / "baseline_predictions" / "predictions_svr"), **given}},
        "labels": {"va": {"kind": "regression", "folder": str(REAL / "labels_devel"), **given}},
    }
    write(tmp_path, spec)
    _, file = convert(tmp_path)
    streams, labels = file.modalities["fused"].offsets, file.labels["va"].offsets
    assert len(names) == file.n == 28 and labels[-1] == 40_032
    assert (np.diff(streams) != np.diff(labels)).sum() == 26
    truth, found = file.label("va")[0], file.values("fused")
    pairs = []
    for one, other in zip(pairwise(streams), pairwise(labels), strict=True):
        shared = min(one[1] - one[0], other[1] - other[0])
        pairs.append(np.stack([found[one[0] : one[0] + shared], truth[other[0] : other[0] + shared]]))
    for x, y, ccc in zip(*(joined.T for joined in np.concatenate(pairs, axis=1)), (0.614, 0.615), strict=True):
        assert 2 * np.cov(x, y, ddof=0)[0, 1] / (x.var() + y.var() + (x.mean() - y.mean()) ** 2) == pytest.approx(
            ccc, abs=2e-3
        )
