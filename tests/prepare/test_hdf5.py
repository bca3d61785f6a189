"""HDF5 files of strangers: what is made to do harm is refused, and nothing outside the file is opened or read."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from mer_bench.errors import UserError
from mer_bench.prepare import Request, hdf5, prepare
from tests.prepare.fake_cmu import make_sdk, videos

VIDEO = videos("mosei")[0]


def _data(file: h5py.File) -> h5py.Group:
    return next(iter(file.values()))["data"]


def _link(make: Callable[[h5py.File], object], place: str = "features") -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        group = _data(file)[VIDEO]
        target = make(file)
        del group[place]
        group[place] = target

    return change


def _external_storage(file: h5py.File) -> None:
    group = _data(file)[VIDEO]
    shape = group["features"].shape
    secret = Path(file.filename).with_name("secret")
    secret.write_bytes(np.full(shape, 7, "<f4").tobytes())
    del group["features"]
    group.create_dataset("features", shape, "<f4", external=[(str(secret), 0, h5py.h5f.UNLIMITED)])


def _virtual(file: h5py.File) -> None:
    group = _data(file)[VIDEO]
    shape = group["features"].shape
    other = Path(file.filename).with_name("other.h5")
    with h5py.File(other, "w") as source:
        source["x"] = np.zeros(shape, "<f4")
    layout = h5py.VirtualLayout(shape, "<f4")
    layout[:] = h5py.VirtualSource(other, "x", shape)
    del group["features"]
    group.create_virtual_dataset("features", layout)


def _bomb(file: h5py.File) -> None:
    """Zeros that unpack to a thousand times their size."""
    group = _data(file)[VIDEO]
    del group["features"]
    group.create_dataset("features", (1 << 20, 400), "<f4", compression="gzip", chunks=(1 << 12, 400), fillvalue=0)
    group["features"][:4096] = 0


def _nothing_there(file: h5py.File) -> None:
    """A contiguous dataset that was never written holds nothing, whatever it declares."""
    group = _data(file)[VIDEO]
    count = len(group["intervals"])
    del group["features"]
    group.create_dataset("features", (count, 1 << 30), "<f4")


def _unknown_filter(file: h5py.File) -> None:
    group = _data(file)[VIDEO]
    shape = group["features"].shape
    plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plist.set_chunk(shape)
    plist.set_filter(40_000, h5py.h5z.FLAG_OPTIONAL, (1,))
    del group["features"]
    h5py.h5d.create(group.id, b"features", h5py.h5t.IEEE_F32LE, h5py.h5s.create_simple(shape), plist)


def _objects(file: h5py.File) -> None:
    group = _data(file)[VIDEO]
    values = np.full(group["features"].shape, "x", object)
    del group["features"]
    group.create_dataset("features", data=values, dtype=h5py.string_dtype())


def _second_root(file: h5py.File) -> None:
    file.create_group("more")


def _loop(file: h5py.File) -> None:
    data = _data(file)
    del data[VIDEO]
    data[VIDEO] = data


HOSTILE = {
    "soft link": (_link(lambda f: h5py.SoftLink("/nowhere")), "features: refused: a soft link"),
    "external link": (_link(lambda f: h5py.ExternalLink("/etc/passwd", "/")), "features: refused: an external link"),
    "a video elsewhere": (
        lambda f: (_data(f).__delitem__(VIDEO), _data(f).__setitem__(VIDEO, h5py.ExternalLink("other.h5", "/"))),
        "refused: an external link",
    ),
    "one object, two names": (_link(lambda f: _data(f)[videos("mosei")[1]]["features"]), "a second name of an object"),
    "a loop": (_loop, "refused: a second name of an object"),
    "external storage": (_external_storage, "lie in another file"),
    "virtual dataset": (_virtual, "made of other files"),
    "bomb": (_bomb, "would unpack to more than"),
    "declared, not held": (_nothing_there, "bytes, holds 0"),
    "unknown filter": (_unknown_filter, "packed with filter 40000"),
    "strings of variable length": (_objects, "expected numbers or strings of fixed length"),
    "two sequences": (_second_root, "2 groups at the top"),
}


@pytest.mark.parametrize("attack", HOSTILE)
def test_hostile_sequences_are_refused(tmp_path: Path, attack: str) -> None:
    change, says = HOSTILE[attack]
    sdk = make_sdk(tmp_path / "sdk")
    path = sdk.root / "highlevel" / "CMU_MOSEI_COVAREP.csd"
    with h5py.File(path, "r+") as file:
        change(file)
    tracemalloc.start()
    try:
        with pytest.raises(UserError, match=says) as caught:
            prepare("mosei", Request(sdk.root), tmp_path / "out.h5")
        assert tracemalloc.get_traced_memory()[1] < 64 << 20
    finally:
        tracemalloc.stop()
    assert str(path) in str(caught.value)
    assert not (tmp_path / "out.h5").exists()


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    """Cut anywhere, or with any byte of the first pages changed: a message or an honest result, never a crash."""
    sdk = make_sdk(tmp_path / "sdk")
    path = sdk.root / "highlevel" / "CMU_MOSEI_COVAREP.csd"
    whole = path.read_bytes()
    for size in (0, 3, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(UserError, match=r"COVAREP\.csd: (not an HDF5 file|damaged or cut short)"):
            prepare("mosei", Request(sdk.root), None)
    rng = np.random.default_rng(0)
    for position in rng.integers(0, 4096, 40):
        damaged = bytearray(whole)
        damaged[position] ^= 0xFF
        path.write_bytes(damaged)
        try:
            prepare("mosei", Request(sdk.root), None)
        except UserError as error:
            assert len(str(error).splitlines()) == 1


def test_packed_files_are_read(tmp_path: Path) -> None:
    """Newer releases of the SDK pack their files."""
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.create_dataset("x", data=np.arange(12.0).reshape(6, 2), compression="gzip", shuffle=True, fletcher32=True)
        file.create_dataset("s", data=np.array([[b"a"], [b"\xff"]]))
    with hdf5.opened(tmp_path / "x.h5") as reader:
        found = hdf5.numbers(reader.dataset(reader.file, "x", 2), "x")
        np.testing.assert_array_equal(found, np.arange(12.0).reshape(6, 2))
        assert hdf5.strings(reader.dataset(reader.file, "s", 2), "s") == ["a", "�"]
        with pytest.raises(UserError, match="missing"):
            reader.dataset(reader.file, "y", 2)
        with pytest.raises(UserError, match="second name of an object"):
            reader.dataset(reader.file, "x", 2)
