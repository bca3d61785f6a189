"""The content hash follows the content and nothing else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from mer_bench.merh5 import Contents, FeatureFile, Source, check, write
from tests.merh5.cases import IDS, plain_copy, put_text, rich, with_labels, with_modality


def digest(path: Path, contents: Contents) -> str:
    return write(path / "x.h5", contents)


def reordered(table: dict) -> dict:
    return dict(reversed(table.items()))


EQUAL = {
    "again": rich(),
    "order": replace(rich(), modalities=reordered(rich().modalities), labels=reordered(rich().labels)),
    "what the mask hides": with_modality(
        rich(), "audio", values=np.nan_to_num(rich().modalities["audio"].values, nan=5)
    ),
    "zeros that the mask hides": with_modality(
        rich(),
        "audio",
        values=np.where(rich().modalities["audio"].valid[:, None], rich().modalities["audio"].values, 0),
    ),
    "negative zeros that the mask hides": with_modality(
        rich(),
        "audio",
        values=np.where(rich().modalities["audio"].valid[:, None], rich().modalities["audio"].values, np.float32(-0.0)),
    ),
    "what the label mask hides": with_labels(rich(), "emotion", values=np.array([0, 1, 2, 0, 1, 77])),
    "big-endian": with_modality(rich(), "bio", values=rich().modalities["bio"].values.astype(">f8")),
    "column-major": with_modality(rich(), "bio", values=np.asfortranarray(rich().modalities["bio"].values)),
    "mask that hides nothing": with_modality(rich(), "bio", valid=np.ones(5, bool)),
    "provenance": replace(
        rich(), licence="other", notes="", redistributable=False, repairs={}, sources=[Source("other")]
    ),
    "whole numbers in the truth's keys": replace(rich(), truth={"optimum": {"wa": 0.9}, "by": (1, 2)}),
}

DIFFERENT = {
    "one value": with_modality(rich(), "bio", values=rich().modalities["bio"].values + np.eye(5, 4) * 1e-6),
    "sign of zero": with_modality(rich(), "bio", values=rich().modalities["bio"].values * 0.0),
    "valid": with_modality(rich(), "audio", valid=np.arange(11) != 1),
    "lengths": with_modality(rich(), "audio", lengths=[2, 1, 2, 4, 1, 1]),
    "precision": with_modality(rich(), "words", values=rich().modalities["words"].values.astype(np.float32)),
    "rate": with_modality(rich(), "audio", rate_hz=25.0),
    "extractor": with_modality(rich(), "audio", extractor="other"),
    "feature name": with_modality(rich(), "audio", names=["f0", "e", "jitter"]),
    "modality name": replace(rich(), modalities={f"{name}s": m for name, m in rich().modalities.items()}),
    "class order": with_labels(rich(), "emotion", names=("happy", "angry", "sad")),
    "class name": with_labels(rich(), "emotion", names=("angry", "happy", "tired")),
    "label kind": with_labels(rich(), "emotion", kind="ordinal"),
    "label": with_labels(rich(), "emotion", values=np.array([1, 1, 2, 0, 1, 0])),
    "label mask": with_labels(rich(), "emotion", mask=np.array([0, 1, 1, 1, 1, 0], bool)),
    "range": with_labels(rich(), "vad", range=(0, 5)),
    "id": replace(rich(), ids=["g", *IDS[1:]]),
    "speaker": replace(rich(), speaker=["bo", "bo", "bo", "cé", "bo", "cé"], splits={}),
    "transcript": replace(rich(), text=None),
    "split": replace(rich(), splits={"halves": rich().splits["halves"]}),
    "promise": replace(rich(), splits={**rich().splits, "halves": replace(rich().splits["halves"], disjoint_by=())}),
    "synthetic": replace(rich(), synthetic=False, truth=None),
    "truth": replace(rich(), truth={"optimum": {"wa": 0.8}}),
    "corpus": replace(rich(), corpus="other"),
}


@pytest.mark.parametrize("case", EQUAL)
def test_equal_content_has_an_equal_hash(tmp_path: Path, case: str) -> None:
    assert digest(tmp_path, EQUAL[case]) == digest(tmp_path, rich())


def test_any_other_content_has_its_own_hash(tmp_path: Path) -> None:
    digests = {digest(tmp_path, contents) for contents in [rich(), *DIFFERENT.values()]}
    assert len(digests) == 1 + len(DIFFERENT)


def test_a_writer_of_another_make_agrees(tmp_path: Path) -> None:
    stored = digest(tmp_path, rich())
    plain_copy(tmp_path / "x.h5", tmp_path / "y.h5")
    with h5py.File(tmp_path / "y.h5", "r+") as file:
        put_text(file, "@created_utc", "long ago")
    assert check(tmp_path / "y.h5") == []
    assert FeatureFile(tmp_path / "y.h5").content_sha256 == stored
