"""Records are checked against predictions, statistics and labels; forged ones are found; none changes anything."""

from __future__ import annotations

import dataclasses
import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mer_bench.cli.verify import _lines, main
from mer_bench.data.corpora import corpora, find_protocol
from mer_bench.data.splits import make_split
from mer_bench.errors import UserError
from mer_bench.merh5 import FeatureFile
from mer_bench.results import admission
from mer_bench.results.facts import SLUG, Confusion, Feature, MethodFacts, ProtocolFacts
from mer_bench.results.predictions import write_predictions
from mer_bench.results.record import NAME, Record, key_of, read_predictions, read_record, run_folder, write_record
from mer_bench.results.scores import score_run
from tests.files import iemocap
from tests.results.test_tables import protocol, record, runs

PROTOCOL = find_protocol("iemocap4")
FACTS = ProtocolFacts.of(PROTOCOL, corpora()["iemocap"].title)
INPUTS = ("audio", "text")


@pytest.fixture(scope="module")
def original(tmp_path_factory) -> Path:
    """A run as `fit` leaves one, with made-up predictions: a folder of features and one of runs."""
    home = tmp_path_factory.mktemp("verify")
    iemocap(home / "features" / "iemocap.h5", n=150)
    file = FeatureFile(home / "features" / "iemocap.h5")
    leave(home / "runs", file, seed=0)
    return home


def leave(folder: Path, file: FeatureFile, seed: int, method: str = "concat") -> Path:
    """Predictions, statistics by cluster and record of one run."""
    rng = np.random.default_rng(seed)
    ids = [file.ids[row] for row in make_split(PROTOCOL, file, 0).test]
    subsets = ("full", "only_audio", "only_text")
    outputs = {f"{name}/emotion": rng.normal(size=(len(ids), 4)) for name in subsets}
    key = key_of("1" * 64, PROTOCOL.hash, file.content_sha256, 0, seed)
    place = run_folder(folder, PROTOCOL.name, method, key)
    place.mkdir(parents=True)
    files = {"predictions.npz": write_predictions(place / "predictions.npz", ids, outputs)}
    found = score_run(PROTOCOL, file, INPUTS, read_predictions(place / "predictions.npz"))
    files["clusters.npz"] = save(place / "clusters.npz", found.clusters)
    split = make_split(PROTOCOL, file, 0)
    made = record(
        FACTS, method, 0, seed, 0.5, run_key=key, settings_hash="1" * 64, data_fingerprint=file.content_sha256,
        features=tuple(Feature(m, "made up", 8) for m in INPUTS), metrics=found.metrics, groups=found.groups,
        confusion=found.confusion, synthetic=True, files=files,
        items={"train": len(split.train), "validation": len(split.val), "test": len(split.test)},
    )  # fmt: skip
    write_record(place, made)
    return place


def save(path: Path, arrays) -> str:
    import hashlib

    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    path.write_bytes(buffer.getvalue())
    return hashlib.sha256(buffer.getvalue()).hexdigest()


@pytest.fixture
def home(original: Path, tmp_path: Path, monkeypatch) -> Path:
    shutil.copytree(original / "runs", tmp_path / "runs")
    (tmp_path / "features").symlink_to(original / "features")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def place() -> Path:
    (found,) = Path("runs").rglob(NAME)
    return found.parent


def forge(**changes) -> None:
    """Replace the record by another one that fits the schema and its own hash."""
    folder = place()
    made = dataclasses.replace(read_record(folder / NAME), **changes)
    (folder / NAME).unlink()
    write_record(folder, made)


def verdict(capsys, *argv: str) -> tuple[int, str]:
    code = main([*argv] or ["runs"])
    return code, capsys.readouterr().out


def test_a_sound_run_is_scored_again_from_predictions_and_labels(home, capsys):
    code, text = verdict(capsys)
    assert code == 0
    assert "1 of 1 scored records: every score computed again from predictions and labels" in text
    assert "INCOMPLETE 1/25" in text and "0 failures" in text
    assert verdict(capsys, "--strict", "runs")[0] == 2
    assert verdict(capsys, str(place() / NAME))[0] == 0


def test_without_labels_the_statistics_speak_and_without_these_nothing_does(home, capsys):
    (home / "features").unlink()
    code, text = verdict(capsys)
    assert code == 0 and "1 of 1 scored records: primary metric computed again from statistics by cluster" in text
    assert "no feature file with the fingerprint" in text
    for name in ("predictions.npz", "clusters.npz"):
        (place() / name).unlink()
    code, text = verdict(capsys)
    assert code == 0 and "computed again from the confusion in the record" in text
    assert "its hash was not checked: predictions.npz of 1 records" in text
    forge(**metrics(1e-6, metric="emotion/f1_macro"))
    assert "full, emotion/f1_macro is" in verdict(capsys)[1]
    forge(confusion={})
    code, text = verdict(capsys)
    assert code == 0 and "no score was computed again" in text


def metrics(change: float, condition: str = "full", metric: str = "emotion/ua") -> dict:
    plain = {name: dict(values) for name, values in read_record(place() / NAME).metrics.items()}
    plain[condition][metric] += change
    return {"metrics": plain}


def moved() -> dict:
    """The confusion with one item in another cell."""
    counts = [list(row) for row in read_record(place() / NAME).confusion["emotion"].counts]
    counts[0][0] += 1
    return {"emotion": Confusion(tuple(PROTOCOL.tasks["emotion"].names), tuple(map(tuple, counts)))}


FORGED = {
    "score, a little": (lambda: metrics(2e-9), "full, emotion/ua is"),
    "score of a condition": (lambda: metrics(0.01, "no_text", "emotion/wa"), "no_text, emotion/wa is"),
    "score over masks": (lambda: metrics(0.01, "missing_0.3"), "missing_0.3, emotion/ua"),
    "items": (lambda: {"items": {"train": 1, "validation": 1, "test": 1}}, "items are"),
    "confusion": (lambda: {"confusion": {"emotion": Confusion(("a", "b"), ((1, 0), (0, 1)))}}, "confusion is not of"),
    "counts": (lambda: {"confusion": moved()}, "its confusion gives"),
    "a metric less": (
        lambda: {"protocol": dataclasses.replace(FACTS, metrics=FACTS.metrics[:2])},
        "protocol.metrics",
    ),
    "seeds of the protocol": (lambda: {"protocol": dataclasses.replace(FACTS, seeds=(0,))}, "protocol.seeds"),
    "folds of the protocol": (lambda: {"protocol": dataclasses.replace(FACTS, folds=1)}, "protocol.folds"),
    "an old protocol": (lambda: {"protocol": dataclasses.replace(FACTS, hash="f" * 16)}, "another definition"),
    "seed": (lambda: {"seed": 3}, "run key is not that"),
    "data": (lambda: {"data_fingerprint": "e" * 64}, "run key is not that"),
    "test-selected": (
        lambda: {"selection": dataclasses.replace(read_record(place() / NAME).selection, rule="test")},
        "only a legacy protocol",
    ),
    "another run's name": (lambda: {"run_key": "ab" * 32}, "the folder of its run"),
}


@pytest.mark.parametrize("what", FORGED)
def test_a_forged_record_is_found(what: str, home, capsys):
    changes, message = FORGED[what]
    forge(**changes())
    code, text = verdict(capsys)
    assert code == 2
    assert any(line.startswith("FAIL") and message in line for line in text.splitlines()), text


def test_a_score_that_only_statistics_contradict_is_found(home, capsys):
    (home / "features").unlink()
    forge(**metrics(1e-6))
    assert "clusters.npz gives" in verdict(capsys)[1]


@pytest.mark.parametrize("name", ["predictions.npz", "clusters.npz", NAME])
def test_one_changed_byte_is_found(name: str, home, capsys):
    path = place() / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    code, text = verdict(capsys)
    assert code == 2 and "FAIL" in text


def test_items_of_another_fold_are_found(home, capsys):
    file = FeatureFile(home / "features" / "iemocap.h5")
    ids = [file.ids[row] for row in make_split(PROTOCOL, file, 1).test]
    rng = np.random.default_rng(0)
    outputs = {f"{n}/emotion": rng.normal(size=(len(ids), 4)) for n in ("full", "only_audio", "only_text")}
    folder = place()
    kept = (folder / NAME).read_bytes()
    (folder / NAME).unlink()
    sha = write_predictions(folder / "predictions.npz", ids, outputs)
    (folder / NAME).write_bytes(kept)
    forge(files={"predictions.npz": sha}, **{"confusion": {}, "groups": {}})
    assert "that are not the" in verdict(capsys)[1]


def test_a_speaker_may_have_any_name(tmp_path):
    speakers = [f"müller{i % 10}" for i in range(150)]
    file = FeatureFile(iemocap(tmp_path / "iemocap.h5", n=150, speaker=speakers))
    with np.load(leave(tmp_path / "runs", file, seed=0) / "clusters.npz") as arrays:
        assert {name.decode() for name in arrays["names"]} <= set(speakers)


def test_a_published_record_holds_nothing_of_single_items(home, capsys):
    folder = place()
    arrays = dict(np.load(folder / "clusters.npz"))
    order = np.argsort(arrays["names"])[::-1]
    shuffled = {name: values[order] for name, values in arrays.items() if name != "names"}
    (folder / "clusters.npz").unlink()
    save(folder / "clusters-public.npz", {"names": arrays["names"], **shuffled})
    text = verdict(capsys)[1]
    assert "expected 16 hex digits each" in text and "predictions.npz' lies beside a published record" in text
    (folder / "predictions.npz").unlink()
    hashed = np.array([f"{i:016x}" for i in range(len(order))]).astype(np.bytes_)
    save(folder / "clusters-public.npz", {"names": hashed, **shuffled})
    code, text = verdict(capsys)
    assert code == 0 and "from statistics by cluster" in text


def test_a_seed_without_effect_is_found(home, capsys):
    file = FeatureFile(home / "features" / "iemocap.h5")
    leave(Path("runs"), file, seed=1)
    found = [read_record(path) for path in sorted(Path("runs").rglob(NAME))]
    trained = [dataclasses.replace(r, cost=dataclasses.replace(r.cost, steps=9)) for r in found]
    assert not [f for f in admission.rows(trained) if f.level == "FAIL"]
    same = [dataclasses.replace(r, files={"predictions.npz": "a" * 64}) for r in trained]
    assert [f.text for f in admission.rows(same) if f.level == "FAIL"] == [
        "fold 0: seeds 0 and 1 left the same predictions, so the seed has no effect"
    ]
    untrained = [dataclasses.replace(r, cost=dataclasses.replace(r.cost, steps=0)) for r in same]
    assert not [f for f in admission.rows(untrained) if f.level == "FAIL"]
    assert f"2 records for fold 0, seed {found[0].seed}" in str([*admission.rows([found[0], found[0]])])


def test_the_fence_stops_what_is_too_good():
    where = protocol(folds=5)
    sound = runs(where, {"concat": 0.6, "gated": 0.61, "tfn": 0.6, "majority": 0.25})
    assert not [*admission.fence(sound, {})]
    (found,) = admission.fence(sound + runs(where, {"miracle": 0.85}), {})
    assert found.level == "QUARANTINE" and "miracle" in found.place
    assert not [*admission.fence(runs(where, {"miracle": 0.85, "majority": 0.25}), {})]  # no reference, no fence


def test_the_fence_stops_a_gap_unlike_the_others():
    where = protocol(folds=5)
    names = ("concat", "a", "b", "c", "d", "e")
    sound = [r for i, n in enumerate(names) for r in runs(where, {n: 0.6 + 0.002 * i})]
    assert not [*admission.fence(sound, {})]
    leak = [
        dataclasses.replace(r, selection=dataclasses.replace(r.selection, val_score=0.9)) if r.method.slug == "e" else r
        for r in sound
    ]
    (found,) = admission.fence(leak, {})
    assert "validation minus test" in found.text and ": e (" in found.place


# records are data ---------------------------------------------------------------------------------------------------

HOSTILE = [
    *("=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "=cmd|' /C calc'!A0", "a|b", "a\nb", "a\r\nb", "| --- |", "`a`"),
    *("[x](http://e.vil)", "![x](http://e.vil/p.png)", "<script>alert(1)</script>", "<img src=x onerror=alert(1)>"),
    *("</td><td>", "<!--", "-->", "&lt;b&gt;", "&#60;b&#62;", "**bold**", "_it_", "~~no~~", "# head", "> quote"),
    *("- item", "1. item", "http://e.vil", "www.e.vil", "me@e.vil", "javascript:alert(1)", "../../etc/passwd"),
    *("/etc/passwd", "C:\\x", "a\x00b", "\u202egnp.exe", "a\u200bb", "\ufeffa", "$(id)", "{{7*7}}", "${7*7}"),
]


def hostile(text: str) -> Record | None:
    """A record with the text wherever text may stand; None where the schema refuses it."""
    plain = record(FACTS, "concat", 0, 0, 0.5, metrics={"full": dict.fromkeys(FACTS.metrics, 0.5)})
    try:
        return dataclasses.replace(
            plain,
            protocol=dataclasses.replace(FACTS, title=text, note=text),
            method=MethodFacts("concat", text, "control", 2020),
            features=tuple(Feature(m, text, 8) for m in INPUTS),
            warnings=(text,),
        )
    except UserError:
        return None


def test_42_names():
    assert len(HOSTILE) == 42


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_names_change_nothing(text: str, tmp_path: Path, capsys, monkeypatch):
    """They are stored, read, checked and shown, or refused; no other file appears, and each finding stays one line."""
    monkeypatch.chdir(tmp_path)
    made = hostile(text)
    if made is None:
        return
    write_record(run_folder(Path("runs"), "iemocap4", "concat", made.run_key), made)
    write_record(run_folder(Path("runs"), "iemocap4", "other", made.run_key), made)  # found twice: a failure is shown
    plain = hostile("plain")
    code, shown = verdict(capsys)
    assert code == 2 and all(line.isprintable() for line in shown.splitlines())
    assert {path.name for path in tmp_path.rglob("*") if path.is_file()} == {NAME}
    shutil.rmtree("runs")
    write_record(run_folder(Path("runs"), "iemocap4", "concat", plain.run_key), plain)
    write_record(run_folder(Path("runs"), "iemocap4", "other", plain.run_key), plain)
    assert len(verdict(capsys)[1].splitlines()) == len(shown.splitlines())


@given(text=st.text(max_size=60), level=st.sampled_from(["FAIL", "NOTE"]))
def test_whatever_is_found_is_one_printable_line(text: str, level):
    (line,) = _lines([admission.Finding(level, text, text)])
    assert line.isprintable() and line.startswith(f"{level} ")


@settings(max_examples=50)
@given(text=st.text(max_size=40))
def test_any_text_is_refused_or_kept_as_it_is(text: str):
    made = hostile(text)
    if made is not None:
        again = Record.from_plain(json.loads(json.dumps(made.plain())))
        assert again == made and again.method.title == text and again.record_id == made.record_id


@pytest.mark.parametrize("field", ["slug", "status"])
@pytest.mark.parametrize("text", [t for t in HOSTILE if not SLUG.fullmatch(t)])
def test_names_that_become_files_are_refused(field: str, text: str):
    with pytest.raises(UserError):
        MethodFacts(**{"slug": "concat", "title": "t", "status": "control", field: text})


def test_a_record_that_is_no_record(home, capsys):
    folder = place()
    for content in (b"", b"[]", b"{}", b'{"record_id": NaN}', b"\xff\xfe", json.dumps({"record_id": "x"}).encode()):
        (folder / NAME).write_bytes(content)
        code, text = verdict(capsys)
        assert code == 2 and text.startswith("FAIL runs/")


def test_paths_that_are_not_there(tmp_path):
    for argv in (["nowhere"], [str(tmp_path)]):
        with pytest.raises(UserError, match=r"no such record|no record\.json"):
            main(argv)
