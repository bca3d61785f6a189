"""Hostile names, and the command: what is written, replaced, refused, checked and published."""

from __future__ import annotations

import csv
import dataclasses
import html
import io
import json
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mer_bench.cli.leaderboard import main
from mer_bench.errors import UserError
from mer_bench.merh5 import FeatureFile
from mer_bench.results import loading, markdown
from mer_bench.results.building import build
from mer_bench.results.cluster_files import checked_sums
from mer_bench.results.facts import Code, Feature
from mer_bench.results.leaderboard import differences, render, write_files
from mer_bench.results.pages.figures import figures
from mer_bench.results.pages.index import comma_separated
from mer_bench.results.provenance import code
from mer_bench.results.record import run_folder, write_record
from mer_bench.results.same_numbers import Same, confirm
from mer_bench.results.sums import NAME as PRIVATE
from mer_bench.results.sums import PUBLIC
from tests.results.factory import AUDIO, PROTOCOL, make, runs
from tests.results.test_leaderboard import SIZES, loaded, only_page, table_of, tables

# names that would like to be more -----------------------------------------------------------------------------------

HOSTILE = [
    "a|b", "||||", "a\\|b", "`code`", "``` x", "**bold**", "_it_ *x*", "~~x~~", "# head", "- list", "1. one", "1) one",
    "> quote", "+ plus", "---", "===", "[x](http://evil.example)", "![x](http://evil.example/x.png)", "<b>x</b>",
    "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "</td></tr></table>", "<!-- x", "--> x", "&lt;b&gt;",
    "&#60;b&#62;", "&amp;", "http://evil.example", "https://evil.example/x", "www.evil.example", "me@evil.example",
    "mailto:me@evil.example", "@someone", "#123", ":tada:", "$x^2$", "$$x$$", "[^1]", "[[wiki]]", "=HYPERLINK(1)",
    "javascript:alert(1)", "x" * 120,
]  # fmt: skip


def page_with(name: str) -> str:
    protocol = dataclasses.replace(PROTOCOL, title=name, note=name)
    features = (AUDIO, Feature("text", name, 1))
    return only_page(runs("foal", [[0.5, 0.5]] * 3, title=name, protocol=protocol, features=features, items=SIZES))


def check_harmless(name: str) -> None:
    page, plain = page_with(name), page_with("Foal Net")
    shape = [[len(row) for row in table] for table in tables(page)]
    assert shape == [[len(row) for row in table] for table in tables(plain)]
    assert len(page.splitlines()) == len(plain.splitlines())
    main = next(table for table in tables(page) if "badges" in table[0])
    assert main[0]["UA % ↑ [95 %]"] == "50.00 [50.00,\u00a050.00]"
    shown = " ".join(name.split()).replace("@", "\uff20")
    features = next(table for table in tables(page) if "features" in table[0])
    assert features[1]["features"] == (shown or "—")
    assert main[0]["method"] == f"[{shown}](methods/foal.md) (2024)"


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_change_nothing_but_their_own_text(name):
    check_harmless(name)
    assert not re.search(r"[<>\[\]*_~|$@#!=\\]|www\.|:[a-z/]", re.sub(r"&#\d+;", "", markdown.text(name)))


@settings(max_examples=60, deadline=None)
@given(st.text(st.characters(exclude_categories=["Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"]), min_size=1, max_size=20))
def test_no_name_breaks_a_page(name):
    check_harmless(name)


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_as_a_renderer_shows_them(name):
    markdown_it = pytest.importorskip("markdown_it", reason="markdown-it-py is not installed")
    render = markdown_it.MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).render
    tag = re.compile(r"</?([a-z0-9]+)")
    page, plain = render(page_with(name)), render(page_with("Foal Net"))
    assert tag.findall(page) == tag.findall(plain)
    shown = " ".join(name.split()).replace("@", "\uff20")
    link = f'<a href="methods/foal.md">{html.escape(shown)}</a> (2024)'
    assert link in page.replace("&#x27;", "'")


def test_control_and_bidi_characters_become_visible():
    assert markdown.text("a\u202eb\u200bc\x07d\ne\u00a0 f") == "a&#65533;b&#65533;c&#65533;d e f"


@pytest.mark.parametrize(
    ("value", "digits", "shown"),
    [
        (0.125, 2, "0.12"),
        (-0.001, 2, "0.00"),
        (2.675, 2, "2.67"),
        (None, 2, "—"),
        (1234.5, 1, "1234.5"),
        (-3.14159, 3, "-3.142"),
    ],
)
def test_numbers(value, digits, shown):
    assert markdown.number(value, digits) == shown
    assert markdown.number(0.0, 2, sign=True) == "0.00"
    assert markdown.number(1.5, 2, sign=True) == "+1.50"


def test_hostile_names_in_csv_and_pictures():
    for name in HOSTILE:
        board = build(loaded(table_of({"concat": 0.5}, title=name)), synthetic=False)
        (line,) = csv.DictReader(io.StringIO(comma_separated(board)))
        assert line["label"].removeprefix("'") == name and line["label"][:1] not in "=+-@"
        for text in figures(board.pages[0]).values():
            ET.fromstring(text)


# the command --------------------------------------------------------------------------------------------------------


@pytest.fixture
def current(monkeypatch):
    """Made-up records that count as left by the present code."""
    monkeypatch.setattr(loading, "_outdated", lambda record, same: False)


def put(folder: Path, records) -> None:
    for record in records:
        write_record(run_folder(folder, record.protocol.name, record.method.slug, record.run_key), record)


def test_the_command(tmp_path, capsys, current):
    put(tmp_path / "runs", table_of({"concat": 0.5}))
    argv = ["--records", str(tmp_path / "runs"), "--out", str(tmp_path / "board")]
    assert main([*argv, "--strict"]) == 0
    assert "6 records, 0 left out" in capsys.readouterr().out
    assert main([*argv, "--check"]) == 0
    next((tmp_path / "runs").rglob("record.json")).write_text("{")
    assert main([*argv, "--check"]) == 2
    assert "iemocap4--audio-text.md differs" in capsys.readouterr().err
    assert main(argv) == 0
    assert main([*argv, "--strict"]) == 2
    assert "record.json: not valid JSON" in capsys.readouterr().err
    assert "INCOMPLETE 5/6" in (tmp_path / "board" / "iemocap4--audio-text.md").read_text()
    (tmp_path / "board" / "figures" / "old.svg").write_text("<svg/>")
    (tmp_path / "board" / "board.csv").unlink()
    assert main([*argv, "--check"]) == 2
    assert re.findall(r"board\.csv is missing|old\.svg has no records", capsys.readouterr().err)


def test_a_record_of_other_code_is_stale(tmp_path):
    put(tmp_path, table_of({"concat": 0.5}))
    assert len(loading.load(tmp_path).stale) == 6


OTHER = dataclasses.replace(PROTOCOL, name="made_up")  # not shipped, so nobody knows another form of it


def test_code_that_was_shown_to_give_the_same_numbers_is_not_stale(tmp_path):
    present = code({}).hash
    records = [dataclasses.replace(r, code=Code("0.1.0", "a" * 64)) for r in table_of({"concat": 0.5}, protocol=OTHER)]
    put(tmp_path, records)
    key = records[0].run_key
    confirm(tmp_path, Same("b" * 64, present, "concat", key))
    assert len(loading.load(tmp_path).stale) == 6
    confirm(tmp_path, Same("a" * 64, "b" * 64, "concat", key))  # over two steps
    confirm(tmp_path, Same("a" * 64, "b" * 64, "concat", key))
    found = loading.load(tmp_path)
    assert not found.stale and len(found.same) == 2
    page = render(found)[0]["README.md"]
    assert [row["older code"] for row in tables(page)[1]] == ["`aaaaaaaaaaaaaaaa`", "`bbbbbbbbbbbbbbbb`"]
    (tmp_path / "same_numbers.json").write_text('[{"old": "x", "new": "y", "method": "concat", "run": "z"}]')
    with pytest.raises(UserError, match="same numbers: old is 'x'"):
        loading.load(tmp_path)


def test_nothing_to_show_is_said(tmp_path):
    with pytest.raises(UserError, match=r"no record.json below"):
        main(["--records", str(tmp_path), "--out", str(tmp_path / "board")])
    with pytest.raises(UserError, match="no such folder"):
        main(["--records", str(tmp_path / "runs"), "--out", str(tmp_path / "board")])
    assert not (tmp_path / "board").exists()


def test_pages_that_no_record_makes_any_more_go_and_foreign_files_stay(tmp_path):
    files, *_ = render(loaded(table_of({"a": 0.5})))
    write_files(tmp_path, files)
    (tmp_path / "notes.md").write_text("mine")
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.*")}
    write_files(tmp_path, files)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.*")} == before
    later, *_ = render(loaded(table_of({"b": 0.5}, features=(AUDIO,))))
    write_files(tmp_path, later)
    assert not differences(tmp_path, later)
    left = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.*")} - {"synthetic"}
    assert left - set(later) == {"notes.md"} and "methods/a.md" not in left


def test_a_hand_written_page_is_never_replaced(tmp_path):
    (tmp_path / "README.md").write_text("# Mine\n")
    with pytest.raises(UserError, match=r"README.md was not made by"):
        write_files(tmp_path, render(loaded(table_of({"a": 0.5})))[0])
    assert [path.name for path in tmp_path.iterdir()] == ["README.md"]


# publishing ---------------------------------------------------------------------------------------------------------

SPLIT = dataclasses.replace(
    PROTOCOL, folds=1, seeds=(0, 1, 2, 3, 4), statistics="A", primary="emotion/wa", cluster="video"
)


def split_run(folder: Path, method: str, seed: int, **changes):
    """A run on an official split with statistics by video."""
    from mer_bench.cli.scoring import write_clusters

    rng = np.random.default_rng([seed, *method.encode()])
    counts = rng.integers(1, 9, (12, 2, 2)).astype(float)
    names = np.array([f"secret{k:02d}" for k in rng.permutation(12)]).astype(np.bytes_)
    order = np.argsort(names)
    value = float(np.einsum("vii->", counts) / counts.sum())
    metrics = {"full": {"emotion/ua": value, "emotion/wa": value}}
    record = make(method, 0, seed, protocol=SPLIT, metrics=metrics, items=SIZES, **changes)
    place = run_folder(folder, SPLIT.name, method, record.run_key)
    place.mkdir(parents=True)
    sha = write_clusters(place / PRIVATE, {"full": counts, "names": names[order]})
    record = dataclasses.replace(record, files={PRIVATE: sha, "predictions.npz": "e" * 64})
    (place / "predictions.npz").write_bytes(b"secret00")
    (place / "config.yaml").write_text("root: secret00")
    write_record(place, record)
    return place, record


def test_what_is_published_gives_the_same_tables_and_no_name(features, tmp_path, monkeypatch, capsys, current):
    monkeypatch.chdir(tmp_path)
    data = FeatureFile(features / "iemocap.h5").content_sha256
    for seed in SPLIT.seeds:
        place, record = split_run(Path("runs"), "concat", seed, data_fingerprint=data)
    with pytest.raises(UserError, match="`--features DIR` names the folder"):
        main(["--publish", "runs"])
    assert not Path("leaderboards").exists()
    assert main(["--publish", "runs", "--features", str(features)]) == 0
    assert "5 records copied" in capsys.readouterr().out
    names = {path.name for path in Path("leaderboards/records").rglob("*") if path.is_file()}
    assert names == {"record.json", PUBLIC}
    assert not any(b"secret" in path.read_bytes() for path in Path("leaderboards").rglob("*") if path.is_file())
    assert main(["--check"]) == 0
    roots = Path("runs"), Path("leaderboards/records")
    private, public = (checked_sums(root / place.relative_to("runs"), record)["full"] for root in roots)
    assert set(public.clusters).isdisjoint(private.clusters)
    assert sorted(map(str, public.values)) == sorted(map(str, private.values))
    text = Path("leaderboards/iemocap4--audio-text.md").read_text()
    assert main([]) == 0
    assert tables(Path("board/iemocap4--audio-text.md").read_text())[0][0]["rank"] == tables(text)[0][0]["rank"] != "—"
    (Path("leaderboards/records") / place.relative_to("runs") / PUBLIC).unlink()
    assert main(["--publish", "runs", "--features", str(features)]) == 0
    again = checked_sums(Path("leaderboards/records") / place.relative_to("runs"), record)["full"]
    assert list(again.clusters) == list(public.clusters), "published later, it still pairs"
    assert main(["--publish", "runs"]) == 0
    assert "0 records copied to leaderboards/records, 5 were there already" in capsys.readouterr().out


def test_cluster_statistics_that_do_not_fit_are_named(tmp_path, current):
    place, _ = split_run(tmp_path, "concat", 0)
    later, _ = split_run(tmp_path, "concat", 1)
    (place / PRIVATE).write_bytes(b"PK")
    with np.load(later / PRIVATE) as arrays:
        np.savez(later / PUBLIC, names=arrays["names"], full=arrays["full"] + np.eye(2))
    (later / PRIVATE).unlink()
    reasons = [entry.reason for entry in loading.load(tmp_path).left_out]
    assert any("not the file of its record" in reason for reason in reasons)
    assert any("gives another emotion/wa than the record" in reason for reason in reasons)
    assert len(loading.load(tmp_path).records) == 0


def test_leakage_is_summed_up_without_a_name(features, tmp_path, monkeypatch, current):
    """Against counting by hand: how many test items have the features of a training item."""
    from mer_bench.data.corpora import find_protocol
    from mer_bench.data.splits import make_split
    from mer_bench.results.leakage_summary import section, summarise

    file = FeatureFile(features / "iemocap.h5")
    records = table_of({"concat": 0.5}, data_fingerprint=file.content_sha256)
    content, missed = summarise(features, records, tmp_path / "leakage.json")
    assert not missed
    assert not any(name in content for name in (*file.ids, *set(file.group("speaker"))))
    ((one,),) = [json.loads(content)]
    protocol, info = find_protocol("iemocap4"), file.modalities["audio"]
    items = [file.values("audio")[a:b].tobytes() for a, b in zip(info.offsets, info.offsets[1:], strict=False)]
    counts = []
    for fold in range(protocol.folds):
        split = make_split(protocol, file, fold)
        seen = {items[row] for row in split.train} - {b""}
        counts.append(sum(items[row] in seen for row in split.test))
    assert one["shared"]["train and test"]["identical in audio"] == [min(counts), max(counts)]
    assert one["shared"]["train and test"]["speaker in both"] == [0, 0]
    (tmp_path / "leakage.json").write_text(content)
    assert section(tmp_path / "leakage.json").startswith("## What the parts share")
    monkeypatch.chdir(tmp_path)
    put(Path("runs"), records)
    assert main(["--features", str(features)]) == 0
    assert "## What the parts share" in Path("board/datasets.md").read_text()
    Path("board/leakage.json").write_text("[1]")
    with pytest.raises(UserError, match="not a summary of leakage"):
        main([])
    with pytest.raises(UserError, match="no such folder"):
        main(["--features", "nowhere"])


def test_who_has_one_feature_file_erases_nothing_of_the_others(features, tmp_path, monkeypatch, capsys, current):
    monkeypatch.chdir(tmp_path)
    put(Path("runs"), table_of({"concat": 0.5}, data_fingerprint=FeatureFile(features / "iemocap.h5").content_sha256))
    put(Path("runs"), table_of({"foal": 0.5}, data_fingerprint="b" * 64))
    put(Path("runs"), table_of({"gated": 0.5}, data_fingerprint="c" * 64))
    other = {"data": "b" * 64, "folds": 3, "hash": PROTOCOL.hash, "protocol": PROTOCOL.name,
             "shared": {"train and test": {"speaker in both": [1, 2]}}}  # fmt: skip
    old = other | {"hash": "0" * 16, "data": "c" * 64}
    gone = other | {"data": "d" * 64}
    Path("board").mkdir()
    Path("board/leakage.json").write_text(json.dumps([other, old, gone]))
    assert main(["--features", str(features)]) == 0
    said = capsys.readouterr().err
    assert f"feature file {'b' * 16}: what was found earlier is kept" in said
    assert f"feature file {'c' * 16}: nothing is known of it" in said
    found = json.loads(Path("board/leakage.json").read_text())
    assert len(found) == 2 and other in found
    assert "speaker in both" in Path("board/datasets.md").read_text()
