"""Folds: no item or person in two parts, every item tested once, validation inside the training part."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mer_bench.data.corpora import find_protocol, protocols
from mer_bench.data.splits import make_split, targets
from mer_bench.errors import UserError
from mer_bench.merh5 import FeatureFile
from mer_bench.protocol import GroupKFold, LeaveOneGroupOut
from tests.files import iemocap

IEMOCAP4 = find_protocol("iemocap4")


@pytest.fixture(scope="module")
def file(tmp_path_factory) -> FeatureFile:
    return FeatureFile(iemocap(tmp_path_factory.mktemp("splits") / "iemocap.h5"))


@pytest.mark.parametrize(
    "rule",
    [
        LeaveOneGroupOut("session"),
        LeaveOneGroupOut("speaker", validation="hashed", count=3),
        GroupKFold("speaker", 5),
    ],
)
def test_parts_are_disjoint_and_every_labelled_item_is_tested_once(file, rule):
    folds = {"session": 5, "speaker": 10}[rule.key] if isinstance(rule, LeaveOneGroupOut) else rule.k
    protocol = replace(IEMOCAP4, split=rule, folds=folds)
    people = file.group("speaker")
    _, mask = targets(file, "emotion", protocol.tasks["emotion"])
    tested = np.zeros(file.n, dtype=int)
    for fold in range(folds):
        split = make_split(protocol, file, fold)
        parts = [set(people[rows]) for rows in (split.train, split.val, split.test)]
        assert all(parts)
        assert not parts[0] & parts[1] and not parts[0] & parts[2] and not parts[1] & parts[2]
        assert len(split.train) + len(split.val) + len(split.test) == mask.sum()
        tested[split.test] += 1
    assert np.array_equal(tested, mask.astype(int))


def test_next_session_validates(file):
    sessions = file.group("session")
    for fold in range(5):
        split = make_split(IEMOCAP4, file, fold)
        assert set(sessions[split.test]) == {f"Ses0{fold + 1}"}
        assert set(sessions[split.val]) == {f"Ses0{(fold + 1) % 5 + 1}"}


def test_without_a_validation_part_all_other_sessions_train_and_the_test_part_selects(file):
    legacy = find_protocol("iemocap4_testselect_legacy")
    sessions = file.group("session")
    for fold in range(5):
        split = make_split(legacy, file, fold)
        assert np.array_equal(split.val, split.test)
        assert set(sessions[split.test]) == {f"Ses0{fold + 1}"} and len(set(sessions[split.train])) == 4
        honest = make_split(IEMOCAP4, file, fold)
        assert np.array_equal(split.train, np.sort(np.concatenate([honest.train, honest.val])))
    with pytest.raises(UserError, match="only legacy protocols may"):
        make_split(replace(legacy, legacy=False), file, 0)


def test_item_filter_keeps_only_the_named_values(file):
    only_women = replace(IEMOCAP4, where={"speaker": tuple(f"Ses0{k}F" for k in range(1, 6))})
    split = make_split(only_women, file, 0)
    people = file.group("speaker")
    assert all(p.endswith("F") for rows in (split.train, split.val, split.test) for p in people[rows])


def test_a_person_in_two_parts_is_refused(tmp_path):
    speaker = ["same"] * 300
    file = FeatureFile(iemocap(tmp_path / "x.h5", speaker=speaker))
    with pytest.raises(UserError, match="speaker 'same' is in the training and the"):
        make_split(IEMOCAP4, file, 0)


def test_bad_folds_and_groups_are_named(file):
    with pytest.raises(UserError, match=r"--data.fold 5 is out of range: iemocap4 has folds 0 to 4"):
        make_split(IEMOCAP4, file, 5)
    with pytest.raises(UserError, match="expects 7 of them, the file has 5"):
        make_split(replace(IEMOCAP4, folds=7), file, 0)


def test_classes_follow_names_not_numbers(file):
    """A file that orders the classes otherwise gives the same targets."""
    spec = IEMOCAP4.tasks["emotion"]
    turned = replace(spec, names=spec.names[::-1])
    values, mask = targets(file, "emotion", spec)
    other, same_mask = targets(file, "emotion", turned)
    assert np.array_equal(mask, same_mask)
    assert np.array_equal(values[mask], 3 - other[mask])


def test_unlisted_class_is_masked(file):
    spec = replace(IEMOCAP4.tasks["emotion"], names=("angry", "sad"))
    values, mask = targets(file, "emotion", spec)
    full, full_mask = targets(file, "emotion", IEMOCAP4.tasks["emotion"])
    assert np.array_equal(mask, full_mask & np.isin(full, (0, 3)))
    assert set(values[mask]) == {0, 1}


def test_missing_label_table_is_named(file):
    spec = replace(IEMOCAP4.tasks["emotion"], labels="emo9")
    with pytest.raises(UserError, match="no labels 'emo9' for task 'emotion'; the file has emo4, vad"):
        targets(file, "emotion", spec)


@pytest.mark.parametrize("name", sorted(protocols()))
def test_protocols_are_sound(name):
    protocol = protocols()[name]
    assert protocol.metrics[0] == protocol.primary
    assert {m.split("/")[0] for m in protocol.metrics} <= set(protocol.tasks)
    assert protocol.conditions[0].kind == "full"
    assert protocol.hash != replace(protocol, folds=protocol.folds + 1).hash
    assert protocol.hash != replace(protocol, split=GroupKFold("speaker", 3)).hash
    assert protocol.hash == replace(protocol, note="other words").hash
    assert len({spec.level for spec in protocol.tasks.values()}) == 1
    assert protocol.legacy or protocol.selection == "validation"
    by_frame = {spec.level for spec in protocol.tasks.values()} == {"frame"}
    assert all(c.kind != "smoothed" or (by_frame and c.frames % 2 == 1) for c in protocol.conditions)
