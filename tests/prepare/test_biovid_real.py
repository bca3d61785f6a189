"""The BioVid converter on the real research pack: known counts, and the scores that linear models must reach."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from mer_bench.data.corpora import corpora
from mer_bench.data.splits import make_split
from mer_bench.merh5 import FeatureFile, check
from mer_bench.prepare import Report, Request, prepare
from tests.realdata import REALDATA, needs_real

PACK = REALDATA / "biovid"
pytestmark = needs_real("biovid")


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Report, FeatureFile]:
    out = tmp_path_factory.mktemp("real") / "biovid.h5"
    return prepare("biovid", Request(PACK), out), FeatureFile(out)


@pytest.fixture(scope="module")
def file(converted: tuple[Report, FeatureFile]) -> FeatureFile:
    return converted[1]


def test_counts(converted: tuple[Report, FeatureFile]) -> None:
    report, file = converted
    assert check(file.path) == []
    assert file.n == 8700 and len(set(file.group("speaker"))) == 87
    assert set(Counter(file.label("pain5")[0].tolist()).values()) == {1740}
    assert file.label("pain_binary")[1].sum() == 3480
    assert {name: (info.dim, int(info.present.sum())) for name, info in file.modalities.items()} == {
        "bio": (21, 8700),
        "vision": (19, 8700),
    }
    people = {speaker: sex for speaker, sex in zip(file.group("speaker"), file.group("sex"), strict=True)}
    assert Counter(people.values()) == {"m": 44, "w": 43}
    assert report.counted["subjects usually left out"] == 20 and report.counted["subjects held out"] == 26
    assert report.repaired["sample number 0 read as 100"].count == 87


@pytest.mark.parametrize("protocol", corpora()["biovid"].protocols, ids=lambda p: p.name)
def test_every_fold_of_every_protocol_stands(file: FeatureFile, protocol) -> None:
    subject = file.group("speaker")
    tested: list[int] = []
    for fold in range(protocol.folds):
        split = make_split(protocol, file, fold)
        tested += split.test.tolist()
        parts = [set(subject[rows]) for rows in (split.train, split.val, split.test)]
        assert bool(parts[0] & parts[2]) == protocol.legacy
    assert len(tested) == len(set(tested))
    each = 100 if protocol.name == "biovid_a_5class" else 40
    people = {"biovid_a67_binary": 67, "biovid_a_holdout": 26}.get(protocol.name, 87)
    assert len(tested) == people * each


def logistic(x: np.ndarray, y: np.ndarray, penalty: float = 1.0) -> np.ndarray:
    """Weights of an L2-regularised logistic regression by Newton steps; the intercept, last, is free."""
    x = np.column_stack([x, np.ones(len(x))])
    keep = np.diag([*np.full(x.shape[1] - 1, penalty), 0.0])
    w = np.zeros(x.shape[1])
    for _ in range(25):
        p = 1 / (1 + np.exp(-np.clip(x @ w, -30, 30)))
        step = np.linalg.solve((x * (p * (1 - p))[:, None]).T @ x + keep, x.T @ (p - y) + keep @ w)
        w -= step
        if np.abs(step).max() < 1e-6:
            break
    return w


def one_subject_out(file: FeatureFile, modalities: tuple[str, ...]) -> float:
    """Mean accuracy over 87 subjects; standardised on the training part; all 86 others train."""
    y, mask = file.label("pain_binary")
    features = np.concatenate([file.values(m).astype(np.float64) for m in modalities], axis=1)
    subject = file.group("speaker")
    scores = []
    for held in sorted(set(subject)):
        train, test = mask & (subject != held), mask & (subject == held)
        mean, std = features[train].mean(axis=0), features[train].std(axis=0)
        w = logistic((features[train] - mean) / std, y[train].astype(np.float64))
        scores.append(np.mean(((features[test] - mean) / std @ w[:-1] + w[-1] > 0) == y[test]))
    return 100 * float(np.mean(scores))


@pytest.mark.parametrize(("modalities", "accuracy"), [(("bio",), 70.6), (("vision",), 55.2)], ids=lambda v: str(v))
def test_linear_models_reach_the_known_scores(file: FeatureFile, modalities: tuple[str, ...], accuracy: float) -> None:
    """The anchors of the README beside the files: all other 86 subjects train."""
    assert abs(one_subject_out(file, modalities) - accuracy) < 0.5
