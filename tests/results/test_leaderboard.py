"""Pages are read back and compared with the model, and the model with the records."""

from __future__ import annotations

import csv
import dataclasses
import html
import io
import json
import random
import re
import subprocess
import sys
import xml.etree.ElementTree as ET

import pytest

from mer_bench.results.building import build
from mer_bench.results.consolidate import consolidate
from mer_bench.results.facts import Confusion, Feature
from mer_bench.results.leaderboard import render
from mer_bench.results.loading import Loaded
from mer_bench.results.pages import board_page
from mer_bench.results.published import read_published
from mer_bench.results.record import Rejected, write_record
from tests.results.factory import AUDIO, PROTOCOL, TEXT, VISION, make, runs
from tests.source import ROOT

ERROR = dataclasses.replace(PROTOCOL, name="mosi", primary="sentiment/mae", metrics=("sentiment/mae", "sentiment/ccc"))
SIZES = {"train": 300, "test": 100}


def loaded(records, **more) -> Loaded:
    kept, left_out = consolidate(records)
    return Loaded(kept, left_out=left_out, **more)


def table_of(skills, **more):
    """Runs of several methods with luck of their own; features may be given by method as ``slug:modality``."""
    found = []
    for name, skill in skills.items():
        slug, _, single = name.partition(":")
        rng = random.Random(name)
        values = [[skill + rng.gauss(0, 0.02) for _ in range(2)] for _ in range(3)]
        own = {"features": ({"audio": AUDIO, "text": TEXT}[single],)} if single else {}
        found += runs(slug, values, items=SIZES, **more, **own)
    return found


SKILLS = {"concat": 0.6, "foal": 0.7, "gated": 0.61, "unimodal:audio": 0.5, "unimodal:text": 0.55}


def tables(text: str) -> list[list[dict[str, str]]]:
    """Every table of a page as rows by column, entities decoded."""
    found, header = [], None
    for line in text.splitlines():
        if not line.startswith("|"):
            header = None
            continue
        cells = [html.unescape(cell.strip()) for cell in line.strip()[1:-1].split("|")]
        if header is None:
            header, rows = cells, []
            found.append(rows)
        elif not re.fullmatch(r"[:| -]+", line):
            rows.append(dict(zip(header, cells, strict=True)))
    return found


def only_page(records, **more) -> str:
    boards = [build(loaded(records, **more), synthetic=synthetic) for synthetic in (False, True)]
    ((board, page),) = [(board, page) for board in boards for page in board.pages]
    return board_page.render(page, synthetic=board.synthetic)


def rows_of(page: str) -> dict[str, dict[str, str]]:
    """Everything that a page shows of each row, by the label of the method; of one variant of the settings."""
    found: dict[str, dict[str, str]] = {}
    for table in tables(page):
        for row in table if table and {"badges", "seed SD"} & set(table[0]) else []:
            linked = re.match(r"\[(.+?)\]\(", row["method"])
            found.setdefault(linked[1] if linked else row["method"], {"rank": "—"}).update(row)
    return found


def main_rows(records, **more) -> dict[str, dict[str, str]]:
    """The rows of the only page."""
    return rows_of(only_page(records, **more))


# one model, several renderings --------------------------------------------------------------------------------------


def numbers_in(cell: str) -> list[float | None]:
    found = re.findall(r"[+-]?\d+(?:,\d{3})*(?:\.\d+)?", cell.replace("95 %", ""))
    return [float(x.replace(",", "")) for x in found]


def spread(value, digits):
    """What a rendering shows of a number or an interval of the model."""
    if value is None:
        return []
    several = [value["value"], value["low"], value["high"]] if isinstance(value, dict) else [value]
    return [float(f"{x:.{digits}f}") for x in several]


def extended(records):
    """With conditions, projection and confusion."""
    confusion = {"emotion": Confusion(("a", "b"), ((3, 1), (2, 4)))}
    changed = []
    for r in records:
        value = r.metrics["full"]["emotion/ua"]
        more = {
            c: {"emotion/ua": value - x} for c, x in {"missing_0.1": 0.02, "missing_0.5": 0.1, "emap": 0.001}.items()
        }
        metrics = {**r.metrics, **more, "emap_full": {"emotion/ua": value}}
        changed.append(dataclasses.replace(r, metrics=metrics, confusion=confusion) if len(r.modalities) > 1 else r)
    return changed


def test_markdown_csv_and_json_never_disagree():
    files, *_ = render(loaded(extended(table_of(SKILLS))))
    board = json.loads(files["board.json"])
    (page,) = board["pages"]
    rows = page["tables"][0]["rows"]
    shown = rows_of(files[f"{page['name']}.md"])
    lines = {line["label"]: line for line in csv.DictReader(io.StringIO(files["board.csv"]))}
    assert set(shown) == set(lines) == {row["label"] for row in rows} and len(rows) == 5
    columns = {
        **{"UA % ↑ [95 %]": ("score", 2), "Δ concat [95 %]": ("difference", 2), "P(better)": ("p_better", 3)},
        **{"seed SD": ("seed_sd", 2), "interaction gain [95 %]": ("gain", 2), "missing AUC [95 %]": ("missing_auc", 2)},
        **{"worst group": ("worst_group", 2), "parameters": ("parameters", 0)},
        **{"CPU s / run": ("compute_seconds", 1)},
        **{"validation": ("validation", 2)},
    }
    for row in rows:
        cells, line = shown[row["label"]], lines[row["label"]]
        for column, (name, digits) in columns.items():
            assert numbers_in(cells[column]) == spread(row[name], digits), (row["label"], column)
            if isinstance(row[name], dict):
                ends = [float(line[f"{name}{end}"]) for end in ("", "_low", "_high")]
                assert ends == list(row[name][key] for key in ("value", "low", "high"))
            elif name in line:
                assert (float(line[name]) if line[name] else None) == row[name]
        assert cells["runs"] == f"{row['done']}/{row['planned']}" == f"{line['done']}/{line['planned']}"
        assert [int(x) for x in re.findall(r"\d+", cells["rank"])] == sorted(set(row["rank"] or []))
        method = files[f"methods/{row['slug']}.md"]
        assert all(str(x) in method for x in (f"{row['mean']:.2f}", f"{row['parameters']:,}"))
    assert rows[0]["slug"] == "foal" and rows[0]["confusion"]["emotion"]["counts"] == [[18, 6], [12, 24]]
    assert "| a | 18 | 6 | 75.00 | 60.00 |" in files["methods/foal.md"]


def test_what_papers_report_stands_on_the_page_of_the_method_and_nowhere_else():
    published = read_published(ROOT / "leaderboards" / "published.yaml")
    numbers = list(published.of("mult"))
    files, *_ = render(loaded(table_of({"mine": 0.5, "mult": 0.6})), published=published)
    (found,) = [t for t in tables(files["methods/mult.md"]) if t and "chosen on" in t[0]]
    assert len(found) == len(numbers) > 0 and "What papers report" not in files["methods/mine.md"]
    assert not any("chosen on" in text for name, text in files.items() if name != "methods/mult.md")


def test_the_model_is_what_the_records_say():
    records = table_of(SKILLS)
    (page,) = build(loaded(records), synthetic=False).pages
    for row in page.tables[0].rows:
        own = [r for r in records if r.method.slug == row.slug and set(r.modalities) == set(row.modalities)]
        values = [100 * r.metrics["full"]["emotion/ua"] for r in own]
        assert row.mean == row.score.value == row.metrics["emotion/ua"] == pytest.approx(sum(values) / 6, abs=1e-6)
        folds = [sum(100 * r.metrics["full"]["emotion/ua"] for r in own if r.fold == f) / 2 for f in range(3)]
        assert row.folds == pytest.approx(folds, abs=1e-6)
        assert row.control == (row.slug == "unimodal") == (row.rank is None)
    assert [row.badges for row in page.tables[0].rows if row.slug == "unimodal"] == [("BEST-SINGLE",), ()]
    assert page.tables[0].absent == ("majority", "shuffled")
    assert page.items == {"train": (300,), "test": (100,)}


def test_the_line_that_reproduces_names_the_inputs_in_the_order_of_the_runs():
    for features in ((AUDIO, TEXT), (TEXT, AUDIO)):
        page = html.unescape(only_page(runs("concat", [[0.5, 0.5]] * 3, features=features)))
        inputs = ", ".join(feature.modality for feature in features)
        assert f"--data.protocol iemocap4 --data.modalities '[{inputs}]' --data.fold FOLD --seed SEED`" in page


def test_the_page_says_in_words_what_is_known():
    sure = runs("gated", [[0.7, 0.701]] * 3, items=SIZES) + runs("concat", [[0.6, 0.601]] * 3, items=SIZES)
    sure += runs("mult", [[0.5, 0.501]] * 3, items=SIZES) + runs("tfn", [[0.5, 0.7]] * 3, items=SIZES)
    page = only_page(sure)
    (line,) = re.findall(r"^- \*\*Better than concat.*$", page, re.MULTILINE)
    better, worse = re.search(r"concat:\*\* (.+?)\. \*\*Worse than concat:\*\* (.+?)\. Not", line).groups()
    rows = main_rows(sure)
    for said, name in ((better, "Gated"), (worse, "Mult")):
        row = rows[name]
        assert html.unescape(said) == f"{name} {row['Δ concat [95 %]']} (p {row['p']}, 1.0 x the CPU time)"
    assert "0.1 of these 3 would pass by luck" in line or "0.2 of these 3 would pass by luck" in line
    assert "Not told apart from it: 1 of 3." in line


def test_lower_is_better_where_the_metric_says_so():
    records = table_of({"concat": 0.6, "foal": 0.5}, protocol=ERROR)
    (page,) = build(loaded(records), synthetic=False).pages
    first = page.tables[0].rows[0]
    assert first.slug == "foal" and first.difference.value < 0 and first.p_better > 0.5
    assert page.scale.digits == 3 and not page.scale.higher_is_better
    assert "MAE ↓" in only_page(records)


def test_rows_that_may_not_be_ranked_are_shown_without_a_rank():
    records = table_of({"concat": 0.6, "foal": 0.7, "gated": 0.61, "mult": 0.65, "tfn": 0.6, "lmf": 0.6})
    broken = []
    for r in records:
        if r.method.slug == "foal" and r.fold == 2:
            continue
        if r.method.slug == "gated":
            r = dataclasses.replace(r, selection=dataclasses.replace(r.selection, rule="test"))
        if r.method.slug == "tfn" and r.fold == 1:
            r = dataclasses.replace(r, status="diverged", metrics={})
        broken.append(r)
    stale = frozenset(r.run_key for r in broken if r.method.slug == "lmf" and r.seed == 1)
    rows = main_rows(broken, stale=stale)
    badges = {"Foal": "INCOMPLETE 4/6", "Gated": "TEST-SELECTED", "Tfn": "DIVERGED 2", "Lmf": "STALE"}
    for label, badge in badges.items():
        assert (rows[label]["rank"], rows[label]["Δ concat [95 %]"]) == ("—", "—"), label
        assert badge in rows[label]["badges"] and numbers_in(rows[label]["UA % ↑ [95 %]"])
    assert {label for label, row in rows.items() if row["rank"] != "—"} == {"Concat", "Mult"}
    legacy = dataclasses.replace(PROTOCOL, legacy=True)
    row = main_rows(table_of({"concat": 0.6}, protocol=legacy))["Concat"]
    assert (row["rank"], row["badges"]) == ("—", "LEGACY")


def test_variants_have_tables_of_their_own_and_papers_settings_never_rank():
    records = [
        *table_of({"concat": 0.5, "gated": 0.6}),
        *table_of({"concat": 0.6}, variant="tuned-20", settings={"lr": 0.01}),
        *table_of({"concat": 0.9}, variant="paper", settings={"lr": 0.02}),
    ]
    page = only_page(records)
    assert re.findall(r"## Settings: (.+)", page) == ["default", "paper", "tuned-20"]
    default, paper, tuned = (table for table in tables(page) if table and "badges" in table[0])
    assert len(default) == 2 and default[0]["Δ concat [95 %]"] != "—"
    assert ("rank" in paper[0], paper[0]["badges"]) == (False, "PAPER") and "No row is ranked." in page
    assert (tuned[0]["rank"], tuned[0]["badges"]) == ("1", "TUNED-20")


@pytest.mark.parametrize(
    "other",
    [
        {"protocol": dataclasses.replace(PROTOCOL, name="iemocap6")},
        {"protocol": dataclasses.replace(PROTOCOL, hash="0" * 16)},
        {"features": (AUDIO, TEXT, VISION)},
        {"data_fingerprint": "b" * 64},
        {"data_fingerprint": "b" * 64, "synthetic": True},
    ],
)
def test_what_does_not_compare_never_shares_a_page(other):
    files, *_ = render(loaded([*runs("here", [[0.5, 0.5]] * 3), *runs("there", [[0.6, 0.6]] * 3, **other)]))
    pages = {name: text for name, text in files.items() if "--" in name and name.endswith(".md")}
    assert len(pages) == 2
    assert all(("(methods/here.md)" in text) != ("(methods/there.md)" in text) for text in pages.values())


def test_synthetic_data_stand_in_a_folder_of_their_own():
    records = [*table_of({"mine": 0.5}), *table_of({"yours": 0.6}, synthetic=True, data_fingerprint="b" * 64)]
    files, *_ = render(loaded(records))
    real = "".join(text for name, text in files.items() if not name.startswith("synthetic/"))
    fake = {name: text for name, text in files.items() if name.startswith("synthetic/")}
    assert "yours" not in real and "mine" in real and not any("mine" in text for text in fake.values())
    pages = [text for name, text in fake.items() if "--" in name and name.endswith(".md")]
    assert len(pages) == 1 and "**Synthetic data.**" in pages[0] and "SYNTHETIC" in pages[0]


# controls -----------------------------------------------------------------------------------------------------------


def test_a_control_out_of_its_band_is_an_alarm():
    good = table_of({"concat": 0.6, "shuffled": 0.26}) + runs("majority", [[0.5, 0.5]] * 3, items=SIZES)
    two = {"emotion": Confusion(("a", "b"), ((1, 1), (1, 1)))}
    good = [dataclasses.replace(r, confusion=two) for r in good]
    assert render(loaded(good))[1] == []
    leak = [r for r in good if r.method.slug != "shuffled"] + runs("shuffled", [[0.62, 0.621]] * 3, items=SIZES)
    files, alarms, _ = render(loaded(leak))
    assert [alarm.partition(": ")[2].partition(" by")[0] for alarm in alarms] == ["shuffled is better than majority"]
    assert any("**Wrong:** shuffled is better" in text for text in files.values())
    bad = [r for r in good if r.method.slug != "concat"] + runs("concat", [[0.4, 0.401]] * 3, items=SIZES)
    assert "concat is worse than majority" in render(loaded(bad))[1][0]
    changed = [
        dataclasses.replace(r, metrics={"full": dict.fromkeys(PROTOCOL.metrics, 0.51)})
        if r.method.slug == "majority"
        else r
        for r in good
    ]
    assert "a constant answer scores 0.500000" in render(loaded(changed))[1][0]


# records that cannot be used ----------------------------------------------------------------------------------------


def test_copies_count_once_and_conflicts_not_at_all():
    records = table_of({"concat": 0.5})
    again = dataclasses.replace(records[0], cost=dataclasses.replace(records[0].cost, train_seconds=99.0))
    assert [entry.reason.split(" run ")[0] for entry in consolidate([*records, records[0], again])[1]] == ["repeats"]
    other = dataclasses.replace(records[0], metrics={"full": dict.fromkeys(PROTOCOL.metrics, 0.1)})
    found = loaded([*records, other])
    assert [entry.reason.startswith("CONFLICT: 2 records") for entry in found.left_out] == [True, True]
    files, *_ = render(found)
    assert "5/6" in files["iemocap4--audio-text.md"] and files["README.md"].count("CONFLICT: 2 records") == 2
    records[5] = make("concat", 0, 0, 0.5, run_key="f" * 64, items=SIZES)
    reasons = [entry.reason for entry in consolidate(records)[1]]
    assert reasons == ["CONFLICT: 2 runs claim fold 0, seed 0; none counts"] * 2


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ({"protocol": dataclasses.replace(PROTOCOL, folds=4)}, "protocol iemocap4"),
        ({"features": (AUDIO, Feature("text", "another extractor", 384))}, "features of text"),
        ({"synthetic": True}, "feature file aaaa"),
    ],
)
def test_one_hash_with_two_meanings_counts_for_neither(other, words):
    kept, left_out = consolidate([*runs("here", [[0.5, 0.5]] * 3), *runs("there", [[0.6, 0.6]] * 3, **other)])
    assert not kept and len(left_out) == 12
    assert all(words in entry.reason for entry in left_out)
    titled = dataclasses.replace(PROTOCOL, title="New title", note="new note")
    assert (
        len(consolidate([*runs("here", [[0.5, 0.5]] * 3), *runs("there", [[0.6, 0.6]] * 3, protocol=titled)])[0]) == 12
    )


def test_unreadable_records_are_named_in_the_index():
    files, *_ = render(Loaded(table_of({"a": 0.5}), left_out=[Rejected("x/record.json", "not valid | JSON <b>")]))
    assert tables(files["README.md"])[1] == [{"record": "x/record.json", "reason": "not valid | JSON <b>"}]
    assert (
        "<b>" not in files["README.md"] and json.loads(files["board.json"])["left_out"][0]["record"] == "x/record.json"
    )


# determinism --------------------------------------------------------------------------------------------------------


def mixed_records():
    return [
        *extended(table_of(SKILLS)),
        *table_of({"concat": 0.7, "foal": 0.7}, features=(AUDIO, TEXT, VISION)),
        *table_of({"concat": 0.7}, synthetic=True, data_fingerprint="b" * 64),
        *table_of({"mult": 0.7}, protocol=ERROR, data_fingerprint="c" * 64),
        make("foal", 0, 0, 0.123, items=SIZES),
    ]


def test_the_order_of_records_never_matters():
    records = mixed_records()
    expected = render(loaded(records))
    for seed in range(3):
        random.Random(seed).shuffle(records)
        assert render(loaded(records)) == expected


def test_hash_seed_locale_and_time_zone_never_matter(tmp_path):
    for number, record in enumerate(mixed_records()):
        write_record(tmp_path / "runs" / str(number), record)
    outputs = []
    for number, environment in enumerate(
        ({"PYTHONHASHSEED": "0", "TZ": "UTC"}, {"PYTHONHASHSEED": "7", "TZ": "Asia/Tokyo", "LC_ALL": "C", "LANG": "C"})
    ):
        out = tmp_path / f"out{number}"
        code = "import sys; from mer_bench.cli.leaderboard import main; sys.exit(main(sys.argv[1:]))"
        command = [sys.executable, "-c", code, "--records", str(tmp_path / "runs"), "--out", str(out)]
        subprocess.run(command, check=True, env=environment, capture_output=True)
        outputs.append({path.relative_to(out): path.read_bytes() for path in out.rglob("*") if path.is_file()})
    assert outputs[0] == outputs[1] and len(outputs[0]) > 20


def test_pictures_are_well_formed_and_say_what_they_show():
    files, *_ = render(loaded(extended(table_of(SKILLS))))
    pictures = {name: text for name, text in files.items() if name.endswith(".svg")}
    kinds = {re.search(r"--(forest|pareto|missing|confusion)", name)[1] for name in pictures}
    assert kinds == {"forest", "pareto", "missing", "confusion"}
    page = files["iemocap4--audio-text.md"]
    for name, text in pictures.items():
        root = ET.fromstring(text)
        title, about = (root.find(f"{{http://www.w3.org/2000/svg}}{tag}").text for tag in ("title", "desc"))
        assert title and about and "prefers-color-scheme:dark" in text and len(text) < 60_000
        assert not re.search(r"href|<script|url\(|@import|http(?!://www\.w3\.org/2000/svg)", text)
        own = re.search(r"--(?:confusion|missing)--(.+)-[0-9a-f]{8}\.svg", name)
        assert f"({name})" in page if own is None else f"(../{name})" in files[f"methods/{own[1]}.md"]
    (forest,) = (text for name, text in pictures.items() if "forest" in name)
    assert tables(page)[0][0]["UA % ↑ [95 %]"].replace("\u00a0", " ") in forest
