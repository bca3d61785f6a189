"""A modality may say on which split its extractor was trained; nothing changes for those that do not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import h5py
import pytest

from mer_bench.errors import UserError
from mer_bench.merh5 import Contents, FeatureFile, check, write
from tests.merh5.cases import rich


def fitted(scheme: str) -> Contents:
    contents = rich()
    return replace(
        contents, modalities={**contents.modalities, "bio": replace(contents.modalities["bio"], fitted_on=scheme)}
    )


def test_comes_back_as_written(tmp_path: Path) -> None:
    write(tmp_path / "x.h5", fitted("halves"))
    file = FeatureFile(tmp_path / "x.h5")
    assert {name: info.fitted_on for name, info in file.modalities.items()} == {
        "audio": "",
        "bio": "halves",
        "words": "",
    }
    assert check(file.path) == []


def test_counts_in_the_hash_only_when_stated(tmp_path: Path) -> None:
    plain = write(tmp_path / "a.h5", rich())
    assert plain == write(tmp_path / "b.h5", fitted(""))
    assert plain != write(tmp_path / "c.h5", fitted("halves"))
    with h5py.File(tmp_path / "a.h5") as file:
        assert "fitted_on" not in file["modalities/bio"].attrs


@pytest.mark.parametrize("scheme", ["nowhere", "official", "../splits/halves"])
def test_names_a_split_with_one_fold(tmp_path: Path, scheme: str) -> None:
    with pytest.raises(UserError, match=r"modalities/bio@fitted_on: .*no such split"):
        write(tmp_path / "x.h5", fitted(scheme))
    assert not list(tmp_path.iterdir())
