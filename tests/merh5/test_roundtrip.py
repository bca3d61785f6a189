"""What is written comes back, whole or not at all."""

from __future__ import annotations

import errno
import multiprocessing
import pickle
import subprocess
import sys
import tracemalloc
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mer_bench.errors import UserError
from mer_bench.merh5 import Contents, FeatureFile, Labels, Modality, check, write, writer
from tests.merh5.cases import IDS, rich, with_labels, with_modality

NAMES = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=12)
FREE_TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30)


@st.composite
def corpora(draw: st.DrawFn) -> Contents:
    n = draw(st.integers(1, 6))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    modalities = {}
    for name in draw(st.sets(st.sampled_from(["audio", "text", "vision", "bio-2"]), min_size=1, max_size=3)):
        lengths = draw(st.lists(st.integers(0, 5), min_size=n, max_size=n))
        values = rng.normal(size=(sum(lengths), draw(st.integers(1, 4)))).astype(draw(st.sampled_from("efd")))
        valid = draw(st.none() | st.just(rng.random(len(values)) < 0.7))
        if valid is not None:
            values[~valid] = draw(st.sampled_from([0.0, np.nan, -np.inf, 7.0]))
        modalities[name] = Modality(values, lengths, rate_hz=draw(st.floats(0, 1e6)), valid=valid)
    names = tuple(draw(st.lists(NAMES, min_size=2, max_size=4, unique=True)))
    mask = rng.random(n) < 0.6
    return Contents(
        corpus="toy",
        ids=draw(
            st.lists(
                st.from_regex(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,9}", fullmatch=True), min_size=n, max_size=n, unique=True
            )
        ),
        modalities=modalities,
        labels={"task": Labels("multiclass", names, np.where(mask, rng.integers(0, len(names), n), -5), mask)},
        speaker=draw(st.none() | st.lists(NAMES, min_size=n, max_size=n)),
        text=draw(st.none() | st.lists(FREE_TEXT, min_size=n, max_size=n)),
    )


@settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(contents=corpora())
def test_round_trip(tmp_path: Path, contents: Contents) -> None:
    path = tmp_path / "x.h5"
    digest = write(path, contents)
    assert check(path) == []
    file = FeatureFile(path)
    assert (file.ids, file.n, file.corpus, file.content_sha256) == (contents.ids, len(contents.ids), "toy", digest)
    assert file.text() == contents.text
    if contents.speaker is not None:
        assert file.group("speaker").tolist() == contents.speaker
    assert file.modalities.keys() == contents.modalities.keys()
    for name, modality in contents.modalities.items():
        info = file.modalities[name]
        assert np.diff(info.offsets).tolist() == modality.lengths
        assert info.present.tolist() == [length > 0 for length in modality.lengths]
        assert (info.rate_hz, info.dim, info.rows) == (modality.rate_hz, *modality.values.shape[::-1])
        valid = np.ones(info.rows, bool) if modality.valid is None else modality.valid
        assert np.array_equal(file.valid(name), valid)
        values = file.values(name)
        assert values.dtype == np.float32
        assert np.array_equal(values[valid], modality.values[valid].astype(np.float32))
        assert not values[~valid].any()
        for i in range(file.n):
            first, last = info.offsets[i : i + 2].tolist()
            assert np.array_equal(file.values(name, first, last), values[first:last])
            assert np.array_equal(file.valid(name, first, last), valid[first:last])
    values, mask = file.label("task")
    assert np.array_equal(mask, contents.labels["task"].mask)
    assert np.array_equal(values, np.where(mask, contents.labels["task"].values, 0))
    assert file.labels["task"].names == contents.labels["task"].names


def test_everything_comes_back(tmp_path: Path) -> None:
    contents = rich()
    write(tmp_path / "x.h5", contents)
    file = FeatureFile(tmp_path / "x.h5")
    assert file.synthetic is True and file.truth == contents.truth
    for key in ("speaker", "session", "dialogue"):
        assert file.group(key).tolist() == getattr(contents, key)
    assert file.group("sex").tolist() == contents.attrs["sex"]
    assert np.array_equal(file.column("age"), contents.attrs["age"], equal_nan=True)
    assert file.order.tolist() == contents.order
    assert np.array_equal(file.start_s, contents.start_s, equal_nan=True)
    assert np.array_equal(file.end_s, contents.end_s)
    assert file.text() == contents.text
    assert file.attrs["repairs"] == {"non-finite": 3} and file.attrs["sources"][0]["origin"] == "somewhere"
    assert file.modalities["audio"].names == ["f0", "é", "jitter"]
    assert file.modalities["bio"].kind == "utterance" and file.modalities["bio"].extractor == "stats"
    assert np.array_equal(file.times("words"), contents.modalities["words"].times)
    assert file.times("audio") is None
    for name, labels in contents.labels.items():
        values, mask = file.label(name)
        assert np.array_equal(mask, labels.mask)
        assert np.array_equal(values, np.where(mask, labels.values, 0).astype(values.dtype))
        info = file.labels[name]
        assert (info.kind, info.names, info.level) == (labels.kind, labels.names, labels.level)
        assert info.range == labels.range
    assert np.diff(file.labels["trace"].offsets).tolist() == contents.labels["trace"].lengths
    assert file.labels["trace"].rate_hz == 10.0 and file.label_times("trace") is None
    for name, split in contents.splits.items():
        assert np.array_equal(file.split_table(name), split.table)
        assert file.splits[name].disjoint_by == split.disjoint_by
    assert file.splits["official"].source == "a paper" and file.splits["official"].folds == 2


def test_defaults_of_what_is_not_there(tmp_path: Path) -> None:
    write(tmp_path / "x.h5", Contents("toy", ["a"], {"m": Modality(np.zeros((0, 2)), [0])}))
    file = FeatureFile(tmp_path / "x.h5")
    assert file.values("m").shape == (0, 2) and file.valid("m").shape == (0,)
    assert not file.modalities["m"].present.any()
    assert file.order.tolist() == [-1] and np.isnan(file.start_s).all() and np.isnan(file.end_s).all()
    assert file.text() is None and file.truth is None and not file.synthetic and file.labels == {} == file.splits


@pytest.mark.parametrize(
    ("call", "near"),
    [
        (lambda f: f.values("audoi"), "audio"),
        (lambda f: f.valid("word"), "words"),
        (lambda f: f.times("wordz"), "words"),
        (lambda f: f.label("emotions"), "emotion"),
        (lambda f: f.label_times("tracee"), "trace"),
        (lambda f: f.split_table("oficial"), "official"),
        (lambda f: f.group("speakers"), "speaker"),
        (lambda f: f.column("agee"), "age"),
        (lambda f: f.group("age"), "numbers"),
    ],
)
def test_an_unknown_name_gets_the_nearest(tmp_path: Path, call, near: str) -> None:
    write(tmp_path / "x.h5", rich())
    with pytest.raises(UserError, match=near):
        call(FeatureFile(tmp_path / "x.h5"))


def _read_in_child(file: FeatureFile) -> tuple[bytes, bytes, list[str]]:
    return file.values("audio").tobytes(), file.label("vad")[0].tobytes(), file.group("speaker").tolist()


def test_pickled_to_a_spawned_process_in_another_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write("x.h5", rich())
    file = FeatureFile("x.h5")
    assert h5py.h5f.get_obj_count(h5py.h5f.OBJ_ALL, h5py.h5f.OBJ_FILE) == 0  # so nothing is inherited by a fork
    here = _read_in_child(file)
    copy = pickle.loads(pickle.dumps(file))
    monkeypatch.chdir("/")
    assert _read_in_child(copy) == here
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(_read_in_child, (file,)) == here


def test_a_file_that_changes_under_the_reader_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.h5"
    write(path, rich())
    file = FeatureFile(path)
    write(path, with_modality(rich(), "bio", values=np.ones((5, 9))))
    with pytest.raises(UserError, match="changed after it was opened"):
        file.values("audio")
    path.unlink()
    with pytest.raises(UserError, match="cannot be read any more"):
        file.label("vad")


def test_verify_sees_what_opening_does_not(tmp_path: Path) -> None:
    path = tmp_path / "x.h5"
    write(path, rich())
    FeatureFile(path).verify()
    with h5py.File(path, "r+") as file:
        file["modalities/bio/values"][0, 0] += 1
    with pytest.raises(UserError, match="content hashes to"):
        FeatureFile(path).verify()


BAD_CONTENTS = {
    "nan": (with_modality(rich(), "bio", values=np.full((5, 4), np.nan)), ["modalities/bio", "-a_1", "4 non-finite"]),
    "too big for float32": (with_modality(rich(), "bio", values=np.full((5, 4), 1e300)), ["4 non-finite"]),
    "whole numbers": (with_modality(rich(), "bio", values=np.ones((5, 4), int)), ["modalities/bio", "floating"]),
    "one axis": (with_modality(rich(), "bio", values=np.ones(5)), ["modalities/bio", "(rows, features)"]),
    "lengths": (with_modality(rich(), "bio", lengths=[1, 1, 1, 1, 0, 2]), ["modalities/bio", "sum to 6", "expected 5"]),
    "negative length": (with_modality(rich(), "bio", lengths=[1, 1, 1, 1, 2, -1]), ["modalities/bio", "lengths"]),
    "valid": (with_modality(rich(), "bio", valid=np.ones(4, bool)), ["modalities/bio/valid", "(5,)"]),
    "float mask": (with_modality(rich(), "bio", valid=np.ones(5)), ["modalities/bio/valid", "mask"]),
    "utterance": (with_modality(rich(), "bio", lengths=[2, 0, 1, 1, 0, 1]), ["modalities/bio", "-a_1", "at most one"]),
    "kind": (with_modality(rich(), "bio", kind="bag"), ["modalities/bio@kind", "bag", "utterance"]),
    "names": (with_modality(rich(), "bio", names=["a", "b"]), ["modalities/bio/names", "2 entries", "expected 4"]),
    "rate": (with_modality(rich(), "bio", rate_hz=-1.0), ["modalities/bio@rate_hz", "-1"]),
    "no rate": (with_modality(rich(), "bio", rate_hz=None), ["modalities/bio@rate_hz", "float"]),
    "not text": (with_modality(rich(), "bio", unit=3), ["modalities/bio@unit", "expected text"]),
    "class": (with_labels(rich(), "emotion", values=np.full(6, 3)), ["labels/emotion", "-a_1", "0..2"]),
    "float class": (with_labels(rich(), "emotion", values=np.zeros(6)), ["labels/emotion", "whole numbers"]),
    "label shape": (with_labels(rich(), "vad", values=np.ones((6, 3))), ["labels/vad", "(6, 2)"]),
    "label range": (with_labels(rich(), "vad", range=(2, 3)), ["labels/vad", "out of range", "2 to 3"]),
    "label nan": (with_labels(rich(), "vad", values=np.full((6, 2), np.nan)), ["labels/vad", "2 labels out of range"]),
    "half a label": (with_labels(rich(), "au", values=np.full((6, 2), 0.5)), ["labels/au", "0 or 1"]),
    "same class": (with_labels(rich(), "emotion", names=("a", "b", "a")), ["labels/emotion@names[2]", "once"]),
    "label kind": (with_labels(rich(), "vad", kind="Regression"), ["labels/vad@kind", "Regression"]),
    "no lengths": (with_labels(rich(), "trace", lengths=None), ["labels/trace/lengths", "(6,)"]),
    "no clock": (with_labels(rich(), "trace", rate_hz=0.0), ["labels/trace@rate_hz", "clock"]),
    "slug": (replace(rich(), corpus="IEMO_CAP"), ["@corpus", "IEMO_CAP"]),
    "same id": (replace(rich(), ids=[*IDS[:5], IDS[0]]), ["items/id", "-a_1", "2 times"]),
    "empty id": (replace(rich(), ids=[*IDS[:5], ""]), ["items/id[5]", "empty id"]),
    "dotted id": (replace(rich(), ids=[*IDS[:5], ".hidden"]), ["items/id[5]", ".hidden"]),
    "id with newline": (replace(rich(), ids=[*IDS[:5], "f\n"]), ["items/id[5]", r"f\n"]),
    "long id": (replace(rich(), ids=[*IDS[:5], "f" * 129]), ["items/id[5]", "1 to 128"]),
    "unicode id": (replace(rich(), ids=[*IDS[:5], "é"]), ["items/id[5]", "é"]),
    "number as id": (replace(rich(), ids=[*IDS[:5], 71309]), ["ids[5]", "71309", "text"]),
    "speakers": (replace(rich(), speaker=["a"]), ["speaker", "1 entries", "expected 6"]),
    "empty speaker": (replace(rich(), speaker=["", *"abcde"]), ["vocab/speaker", "empty"]),
    "long speaker": (replace(rich(), speaker=["é" * 101, *"abcde"]), ["vocab/speaker", "202 bytes"]),
    "bidi speaker": (replace(rich(), speaker=["a\u202eb", *"abcde"]), ["vocab/speaker", "invisible"]),
    "surrogate": (replace(rich(), text=["\ud800", *"abcde"]), ["text[0]", "Unicode"]),
    "nul": (replace(rich(), text=["a\0", *"abcde"]), ["text[0]", "NUL"]),
    "endless text": (replace(rich(), text=["a" * 70_000, *"abcde"]), ["text[0]", "70000"]),
    "name with slash": (replace(rich(), attrs={"a/b": np.zeros(6)}), ["attrs", "a/b"]),
    "truth": (replace(rich(), truth={"x": np.float32(1)}), ["@truth", "JSON"]),
    "truth nan": (replace(rich(), truth={"x": float("nan")}), ["@truth", "JSON"]),
    "truth of real data": (replace(rich(), synthetic=False), ["@truth", "synthetic"]),
    "endless truth": (replace(rich(), truth={"x": "a" * (17 << 20)}), ["@truth", "at most"]),
    "endless notes": (replace(rich(), notes="é" * (9 << 20)), ["@notes", "at most"]),
    "surrogate in the truth": (replace(rich(), truth={"x": "\ud800"}), ["@truth", "Unicode"]),
    "far order": (replace(rich(), order=[2**40] * 6), ["order", "beyond"]),
    "no items": (Contents("toy", [], {"m": Modality(np.zeros((0, 1)), [])}), ["items/id", "no items"]),
    "no modality": (replace(rich(), modalities={}), ["modalities", "at least one"]),
    "backwards": (replace(rich(), end_s=np.zeros(6)), ["items/end_s", "_b.2", "before start_s"]),
}


@pytest.mark.parametrize("case", BAD_CONTENTS)
def test_bad_contents_are_refused_and_nothing_is_left(tmp_path: Path, case: str) -> None:
    contents, fragments = BAD_CONTENTS[case]
    with pytest.raises(UserError) as caught:
        write(tmp_path / "x.h5", contents)
    for fragment in ["x.h5", "not written", "expected", *fragments]:
        assert fragment in str(caught.value)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_failure_while_writing_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.h5"
    write(path, rich())
    before = path.read_bytes()

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(writer.os, "fsync", full)
    with pytest.raises(UserError, match="No space left"):
        write(path, with_labels(rich(), "emotion", definition="other"))
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


def test_killed_while_writing_leaves_no_file(tmp_path: Path) -> None:
    code = (
        "import os, signal; from mer_bench.merh5 import writer; from tests.merh5.cases import rich\n"
        "writer.os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL)\n"
        f"writer.write({str(tmp_path / 'x.h5')!r}, rich())"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    assert not (tmp_path / "x.h5").exists()


def test_a_folder_is_no_target_and_missing_folders_are_made(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="folder"):
        write(tmp_path, rich())
    write(tmp_path / "new" / "deep" / "x.h5", rich())
    assert check(tmp_path / "new" / "deep" / "x.h5") == []


def test_the_caller_keeps_its_arrays(tmp_path: Path) -> None:
    contents = rich()
    before = {name: modality.values.copy() for name, modality in contents.modalities.items()}
    write(tmp_path / "x.h5", contents)
    for name, values in before.items():
        assert np.array_equal(contents.modalities[name].values, values, equal_nan=True)


def test_check_needs_little_memory(tmp_path: Path) -> None:
    rows = 80_000
    write(tmp_path / "x.h5", Contents("toy", ["a"], {"m": Modality(np.ones((rows, 200), np.float32), [rows])}))
    tracemalloc.start()
    assert check(tmp_path / "x.h5") == []
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 30 << 20 < (tmp_path / "x.h5").stat().st_size / 2
