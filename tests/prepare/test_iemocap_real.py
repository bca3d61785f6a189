"""The IEMOCAP converter on the real research pack: known counts, and the scores that linear models must reach."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from mer_bench.merh5 import FeatureFile, check
from mer_bench.prepare import Report, Request, prepare
from mer_bench.prepare.iemocap.labels import EMO4
from tests.realdata import REALDATA, needs_real

PACK = REALDATA / "iemocap"
pytestmark = needs_real("iemocap")


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Report, FeatureFile]:
    out = tmp_path_factory.mktemp("real") / "iemocap.h5"
    return prepare("iemocap", Request(PACK, text=True), out), FeatureFile(out)


@pytest.fixture(scope="module")
def file(converted: tuple[Report, FeatureFile]) -> FeatureFile:
    return converted[1]


def means(file: FeatureFile, modality: str) -> np.ndarray:
    """Mean over the rows of each turn, by a plain loop."""
    values, offsets = file.values(modality).astype(np.float64), file.modalities[modality].offsets
    return np.array([values[start:stop].mean(axis=0) for start, stop in pairwise(offsets)])


def test_counts(converted: tuple[Report, FeatureFile]) -> None:
    report, file = converted
    assert check(file.path) == []
    assert file.n == 10_039
    assert Counter(file.group("session")) == {"Ses01": 1819, "Ses02": 1811, "Ses03": 2136, "Ses04": 2103, "Ses05": 2170}
    assert len(set(file.group("speaker"))) == 10 and len(set(file.group("dialogue"))) == 151
    values, mask = file.label("emo4")
    assert Counter(EMO4[value] for value in values[mask]) == {
        "angry": 1103,
        "happy": 1636,
        "neutral": 1708,
        "sad": 1084,
    }
    assert [file.label(task)[1].sum() for task in ("emo6", "emo6_erc")] == [7380, 7433]
    assert {name: int(info.present.sum()) for name, info in file.modalities.items()} == {
        "audio": 10_039,
        "text": 10_039,
        "text_sentence": 10_039,
        "vision": 129,
    }
    assert (file.modalities["text"].rows, file.modalities["vision"].rows) == (161_004, 18_454)
    assert report.repaired["ratings outside 1..5 clipped"].count == 7
    assert report.repaired["vision frames without a tracked face masked"].count == 1742
    assert (
        report.dropped["transcripts of unrated speech"].count + report.dropped["repeated transcript lines"].count == 48
    )


def test_conversation_split(file: FeatureFile) -> None:
    (table,) = file.split_table("erc")
    values, mask = file.label("emo6_erc")
    names = file.labels["emo6_erc"].names
    for part, counts in ((1, (504, 839, 1324, 933, 742, 1468)), (3, (144, 245, 384, 170, 299, 381))):
        found = Counter(names[value] for value in values[mask & (table == part)])
        expected = zip(("happy", "sad", "neutral", "angry", "excited", "frustrated"), counts, strict=True)
        assert found == dict(expected)


def test_order_in_a_dialogue_we_can_read(file: FeatureFile) -> None:
    """Each speaker's own turns are numbered; the order interleaves the two without gaps."""
    dialogue, order = file.group("dialogue"), file.order
    for name in set(dialogue):
        rows = np.flatnonzero(dialogue == name)
        assert sorted(order[rows]) == list(range(len(rows)))
        for actor in "FM":
            own = [row for row in rows if file.ids[row][-4] == actor]
            assert [file.ids[row] for row in sorted(own, key=lambda row: order[row])] == sorted(
                file.ids[row] for row in own
            )


ANCHORS = {
    "audio 47": (("audio47",), "balanced", 52.9, 56.4),
    "audio 47 + tokens": (("audio47", "text"), "balanced", 63.0, 65.3),
    "audio 47 + sentence": (("audio47", "text_sentence"), "balanced", 66.3, 68.2),
    "audio 47 + 5": (("audio",), None, 54.5, 56.4),
}


@pytest.mark.parametrize("name", ANCHORS)
def test_linear_models_reach_the_known_scores(file: FeatureFile, name: str) -> None:
    """Logistic regression, C 0.05, four sessions train and the fifth tests; means over the five."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import accuracy_score, balanced_accuracy_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    parts, weights, wa, ua = ANCHORS[name]
    tables = {"audio47": lambda: means(file, "audio")[:, :47]}
    features = np.concatenate([tables.get(part, lambda part=part: means(file, part))() for part in parts], axis=1)
    labels, mask = file.label("emo4")
    session = file.group("session")
    scores = []
    for held in sorted(set(session)):
        train, test = mask & (session != held), mask & (session == held)
        model = make_pipeline(StandardScaler(), LogisticRegression(C=0.05, class_weight=weights, max_iter=1000))
        guess = model.fit(features[train], labels[train]).predict(features[test])
        scores.append((accuracy_score(labels[test], guess), balanced_accuracy_score(labels[test], guess)))
    np.testing.assert_allclose(100 * np.mean(scores, axis=0), (wa, ua), atol=0.3)


@pytest.mark.parametrize(
    ("source", "labelled"),
    [
        ("merbench_labels_text", {"emo4": 5531, "emo6_erc": 7433}),
        ("gcnet_dialogue_index/IEMOCAP_features_raw_4way.pkl", {"emo4": 5531}),
        ("gcnet_dialogue_index/IEMOCAP_features_raw_6way.pkl", {"emo6_erc": 7433}),
    ],
)
def test_label_files_of_the_conversation_papers(tmp_path: Path, source: str, labelled: dict[str, int]) -> None:
    """Their counts are those of the published files; the turns kept are those with features."""
    ids = [path.stem for path in sorted((PACK / "openface_au_129" / "au").glob("*.csv"))]
    report = prepare("iemocap", Request(PACK / source, features={"vision": PACK / "openface_au_129" / "au"}), None)
    assert any(f"{max(labelled.values()):,} turns of" in line for line in report.verified)
    assert report.counted["turns"] == max(labelled.values())
    assert report.counted["with vision"] == report.counted["turns"] - report.dropped["turns without any feature"].count
    if source.endswith(".pkl"):
        assert report.counted["dialogues that train in erc"] == 120
        assert report.counted["dialogues that test in erc"] == 31
    assert 80 <= report.counted["with vision"] <= len(ids)
