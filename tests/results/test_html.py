"""The HTML leaderboard without a browser: it agrees with the JSON, and nothing gets in or out."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import random
import re

import pytest

from mer_bench.results.building import build
from mer_bench.results.facts import Confusion, Feature
from mer_bench.results.html import page as offline
from mer_bench.results.leaderboard import render, write_files
from mer_bench.results.model import LeftOut
from mer_bench.results.same_numbers import Same
from tests.results.factory import AUDIO, PROTOCOL, runs
from tests.results.html_pages import Document, two_boards
from tests.results.test_leaderboard import SIZES, SKILLS, loaded, numbers_in, spread, table_of
from tests.results.test_leaderboard_command import HOSTILE


@pytest.fixture(scope="module")
def files() -> dict[str, str]:
    return two_boards()


@pytest.fixture(scope="module")
def document(files) -> Document:
    return Document(files[offline.NAME])


def test_every_number_is_that_of_the_json(files, document):
    pages = json.loads(files["board.json"])["pages"]
    tables = document.tables("main")
    assert len(tables) == len(pages) == 2
    for page, shown in zip(pages, tables, strict=True):
        scale = page["scales"][page["protocol"]["primary"]]
        title = f"{scale['title']}{' %' if scale['unit'] else ''} {'↑' if scale['higher_is_better'] else '↓'}"
        digits = scale["digits"]
        columns = {title: ("score", digits), "Δ concat": ("difference", digits), "P(better)": ("p_better", 3)}
        columns |= {"seed SD": ("seed_sd", digits), "interaction gain": ("gain", digits)}
        columns |= {"missing AUC": ("missing_auc", digits), "worst group": ("worst_group", digits)}
        columns |= {"parameters": ("parameters", 0), "CPU s / run": ("compute_seconds", 1)}
        rows = page["tables"][0]["rows"]
        for row, cells in zip(rows, shown, strict=True):
            assert cells["method"] == row["label"]
            for column, (name, places) in columns.items():
                value = row["mean"] if name == "score" and row["score"] is None else row[name]
                assert numbers_in(cells.get(column, "—")) == spread(value, places), (row["label"], column)
            assert [int(x) for x in re.findall(r"\d+", cells["rank"])] == sorted(set(row["rank"] or []))
            assert cells["runs"] == f"{row['done']}/{row['planned']}"
            assert cells.get("badges", "—") == (", ".join(row["badges"]) or "—")
            p = row["p"] if row["p_adjusted"] is None else row["p_adjusted"]
            if p is not None and p >= 0.0005:
                assert numbers_in(cells["p"]) == spread(p, 3)
    assert {"interaction gain", "missing AUC"} <= set(tables[0][0]) and "missing AUC" not in tables[1][0]


def test_folds_and_other_metrics_are_those_of_the_json(files, document):
    pages = json.loads(files["board.json"])["pages"]
    _, metrics, folds = document.tables()[:3]
    for row, by_metric, by_fold in zip(pages[0]["tables"][0]["rows"], metrics, folds, strict=True):
        assert by_metric["WA % ↑"] == f"{row['metrics']['emotion/wa']:.2f}"
        assert [by_fold[f"fold {i}"] for i in range(3)] == ["—" if x is None else f"{x:.2f}" for x in row["folds"]]
    assert "—" in {value for row in folds for value in row.values()}


def test_the_embedded_data_are_the_json(files, document):
    board, data = json.loads(files["board.json"]), document.data
    for page in data["pages"]:
        for table in page["tables"]:
            names = [row["key"] for row in table["rows"]]
            table["pairs"] = [
                {"first": names[a], "second": names[b], "p": p, "p_better": better}
                | {"difference": {"value": value, "low": low, "high": high}}
                for a, b, value, low, high, p, better in table["pairs"]
            ]
    assert data.pop("reference") == "concat"
    assert data == board and sum(len(page["tables"][0]["pairs"]) for page in data["pages"]) == 9


def test_nothing_comes_from_elsewhere(files, document):
    allowed = {"board.csv", "board.json", "synthetic/leaderboard.html"}
    for tag, attributes, _ in document.elements:
        assert not {"src", "srcset", "style", "xmlns", "background", "action"} & set(attributes), tag
        assert not [name for name in attributes if name.startswith("on")], tag
        assert tag not in ("link", "base", "iframe", "object", "embed", "img", "video", "use", "image")
        href = attributes.get("href")
        assert href is None or href.startswith("#") or href in allowed
    (style,), (_, script) = document.all("style"), document.all("script")
    assert not re.search(r"url\(|@import|//", style[1])
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|Function\(|fetch\(|XMLHttp|import\(|srcdoc",
        script[1],
    )
    rest = files[offline.NAME].replace('"http://www.w3.org/2000/svg"', "", 1)  # the name that SVG has in the script
    assert not re.search(r"\b(https?|wss?|data|file|blob):", rest)


def test_the_policy_allows_this_style_and_this_script_only(document):
    (policy,) = [a["content"] for a, _ in document.all("meta") if a.get("http-equiv") == "Content-Security-Policy"]
    rules = dict(part.strip().split(" ", 1) for part in str(policy).split(";"))
    assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == "'none'"

    def hashed(content: str) -> str:
        return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"

    (style,) = document.all("style")
    (script,) = [text for attributes, text in document.all("script") if not attributes]
    assert rules["style-src"] == hashed(style[1]) and rules["script-src"] == hashed(script)
    assert set(rules) == {
        *("default-src", "base-uri", "form-action", "style-src", "script-src"),
        "require-trusted-types-for",
    }


def test_names_inside_the_document_are_unique_and_lead_somewhere(document):
    names = [a["id"] for _, a, _ in document.elements if "id" in a]
    assert len(set(names)) == len(names)
    for _, attributes, _ in document.elements:
        href = attributes.get("href") or ""
        wanted = (attributes.get("aria-labelledby") or "").split() + ([href[1:]] if href.startswith("#") else [])
        assert set(wanted) <= set(names)
    assert len(document.all("svg")) == 5  # forest and pareto on each board, missing modalities on the first


def test_the_bytes_depend_on_the_records_alone(files):
    records = table_of(SKILLS)
    first = render(loaded(records))[0][offline.NAME]
    random.Random(3).shuffle(records)
    assert render(loaded(records))[0][offline.NAME] == first != files[offline.NAME]


def test_real_and_invented_data_have_files_of_their_own():
    records = table_of({"concat": 0.5}) + table_of({"invented": 0.6}, synthetic=True, data_fingerprint="c" * 64)
    files, *_ = render(loaded(records))
    real, invented = Document(files[offline.NAME]), Document(files[f"synthetic/{offline.NAME}"])
    assert [row["method"] for (row,) in real.tables("main")] == ["Concat"]
    assert [row["method"] for (row,) in invented.tables("main")] == ["Invented"]
    assert ("../leaderboard.html" in [a.get("href") for a, _ in invented.all("a")]) and not real.data["synthetic"]
    assert "Synthetic data." in files[f"synthetic/{offline.NAME}"] and "Invented" not in files[offline.NAME]
    assert "No records yet" in render(loaded([]))[0][offline.NAME]


def page_with(name: str) -> Document:
    protocol = dataclasses.replace(PROTOCOL, title=name, note=name, cluster=name[:64])
    features = (AUDIO, Feature("text", name, 1))
    counted = {"emotion": Confusion((name[:64], "b"), ((3, 1), (2, 4)))}
    more = {"protocol": protocol, "features": features, "confusion": counted, "items": SIZES}
    board = build(loaded(runs("foal", [[0.5, 0.5]] * 3, title=name, **more)), synthetic=False)
    return Document(offline.render(board, "synthetic/leaderboard.html"))


def test_hostile_names_change_nothing_but_their_own_text():
    plain = page_with("Foal Net")
    for name in HOSTILE:
        page = page_with(name)
        assert page.shape == plain.shape, name
        assert page.tables("main")[0][0]["method"] == " ".join(name.split()).replace("@", "\uff20")
        assert page.data["pages"][0]["tables"][0]["rows"][0]["title"] == name
        (raw,) = [text for attributes, text in page.all("script") if attributes.get("id") == "data"]
        assert not set("<>&") & set(raw)


def test_what_was_left_out_and_what_counts_as_current_is_said():
    board = build(loaded(table_of({"concat": 0.5})), synthetic=False)
    same, left = Same("a" * 64, "b" * 64, "foal", "c" * 64), LeftOut("x/record.json", "no <metrics>")
    page = Document(offline.render(dataclasses.replace(board, same=(same,), left_out=(left,)), "x.html"))
    lines = [text for _, text in page.all("li")]
    assert lines[-2:] == [f"foal: {'a' * 16} and {'b' * 16}, run {'c' * 16}", "x/record.json: no <metrics>"]


def test_a_foreign_page_is_not_replaced(tmp_path, files):
    (tmp_path / offline.NAME).write_text("<!doctype html><title>Mine</title>")
    with pytest.raises(Exception, match=r"leaderboard.html was not made by"):
        write_files(tmp_path, files)
