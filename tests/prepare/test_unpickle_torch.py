"""Tensors inside pickles: the numbers that PyTorch wrote, read without it, and nothing else that a string asks for."""

from __future__ import annotations

import io
import pickle
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mer_bench.errors import UserError
from mer_bench.prepare.unpickle import load_pickle, loads
from mer_bench.prepare.unpickle_torch import MAGIC, VERSION, load_storage

DTYPES = ("float64", "float32", "float16", "int64", "int32", "int16", "int8", "uint8", "bool")


@pytest.mark.parametrize("protocol", [2, 4, 5])
@pytest.mark.parametrize("dtype", DTYPES)
def test_tensors_come_through(dtype: str, protocol: int) -> None:
    """Views of one storage with offsets and strides among them, as slices and transposes are pickled."""
    whole = torch.arange(24).reshape(4, 6).to(getattr(torch, dtype))
    views = {"whole": whole, "turned": whole.T, "part": whole[1:3, ::2], "one": whole[2, 3], "none": whole[:0]}
    found = loads(pickle.dumps(views, protocol), "here")
    for name, view in views.items():
        np.testing.assert_array_equal(found[name], view.numpy())
        assert found[name].dtype == view.numpy().dtype


@pytest.mark.parametrize("protocol", [2, 4])
def test_large_tensors_pass_the_budget(protocol: int) -> None:
    values = torch.rand(20_000, generator=torch.Generator().manual_seed(0))
    np.testing.assert_array_equal(loads(pickle.dumps([values, values[:10]], protocol), "here")[0], values.numpy())


def test_a_pickle_of_embeddings(tmp_path: Path) -> None:
    """As files of the field hold them: a list of tensors among text; no PyTorch is loaded to read them."""
    file = tmp_path / "embeddings.pkl"
    content = {
        "dia1": [torch.ones(3), torch.full((3,), 2.0)],
        "names": ["a", "b"],
        "grad": torch.ones(2, requires_grad=True),
    }
    file.write_bytes(pickle.dumps(content))
    found = load_pickle(file)
    np.testing.assert_array_equal(np.stack(found["dia1"]), [[1, 1, 1], [2, 2, 2]])
    code = (
        "import sys; from pathlib import Path; from mer_bench.prepare.unpickle import load_pickle\n"
        "load_pickle(Path(sys.argv[1])); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(file)], check=False).returncode == 0


class Reference:
    """Pickles as a reference to a storage."""

    def __init__(self, pid: Any) -> None:
        self.pid = pid


class Writer(pickle.Pickler):
    def persistent_id(self, obj: Any) -> Any:
        return obj.pid if isinstance(obj, Reference) else None


def written(reference: Any, *, magic: int = MAGIC, keys: Any = ("k",), count: int = 2, raw: bytes = b"\0" * 8) -> bytes:
    """A storage string put together by hand."""
    stream = io.BytesIO()
    for part in (magic, VERSION, {"little_endian": True}, reference, list(keys)):
        Writer(stream, 2).dump(part)
    return stream.getvalue() + struct.pack("<q", count) + raw


def reference(**change: Any) -> Reference:
    told = {"word": "storage", "type": torch.FloatStorage, "key": "k", "device": "cpu", "count": 2, **change}
    return Reference(tuple(told.values()))


def test_the_writer_of_this_test_is_right() -> None:
    np.testing.assert_array_equal(load_storage(written(reference()), "here").flat, [0, 0])


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (written(reference(), magic=1), "not in the form"),
        (written(reference(type=torch.BFloat16Storage)), "torch.BFloat16Storage"),
        (written(reference(type=print)), "__builtin__.print"),
        (written(reference(word="module")), "not named as PyTorch names it"),
        (written(reference(count=-1)), "no known type, key or size"),
        (written(reference(count=2**40), count=2**40), "declares 1099511627776 x float32"),
        (written(reference(), count=3), "declares 2 x float32"),
        (written(reference(), raw=b"\0" * 12), "holds 12 bytes"),
        (written(reference(), keys=("k", "other")), "not the only one"),
        (written([reference()]), "not in the form"),
        (written(reference())[:-20], "damaged|ends at byte|declares"),
        (b"PK\3\4 a newer file", "unknown instruction|damaged"),
        (b"", "ends at byte 0"),
    ],
)
def test_foreign_storages_are_refused(raw: bytes, says: str) -> None:
    outer = b"\x80\x02ctorch.storage\n_load_from_bytes\nB" + struct.pack("<I", len(raw)) + raw + b"\x85R."
    with pytest.raises(UserError, match=says) as refused:
        loads(outer, "this file")
    assert str(refused.value).startswith("this file")


@pytest.mark.parametrize(
    ("offset", "size", "stride", "says"),
    [
        (0, (3,), (1,), "beyond its storage"),
        (1, (2,), (1,), "beyond its storage"),
        (0, (2,), (2**47,), "beyond its storage"),
        (0, (-1,), (1,), "impossible shape"),
        (0, (2,), (-1,), "impossible shape"),
        (0, (2, 2), (1,), "without storage, shape or strides"),
        (0, (2**40, 2), (0, 1), "unpacks to far more"),
    ],
)
def test_tensors_outside_their_storage_are_refused(offset: int, size: tuple, stride: tuple, says: str) -> None:
    raw = written(reference())
    storage = b"ctorch.storage\n_load_from_bytes\nB" + struct.pack("<I", len(raw)) + raw + b"\x85R"
    rest = b"".join(pickle.dumps(part, 2)[2:-1] for part in (offset, size, stride))
    with pytest.raises(UserError, match=says):
        loads(b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n(" + storage + rest + b"\x89}tR.", "here")


def test_a_storage_is_no_data_of_its_own() -> None:
    raw = written(reference())
    outer = b"\x80\x02ctorch.storage\n_load_from_bytes\nB" + struct.pack("<I", len(raw)) + raw + b"\x85R."
    with pytest.raises(UserError, match="not plain data"):
        loads(outer, "here")


@given(st.data())
def test_damage_anywhere_is_a_user_error_or_plain_data(data: st.DataObject) -> None:
    honest = pickle.dumps({"a": torch.arange(6.0).reshape(2, 3).T}, 2)
    place = data.draw(st.integers(0, len(honest) - 1))
    byte = data.draw(st.integers(0, 255))
    try:
        loads(honest[:place] + bytes([byte]) + honest[place + 1 :], "here")
    except UserError as error:
        assert str(error).startswith("here")
