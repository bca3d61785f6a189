"""The restricted unpickler: honest pickles come through unchanged, hostile ones do nothing."""

from __future__ import annotations

import collections
import contextlib
import copyreg
import functools
import importlib
import operator
import os
import pickle
import re
import struct
import subprocess
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mer_bench.errors import UserError
from mer_bench.prepare.unpickle import load_pickle, loads
from tests.realdata import REALDATA, needs_real

MEGABYTES = 2**20


class Call:
    """Pickles as a call of a function."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple:
        return self.call

    def __call__(self) -> None:
        raise AssertionError("only there so that pickle takes a call for something that can be called")


def opened(path: Path) -> str:
    return f"open({str(path)!r}, 'w').close()"


# Each gadget makes the canary when an ordinary unpickler reads it; the test makes sure of that first.
GADGETS = {
    "os.system": lambda path: Call(os.system, f"touch '{path}'"),
    "subprocess": lambda path: Call(subprocess.check_output, ["touch", str(path)]),
    "eval": lambda path: Call(eval, opened(path)),
    "exec": lambda path: Call(exec, opened(path)),
    "getattr chain": lambda path: Call(Call(getattr, Call(__import__, "os"), "system"), f"touch '{path}'"),
    "importlib": lambda path: Call(Call(getattr, Call(importlib.import_module, "os"), "system"), f"touch '{path}'"),
    "operator.methodcaller": lambda path: Call(operator.methodcaller("write_text", ""), path),
    "functools.partial": lambda path: Call(functools.partial(os.system, f"touch '{path}'")),
    "functools.reduce": lambda path: Call(functools.reduce, os.symlink, [os.devnull, str(path)]),
    "map in a list": lambda path: Call(list, Call(map, os.system, [f"touch '{path}'"])),
    "pathlib": lambda path: Call(Path.touch, path),
    "pickle in a pickle": lambda path: Call(pickle.loads, pickle.dumps(Call(eval, opened(path)))),
    "numpy.fromfunction": lambda path: Call(np.fromfunction, Call(eval, f"lambda i: {opened(path)}"), (1,)),
    "inside an object array": lambda path: np.array([1, Call(eval, opened(path))], dtype=object),
    "as a key": lambda path: {Call(eval, opened(path)): 1},
}


def nested(path: Path) -> bytes:
    """What the storage of a tensor holds: a pickle of its own, which PyTorch reads without any fence."""
    inner = pickle.dumps(Call(eval, opened(path)), 2)
    return b"\x80\x02ctorch.storage\n_load_from_bytes\nB" + struct.pack("<I", len(inner)) + inner + b"\x85R."


def touch(path: Path) -> bytes:
    return b"S'touch " + os.fsencode(path) + b"'\n"


# written by hand: bytes, and what the refusal says
RAW = {
    "INST": (lambda path: b"(" + touch(path) + b"iposix\nsystem\n.", "posix.system"),
    "OBJ": (lambda path: b"(cposix\nsystem\n" + touch(path) + b"o.", "posix.system"),
    "Python 2": (lambda path: b'c__builtin__\neval\n(S"' + os.fsencode(opened(path)) + b'"\ntR.', "__builtin__.eval"),
    "torch storage": (nested, "__builtin__.eval"),
}
INERT = {
    "NEWOBJ": (b"\x80\x02cpathlib\nPath\n)\x81.", "pathlib.Path"),
    "dotted name": (b"\x80\x04\x8c\x05numpy\x8c\x1andarray.__init__.__class__\x93.", "ndarray.__init__.__class__"),
    "bomb in a codec": (b"\x80\x02c_codecs\ndecode\nU\x01aX\x04\x00\x00\x00zlib\x86R.", "_codecs.decode"),
    "other codec": (b"\x80\x02c_codecs\nencode\nX\x01\x00\x00\x00aX\x05\x00\x00\x00rot13\x86R.", "rot13"),
    "persistent id": (b"\x80\x02X\x01\x00\x00\x00aQ.", "outside itself"),
    "slot of a stand-in": (b"\x80\x02cnumpy\ndtype\nN}X\x09\x00\x00\x00_functionNs\x86b.", "may not set '_function'"),
    "attribute of a stand-in": (b"\x80\x02cnumpy\ndtype\n}X\x01\x00\x00\x00aNsb.", "AttributeError"),
    "stand-in as data": (b"\x80\x02cnumpy\nndarray\n.", "not plain data"),
    "type as data": (b"\x80\x02cnumpy\ndtype\nU\x02f4\x85R.", "not plain data"),
    "structured type": (b"\x80\x02cnumpy\ndtype\nU\x05f4,f4\x85R.", "not a plain number"),
    "array without content": (
        b"\x80\x02cnumpy.core.multiarray\n_reconstruct\nNK\x00\x85U\x01b\x87R.",
        "without content",
    ),
    "set of a string": (b"\x80\x02cbuiltins\nset\nX\x01\x00\x00\x00a\x85R.", "not a list"),
    "function of the suite": (b"\x80\x02cmer_bench.prepare.unpickle\nload_pickle\n.", "unpickle.load_pickle"),
}


@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize("gadget", GADGETS)
def test_gadgets_do_nothing(gadget: str, protocol: int, tmp_path: Path) -> None:
    canary, file = tmp_path / "canary", tmp_path / "data.pkl"
    data = pickle.dumps(GADGETS[gadget](canary), protocol)
    with contextlib.suppress(Exception):  # some fail after they have acted
        pickle.loads(data)
    assert canary.exists(), "this gadget would not act anyway: mend the test"
    canary.unlink()
    file.write_bytes(data)
    with pytest.raises(UserError, match="refused, nothing was executed") as refused:
        load_pickle(file)
    assert str(file) in str(refused.value)
    assert not canary.exists()


@pytest.mark.parametrize("gadget", RAW)
def test_gadgets_by_hand_do_nothing(gadget: str, tmp_path: Path) -> None:
    canary, file = tmp_path / "canary", tmp_path / "data.pkl"
    make, says = RAW[gadget]
    file.write_bytes(make(canary))
    with contextlib.suppress(Exception):
        pickle.loads(file.read_bytes())
    assert canary.exists(), "this gadget would not act anyway: mend the test"
    canary.unlink()
    with pytest.raises(UserError, match=f"{re.escape(str(file))}: refused, .* {re.escape(says)}"):
        load_pickle(file)
    assert not canary.exists()


@pytest.mark.parametrize("case", INERT)
def test_what_is_not_plain_data_is_refused(case: str) -> None:
    data, says = INERT[case]
    with pytest.raises(UserError, match=re.escape(says)):
        loads(data, "here")


def test_the_message_names_the_global(tmp_path: Path) -> None:
    for protocol in (0, 4):
        with pytest.raises(UserError, match=r"asks for (posix|nt)\.system"):
            loads(pickle.dumps(Call(os.system, "true"), protocol), "here")


def test_nothing_runs_before_a_late_gadget(tmp_path: Path) -> None:
    """Protocol 2 names its globals openly: the scan sees the last one before the first instruction runs."""
    data = pickle.dumps([np.zeros(3), Call(os.system, "true")], 2)
    with pytest.raises(UserError, match="system"):
        loads(data[:-1], "without its stop, so that it cannot even be read to the end")


@pytest.fixture
def extension() -> Iterator[int]:
    copyreg.add_extension("posix", "system", 200)
    yield 200
    copyreg.remove_extension("posix", "system", 200)


def test_extension_codes_are_refused(extension: int, tmp_path: Path) -> None:
    data = pickle.dumps(Call(os.system, f"touch '{tmp_path / 'canary'}'"), 2)
    assert bytes([0x82, extension]) in data
    with pytest.raises(UserError, match="refused"):
        loads(data, "here")
    assert not (tmp_path / "canary").exists()


def array_of(shape: tuple, code: bytes, raw: Any) -> bytes:
    """A protocol 2 pickle of an array that says `shape` and comes with `raw`."""
    start = b"\x80\x02cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R(K\x01"
    body = pickle.dumps(shape, 2)[2:-1]
    dtype = (
        b"cnumpy\ndtype\nU"
        + bytes([len(code)])
        + code
        + b"K\x00K\x01\x87R(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    )
    return start + body + dtype + b"\x89" + pickle.dumps(raw, 2)[2:-1] + b"tb."


HUGE = {
    "numbers": array_of((10**12,), b"f8", []),
    "objects": array_of((10**10,), b"O8", []),
    "objects, two axes": array_of((10**6, 10**6), b"O8", [1]),
    "negative": array_of((-1,), b"O8", []),
    "wrapping": array_of((2**32, 2**32), b"O8", []),
    "called with a shape": b"\x80\x02cnumpy\nndarray\nJ\x00\x00\x00\x7f\x85\x85R.",
    "started with a shape": (
        b"\x80\x02cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nJ\x00\x00\x00\x7f\x85U\x01b\x87R."
    ),
    "wide type": array_of((10**9,), b"S999999999", []),
    "memo number": b"\x80\x02Nr\xff\xff\xff\x7f.",
    "memo number, text": b"N" + b"p2000000000\n.",
    "byte array": b"\x80\x05\x96" + struct.pack("<Q", 2**40) + b"abc.",
    "bytes": b"\x80\x04\x8e" + struct.pack("<Q", 2**40) + b"abc.",
    "frame": b"\x80\x04\x95" + struct.pack("<Q", 2**40) + b"N.",
    "negative length": b"\x80\x02\x8b" + struct.pack("<i", -5) + b"abc.",
    # a list of 1000, then as many sets of it as the file is long
    "the same list over and over": pickle.dumps(list(range(1000)), 2)[:-1]
    + b"0"
    + b"cbuiltins\nset\nh\x00\x85R0" * 2000
    + b"N.",
}


@pytest.mark.parametrize("case", HUGE)
def test_sizes_that_are_not_there_are_refused_without_allocating(case: str) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(UserError):
            loads(HUGE[case], "here")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4 * MEGABYTES


def test_shared_parts_are_not_multiplied() -> None:
    """A tower of lists, each holding the lower one ten times, would be 10^30 elements written out."""
    tower: list = []
    for _ in range(30):
        tower = [tower] * 10
    plain = loads(pickle.dumps(tower), "here")
    assert plain[0] is plain[9]


def test_data_that_contain_themselves_are_refused() -> None:
    loop: list = []
    loop.append(loop)
    deep: list = []
    for _ in range(5000):
        deep = [deep]
    for hostile in (pickle.dumps(loop), b"\x80\x02" + b"]" * 5000 + b"a" * 4999 + b"."):
        with pytest.raises(UserError, match="contain themselves"):
            loads(hostile, "here")


@pytest.mark.parametrize(
    "data", [b"", b"\x80", b"hello world", b"\x80\x04", pickle.dumps([1, 2, 3])[:-1], b".", b"\x80\x63N.", b"\x94" * 9]
)
def test_foreign_and_truncated_files_are_named(data: bytes, tmp_path: Path) -> None:
    file = tmp_path / "data.pkl"
    file.write_bytes(data)
    with pytest.raises(UserError, match=r"data\.pkl"):
        load_pickle(file)


def test_missing_file_and_folder(tmp_path: Path) -> None:
    for path in (tmp_path / "none.pkl", tmp_path):
        with pytest.raises(UserError, match=str(path)):
            load_pickle(path)


@given(st.data())
def test_any_bytes_give_plain_data_or_a_user_error(data: st.DataObject) -> None:
    """Damage anywhere in an honest pickle never shows another exception."""
    honest = pickle.dumps({"a": [np.arange(6.0).reshape(2, 3), {"b": ("c", None)}], "d": np.array([1, "x"], object)}, 2)
    place = data.draw(st.integers(0, len(honest) - 1))
    byte = data.draw(st.integers(0, 255))
    try:
        loads(honest[:place] + bytes([byte]) + honest[place + 1 :], "here")
    except UserError as error:
        assert str(error).startswith("here")


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(), inner, max_size=4)
        | st.lists(inner, max_size=3).map(tuple)
        | st.sets(st.text(), max_size=4)
        | st.frozensets(st.integers(), max_size=4)
    ),
    max_leaves=20,
)


@given(PLAIN, st.integers(0, 5))
def test_plain_data_come_through(value: Any, protocol: int) -> None:
    assert loads(pickle.dumps(value, protocol), "here") == value


NUMERIC = (
    hnp.boolean_dtypes()
    | hnp.integer_dtypes()
    | hnp.unsigned_integer_dtypes()
    | hnp.floating_dtypes(sizes=(16, 32, 64))
)


@given(
    hnp.arrays(NUMERIC | hnp.unicode_string_dtypes(), hnp.array_shapes(min_dims=0, min_side=0)),
    st.integers(0, 5),
    st.booleans(),
)
def test_arrays_come_through(array: np.ndarray, protocol: int, fortran: bool) -> None:
    array = np.asfortranarray(array) if fortran else array
    plain = loads(pickle.dumps(array, protocol), "here")
    assert plain.dtype == array.dtype
    np.testing.assert_array_equal(plain, array)


@pytest.mark.parametrize("protocol", range(6))
def test_mixed_content_comes_through(protocol: int) -> None:
    value = {
        "ordered": collections.OrderedDict([("z", 1), ("a", 2)]),
        "scalars": [np.float32(1.5), np.int64(-3), np.bool_(True), np.str_("word")],
        "objects": np.array([[{"a": np.arange(3)}, None], ["x", [1, 2]]], dtype=object),
        "single": np.array({"emo": 2}, dtype=object),
    }
    plain = loads(pickle.dumps(value, protocol), "here")
    assert list(plain["ordered"].items()) == [("z", 1), ("a", 2)]
    assert plain["scalars"] == value["scalars"]
    assert plain["objects"].shape == (2, 2)
    np.testing.assert_array_equal(plain["objects"][0, 0]["a"], np.arange(3))
    assert plain["objects"][1].tolist() == ["x", [1, 2]]
    assert plain["single"].item() == {"emo": 2}


def test_python_2_pickles() -> None:
    """Written by hand as cPickle of Python 2 writes them: byte strings, NumPy 1, sets from `__builtin__`."""
    values = np.array([1.5, -2.25], "<f4")
    array = array_of((2,), b"f4", []).replace(b"]", b"U\x08" + values.tobytes())
    np.testing.assert_array_equal(loads(array, "here"), values)
    text = b"(lp1\nS'caf\\xe9'\np2\naV\\u00e9\np3\naI01\nac__builtin__\nset\np4\n((lp5\nI7\naI8\natRa."
    assert loads(text, "here") == ["café", "é", True, {7, 8}]


@needs_real()
def test_real_pickles_load() -> None:
    files = sorted(REALDATA.rglob("*.pkl"))
    assert files
    for file in files:
        assert type(load_pickle(file)) in (dict, list), file
