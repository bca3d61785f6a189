"""Folders with one entry per item: every form gives the same rows, every fault is counted or refused by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mer_bench.errors import UserError
from mer_bench.merh5 import Modality
from mer_bench.prepare.feature_folder import feature_files, read_folder
from mer_bench.prepare.report import Report

IDS = ("a_1", "a_2", "b_1")
ARRAYS = {item: np.arange(1.0, 7.0).reshape(3, 2) * (number + 1) for number, item in enumerate(IDS)}


def read(folder: Path, rate: float = 0.0) -> tuple[Modality, Report]:
    report = Report("mine", str(folder))
    files = feature_files("x", folder, IDS)
    return read_folder("x", folder, files, IDS, report, rate), report


def flat_npy(folder: Path) -> None:
    for item, array in ARRAYS.items():
        np.save(folder / f"{item}.npy", array)


def by_dialogue(folder: Path) -> None:
    for item, array in ARRAYS.items():
        (folder / item[0]).mkdir(exist_ok=True)
        np.save(folder / item[0] / f"{item}.npy", array)


def frames(folder: Path) -> None:
    """One file a frame; names of unequal length, which sort otherwise as text than as numbers."""
    for item, array in ARRAYS.items():
        (folder / item).mkdir()
        for number, row in enumerate(array):
            np.save(folder / item / f"{8 + number}.npy", row[None])


def headed(folder: Path) -> None:
    for item, array in ARRAYS.items():
        lines = [f"{k + 1}, 0, {k / 25:.2f}, 0.9, 1, {row[0]}, {row[1]}" for k, row in enumerate(array)]
        header = "frame, face_id, timestamp, confidence, success, AU01_r, AU02_r"
        (folder / f"{item}.csv").write_text("\n".join([header, *lines]) + "\n")


def headless(folder: Path) -> None:
    for item, array in ARRAYS.items():
        np.savetxt(folder / f"{item}.csv", array, delimiter=",")


@pytest.mark.parametrize("write", [flat_npy, by_dialogue, frames, headed, headless])
def test_every_form_gives_the_same_rows(tmp_path: Path, write: Callable[[Path], None]) -> None:
    write(tmp_path)
    (tmp_path / "README.md").write_text("no features")
    (tmp_path / "._a_1.npy").write_bytes(b"a resource fork")
    found, report = read(tmp_path)
    np.testing.assert_allclose(found.values, np.concatenate(list(ARRAYS.values())))
    assert found.kind == "sequence" and list(found.lengths) == [3, 3, 3] and found.valid is not None
    assert found.valid.all() and not report.repaired
    if write is headed:
        assert found.names == ("AU01_r", "AU02_r") and found.times is not None
        np.testing.assert_allclose(found.times[:3], [[0, 0.04], [0.04, 0.08], [0.08, 0.12]])


def test_vectors_rates_and_absent_items(tmp_path: Path) -> None:
    np.save(tmp_path / "a_2.npy", np.ones(4, np.float16))
    np.save(tmp_path / "other.npy", np.ones(9))  # of nobody, so never opened
    found, report = read(tmp_path)
    assert (found.kind, list(found.lengths), found.values.shape) == ("utterance", [0, 1, 0], (1, 4))
    assert report.counted["without a file in x"] == 2
    np.save(tmp_path / "a_2.npy", np.ones((5, 4)))
    assert read(tmp_path, 50.0)[0].rate_hz == 50


def test_rows_without_a_measurement_are_masked_and_counted(tmp_path: Path) -> None:
    headed(tmp_path)
    text = (tmp_path / "a_1.csv").read_text().splitlines()
    text[2] = "2, 0, 0.04, 0.1, 0, 7, 7"  # the tracker says that it failed
    (tmp_path / "a_1.csv").write_text("\n".join(text))
    text[1], text[2], text[3] = "1,0,0,0.9,1,0,0", "2,0,0.04,0.9,1,-inf,1", "3,0,0.08,0.9,1,1,nan"  # a face at rest
    (tmp_path / "b_1.csv").write_text("\n".join(text))
    found, report = read(tmp_path)
    assert found.valid is not None
    np.testing.assert_array_equal(found.valid, [1, 0, 1, 1, 1, 1, 1, 0, 0])
    assert not found.values[~found.valid].any()
    told = {what: (tally.count, tally.ids) for what, tally in report.repaired.items()}
    assert told == {
        "x rows that the tracker marks as failed masked": (1, ["a_1"]),
        "x rows with a value that is not finite masked": (2, ["b_1"]),
    }


def test_rows_of_zeros_are_masked_where_nothing_says_that_they_are_tracked(tmp_path: Path) -> None:
    flat_npy(tmp_path)
    np.save(tmp_path / "a_2.npy", np.array([[1, 2], [0, 0], [0, 3]]))
    found, report = read(tmp_path)
    assert found.valid is not None and list(np.flatnonzero(~found.valid)) == [4]
    assert report.repaired["x rows of nothing but zeros masked"].ids == ["a_2"]


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda f: (f / "a_1.csv").write_text("1,2\n3,4\n"), "a_1.csv and .*a_1.npy hold the same item"),
        (lambda f: np.save(f / "a_2.npy", np.ones((3, 5))), r"\(3, 5\) in a_2, \(3, 2\) in those before"),
        (lambda f: np.save(f / "b_1.npy", np.ones(2)), "a vector of 2 in b_1"),
        (lambda f: np.save(f / "b_1.npy", np.ones((2, 2, 2))), "b_1.npy: .*expected numbers"),
        (lambda f: np.save(f / "b_1.npy", np.ones((3, 2), complex)), "b_1.npy: .*expected numbers"),
        (lambda f: (f / "b_1.npy").write_bytes(b"spoilt"), "b_1.npy"),
    ],
)
def test_spoilt_folders_are_refused(tmp_path: Path, spoil: Callable[[Path], object], says: str) -> None:
    flat_npy(tmp_path)
    spoil(tmp_path)
    with pytest.raises(UserError, match=says):
        read(tmp_path)


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        (["frame,x,y", "1,1,1", "1,2,2"], "frame numbers do not rise"),
        (["timestamp,x,y", "1,1,1", "0.5,2,2"], "timestamps do not rise"),
        (["x,z", "1,1"], "columns of b_1 differ from those before: z"),
        (["x,y", "1,one"], "'one' is not a number"),
        (["x,y", "1"], "line 2: 1 cells; expected 2"),
        (["x,y"], "no rows"),
        ([], "empty"),
    ],
)
def test_spoilt_tables_are_refused(tmp_path: Path, lines: list[str], says: str) -> None:
    (tmp_path / "a_1.csv").write_text("x,y\n1,2\n")
    (tmp_path / "b_1.csv").write_text("\n".join(lines))
    with pytest.raises(UserError, match=says):
        read(tmp_path)
