from __future__ import annotations

import hashlib
import io
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mer_bench.errors import UserError
from mer_bench.results.record import read_predictions, write_predictions, write_record
from tests.results.factory import make

IDS = ["Ses01F_impro01_F000", "Ses01F_impro01_M000", "é"]
OUTPUTS = {"full/emotion": np.arange(12).reshape(3, 4) / 7, "no_audio/emotion": np.ones((3, 4), np.float32)}


@given(
    st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1), unique=True),
    st.integers(1, 3),
    st.integers(0, 99),
)
def test_round_trip(tmp_path_factory, ids, size, seed):
    path = tmp_path_factory.mktemp("p") / "predictions.npz"
    values = np.random.default_rng(seed).normal(size=(len(ids), size)).astype(np.float32)
    sha = write_predictions(path, ids, {"full/va": values})
    found = read_predictions(path)
    assert found.ids == ids and found.lengths is None
    assert found.outputs["full/va"].dtype == np.float32 and (found.outputs["full/va"] == values).all()
    assert sha == hashlib.sha256(path.read_bytes()).hexdigest()


def test_frames_end_to_end_with_lengths(tmp_path):
    path = tmp_path / "predictions.npz"
    frames = np.arange(10, dtype=np.float32).reshape(5, 2)
    write_predictions(path, ["a", "b", "c"], {"full/va": frames}, lengths=[2, 0, 3])
    found = read_predictions(path)
    assert found.lengths.tolist() == [2, 0, 3] and (found.outputs["full/va"] == frames).all()
    for lengths, message in [([2, 3], r"lengths of shape \(2,\) for 3 items"), ([2, 0, 2], r"expected \(4, size\)")]:
        with pytest.raises(UserError, match=message):
            write_predictions(path, ["a", "b", "c"], {"full/va": frames}, lengths=lengths)


def test_the_same_content_gives_the_same_bytes(tmp_path):
    one, two = tmp_path / "a" / "p.npz", tmp_path / "b" / "p.npz"
    first = write_predictions(one, IDS, OUTPUTS)
    second = write_predictions(two, IDS, {key: OUTPUTS[key].astype("f8") for key in reversed(OUTPUTS)})
    assert first == second and one.read_bytes() == two.read_bytes()
    with zipfile.ZipFile(one) as archive:  # nor does the clock matter
        assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_numpy_reads_it_without_pickles(tmp_path):
    write_predictions(tmp_path / "p.npz", IDS, OUTPUTS)
    with np.load(tmp_path / "p.npz", allow_pickle=False) as arrays:
        assert set(arrays) == {"ids", *OUTPUTS}
        assert [item.decode() for item in arrays["ids"]] == IDS


@pytest.mark.parametrize(
    ("ids", "outputs", "message"),
    [
        (["a", "a"], {"full/x": np.ones((2, 1))}, "not unique"),
        (["a", ""], {"full/x": np.ones((2, 1))}, "empty or not unique"),
        (["a"], {"full/x": np.ones((2, 1))}, r"full/x has shape \(2, 1\); expected \(1, size\)"),
        (["a"], {"full/x": np.ones(1)}, r"expected \(1, size\)"),
        (["a"], {"x": np.ones((1, 1))}, "expected condition/task"),
        (["a"], {"../x/y": np.ones((1, 1))}, "expected condition/task"),
        (["a"], {"full/x": np.array([[np.nan]])}, "not finite"),
    ],
)
def test_what_is_no_prediction_is_refused_and_nothing_written(tmp_path, ids, outputs, message):
    with pytest.raises(UserError, match=message):
        write_predictions(tmp_path / "run" / "predictions.npz", ids, outputs)
    assert not (tmp_path / "run").exists()


def test_predictions_of_a_finished_run_are_never_replaced(tmp_path):
    path = tmp_path / "predictions.npz"
    write_predictions(path, IDS, {"full/emotion": np.zeros((3, 4))})
    sha = write_predictions(path, IDS, OUTPUTS)  # the run was interrupted before its record: start over
    write_record(tmp_path, make(files={"predictions.npz": sha}))
    assert write_predictions(path, IDS, OUTPUTS) == sha
    with pytest.raises(UserError, match=r"CONFLICT: .*predictions.npz belongs to the finished run"):
        write_predictions(path, IDS, {"full/emotion": np.zeros((3, 4))})
    assert hashlib.sha256(path.read_bytes()).hexdigest() == sha


def npz(compression=zipfile.ZIP_STORED, **arrays) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, array in arrays.items():
            part = io.BytesIO()
            np.lib.format.write_array(part, array)
            archive.writestr(f"{name.replace('__', '/')}.npy", part.getvalue())
    return buffer.getvalue()


GOOD = {"ids": np.array([b"a"]), "full__x": np.ones((1, 1), np.float32)}


def stating(shape: tuple[int, ...], content: bytes = b"", flags: int = 0) -> bytes:
    """A small file whose array states a shape; with other content, or marked as encrypted."""
    part = io.BytesIO()
    np.lib.format.write_array_header_1_0(part, {"descr": "<f4", "fortran_order": False, "shape": shape})
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("full/x.npy", content or part.getvalue() + b"abcd")
        archive.filelist[0].flag_bits |= flags
    return buffer.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"PK\x03\x04 torn",
        npz(**GOOD)[:-40],
        npz(zipfile.ZIP_DEFLATED, **GOOD),
        npz(**(GOOD | {"full__x": np.array([[{}]])})),
        npz(**(GOOD | {"full__x": np.ones((1, 1))})),
        npz(**(GOOD | {"full__x": np.ones((2, 1), np.float32)})),
        npz(**(GOOD | {"other": np.ones((1, 1), np.float32)})),
        npz(**(GOOD | {"ids": np.array([1])})),
        npz(**(GOOD | {"lengths": np.array([1.0])})),
        npz(full__x=GOOD["full__x"]),
        stating((10**13,)),  # as many bytes as no machine has
        stating((1,), flags=1),
        stating((1,), b"\x93NUMPY\x01\x00\x04\x00((((" + b"x" * 90),
    ],
)
def test_damaged_or_foreign_files_are_refused(tmp_path, content):
    path = tmp_path / "p.npz"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"p.npz: no readable predictions"):
        read_predictions(path)


def test_every_bit_flip_is_noticed(tmp_path):
    """The zip's checksums cover the values, the record's hash everything."""
    path = tmp_path / "p.npz"
    sha = write_predictions(path, IDS, OUTPUTS)
    good, whole = read_predictions(path, sha), path.read_bytes()
    rng = np.random.default_rng(0)
    for position in rng.choice(len(whole), 150, replace=False):
        flipped = bytearray(whole)
        flipped[position] ^= 1 << int(rng.integers(8))
        path.write_bytes(flipped)
        with pytest.raises(UserError, match="not the predictions of the record"):
            read_predictions(path, sha)
        try:
            found = read_predictions(path)
        except UserError:
            continue
        assert found.ids == good.ids
        assert all((values == good.outputs[key]).all() for key, values in found.outputs.items())


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        read_predictions(tmp_path / "p.npz")
