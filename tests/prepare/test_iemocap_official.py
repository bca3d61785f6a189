"""The IEMOCAP release and the files of the conversation papers, invented, sound and with every fault."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mer_bench.data.datamodules import IEMOCAP
from mer_bench.errors import UserError
from mer_bench.merh5 import FeatureFile, check
from mer_bench.prepare import Request, iemocap, prepare
from mer_bench.prepare.iemocap.official import ConversationPapers, OfficialTree
from tests.prepare.fake_iemocap import conversation, make, start_of, vectors, write_features, write_pickle
from tests.prepare.fake_pack import Pack, label_lists, write_lists

WORDS = {"ang": "angry", "exc": "excited", "fru": "frustrated", "hap": "happy", "neu": "neutral", "sad": "sad"}


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Pack:
    root = tmp_path_factory.mktemp("release")
    pack = make(root)
    return Pack(**{**pack.__dict__, "root": root})


@pytest.fixture
def pack(sound: Pack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pack:
    """A copy to spoil, and converters that expect its counts."""
    root = tmp_path / "data"
    shutil.copytree(sound.root, root)
    monkeypatch.setattr(iemocap, "LAYOUTS", (OfficialTree(sound.expected), ConversationPapers(sound.expected)))
    return Pack(**{**sound.__dict__, "root": root})


def convert(pack: Pack, source: str = "IEMOCAP_full_release", **options: object) -> tuple[FeatureFile, dict]:
    out = pack.root.parent / "out" / "iemocap.h5"
    given = {"features": {"audio": pack.root / "wavlm", "vision": pack.root / "clip"}, **options}
    prepare("iemocap", Request(pack.root / source, **given), out)
    assert check(out) == []
    return FeatureFile(out), json.loads((out.parent / "iemocap.report.json").read_text())


def words(file: FeatureFile, task: str) -> dict[str, str]:
    """Class of every labelled turn."""
    values, mask = file.label(task)
    return {turn: file.labels[task].names[v] for turn, v, m in zip(file.ids, values, mask, strict=True) if m}


def truth(pack: Pack, task: str) -> dict[str, str]:
    found = {turn: WORDS.get(code, "") for turn, code in pack.codes.items()}
    if task == "emo4":
        found = {turn: {"excited": "happy", "frustrated": ""}.get(word, word) for turn, word in found.items()}
    if task == "emo6_erc":
        found |= dict.fromkeys(pack.erc_only, "happy")
    return {turn: word for turn, word in found.items() if word}


def test_the_release(pack: Pack) -> None:
    """Labels, ratings, people, times and order are those that were written, turn by turn."""
    file, report = convert(pack, text=True, labels=pack.root / "papers")
    assert file.ids == pack.ids
    for task in ("emo4", "emo6", "emo6_erc"):
        assert words(file, task) == truth(pack, task)
    values, mask = file.label("vad")
    native = np.array([pack.ratings[turn] for turn in pack.ids])
    np.testing.assert_allclose(values * 2 + 3, native.clip(1, 5), atol=1e-6)
    assert mask.all() and file.labels["vad"].names == ("valence", "arousal", "dominance")
    assert report["repaired"]["ratings outside 1..5 clipped"] == {"count": 2, "ids": [pack.ids[3]]}
    for row, turn in enumerate(file.ids):
        dialogue, last = turn.rsplit("_", 1)
        assert (file.group("dialogue")[row], file.group("session")[row]) == (dialogue, turn[:5])
        assert file.group("speaker")[row] == f"{turn[:5]}_{last[0]}"
        assert file.group("style")[row] == ("impro" if "impro" in turn else "script")
        assert file.group("category")[row] == pack.codes[turn]
        assert pack.spoken[dialogue][file.order[row]] == turn
        assert file.text()[row] == f"said {turn}"
    starts = [start_of(pack, turn) for turn in pack.ids]
    np.testing.assert_allclose(file.start_s, starts)
    np.testing.assert_allclose(file.end_s, np.add(starts, 4))


def test_the_report_of_a_release(pack: Pack) -> None:
    _, report = convert(pack, text=True)
    assert report["recognised"] == "IEMOCAP official tree"
    assert any("as many in each category" in line for line in report["verified"])
    assert report["absent"] == ["emo6_erc, the labels of the conversation papers: --labels FILE names a file of theirs"]
    dropped = {what: tally["count"] for what, tally in report["dropped"].items()}
    assert dropped == {"transcripts of unrated speech": 10, "lines of transcripts without a turn": 10}
    (pack.root / "IEMOCAP_full_release/Session3/dialog/EmoEvaluation/Ses03F_impro01.txt").unlink()
    _, report = convert(pack)
    assert "126 of 140 rated turns" in report["absent"][0] and report["counted"]["dialogues"] == 9
    assert report["dropped"]["files of audio without a turn"]["count"] == 14


def test_features_of_the_release(pack: Pack) -> None:
    for turn in pack.ids[:3]:
        (pack.root / "wavlm" / f"{turn}.npy").unlink()
    for turn in pack.ids[:2]:
        (pack.root / "clip" / f"{turn}.npy").unlink()
    file, report = convert(pack, rate={"audio": "50"})
    assert file.ids == pack.ids[2:]
    assert report["dropped"]["turns without any feature"] == {"count": 2, "ids": pack.ids[:2]}
    assert file.modalities["audio"].rate_hz == 50 and file.modalities["vision"].kind == "utterance"
    for row, turn in enumerate(file.ids):
        start, stop = file.modalities["audio"].offsets[row : row + 2]
        path = pack.root / "wavlm" / f"{turn}.npy"
        expected = np.load(path) if path.exists() else np.empty((0, 7))
        np.testing.assert_array_equal(file.values("audio", start, stop), expected)


@pytest.mark.parametrize("ways", [4, 6])
def test_a_pickle_alone(pack: Pack, ways: int) -> None:
    """Its own features and labels; the official categories are not known, so only its own label set is."""
    write_pickle(pack.root / "alone" / "features.pkl", conversation(pack, ways))
    file, report = convert(pack, "alone", features={}, text=True)
    task = {4: "emo4", 6: "emo6_erc"}[ways]
    assert set(file.labels) == {task} and words(file, task) == truth(pack, task)
    assert report["recognised"] == "IEMOCAP pickle of the conversation papers"
    for name, dim in (("text", 6), ("audio", 5), ("vision", 4)):
        assert file.modalities[name].dim == dim
        whole = file.values(name, 0, len(file.ids))
        np.testing.assert_array_equal(whole, [vectors(pack, name)[turn] for turn in file.ids])
    (erc,) = file.split_table("erc")
    assert set(file.group("session")[erc == 3]) == {"Ses05"} and (erc > 0).all()
    assert report["counted"]["dialogues that train in erc"] == 8
    for dialogue, block in pack.spoken.items():
        rows = np.flatnonzero(file.group("dialogue") == dialogue)
        spoken = [turn for turn in block if turn in words(file, task)]
        assert [file.ids[row] for row in rows[np.argsort(file.order[rows])]] == spoken


def test_a_pickle_with_the_release(pack: Pack) -> None:
    """The release confirms class numbers that the counts do not, and adds its own labels."""
    content = conversation(pack, 6)
    lost = next(iter(content[0]))
    for part in content[:7]:
        part[lost] = part[lost][1:]
    path = write_pickle(pack.root / "part.pkl", content)
    with pytest.raises(UserError, match=r"not as many turns of each of 6 classes .*--labels IEMOCAP_full_release"):
        convert(pack, "part.pkl", features={})
    file, _ = convert(pack, "part.pkl", features={}, labels=pack.root / "IEMOCAP_full_release")
    assert set(file.labels) == {"emo4", "emo6", "emo6_erc", "vad"}
    expected = truth(pack, "emo6_erc")
    assert words(file, "emo6_erc") == {turn: word for turn, word in expected.items() if turn in file.ids}
    content[2][lost][0] = (content[2][lost][0] + 1) % 6
    write_pickle(path, content)
    with pytest.raises(UserError, match="another class than the category of the turn"):
        convert(pack, "part.pkl", features={}, labels=pack.root / "IEMOCAP_full_release")


def test_indexes_and_lists_with_folders(pack: Pack) -> None:
    """GCNet's index and MERBench's lists bring no features; lists know neither order nor dialogues that test."""
    for name in ("merbench_labels_text", "gcnet_dialogue_index"):
        (pack.root / name).mkdir()
    write_lists(pack)
    file, report = convert(pack, "merbench_labels_text")
    four, six = label_lists(pack)
    assert len(words(file, "emo4")) == len(four) and len(words(file, "emo6_erc")) == len(six)
    assert words(file, "emo4") == truth(pack, "emo4") and words(file, "emo6_erc") == truth(pack, "emo6_erc")
    assert (file.order == -1).all() and "order of the turns" in report["absent"][0]
    file, report = convert(pack, "gcnet_dialogue_index/IEMOCAP_features_raw_6way.pkl")
    assert report["recognised"] == "IEMOCAP GCNet index" and words(file, "emo6_erc") == truth(pack, "emo6_erc")
    with pytest.raises(UserError, match=r"not a known layout.*a .pkl|no features of any of"):
        convert(pack, "gcnet_dialogue_index/IEMOCAP_features_raw_6way.pkl", features={})


def spoil(old: str, new: str) -> Callable[[Path], object]:
    def edit(root: Path) -> None:
        path = root / "IEMOCAP_full_release/Session1/dialog/EmoEvaluation/Ses01F_impro01.txt"
        path.write_text(path.read_text().replace(old, new, 1))

    return edit


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (spoil("\tang\t", "\tAngry\t"), r"Ses01F_impro01.txt, line \d+: .*expected \[start - end\]"),
        (spoil("\tang\t", "\tagn\t"), "category 'agn'"),
        (spoil("[5.5000 - ", "[99.5000 - "), "ends at 9.5000 s, before it starts"),
        (spoil("\tSes01F_impro01_F000", "\tSes02F_impro01_F000"), "expected turns of Ses01F_impro01"),
        (spoil("_F001", "_F000"), "duplicate ids: Ses01F_impro01_F000"),
        (spoil("\t[", "\t[9"), "ratings missing or outside 0.5..5.5"),
        (lambda root: write_features(root / "wavlm", ["Ses01F_impro01_F000"], 9), "files of different shape"),
    ],
)
def test_spoilt_releases_are_refused(pack: Pack, fault: Callable[[Path], object], says: str) -> None:
    fault(pack.root)
    with pytest.raises(UserError, match=says):
        convert(pack)
    assert not (pack.root.parent / "out").exists()


def other(place: int, change: Callable[[dict], object]) -> Callable[[list], object]:
    return lambda content: change(content[place])


def first(part: dict) -> list:
    return next(iter(part.values()))


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (other(0, lambda ids: first(ids).pop()), "not of equal length in Ses01F_impro01"),
        (other(0, lambda ids: first(ids).__setitem__(1, first(ids)[0])), "duplicate ids"),
        (other(1, lambda who: first(who).__setitem__(0, "?")), "speaker or dialogue is not that of the turn's id"),
        (other(2, lambda labels: first(labels).__setitem__(0, 6)), "no class 0..5"),
        (other(2, lambda labels: first(labels).__setitem__(0, "hap")), "no class 0..5"),
        (other(3, lambda text: first(text).__setitem__(0, np.ones(3))), "text is not one vector of the same length"),
        (other(8, lambda test: test.append("Ses01F_impro01")), "dialogues in both parts, or in none: Ses01F_impro01"),
        (other(8, lambda test: test.append(3)), "no lists of names"),
        (lambda content: content.pop(), "not a pickle of the conversation papers"),
    ],
)
def test_spoilt_pickles_are_refused(pack: Pack, fault: Callable[[list], object], says: str) -> None:
    content = conversation(pack, 6)
    fault(content)
    write_pickle(pack.root / "spoilt.pkl", content)
    with pytest.raises(UserError, match=says):
        convert(pack, "spoilt.pkl", features={})


def test_lost_vectors_are_masked(pack: Pack) -> None:
    content = conversation(pack, 6)
    dialogue = next(iter(content[0]))
    content[5][dialogue][0] = np.zeros(4, np.float32)
    content[4][dialogue][0] = np.full(5, -np.inf, np.float32)
    write_pickle(pack.root / "lost.pkl", content)
    file, report = convert(pack, "lost.pkl", features={})
    turn = content[0][dialogue][0]
    assert report["repaired"]["vision rows of nothing but zeros masked"] == {"count": 1, "ids": [turn]}
    assert report["repaired"]["audio rows with a value that is not finite masked"] == {"count": 1, "ids": [turn]}
    row = file.ids.index(turn)
    assert not file.valid("vision", row, row + 1).any() and not file.valid("audio", row, row + 1).any()


def layers(pack: Pack) -> list:
    """The ten things of the RoBERTa pickle: four layers that are 1, 2, 3 and 6 times a vector of the turn's place."""
    content = conversation(pack, 6)
    base = {
        name: [np.full(3, place + 1.0, np.float32) for place in range(len(block))] for name, block in content[0].items()
    }
    scaled = [{name: [k * vector for vector in block] for name, block in base.items()} for k in (1, 2, 3, 6)]
    return [content[1], content[2], *scaled, content[6], content[7], content[8], []]


def test_layers_of_roberta(pack: Pack) -> None:
    """They name no turn: joined by position to a file that does, and believed if speakers and classes agree."""
    path = write_pickle(pack.root / "roberta.pkl", layers(pack))
    file, report = convert(pack, "papers", features={"text_roberta": path})
    assert any("roberta.pkl: speakers and classes of" in line for line in report["verified"])
    for block in conversation(pack, 6)[0].values():
        for place, turn in enumerate(block):
            row = file.ids.index(turn)
            np.testing.assert_array_equal(file.values("text_roberta", row, row + 1), np.full((1, 3), 3.0 * (place + 1)))
    with pytest.raises(UserError, match="does not name its turns"):
        convert(pack, features={"text": path})
    turned = layers(pack)
    dialogue = next(iter(turned[1]))
    turned[1][dialogue] = turned[1][dialogue][::-1]
    write_pickle(path, turned)
    with pytest.raises(UserError, match="another order"):
        convert(pack, "papers", features={"text_roberta": path})
    turned = layers(pack)
    turned[3][dialogue][0] = np.ones(2, np.float32)
    write_pickle(path, turned)
    with pytest.raises(UserError, match="as long in every layer"):
        convert(pack, "papers", features={"text_roberta": path})
    turned[2][dialogue].pop()
    write_pickle(path, turned)
    with pytest.raises(UserError, match="in each of its columns"):
        convert(pack, "papers", features={"text_roberta": path})
    write_pickle(path, turned[:9])
    with pytest.raises(UserError, match="no features; expected a folder"):
        convert(pack, "papers", features={"text_roberta": path})


def test_features_that_saw_labels_are_refused_where_they_would_be_scored(pack: Pack) -> None:
    """RoBERTa saw the classes of sessions 1 to 3, the text network of the pickle those of sessions 1 to 4."""
    content = layers(pack)
    train, test = content[7], content[8]
    content[7:] = [
        [name for name in train if name[4] in "123"],
        test,
        [name for name in train if name[4] == "4"],
    ]
    path = write_pickle(pack.root / "roberta.pkl", content)
    release = pack.root / "IEMOCAP_full_release"
    file, _ = convert(pack, "papers", features={"text_roberta": path}, labels=release)
    session = file.group("session")
    assert {name: info.fitted_on for name, info in file.modalities.items()} == {
        **{"audio": "", "vision": "", "text": "erc", "text_roberta": "text_roberta_fit"}
    }
    table = file.split_table("text_roberta_fit")[0]
    for part, sessions in enumerate((("Ses01", "Ses02", "Ses03"), ("Ses04",), ("Ses05",)), 1):
        assert set(session[table == part]) == set(sessions)
    for name, seen in (("text", 4), ("text_roberta", 3)):
        for fold in range(seen):
            with pytest.raises(UserError, match=rf"modality '{name}' was trained on .* test items of iemocap4"):
                IEMOCAP("iemocap4", fold, [name], file=str(file.path))
    with pytest.raises(UserError, match="the extractor of modality 'text' was trained on"):
        IEMOCAP("iemocap6_erc", file=str(file.path))
    content[9].append(test[0])
    write_pickle(path, content)
    with pytest.raises(UserError, match=rf"RoBERTa was trained is not told: {test[0]} in several"):
        convert(pack, "papers", features={"text_roberta": path})


def test_the_user_knows_better_what_saw_labels(pack: Pack) -> None:
    file, report = convert(pack, "papers", features={}, fitted_on={"text": "none", "vision": "erc"})
    assert {name: info.fitted_on for name, info in file.modalities.items()} == {
        "audio": "",
        "vision": "erc",
        "text": "",
    }
    assert "proof of --fitted-on text=none; taken as stated, in place of erc" in report["absent"]
    with pytest.raises(UserError, match="--fitted-on txt: no such modality; did you mean text"):
        convert(pack, "papers", features={}, fitted_on={"txt": "erc"})
    with pytest.raises(UserError, match="no split 'speaker10' with one fold; expected one of erc, none"):
        convert(pack, "papers", features={}, fitted_on={"text": "speaker10"})


def test_a_pickle_without_turns_is_refused(pack: Pack) -> None:
    write_pickle(pack.root / "empty.pkl", [{}] * 7 + [[], []])
    with pytest.raises(UserError, match=r"empty\.pkl: no turns"):
        convert(pack, "empty.pkl", features={})


def test_wrong_places(pack: Pack) -> None:
    with pytest.raises(UserError, match="is no IEMOCAP release"):
        convert(pack, "papers", features={}, labels=pack.root)
    with pytest.raises(UserError, match="no labels of the conversation papers"):
        convert(pack, labels=pack.root / "wavlm")
    with pytest.raises(UserError, match="brings a modality of that name"):
        convert(pack, "papers")
    with pytest.raises(UserError, match="--rate text: no --features of that name"):
        convert(pack, rate={"text": "50"})
    with pytest.raises(UserError, match="no features of any of 140 turns; name them with --features"):
        convert(pack, features={})
