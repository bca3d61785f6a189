"""Which modalities a run may use: nothing asked for is silently removed, and memory is no score."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mer_bench.data.choice import choose_modalities
from mer_bench.data.corpora.iemocap import IEMOCAP4
from mer_bench.data.splits import Split, make_split
from mer_bench.errors import UserError
from mer_bench.merh5 import FeatureFile, Modality, SplitTable
from mer_bench.protocol import OfficialTable
from tests.files import iemocap

N = 60


def build(path: Path, fitted: np.ndarray, rare: int = N) -> FeatureFile:
    """Splits `own` (1 train, 3 test) and `scored` (1, 2, 3); `seen_cnn` was trained on the training part of `own`."""
    values = np.ones((N, 2), np.float32)
    lengths = np.ones(N, np.int64)
    few = np.where(np.arange(N) < rare, 1, 0)
    return FeatureFile(
        iemocap(
            path,
            n=N,
            modalities={
                "audio": Modality(values, lengths, kind="utterance"),
                "face": Modality(values[:rare], few, kind="utterance"),
                "seen_cnn": Modality(values, lengths, kind="utterance", fitted_on="own"),
            },
            splits={
                "own": SplitTable(np.where(fitted, 1, 3)[None], disjoint_by=()),
                "scored": SplitTable(
                    np.where(np.arange(N) < 40, 1, np.where(np.arange(N) < 50, 2, 3))[None], disjoint_by=()
                ),
            },
        )
    )


def choose(file: FeatureFile, *asked: str) -> tuple[str, ...]:
    table = file.split_table("scored")[0]
    split = Split(*(np.flatnonzero(table == part) for part in (1, 2, 3)))
    return choose_modalities(file, IEMOCAP4, 0, split, asked or None)


def test_underscored_names_are_asked_for(tmp_path: Path) -> None:
    file = build(tmp_path / "x.h5", np.arange(N) < 40)
    assert choose(file) == ("audio", "face")
    assert choose(file, "seen_cnn", "audio") == ("seen_cnn", "audio")


@pytest.mark.parametrize(("row", "part", "of"), [(40, "validation", 10), (59, "test", 10)])
def test_one_seen_item_is_enough(tmp_path: Path, row: int, part: str, of: int) -> None:
    file = build(tmp_path / "x.h5", np.isin(np.arange(N), [*range(40), row]))
    assert choose(file) == ("audio", "face")
    with pytest.raises(UserError) as caught:
        choose(file, "face", "seen_cnn")
    assert f"'seen_cnn' was trained on 1 of the {of} {part} items of iemocap4" in str(caught.value)
    assert "use --data.modalities '[face]'" in str(caught.value)


def test_hardly_present(tmp_path: Path) -> None:
    file = build(tmp_path / "x.h5", np.arange(N) < 50, rare=1)
    with pytest.raises(UserError) as caught:
        choose(file, "face", "seen_cnn", "audio")
    assert "'face' is present in 1 of 40 training items" in str(caught.value)
    assert "use --data.modalities '[audio]'" in str(caught.value)  # the line works: neither of the two others is in it
    assert choose(file, "audio") == ("audio",)


def test_wrong_names(tmp_path: Path) -> None:
    file = build(tmp_path / "x.h5", np.arange(N) < 40)
    with pytest.raises(UserError, match="no modality 'adio'; did you mean audio"):
        choose(file, "adio")
    with pytest.raises(UserError, match="names one modality twice"):
        choose(file, "audio", "audio")


def test_only_a_fixed_number_of_epochs_needs_no_validation_part(tmp_path: Path) -> None:
    path = iemocap(
        tmp_path / "x.h5", n=N, splits={"own": SplitTable(np.where(np.arange(N) < 40, 1, 3)[None], disjoint_by=())}
    )
    file = FeatureFile(path)
    protocol = replace(IEMOCAP4, split=OfficialTable("own"), folds=1, cluster="speaker", where={})
    by_item = {"cluster": "dialogue"}
    with pytest.raises(UserError, match="the validation part of fold 0 of iemocap4 is empty"):
        make_split(replace(protocol, **by_item), file, 0)
    with pytest.raises(UserError, match="must not cross parts"):  # other checks stay
        make_split(replace(protocol, selection="fixed"), file, 0)
