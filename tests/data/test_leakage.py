"""Leakage: planted copies are found, near and exact, and nothing else is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mer_bench.cli import main
from mer_bench.data import leakage
from mer_bench.data.corpora import find_protocol
from mer_bench.data.leakage import NEAR, plain_texts, shared, twins
from mer_bench.data.splits import deal
from mer_bench.merh5 import Contents, FeatureFile, Labels, Modality, write

BINARY = find_protocol("biovid_a_kfold5")
N = 200


def make(path: Path, *, copies: tuple[tuple[int, int], ...] = (), near: tuple[tuple[int, int], ...] = (), **changed):
    """Random items of 20 subjects; some are copied from others, some copied with noise far below their spread."""
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, 6, N)
    starts = np.concatenate([[0], np.cumsum(lengths)])
    bio = rng.normal(size=(N, 12)).astype(np.float32)
    frames = rng.normal(size=(lengths.sum(), 3)).astype(np.float32)
    for source, target in copies:
        bio[target] = bio[source]
        frames = np.concatenate([frames[: starts[target]], frames[starts[source] : starts[source + 1]],
                                 frames[starts[target + 1] :]])  # fmt: skip
        lengths[target] = lengths[source]
        starts = np.concatenate([[0], np.cumsum(lengths)])
    for source, target in near:
        bio[target] = bio[source] * (1 + 1e-6 * (target + 1))
    parts = {
        "corpus": "biovid",
        "ids": [f"i{k:03d}" for k in range(N)],
        "speaker": [f"s{k % 20:02d}" for k in range(N)],
        "modalities": {"bio": Modality(bio, np.ones(N, int), kind="utterance"), "vision": Modality(frames, lengths)},
        "labels": {
            "pain_binary": Labels("multiclass", ("BL1", "PA4"), rng.integers(0, 2, N), np.ones(N, bool)),
        },
        "synthetic": True,
        **changed,
    }
    write(path, Contents(**parts))
    return FeatureFile(path)


def report(file: FeatureFile, fold: int = 0):
    split = deal(BINARY, file, fold)
    pairs = shared(file, split, {name: twins(file, name) for name in file.modalities}, plain_texts(file))
    return split, {pair.parts: pair for pair in pairs}


def test_random_items_share_nothing(tmp_path: Path) -> None:
    _, pairs = report(make(tmp_path / "x.h5"))
    for pair in pairs.values():
        assert not any(pair.same.values()) and not any(pair.near.values()) and not pair.twins
        assert pair.groups == {"speaker": []} and pair.texts is None


def test_planted_copies_are_found(tmp_path: Path) -> None:
    split, _ = report(make(tmp_path / "x.h5"))
    copies = tuple(zip(split.train[:3].tolist(), split.test[:3].tolist(), strict=True))
    near = tuple(zip(split.train[5:9].tolist(), split.test[5:9].tolist(), strict=True))
    _, pairs = report(make(tmp_path / "y.h5", copies=copies, near=near))
    found = pairs["train", "test"]
    assert found.same == {"bio": 3, "vision": 3} and found.near == {"bio": 4, "vision": 0}
    assert found.twins == sorted(target for _, target in copies)
    for parts in (("train", "validation"), ("validation", "test")):
        assert not any(pairs[parts].same.values()) and not any(pairs[parts].near.values())


def test_near_pairs_are_those_of_a_naive_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leakage, "PIECE_BYTES", 1024)  # pieces of a few pairs
    rng = np.random.default_rng(1)
    means = rng.normal(size=(80, 20)) * rng.uniform(0.1, 10, 20)
    means[40:] = means[:40] + rng.normal(size=(40, 20)) * means.std(axis=0) * NEAR * rng.uniform(0.2, 2, (40, 1))
    scaled = (means - means.mean(axis=0)) / means.std(axis=0)
    expected = {
        (a, b) for a in range(80) for b in range(a + 1, 80) if np.sqrt(np.mean((scaled[a] - scaled[b]) ** 2)) <= NEAR
    }
    pairs, too_many = leakage._near(means)
    assert {tuple(sorted(pair)) for pair in pairs.tolist()} == expected
    assert 5 < len(expected) < 40 and not too_many


def test_pieces_do_not_change_what_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = make(tmp_path / "x.h5", copies=((0, 7), (3, 90)))
    whole = twins(file, "vision")
    monkeypatch.setattr(leakage, "PIECE_BYTES", 50)
    pieces = twins(file, "vision")
    assert np.array_equal(whole.same, pieces.same) and np.array_equal(whole.near, pieces.near)
    assert whole.same[0] == whole.same[7] and whole.same[3] == whole.same[90]


def test_absent_items_are_no_copies_of_each_other(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    lengths = np.arange(N) % 2
    valid = rng.random(lengths.sum()) < 0.5
    values = np.where(valid[:, None], rng.normal(size=(lengths.sum(), 4)), 0)
    bio = Modality(values, lengths, kind="utterance", valid=valid)
    same = twins(make(tmp_path / "x.h5", modalities={"bio": bio}), "bio").same
    assert (same >= 0).sum() == valid.sum() == len(set(same)) - 1


def test_few_values_are_not_counted_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leakage, "MAX_PAIRS", 3)
    file = make(tmp_path / "x.h5", near=((0, 1), (0, 2), (0, 3), (0, 4)))
    assert twins(file, "bio").too_many


def test_repeated_texts(tmp_path: Path) -> None:
    split, _ = report(make(tmp_path / "x.h5"))
    text = [f"sentence number {k} of many" for k in range(N)]
    text[split.train[0]], text[split.test[0]] = "Well, I do not know.", "well i do NOT know"
    text[split.train[1]], text[split.test[1]] = "yes", "yes"
    _, pairs = report(make(tmp_path / "y.h5", text=text))
    assert pairs["train", "test"].texts == [split.test[0]] and pairs["train", "validation"].texts == []


def test_exit_codes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    split, _ = report(make(tmp_path / "x.h5"))
    argv = ["data", "leakage", str(tmp_path / "x.h5"), "--protocol", BINARY.name]
    assert main(argv) == 0
    assert "the parts share nothing" in capsys.readouterr().out
    make(tmp_path / "x.h5", copies=((int(split.train[0]), int(split.test[0])),))
    assert main([*argv, "--fold", "0"]) == 2
    assert f"LEAK fold 0, train and test: 1 items of the test part stand in the other: i{split.test[0]:03d}" in (
        capsys.readouterr().out
    )
    assert main([*argv[:-1], "biovid_a_clip5fold_legacy", "--fold", "1"]) == 2
    assert "20 speakers in both" in capsys.readouterr().out
    assert main([*argv[:-1], "iemocap4"]) == 2
    assert main([*argv, "--json"]) == 2
    assert '"leaks": ["fold' in capsys.readouterr().out


def test_selection_on_the_test_part_is_a_leak(features: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["data", "leakage", str(features / "iemocap.h5"), "--fold", "2", "--protocol"]
    assert main([*argv, "iemocap4_testselect_legacy"]) == 2
    shown = capsys.readouterr().out
    assert shown.count("LEAK") == 1 and "LEAK the epoch is chosen on the test part" in shown
    assert main([*argv, "iemocap4_speaker10"]) == 0
    assert "validation and test: 1 sessions" in capsys.readouterr().out


def test_only_legacy_protocols_may_split_people(tmp_path: Path) -> None:
    from mer_bench.data.splits import make_split
    from mer_bench.errors import UserError

    file = make(tmp_path / "x.h5")
    legacy = find_protocol("biovid_a_clip5fold_legacy")
    tested = np.concatenate([make_split(legacy, file, fold).test for fold in range(5)])
    assert sorted(tested.tolist()) == list(range(N))
    with pytest.raises(UserError, match="only legacy protocols may"):
        make_split(replace(legacy, legacy=False), file, 0)
