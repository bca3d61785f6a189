"""Files made to do harm or damaged on the way: refused, with nothing followed and nothing big read."""

from __future__ import annotations

import random
import re
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from mer_bench.errors import UserError
from mer_bench.merh5 import FeatureFile, check, opening, write
from tests.merh5.cases import damaged, plain_copy, rich, swap

VALUES = "modalities/audio/values"
SHAPE = (11, 3)


def _external_storage(file: h5py.File) -> None:
    secret = Path(file.filename).with_name("secret")
    secret.write_bytes(np.full(SHAPE, 7, "<f4").tobytes())
    del file[VALUES]
    file.create_dataset(VALUES, SHAPE, "<f4", external=[(str(secret), 0, h5py.h5f.UNLIMITED)])


def _virtual(file: h5py.File) -> None:
    other = Path(file.filename).with_name("other.h5")
    with h5py.File(other, "w") as source:
        source["x"] = np.zeros(SHAPE, "<f4")
    layout = h5py.VirtualLayout(SHAPE, "<f4")
    layout[:] = h5py.VirtualSource(other, "x", SHAPE)
    del file[VALUES]
    file.create_virtual_dataset(VALUES, layout)


def _link(link: Callable[[h5py.File], object]) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        target = link(file)
        del file[VALUES]
        file[VALUES] = target

    return change


def _filtered(**how: object) -> Callable[[h5py.File], None]:
    return lambda file: swap(file, VALUES, np.zeros(SHAPE, "<f4"), **how)


def _unknown_filter(file: h5py.File) -> None:
    plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plist.set_chunk(SHAPE)
    plist.set_filter(40_000, h5py.h5z.FLAG_OPTIONAL, (1,))
    del file[VALUES]
    group = file["modalities/audio"]
    h5py.h5d.create(group.id, b"values", h5py.h5t.IEEE_F32LE, h5py.h5s.create_simple(SHAPE), plist)


def _objects(file: h5py.File) -> None:
    swap(file, "items/id", np.array(["a"] * 6, dtype=object), dtype=h5py.string_dtype())


def _references(file: h5py.File) -> None:
    swap(file, VALUES, np.array([file.ref] * 6, dtype=h5py.ref_dtype))


def _compound(file: h5py.File) -> None:
    swap(file, VALUES, np.zeros(SHAPE, [("a", "<f4"), ("b", "<f4")]))


def _nothing_there(shape: tuple[int, ...], **how: object) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        del file[VALUES]
        file.create_dataset(VALUES, shape, "<f4", **how)

    return change


def _null(file: h5py.File) -> None:
    del file[VALUES]
    file[VALUES] = h5py.Empty("<f4")


def _compact(file: h5py.File) -> None:
    plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plist.set_layout(h5py.h5d.COMPACT)
    del file[VALUES]
    group = file["modalities/audio"]
    h5py.h5d.create(group.id, b"values", h5py.h5t.IEEE_F32LE, h5py.h5s.create_simple(SHAPE), plist)


def _cycle(file: h5py.File) -> None:
    file["modalities/loop"] = file["modalities"]


def _named_type(file: h5py.File) -> None:
    file["labels/type"] = np.dtype("<f4")


def _text_attribute_elsewhere(file: h5py.File) -> None:
    file["modalities/audio"].attrs["note"] = "a string of variable length"


def _deep_json(file: h5py.File) -> None:
    raw = b"[" * 50_000
    del file.attrs["truth"]
    file.attrs.create("truth", np.bytes_(raw), dtype=h5py.string_dtype("utf-8", len(raw)))


HOSTILE = {
    "external storage": (_external_storage, VALUES, "external storage"),
    "virtual data set": (_virtual, VALUES, "virtual"),
    "soft link": (_link(lambda f: h5py.SoftLink("/modalities/bio/values")), VALUES, "soft link"),
    "dangling link": (_link(lambda f: h5py.SoftLink("/nowhere")), VALUES, "soft link"),
    "external link": (_link(lambda f: h5py.ExternalLink("/etc/passwd", "/")), VALUES, "external link"),
    "hard link": (
        _link(lambda f: f["modalities/bio/values"]),
        "modalities/bio/values",
        "a second link to /modalities/audio",
    ),
    "loop": (_cycle, "modalities/loop", "second link to /modalities "),
    "gzip": (_filtered(compression="gzip"), VALUES, "chunked storage with filter deflate"),
    "checksum filter": (_filtered(fletcher32=True), VALUES, "chunked storage with filter fletcher32"),
    "unknown filter": (_unknown_filter, VALUES, "chunked storage with filter"),
    "chunks": (_filtered(chunks=(2, 3)), VALUES, "chunked storage (expected contiguous"),
    "compact": (_compact, VALUES, "compact storage"),
    "objects": (_objects, "items/id", "variable-length strings, references or objects"),
    "references": (_references, VALUES, "variable-length strings, references or objects"),
    "compound": (_compound, VALUES, "|V8"),
    "named type": (_named_type, "labels/type", "datatype not known"),
    "bomb": (_nothing_there((10**11 // 3, 3)), VALUES, "declares 399999999996 bytes, holds 0"),
    "bomb beyond 64 bits": (_nothing_there((2**40, 2**18)), VALUES, "holds 0 (expected a size that fits"),
    "chunked bomb": (_nothing_there((10**11, 1), chunks=(1000, 1)), VALUES, "chunked"),
    "null space": (_null, VALUES, "shape None"),
    "attribute on data": (lambda f: f[VALUES].attrs.create("x", 1), VALUES, "attributes on a dataset"),
    "long attribute": (_text_attribute_elsewhere, "modalities/audio@note", "not a string of fixed length"),
    "deep json": (_deep_json, "@truth", "recursion"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_storage_is_refused_unread(tmp_path: Path, name: str) -> None:
    change, place, says = HOSTILE[name]
    path = tmp_path / "x.h5"
    tracemalloc.start()
    faults = damaged(path, change)
    assert tracemalloc.get_traced_memory()[1] < 16 << 20
    tracemalloc.stop()
    assert [fault for fault in faults if fault.place == place and says in fault.message], faults
    with pytest.raises(UserError, match=r"x\.h5"):
        FeatureFile(path)


def _layouts(path: Path) -> dict[str, bytes]:
    """Address and size of each dataset as the format without checksums stores them."""
    with h5py.File(path) as file:
        found: list[str] = []
        file.visit(found.append)
        spans = {
            name: (file[name].id.get_offset(), file[name].nbytes) for name in found if hasattr(file[name], "nbytes")
        }
    return {name: start.to_bytes(8, "little") + size.to_bytes(8, "little") for name, (start, size) in spans.items()}


def test_a_forged_address(tmp_path: Path) -> None:
    """Two datasets on the same bytes, and one that reaches beyond the end; forged where no checksum guards."""
    write(tmp_path / "x.h5", rich())
    plain_copy(tmp_path / "x.h5", tmp_path / "y.h5")
    layouts, raw = _layouts(tmp_path / "y.h5"), (tmp_path / "y.h5").read_bytes()
    mine, other = layouts[VALUES], layouts["modalities/bio/values"]
    assert raw.count(mine) == 1
    for address, says in (
        (int.from_bytes(other[:8], "little") + 4, "shares bytes with /"),
        (len(raw) - 4, "expected a size|undamaged"),
    ):
        (tmp_path / "y.h5").write_bytes(raw.replace(mine, address.to_bytes(8, "little") + mine[8:]))
        faults = check(tmp_path / "y.h5")
        assert any(re.search(says, fault.message) for fault in faults), faults
        with pytest.raises(UserError, match=says):
            FeatureFile(tmp_path / "y.h5")


def test_a_forged_size(tmp_path: Path) -> None:
    write(tmp_path / "x.h5", rich())
    plain_copy(tmp_path / "x.h5", tmp_path / "y.h5")
    mine, raw = _layouts(tmp_path / "y.h5")[VALUES], (tmp_path / "y.h5").read_bytes()
    shape, rows = b"".join(size.to_bytes(8, "little") for size in SHAPE), 10**10
    raw = raw.replace(shape, rows.to_bytes(8, "little") + shape[8:])
    raw = raw.replace(mine, mine[:8] + (rows * 12).to_bytes(8, "little"))
    (tmp_path / "y.h5").write_bytes(raw)
    (fault, *_) = [fault for fault in check(tmp_path / "y.h5") if fault.place == VALUES]
    assert "declares 120000000000 bytes" in fault.message or "cannot be read" in fault.message


def test_user_block(tmp_path: Path) -> None:
    write(tmp_path / "x.h5", rich())
    (tmp_path / "y.h5").write_bytes(b"#!/bin/sh".ljust(512, b"\0") + (tmp_path / "x.h5").read_bytes())
    assert "user block" in str(check(tmp_path / "y.h5")[0])


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "not an HDF5"),
        (b"id,label\n", "not an HDF5"),
        (b"\x89HDF\r\n\x1a\n", "cannot be opened"),
        (None, "no such file"),
    ],
)
def test_foreign_files_give_one_fault(tmp_path: Path, content: bytes | None, says: str) -> None:
    path = tmp_path / "x.h5"
    if content is not None:
        path.write_bytes(content)
    (fault,) = check(path)
    assert says in fault.message
    with pytest.raises(UserError, match=says):
        FeatureFile(path)


def test_other_hdf5_and_folders_give_one_fault(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["d1"] = np.zeros(3)
    assert "not a merh5 file" in check(tmp_path / "x.h5")[0].message
    assert "not a file" in check(tmp_path)[0].message
    assert "cannot be opened: File name too long" in check(tmp_path / ("x" * 300))[0].message
    assert check("x\0y.h5")


def test_endless_lists_of_objects_are_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "MAX_OBJECTS", 20)
    write(tmp_path / "x.h5", rich())
    with h5py.File(tmp_path / "x.h5", "r+") as file:
        for number in range(100):
            file.create_group(f"group{number}")
    faults = check(tmp_path / "x.h5")
    assert [fault for fault in faults if "more than 20 objects" in fault.message]
    assert sum("not known" in fault.message for fault in faults) <= 20


def test_truncated_anywhere(tmp_path: Path) -> None:
    path = tmp_path / "x.h5"
    write(path, rich())
    raw = path.read_bytes()
    for length in [*range(0, len(raw), len(raw) // 50), len(raw) - 1]:
        path.write_bytes(raw[:length])
        assert len(check(path)) == 1
        with pytest.raises(UserError):
            FeatureFile(path)
    assert f"{len(raw) - 1} bytes (expected {len(raw)})" in check(path)[0].message


def test_each_flipped_bit_of_the_values_is_found(tmp_path: Path) -> None:
    path = tmp_path / "x.h5"
    write(path, rich())
    raw = path.read_bytes()
    with h5py.File(path) as file:
        spans: list[range] = []
        file.visititems(
            lambda _, item: (
                spans.append(range(item.id.get_offset(), item.id.get_offset() + item.nbytes))
                if isinstance(item, h5py.Dataset)
                else None
            )
        )
    draw = random.Random(0)
    for _ in range(100):
        changed = bytearray(raw)
        changed[draw.choice(draw.choice(spans))] ^= 1 << draw.randrange(8)
        path.write_bytes(changed)
        assert check(path)


def test_damage_to_the_first_headers_never_raises(tmp_path: Path) -> None:
    path = tmp_path / "x.h5"
    write(path, rich())
    raw = path.read_bytes()
    for at in range(0, 1024, 16):
        path.write_bytes(raw[:at] + bytes([raw[at] ^ 4]) + raw[at + 1 :])
        if check(path):
            with pytest.raises(UserError):
                FeatureFile(path)


def _everything(path: Path) -> list[object]:
    file = FeatureFile(path)
    parts: list[object] = [file.attrs, file.ids, file.text(), file.start_s.tobytes(), file.end_s.tobytes(), file.order]
    parts += [file.column(name).tolist() for name in file.columns if name != "age"]
    parts += [(file.values(m).tobytes(), file.valid(m).tobytes(), str(info)) for m, info in file.modalities.items()]
    parts += [(*map(np.ndarray.tobytes, file.label(t)), str(info)) for t, info in file.labels.items()]
    return [str(part) for part in parts] + [file.split_table(s).tobytes() for s in file.splits]


def test_a_flipped_bit_anywhere_is_found_or_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "x.h5"
    write(path, rich())
    raw, whole = path.read_bytes(), _everything(path)
    draw = random.Random(1)
    found = 0
    for _ in range(150):
        changed = bytearray(raw)
        changed[draw.randrange(len(raw))] ^= 1 << draw.randrange(8)
        path.write_bytes(changed)
        faults = check(path)
        found += bool(faults)
        assert faults or _everything(path) == whole
    assert found > 50
