"""Every rule of the validator finds the fault it is for, says where and what was expected."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np
import pytest

from mer_bench.errors import UserError
from mer_bench.merh5 import Contents, FeatureFile, Labels, Modality, check, write
from tests.merh5.cases import damaged, put, put_number, put_text, rich, swap


class Case(NamedTuple):
    """A change of a sound file and the fault it makes.

    Attributes:
        change: made on the opened file.
        place: of the fault.
        id: of the fault.
        says: part of its message.
        cheap: whether opening refuses it already.
    """

    change: Callable[[h5py.File], object]
    place: str
    id: str
    says: str
    cheap: bool = True


def _to(place: str, value: object, where: object = ...) -> Callable[[h5py.File], None]:
    return lambda file: put(file, place, value, where)


def _text(place: str, text: str) -> Callable[[h5py.File], None]:
    return lambda file: put_text(file, place, text)


def _number(place: str, number: float) -> Callable[[h5py.File], None]:
    return lambda file: put_number(file, place, number)


def _swap(place: str, data: np.ndarray) -> Callable[[h5py.File], None]:
    return lambda file: swap(file, place, data)


AUDIO, WORDS, TRACE = "modalities/audio", "modalities/words", "labels/trace"

CASES = {
    "version": Case(_text("@schema_version", "2.0"), "", "", "schema version 2.0 (expected 1.0)"),
    "schema": Case(_text("@schema", "other"), "", "", "'other' (expected merh5)"),
    "foreign": Case(lambda f: f.attrs.__delitem__("schema"), "", "", "not a merh5 file"),
    "slug": Case(_text("@corpus", "a_b"), "@corpus", "a_b", "hyphens"),
    "truth": Case(_text("@truth", "[1]"), "@truth", "", "an object"),
    "not json": Case(_text("@truth", "{"), "@truth", "", "expected json"),
    "sources": Case(_text("@sources", '[{"name": "x"}]'), "@sources", "", "name, sha256, bytes, origin"),
    "repairs": Case(_text("@repairs", '{"nan": -1}'), "@repairs", "", "counts"),
    "flag": Case(_number("@synthetic", 2), "@synthetic", "", "value 2 (expected flag)"),
    "hash": Case(_text("@content_sha256", "0" * 64), "@content_sha256", "", f"expected {'0' * 64}", cheap=False),
    "no hash": Case(_text("@content_sha256", ""), "@content_sha256", "", "64 hex digits"),
    "missing attribute": Case(lambda f: f[AUDIO].attrs.__delitem__("kind"), f"{AUDIO}@kind", "", "missing"),
    "unknown attribute": Case(lambda f: f[AUDIO].attrs.create("rate", 1.0), f"{AUDIO}@rate", "", "unknown"),
    "array for an attribute": Case(
        lambda f: f[AUDIO].attrs.create("rate_hz", [1.0, 2.0]), f"{AUDIO}@rate_hz", "", "not one value"
    ),
    "type of an attribute": Case(
        lambda f: f[AUDIO].attrs.create("rate_hz", np.float32(1)), f"{AUDIO}@rate_hz", "", "<f4 (expected float)"
    ),
    "missing group": Case(lambda f: f.__delitem__("splits"), "splits", "", "missing group"),
    "missing dataset": Case(lambda f: f.__delitem__(f"{AUDIO}/offsets"), f"{AUDIO}/offsets", "", "missing dataset"),
    "missing ids": Case(lambda f: f.__delitem__("items/id"), "items/id", "", "missing dataset"),
    "unknown dataset": Case(lambda f: f.create_dataset("more", data=[1]), "more", "", "not known to merh5"),
    "unknown group": Case(lambda f: f.create_group("items/more"), "items/more", "", "not known to merh5"),
    "illegal name": Case(lambda f: f.move(AUDIO, "modalities/a.b"), "modalities/a.b", "", "illegal name"),
    "number of items": Case(_number("items@n", 7), "items@n", "", "expected 6"),
    "duplicate id": Case(_to("items/id", b"d", 0), "items/id", "d", "2 times (expected unique"),
    "empty id": Case(_to("items/id", b"", 2), "items/id[2]", "", "empty id"),
    "illegal id": Case(_to("items/id", b"a b", 2), "items/id[2]", "a b", "letters, digits"),
    "dot in front": Case(_to("items/id", b".a", 2), "items/id[2]", ".a", "no dot in front"),
    "id not text": Case(_to("items/id", b"\xff", 2), "items/id[2]", r"\xff", "UTF-8"),
    "ids of numbers": Case(_swap("items/id", np.arange(6)), "items/id", "", "expected text of fixed length"),
    "speaker index": Case(_to("items/speaker", 3, 4), "items/speaker", "e", "expected 0..2"),
    "negative index": Case(_to("items/speaker", -1, 4), "items/speaker", "e", "expected 0..2"),
    "same speaker": Case(_to("vocab/speaker", b"bo", 0), "vocab/speaker[1]", "bo", "each name once"),
    "blank speaker": Case(_to("vocab/speaker", b" b", 0), "vocab/speaker[0]", " b", "printable"),
    "no vocabulary": Case(lambda f: f.__delitem__("vocab/session"), "vocab/session", "", "expected both or none"),
    "no codes": Case(lambda f: f.__delitem__("items/session"), "items/session", "", "expected both or none"),
    "order": Case(_to("items/order", -2, 1), "items/order", "_b.2", "-1 for none"),
    "end before start": Case(_to("items/end_s", 2.5, 4), "items/end_s", "e", "start_s <= end_s"),
    "infinite start": Case(_to("items/start_s", -np.inf, 4), "items/start_s", "e", "infinite"),
    "infinite column": Case(_to("items/attr/age", np.inf, 0), "items/attr/age", "-a_1", "infinite"),
    "column": Case(_to("items/attr/sex", b"\n", 0), "items/attr/sex[0]", r"\n", "printable"),
    "transcript": Case(_to("items/text", b"\xff", 0), "items/text[0]", r"\xff", "UTF-8", cheap=False),
    "modality kind": Case(_text(f"{AUDIO}@kind", "bag"), f"{AUDIO}@kind", "bag", "sequence, utterance, signal"),
    "rate": Case(_number(f"{AUDIO}@rate_hz", -1), f"{AUDIO}@rate_hz", "", "0 or more"),
    "rate nan": Case(_number(f"{AUDIO}@rate_hz", np.nan), f"{AUDIO}@rate_hz", "", "finite"),
    "start of the clock": Case(_number(f"{AUDIO}@t0_s", np.inf), f"{AUDIO}@t0_s", "", "finite"),
    "weights": Case(_text(f"{AUDIO}@weights_sha256", "abc"), f"{AUDIO}@weights_sha256", "abc", "64 hex digits"),
    "width": Case(_number(f"{AUDIO}@dim", 4), f"{AUDIO}@dim", "", "4 (expected 3"),
    "feature names": Case(_to(f"{AUDIO}/names", b"f0", 2), f"{AUDIO}/names[2]", "f0", "once"),
    "one axis": Case(_swap(f"{AUDIO}/values", np.zeros(11, "<f4")), f"{AUDIO}/values", "", "expected 2 axes"),
    "float64": Case(_swap(f"{AUDIO}/values", np.zeros((11, 3))), f"{AUDIO}/values", "", "<f8 (expected <f4 or <f2)"),
    "byte order": Case(_swap(f"{AUDIO}/values", np.zeros((11, 3), ">f4")), f"{AUDIO}/values", "", ">f4 (expected <f4"),
    "fewer masks": Case(_swap(f"{AUDIO}/valid", np.ones(10, "u1")), f"{AUDIO}/valid", "", "(10,) (expected (11,))"),
    "fewer offsets": Case(_swap(f"{AUDIO}/offsets", np.zeros(6, "<i8")), f"{AUDIO}/offsets", "", "expected (7,)"),
    "fewer presences": Case(_swap(f"{AUDIO}/present", np.ones(5, "u1")), f"{AUDIO}/present", "", "expected (6,)"),
    "times per word": Case(_swap(f"{WORDS}/times", np.zeros((7, 3))), f"{WORDS}/times", "", "expected (7, 2)"),
    "first offset": Case(_to(f"{AUDIO}/offsets", 1, 0), f"{AUDIO}/offsets[0]", "", "1 (expected 0)"),
    "last offset": Case(_to(f"{AUDIO}/offsets", 12, 6), f"{AUDIO}/offsets[6]", "", "12 (expected 11"),
    "falling offset": Case(_to(f"{AUDIO}/offsets", 2, 2), f"{AUDIO}/offsets", "_b.2", "never fall"),
    "present but empty": Case(_to(f"{AUDIO}/present", 1, 1), f"{AUDIO}/present", "_b.2", "expected 1 when the length"),
    "absent but there": Case(_to(f"{AUDIO}/present", 0, 0), f"{AUDIO}/present", "-a_1", "expected 1 when the length"),
    "presence of two": Case(_to(f"{AUDIO}/present", 2, 0), f"{AUDIO}/present", "-a_1", "else 0"),
    "long utterance": Case(
        _to("modalities/bio/offsets", [0, 2, 2, 3, 4, 4, 5]), "modalities/bio/offsets", "-a_1", "at most one"
    ),
    "nan": Case(_to(f"{AUDIO}/values", np.nan, (8, [0, 2])), f"{AUDIO}/values", "d", "2 non-finite", cheap=False),
    "inf in float16": Case(_to(f"{WORDS}/values", np.inf, (0, 0)), f"{WORDS}/values", "-a_1", "1 non-f", cheap=False),
    "masked value": Case(_to(f"{AUDIO}/values", 1, (7, 1)), f"{AUDIO}/values", "d", "1 non-zero", cheap=False),
    "masked nan": Case(_to(f"{AUDIO}/values", np.nan, (7, 1)), f"{AUDIO}/values", "d", "1 non-zero", cheap=False),
    "mask of two": Case(_to(f"{AUDIO}/valid", 2, 0), f"{AUDIO}/valid", "-a_1", "expected 0 or 1", cheap=False),
    "word times": Case(_to(f"{WORDS}/times", 9, (3, 0)), f"{WORDS}/times", "e", "start <= end", cheap=False),
    "word time nan": Case(_to(f"{WORDS}/times", np.nan, (6, 1)), f"{WORDS}/times", "f", "finite", cheap=False),
    "label kind": Case(_text("labels/au@kind", "set"), "labels/au@kind", "set", "multiclass, multilabel"),
    "level": Case(_text("labels/au@level", "clip"), "labels/au@level", "clip", "item, frame"),
    "one class": Case(_text("labels/pain@names", '["a"]'), "labels/pain@names", "", "two or more"),
    "same class": Case(_text("labels/pain@names", '["a", "a"]'), "labels/pain@names[1]", "a", "once"),
    "names of numbers": Case(_text("labels/pain@names", "[1, 2]"), "labels/pain@names", "", "list of names"),
    "range": Case(_text("labels/vad@range", "[5, 1]"), "labels/vad@range", "", "lowest and highest"),
    "range of classes": Case(_text("labels/pain@range", "[0, 1]"), "labels/pain@range", "", "regression only"),
    "clock of items": Case(_number("labels/vad@rate_hz", 5), "labels/vad", "", "one label per item"),
    "frames without clock": Case(_number(f"{TRACE}@rate_hz", 0), f"{TRACE}@rate_hz", "", "clock"),
    "frames without items": Case(lambda f: f.__delitem__(f"{TRACE}/offsets"), f"{TRACE}/offsets", "", "per frame"),
    "frame offsets": Case(_to(f"{TRACE}/offsets", 8, 6), f"{TRACE}/offsets[6]", "", "expected 9"),
    "fewer frame times": Case(
        lambda f: f.create_dataset(f"{TRACE}/times", data=np.zeros((8, 2))), f"{TRACE}/times", "", "(9, 2)"
    ),
    "frame times": Case(
        lambda f: f.create_dataset(f"{TRACE}/times", data=np.stack([np.arange(9) == 7, np.zeros(9)], 1).astype("<f8")),
        f"{TRACE}/times",
        "e",
        "start <= end",
        cheap=False,
    ),
    "label type": Case(_swap("labels/vad/values", np.zeros((6, 2), "<i8")), "labels/vad/values", "", "<i8"),
    "label shape": Case(_swap("labels/vad/values", np.ones((5, 2), "<f4")), "labels/vad/values", "", "(6, 2)"),
    "mask shape": Case(_swap("labels/vad/mask", np.ones(6, "u1")), "labels/vad/mask", "", "(6, 2)"),
    "class too high": Case(_to("labels/emotion/values", 3, 1), "labels/emotion/values", "_b.2", "in 0..2"),
    "class below 0": Case(_to("labels/emotion/values", -1, 1), "labels/emotion/values", "_b.2", "in 0..2"),
    "label beyond range": Case(_to("labels/vad/values", 5.5, (1, 0)), "labels/vad/values", "_b.2", "1 to 5"),
    "label nan": Case(_to("labels/vad/values", np.nan, (1, 0)), "labels/vad/values", "_b.2", "1 labels out of range"),
    "half a label": Case(_to("labels/au/values", 0.5, (1, 0)), "labels/au/values", "_b.2", "0 or 1"),
    "masked label": Case(_to("labels/emotion/values", 1, 5), "labels/emotion/values", "f", "0 there"),
    "label mask of two": Case(_to("labels/au/mask", 2, (1, 0)), "labels/au/mask", "_b.2", "0 or 1"),
    "frame label": Case(_to(f"{TRACE}/values", 2, (6, 0)), f"{TRACE}/values", "d", "-1 to 1", cheap=False),
    "masked frame": Case(_to(f"{TRACE}/values", 1, (4, 0)), f"{TRACE}/values", "d", "0 there", cheap=False),
    "no such part": Case(_to("splits/halves/table", 4, (0, 2)), "splits/halves/table[0]", "C-3", "3 test"),
    "no training": Case(_to("splits/halves/table", 3), "splits/halves/table[0]", "", "at least one 1"),
    "fewer items": Case(
        _swap("splits/halves/table", np.ones((1, 5), "u1")), "splits/halves/table", "", "(1, 5) (expected (1, 6))"
    ),
    "no fold": Case(_swap("splits/halves/table", np.ones((0, 6), "u1")), "splits/halves/table", "", "no fold"),
    "speaker in two parts": Case(
        _to("splits/official/table", 3, (0, 0)), "splits/official/table[0]", "ana", "train and test (expected one part)"
    ),
    "dialogue in two parts": Case(
        _to("splits/halves/table", 2, (0, 0)), "splits/halves/table[0]", "d1", "train and validation"
    ),
    "promise of nothing": Case(
        _text("splits/halves@disjoint_by", '["speakr"]'), "splits/halves@disjoint_by", "speakr", "speaker"
    ),
    "promise of numbers": Case(
        _text("splits/halves@disjoint_by", '["age"]'), "splits/halves@disjoint_by", "age", "text"
    ),
    "promise": Case(_text("splits/halves@disjoint_by", "3"), "splits/halves@disjoint_by", "", "list of keys"),
}


@pytest.mark.parametrize("name", CASES)
def test_each_fault_is_found(tmp_path: Path, name: str) -> None:
    case = CASES[name]
    path = tmp_path / "x.h5"
    faults = damaged(path, case.change)
    matching = [
        fault for fault in faults if (fault.place, fault.id) == (case.place, case.id) and case.says in fault.message
    ]
    assert matching, faults
    assert all("expected" in fault.message for fault in faults)
    if not case.cheap:
        FeatureFile(path)
        return
    with pytest.raises(UserError, match=r"x\.h5: ") as caught:
        FeatureFile(path)
    assert "\n" not in str(caught.value)


def test_all_faults_are_found_at_once(tmp_path: Path) -> None:
    def change(file: h5py.File) -> None:
        for name in ("duplicate id", "nan", "class too high", "speaker in two parts", "rate nan"):
            CASES[name].change(file)

    places = {fault.place for fault in damaged(tmp_path / "x.h5", change)}
    assert places == {
        "items/id",
        f"{AUDIO}/values",
        "labels/emotion/values",
        "splits/official/table[0]",
        f"{AUDIO}@rate_hz",
        "@content_sha256",
    }


@pytest.mark.parametrize("offsets", [[0] * 7, [5] * 7, [0, 20, 3, -4, 2**62, -(2**62), 1]])
def test_wild_offsets_among_wild_values(tmp_path: Path, offsets: list[int]) -> None:
    def change(file: h5py.File) -> None:
        file[f"{AUDIO}/offsets"][...] = offsets
        file[f"{AUDIO}/values"][...] = np.nan
        file[f"{TRACE}/offsets"][...] = offsets
        file[f"{TRACE}/values"][...] = 9

    places = {fault.place.partition("[")[0] for fault in damaged(tmp_path / "x.h5", change)}
    assert {f"{AUDIO}/offsets", f"{TRACE}/offsets"} <= places


def test_many_faults_of_a_kind_are_counted(tmp_path: Path) -> None:
    n = 50
    labels = Labels("multiclass", ("a", "b"), np.zeros(n, int), np.ones(n, bool))
    modality = Modality(np.ones((n, 1)), [1] * n)
    write(tmp_path / "x.h5", Contents("toy", [f"i{i}" for i in range(n)], {"m": modality}, {"t": labels}))
    with h5py.File(tmp_path / "x.h5", "r+") as file:
        file["labels/t/values"][...] = 9
    faults = [fault for fault in check(tmp_path / "x.h5") if fault.place == "labels/t/values"]
    assert [fault.id for fault in faults] == [*(f"i{i}" for i in range(20)), ""]
    assert "30 more" in faults[-1].message


def test_the_item_of_a_frame_is_right_among_empty_items(tmp_path: Path) -> None:
    lengths = np.array([0, 0, 3, 0, 1, 0, 2, 0])
    ids = [f"i{i}" for i in range(8)]
    path = tmp_path / "x.h5"
    for row, owner in enumerate(np.repeat(ids, lengths)):
        write(path, Contents("toy", ids, {"m": Modality(np.ones((6, 2)), lengths)}))
        with h5py.File(path, "r+") as file:
            file["modalities/m/values"][row, 1] = np.nan
        assert ("modalities/m/values", owner) in {fault[:2] for fault in check(path)}


def test_faults_in_one_line_each(tmp_path: Path) -> None:
    faults = damaged(tmp_path / "x.h5", _text("labels/pain@names", '["a\\n\\u001b[31m", "b"]'))
    assert faults and all(str(fault).isprintable() for fault in faults)


def test_rich_contents_are_sound(tmp_path: Path) -> None:
    write(tmp_path / "x.h5", rich())
    assert check(tmp_path / "x.h5") == []
