"""`.npy` and `.npz` of strangers."""

from __future__ import annotations

import io
import os
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mer_bench.errors import UserError
from mer_bench.prepare import arrays
from mer_bench.prepare.arrays import load_npy, load_npz
from tests.realdata import REALDATA, needs_real

KINDS = (
    hnp.boolean_dtypes() | hnp.integer_dtypes() | hnp.floating_dtypes(sizes=(16, 32, 64)) | hnp.unicode_string_dtypes()
)


class Touch:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return os.system, (f"touch '{self.path}'",)


def header(shape: tuple, descr: str = "<f8") -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": descr, "fortran_order": False, "shape": shape})
    return stream.getvalue()


@given(hnp.arrays(KINDS, hnp.array_shapes(min_dims=0, min_side=0)), st.booleans(), st.booleans())
def test_arrays_come_through(
    tmp_path_factory: pytest.TempPathFactory, array: np.ndarray, fortran: bool, pack: bool
) -> None:
    folder = tmp_path_factory.mktemp("arrays")
    array = np.asfortranarray(array) if fortran else array
    np.save(folder / "a.npy", array)
    (np.savez_compressed if pack else np.savez)(folder / "a.npz", first=array, second=np.arange(3))
    for found in (load_npy(folder / "a.npy"), load_npz(folder / "a.npz")["first"]):
        assert found.dtype == array.dtype
        np.testing.assert_array_equal(found, array)


def test_object_arrays_hold_plain_data_only(tmp_path: Path) -> None:
    canary, file = tmp_path / "canary", tmp_path / "a.npz"
    np.savez(file, fine=np.array({"a": {"emo": 1}}, object), also=np.array([[1, "x"], [None, (2,)]], object))
    found = load_npz(file)
    assert found["fine"].item() == {"a": {"emo": 1}}
    assert found["also"].tolist() == [[1, "x"], [None, (2,)]]
    np.savez(file, gadget=np.array([Touch(canary)], object))
    with pytest.raises(UserError, match=r"a\.npz: gadget\.npy: refused, nothing was executed: .*system"):
        load_npz(file)
    assert not canary.exists()
    np.load(file, allow_pickle=True)["gadget"]
    assert canary.exists(), "this gadget would not act anyway: mend the test"


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (header((10**13,)) + b"\0" * 80, "declares"),
        (header((-1,)) + b"\0" * 80, "declares"),
        (header((11,)) + b"\0" * 80, "declares"),
        (header((10**9,), "|O") + pickle.dumps(np.array([1], object)), "objects of shape"),
        (header((1,), "|O") + pickle.dumps([1]), "objects of shape"),
        (header((1,), "<M8[s]") + b"\0" * 8, "array type"),
        (header((1,), "|V8") + b"\0" * 8, "array type"),
        (header((1,), "|S0"), "array type"),
        (header((1,))[:20], "not a .npy array"),
        (b"\x93NUMPY\x09\x00", "version"),
        (b"PK\x03\x04", "not a .npy array"),
        (b"", "not a .npy array"),
    ],
)
def test_bad_arrays_are_refused(tmp_path: Path, data: bytes, says: str) -> None:
    file = tmp_path / "a.npy"
    file.write_bytes(data)
    with pytest.raises(UserError, match=says) as refused:
        load_npy(file)
    assert str(file) in str(refused.value)


def test_structured_arrays_with_objects_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros(2, [("a", "f4"), ("b", object)]), allow_pickle=True)
    with pytest.raises(UserError, match="array type"):
        load_npy(tmp_path / "a.npy")


def test_archives_that_unpack_to_far_more_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "a.npz"
    np.savez_compressed(file, bomb=np.zeros(2**20))
    assert load_npz(file)["bomb"].size == 2**20  # eight megabytes harm nobody
    monkeypatch.setattr(arrays, "FREE_SIZE", 2**20)
    with pytest.raises(UserError, match="would unpack to"):
        load_npz(file)


OUTSIDE = (
    "../evil.npy",
    "..\\evil.npy",
    "/tmp/evil.npy",
    "C:evil.npy",
    "a/../../evil.npy",
    "..",
    ".npy",
    "a\0.npy",
    "a\n.npy",
)


@pytest.mark.parametrize("name", OUTSIDE)
def test_members_that_lead_elsewhere_are_refused(tmp_path: Path, name: str) -> None:
    """Nothing is ever unpacked to the disk; an archive that was made to do harm there is refused all the same."""
    file = tmp_path / "inner" / "a.npz"
    file.parent.mkdir()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a.npy", header((0,)))
        entry = zipfile.ZipInfo("placeholder")
        entry.filename = name  # as it is: the constructor would cut and change it
        archive.writestr(entry, header((0,)))
    with pytest.raises(UserError, match=r"a\.npz: refused: member .* could lead out of a folder"):
        load_npz(file)
    assert {path.name for path in tmp_path.rglob("*")} == {"inner", "a.npz"}


def test_members_that_are_no_arrays_or_stand_twice(tmp_path: Path) -> None:
    file = tmp_path / "a.npz"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("evil.sh", "true")
    with pytest.raises(UserError, match="evil"):
        load_npz(file)
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a.npy", header((0,)))
        archive.writestr("a.npy", header((0,)))
    with pytest.raises(UserError, match="same name"):
        load_npz(file)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.95, 0.999])
def test_truncated_archives_are_named(tmp_path: Path, share: float) -> None:
    file = tmp_path / "a.npz"
    np.savez(file, a=np.arange(1000.0), b=np.arange(3))
    file.write_bytes(file.read_bytes()[: int(share * file.stat().st_size)])
    with pytest.raises(UserError, match=r"a\.npz"):
        load_npz(file)


def test_damaged_content_is_noticed(tmp_path: Path) -> None:
    file = tmp_path / "a.npz"
    np.savez(file, a=np.arange(1000.0))
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 255
    file.write_bytes(data)
    with pytest.raises(UserError, match="not a complete"):
        load_npz(file)


def test_missing_files(tmp_path: Path) -> None:
    for load in (load_npy, load_npz):
        with pytest.raises(UserError, match="none"):
            load(tmp_path / "none")


@needs_real("iemocap")
def test_real_label_archives_load() -> None:
    found = load_npz(REALDATA / "iemocap" / "merbench_labels_text" / "label_4way.npz")
    assert len(found["whole_corpus"].item()) == 5531
