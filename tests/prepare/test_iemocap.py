"""The IEMOCAP converter on an invented pack in the true layout, sound and with every fault."""

from __future__ import annotations

import csv
import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mer_bench.cli import main
from mer_bench.errors import UserError
from mer_bench.merh5 import FeatureFile, check
from mer_bench.prepare import Request, iemocap, prepare
from mer_bench.prepare.iemocap.pack import ResearchPack
from mer_bench.prepare.iemocap.turns import parse
from tests.prepare.fake_pack import Pack, label_lists, make, transcript_rows, write_csv, write_index, write_label_list


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Pack:
    return make(tmp_path_factory.mktemp("sound") / "pack")


@pytest.fixture
def pack(sound: Pack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, here: None) -> Pack:
    """A copy to spoil, and a converter that expects its counts."""
    root = tmp_path / "pack"
    shutil.copytree(sound.root, root)
    monkeypatch.setattr(iemocap, "LAYOUTS", (ResearchPack(sound.expected),))
    return Pack(**{**sound.__dict__, "root": root})


def convert(pack: Pack, **options: bool) -> FeatureFile:
    out = pack.root.parent / "out" / "iemocap.h5"
    prepare("iemocap", Request(pack.root, **options), out)
    return FeatureFile(out)


def rows(file: FeatureFile, modality: str, item: int) -> tuple[np.ndarray, np.ndarray]:
    start, stop = file.modalities[modality].offsets[item : item + 2]
    return file.values(modality, start, stop), file.valid(modality, start, stop)


def test_every_turn_gets_its_own_features(pack: Pack) -> None:
    file = convert(pack)
    assert file.ids == pack.ids
    for item, name in enumerate(file.ids):
        audio = np.concatenate([pack.gemaps[name], pack.prosody[name]])
        np.testing.assert_allclose(rows(file, "audio", item)[0], audio[None], rtol=1e-6)
        np.testing.assert_array_equal(rows(file, "text", item)[0], pack.tokens[name])
        np.testing.assert_array_equal(rows(file, "text_sentence", item)[0], pack.sentences[name][None])
        frames, valid = rows(file, "vision", item)
        truth = pack.faces.get(name, np.empty((0, 35)))
        np.testing.assert_array_equal(valid, np.isfinite(truth).all(axis=1))
        np.testing.assert_allclose(frames, np.nan_to_num(truth), rtol=1e-6)
    assert check(file.path) == []
    assert file.modalities["audio"].names[0] == "loudness_mean"
    assert (file.modalities["audio"].dim, len(file.modalities["audio"].names)) == (52, 52)


def test_every_turn_gets_its_own_labels(pack: Pack) -> None:
    file = convert(pack)
    english = {"ang": "angry", "exc": "excited", "fru": "frustrated", "hap": "happy", "neu": "neutral", "sad": "sad"}
    for task, merge, extra in (("emo4", True, False), ("emo6", False, False), ("emo6_erc", False, True)):
        names = file.labels[task].names
        values, mask = file.label(task)
        for name, value, usable in zip(file.ids, values, mask, strict=True):
            code = pack.codes[name]
            code = "hap" if (merge and code == "exc") or (extra and name in pack.erc_only) else code
            word = english.get(code, "")
            assert (names[value] if usable else "") == (word if word in names else "")
    values, mask = file.label("vad")
    assert mask.all()
    native = np.array([pack.ratings[name] for name in pack.ids])
    np.testing.assert_allclose(np.interp(values, [-1, 1], [1, 5]), np.minimum(np.maximum(native, 1), 5), atol=1e-6)
    assert file.labels["vad"].names == ("valence", "arousal", "dominance")
    assert file.labels["vad"].range == (-1, 1)


def test_people_dialogues_and_order(pack: Pack) -> None:
    file = convert(pack, text=True)
    said = file.text()
    for item, name in enumerate(file.ids):
        dialogue, last = name.rsplit("_", 1)
        assert file.group("dialogue")[item] == dialogue
        assert file.group("session")[item] == name[:5]
        assert file.group("speaker")[item] == f"{name[:5]}_{last[0]}"
        assert file.group("gender")[item] == {"F": "female", "M": "male"}[last[0]]
        assert file.group("style")[item] == ("impro" if "impro" in name else "script")
        assert file.group("category")[item] == pack.codes[name]
        assert pack.spoken[dialogue][file.order[item]] == name
        assert said[item] == f'said, "{name}"'
    assert convert(pack).text() is None


def test_splits(pack: Pack) -> None:
    file = convert(pack)
    session, speaker = file.group("session"), file.group("speaker")
    (erc,) = file.split_table("erc")
    assert set(session[erc == 3]) == {"Ses05"} and set(session[erc == 1]) == {"Ses01", "Ses02", "Ses03", "Ses04"}
    folds = file.split_table("speaker10")
    assert len(folds) == 10
    assert sorted(speaker[fold == 3][0] for fold in folds) == sorted(set(speaker))
    for fold in folds:
        assert len(set(speaker[fold == 3])) == len(set(speaker[fold == 2])) == 1
        assert set(session[fold == 3]) == set(session[fold == 2]) and len(set(session[fold == 1])) == 4


def test_report_counts_what_was_done(pack: Pack) -> None:
    convert(pack)
    report = json.loads((pack.root.parent / "out" / "iemocap.report.json").read_text())
    assert report["recognised"] == "IEMOCAP research pack"
    assert report["counted"]["turns"] == len(pack.ids)
    assert report["counted"]["with vision"] == 3
    assert report["repaired"]["ratings outside 1..5 clipped"] == {"count": 2, "ids": [pack.ids[3]]}
    assert report["repaired"]["vision frames without a tracked face masked"] == {"count": 3, "ids": pack.ids[:3]}
    assert report["dropped"]["repeated transcript lines"]["count"] == 1
    assert report["dropped"]["transcripts of unrated speech"]["count"] == len(pack.spoken)
    assert report["content_sha256"] == FeatureFile(report["written"]).content_sha256


def test_the_same_files_give_the_same_content(pack: Pack) -> None:
    assert convert(pack).content_sha256 == convert(pack).content_sha256


def test_optional_parts_may_be_absent(pack: Pack, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree(pack.root / "openface_au_129")
    (pack.root / "text_minilm" / "tokens_rp128.npz").unlink()
    out = pack.root.parent / "out.h5"
    assert main(["prepare", "iemocap", "--from", str(pack.root), "--out", str(out)]) == 0
    assert set(FeatureFile(out).modalities) == {"audio", "text_sentence"}
    shown = capsys.readouterr().out
    assert "no modality 'vision'" in shown and "no modality 'text'" in shown


def test_values_that_are_not_finite_are_masked_and_counted(pack: Pack) -> None:
    path = pack.root / "gemaps_hsf_10039" / "feat_ws_3.npy"
    values = np.load(path)
    values[7, 20], values[9, 0] = np.nan, -np.inf
    np.save(path, values)
    file = convert(pack)
    np.testing.assert_array_equal(np.flatnonzero(~file.valid("audio")), [7, 9])
    assert not file.values("audio")[[7, 9]].any()
    assert file.attrs["repairs"]["audio rows with a value that is not finite masked"] == 2


def edit(path: Path, change: Callable[[list[list[str]]], object]) -> None:
    """Change the rows of a CSV table, header included, in place."""
    with path.open(encoding="utf-8", newline="") as file:
        table = list(csv.reader(file))
    change(table)
    write_csv(path, table[0], table[1:])


def resave(path: Path, change: Callable[[dict[str, np.ndarray]], object]) -> None:
    with np.load(path) as archive:
        arrays = {name: archive[name] for name in archive}
    change(arrays)
    np.savez(path, **arrays)


CATEGORIES, PROSODY = "prosody_10039/val_aro.csv", "prosody_10039/prosody_mean.csv"
AUDIO, RATINGS = "gemaps_hsf_10039/feat_ws_3.npy", "gemaps_hsf_10039/y_egemaps.npy"
TOKENS, SENTENCES = "text_minilm/tokens_rp128.npz", "text_minilm/sentence_mean384.npz"
LINES = "merbench_labels_text/transcription-engchi-polish.csv"
LIST4, LIST6 = "merbench_labels_text/label_4way.npz", "merbench_labels_text/label_6way.npz"
INDEX4, INDEX6 = (f"gcnet_dialogue_index/IEMOCAP_features_raw_{ways}way.pkl" for ways in (4, 6))


def cut(name: str) -> Callable[[Pack], str]:
    def fault(pack: Pack) -> str:
        path = pack.root / name
        path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
        return ""

    return fault


def missing_category(pack: Pack) -> str:
    edit(pack.root / CATEGORIES, lambda table: table.pop(5))
    return "turns"


def duplicate_category(pack: Pack) -> str:
    edit(pack.root / CATEGORIES, lambda table: table.append(table[5]))
    return pack.ids[4]


def foreign_turn(pack: Pack) -> str:
    edit(pack.root / CATEGORIES, lambda table: table[3].__setitem__(0, "Ses06F_impro01_F000"))
    return "Ses06F_impro01_F000"


def unknown_code(pack: Pack) -> str:
    edit(pack.root / CATEGORIES, lambda table: table[3].__setitem__(1, "joy"))
    return pack.ids[2]


def other_header(pack: Pack) -> str:
    edit(pack.root / CATEGORIES, lambda table: table[0].__setitem__(2, "activation"))
    return "header"


def swapped_code(pack: Pack) -> str:
    name = next(name for name in pack.ids if pack.codes[name] == "sad")
    edit(pack.root / CATEGORIES, lambda table: table[1 + pack.ids.index(name)].__setitem__(1, "sur"))
    return "sad"


def ratings_in_file_order(pack: Pack) -> str:
    values = np.load(pack.root / RATINGS)
    np.save(pack.root / RATINGS, values[np.r_[1:20, 0, 20 : len(values)]])
    return "lexicographic"


def rating_missing(pack: Pack) -> str:
    values = np.load(pack.root / RATINGS)
    values[4, 2] = np.nan
    np.save(pack.root / RATINGS, values)
    return pack.ids[4]


def audio_rows_of_others(pack: Pack) -> str:
    values = np.load(pack.root / AUDIO)
    np.save(pack.root / AUDIO, values[::-1])
    return "lexicographic"


def audio_without_a_row(pack: Pack) -> str:
    np.save(pack.root / AUDIO, np.load(pack.root / AUDIO)[1:])
    return "shape"


def prosody_missing(pack: Pack) -> str:
    name = []
    edit(pack.root / PROSODY, lambda table: name.append(table.pop(8)[0]))
    return name[0]


def prosody_short(pack: Pack) -> str:
    edit(pack.root / PROSODY, lambda table: table[8].__setitem__(1, "[1.0, 2.0]"))
    return "5 numbers"


def prosody_code(pack: Pack) -> str:
    edit(pack.root / PROSODY, lambda table: table[8].__setitem__(1, "[1, 2, 3, 4, exit(1)]"))
    return "exit"


def list_disagrees(pack: Pack) -> str:
    four, _ = label_lists(pack)
    name = next(name for name in four if pack.codes[name] == "sad")
    write_label_list(pack, 4, four | {name: 3})
    return name


def list_lacks_a_turn(pack: Pack) -> str:
    _, six = label_lists(pack)
    name = next(name for name in six if pack.codes[name] == "fru")
    del six[name]
    write_label_list(pack, 6, six)
    return name


def list_with_one_more_guess(pack: Pack) -> str:
    _, six = label_lists(pack)
    name = next(name for name in pack.ids if pack.codes[name] == "xxx" and name not in pack.erc_only)
    write_label_list(pack, 6, six | {name: 0})
    return name


def list_with_unknown_index(pack: Pack) -> str:
    four, _ = label_lists(pack)
    write_label_list(pack, 4, four | {next(iter(four)): 4})
    return next(iter(four))


def index_order(pack: Pack) -> str:
    _, six = label_lists(pack)
    orders = {name: [turn for turn in block if turn in six] for name, block in pack.spoken.items()}
    orders["Ses02F_impro01"].reverse()
    write_index(pack, 6, orders, six)
    return "Ses02F_impro01"


def index_label(pack: Pack) -> str:
    _, six = label_lists(pack)
    name = next(name for name in six if pack.codes[name] == "neu")
    orders = {dialogue: [turn for turn in block if turn in six] for dialogue, block in pack.spoken.items()}
    write_index(pack, 6, orders, six | {name: 3})
    return name


def index_speaker(pack: Pack) -> str:
    path = pack.root / INDEX4
    content = pickle.loads(path.read_bytes())
    dialogue, actors = next((key, value) for key, value in content[2].items() if value)
    actors[0] = "M" if actors[0] == "F" else "F"
    path.write_bytes(pickle.dumps(content, 4))
    return content[0][dialogue][0]


def index_parts(pack: Pack) -> str:
    path = pack.root / INDEX4
    content = pickle.loads(path.read_bytes())
    content[4].add("Ses05F_impro01")
    path.write_bytes(pickle.dumps(content, 4))
    return "Ses05F_impro01"


def index_without_lists(pack: Pack) -> str:
    path = pack.root / INDEX6
    content = pickle.loads(path.read_bytes())
    content[1]["Ses01F_impro01"] = 7
    path.write_bytes(pickle.dumps(content, 4))
    return "Ses01F_impro01"


def transcript_twice(pack: Pack) -> str:
    table = transcript_rows(pack)
    write_csv(pack.root / LINES, ["name", "chinese", "english"], [*table, [table[0][0], "…", "something else"]])
    return table[0][0]


def transcript_missing(pack: Pack) -> str:
    table = transcript_rows(pack)
    write_csv(pack.root / LINES, ["name", "chinese", "english"], table[1:])
    return table[0][0]


def transcript_order(pack: Pack) -> str:
    table = transcript_rows(pack)[:-1]
    _, six = label_lists(pack)
    first, second = [place for place, row in enumerate(table) if row[0] in six][:2]
    table[first], table[second] = table[second], table[first]
    write_csv(pack.root / LINES, ["name", "chinese", "english"], table)
    return table[first][0].rpartition("_")[0]


def tokens_order(pack: Pack) -> str:
    resave(pack.root / TOKENS, lambda arrays: arrays.update(ids=arrays["ids"][::-1]))
    return pack.ids[-1]


def tokens_offsets(pack: Pack) -> str:
    resave(pack.root / TOKENS, lambda arrays: arrays["offsets"].__setitem__(4, 0))
    return "offsets"


def sentences_twice(pack: Pack) -> str:
    resave(pack.root / SENTENCES, lambda arrays: arrays["ids"].__setitem__(1, arrays["ids"][0]))
    return pack.ids[0]


def face_of_nobody(pack: Pack) -> str:
    folder = pack.root / "openface_au_129" / "au"
    shutil.copy(folder / f"{pack.ids[0]}.csv", folder / "Ses01F_impro01_F999.csv")
    return "Ses01F_impro01_F999"


def face_frame_lost(pack: Pack) -> str:
    edit(pack.root / "openface_au_129" / "au" / f"{pack.ids[0]}.csv", lambda table: table.pop(2))
    return pack.ids[0]


def face_short_row(pack: Pack) -> str:
    edit(pack.root / "openface_au_129" / "au" / f"{pack.ids[1]}.csv", lambda table: table[2].pop())
    return "line 3"


def face_words(pack: Pack) -> str:
    edit(pack.root / "openface_au_129" / "au" / f"{pack.ids[1]}.csv", lambda table: table[2].__setitem__(9, "smile"))
    return "smile"


def readme_disagrees(pack: Pack) -> str:
    text = "| feat_ws_3.npy | someone/thing @ 0123abc | data/feat_ws_3.npy | 12 | 000000000000 | none |\n"
    (pack.root / "gemaps_hsf_10039" / "README.md").write_text(text)
    return "README.md"


FAULTS = {
    CATEGORIES: (missing_category, duplicate_category, foreign_turn, unknown_code, other_header, swapped_code),
    RATINGS: (ratings_in_file_order, rating_missing, cut(RATINGS)),
    AUDIO: (audio_rows_of_others, audio_without_a_row, cut(AUDIO), readme_disagrees),
    PROSODY: (prosody_missing, prosody_short, prosody_code),
    LIST4: (list_disagrees, list_with_unknown_index, cut(LIST4)),
    LIST6: (list_lacks_a_turn, list_with_one_more_guess),
    INDEX4: (index_speaker, index_parts, cut(INDEX4)),
    INDEX6: (index_label, index_without_lists, cut(INDEX6)),
    "IEMOCAP_features_raw": (index_order,),
    LINES: (transcript_twice, transcript_missing, transcript_order),
    TOKENS: (tokens_order, tokens_offsets, cut(TOKENS)),
    SENTENCES: (sentences_twice, cut(SENTENCES)),
    "openface_au_129/au": (face_of_nobody, face_frame_lost, face_short_row, face_words),
}
CASES = [
    pytest.param(file, fault, id=f"{Path(file).stem}-{fault.__name__}-{number}")
    for file, faults in FAULTS.items()
    for number, fault in enumerate(faults)
]


@pytest.mark.parametrize(("file", "fault"), CASES)
def test_faults_are_named_and_nothing_is_written(
    pack: Pack, file: str, fault: Callable[[Pack], str], capsys: pytest.CaptureFixture[str]
) -> None:
    culprit = fault(pack)
    out = pack.root.parent / "out" / "iemocap.h5"
    assert main(["prepare", "iemocap", "--from", str(pack.root), "--out", str(out)]) == 2
    message = capsys.readouterr().err
    assert file in message and culprit in message
    assert len(message.splitlines()) == 1
    assert not list(pack.root.parent.glob("out/*"))


def test_counts_of_the_published_corpus_are_expected(sound: Pack) -> None:
    with pytest.raises(UserError, match="10,039"):
        prepare("iemocap", Request(sound.root), None)


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_pickles_that_would_act_are_refused(pack: Pack, protocol: int, capsys: pytest.CaptureFixture[str]) -> None:
    canary = pack.root.parent / "canary"

    class Gadget:
        def __reduce__(self) -> tuple:
            return Path.touch, (canary,)

    (pack.root / INDEX4).write_bytes(pickle.dumps([Gadget()], protocol))
    assert main(["prepare", "iemocap", "--from", str(pack.root), "--dry-run"]) == 2
    message = capsys.readouterr().err
    assert INDEX4 in message and "refused, nothing was executed" in message
    assert not canary.exists()


def test_turn_ids_say_who_speaks() -> None:
    turns = parse("ids", ["Ses05F_script03_2b_M008", "Ses03M_impro05a_F000"])
    assert turns.ids == ["Ses03M_impro05a_F000", "Ses05F_script03_2b_M008"]
    assert turns.speaker == ["Ses03_F", "Ses05_M"]
    assert turns.dialogue == ["Ses03M_impro05a", "Ses05F_script03_2b"]
    assert turns.style == ["impro", "script"]
