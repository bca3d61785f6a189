"""What was never run, what is no more, and what was left out stand on the pages."""

from __future__ import annotations

import dataclasses
import html
import json
import re
import xml.etree.ElementTree as ET

from mer_bench.data.corpora import find_protocol, protocols
from mer_bench.recipes import cards, unsupported
from mer_bench.results.facts import ProtocolFacts
from mer_bench.results.leaderboard import render
from mer_bench.results.never_run import never_run
from mer_bench.results.record import Rejected
from tests.results.factory import AUDIO, PROTOCOL, TEXT, VISION, make, runs
from tests.results.test_leaderboard import SIZES, SKILLS, extended, loaded, rows_of, table_of, tables

PAGE = "iemocap4--audio-text.md"
#: the made-up one of the factory has another hash, so it counts as an older definition
SHIPPED = ProtocolFacts.of(find_protocol("iemocap4"), "IEMOCAP")


def listed(text: str) -> dict[str, set[str]]:
    """Methods without a run by what keeps them out."""
    (found,) = [table for table in tables(text) if table and "what keeps it out" in table[0]]
    return {row["what keeps it out"]: set(re.findall(r"`([^`]+)`", row["methods"])) for row in found}


def test_every_shipped_method_has_a_row_or_is_named():
    files, *_ = render(loaded(table_of(SKILLS, protocol=SHIPPED)))
    found, known = listed(files[PAGE]), cards()
    shown = set.union(*found.values()) | {name.partition(":")[0] for name in SKILLS}
    assert shown == set(known) and "INCOMPLETE 0/25: no run under this definition" in found
    for reason, slugs in found.items():
        for slug in slugs:
            said = unsupported(known[slug], find_protocol("iemocap4"), ["audio", "text"])
            assert reason == (f"does not fit: {said}" if said else "INCOMPLETE 0/25: no run under this definition")
    model = json.loads(files["board.json"])["pages"][0]["tables"][0]["not_run"]
    assert {one["slug"] for one in model} == set(known) - {"concat", "foal", "gated", "unimodal"}


def test_what_does_not_fit_is_told_apart_from_what_nobody_ran():
    protocol = find_protocol("mosi_sentiment")
    facts = ProtocolFacts.of(protocol)
    one = {"a": {"tasks": ["multiclass"]}, "b": {"modalities": "2+"}, "c": {"modalities": "1", "per_modality": True}}
    found = never_run(facts, ("audio", "text"), one, {("c", ("text",)), ("b", ("audio",))})
    assert [(x.slug, x.modalities, bool(x.reason)) for x in found] == [
        ("a", ("audio", "text"), True),
        ("b", ("audio", "text"), False),  # on one modality alone it is another row
        ("c", ("audio",), False),
    ]
    assert not never_run(dataclasses.replace(facts, hash="0" * 16), ("audio", "text"), one, set())
    legacy = next(p for p in protocols().values() if p.legacy)
    assert not never_run(ProtocolFacts.of(legacy), ("audio", "text"), one, set())


def test_nothing_is_missed_on_invented_data():
    files, *_ = render(loaded(table_of(SKILLS, protocol=SHIPPED, synthetic=True)))
    assert "what keeps it out" not in files[f"synthetic/{PAGE}"]
    assert "Protocols without a run" not in files["synthetic/README.md"]
    assert "`iemocap4`" in re.search(r"Protocols without a run.*", files["README.md"])[0]


def test_an_older_definition_leaves_the_address_and_the_front_table():
    files, *_ = render(loaded([*table_of({"here": 0.5}, protocol=SHIPPED), *table_of({"there": 0.5})]))
    assert "methods/here.md" in files[PAGE] and "methods/there.md" not in files[PAGE]
    (other,) = [name for name in files if f"--{PROTOCOL.hash[:8]}-" in name and name.endswith(".md")]
    assert "**Older definition.**" in files[other] and "there.md" in files[other]
    first, last = (row["board"] for row in tables(files["README.md"])[0])
    assert f"({PAGE})," in first and f"({other}) (older definition)," in last
    order = [page["name"] for page in json.loads(files["board.json"])["pages"]]
    assert order == [PAGE.removesuffix(".md"), other.removesuffix(".md")]


def test_what_was_left_out_is_named_on_the_page_of_its_protocol_only():
    left = [Rejected("iemocap4/concat/ab/record.json", "not | valid"), Rejected("mosi/x/record.json", "other")]
    files, *_ = render(dataclasses.replace(loaded(table_of(SKILLS)), left_out=left))
    page, index = html.unescape(files[PAGE]), html.unescape(files["README.md"])
    assert "- iemocap4/concat/ab/record.json: not | valid" in page and "mosi/x" not in page
    assert all(one.path in index and one.reason in index for one in left)
    document = html.unescape(files["leaderboard.html"])
    assert document.count("iemocap4/concat/ab/record.json: not | valid") == 2  # on its board, and at the end


# missing modalities -------------------------------------------------------------------------------------------------


def marks(svg: str) -> list[tuple[float, float]]:
    """Where the signs of a picture are."""
    root = ET.fromstring(svg)
    space = "{http://www.w3.org/2000/svg}"
    circles = [(float(c.get("cx")), float(c.get("cy"))) for c in root.iter(f"{space}circle")]
    corners = [
        [tuple(map(float, p.split(","))) for p in poly.get("points").split()] for poly in root.iter(f"{space}polygon")
    ]
    return circles + [(sum(x for x, _ in c) / len(c), sum(y for _, y in c) / len(c)) for c in corners]


def with_parts(records):
    """With scores at rates and on single modalities."""
    found = []
    for r in extended(records):
        parts = {f"only_{m}": {"emotion/ua": 0.3 + 0.1 * k} for k, m in enumerate(r.modalities)}
        found.append(dataclasses.replace(r, metrics={**r.metrics, **parts}) if len(r.modalities) > 1 else r)
    return found


def test_the_curve_of_a_method_shows_rates_and_single_modalities_beside_concat():
    files, *_ = render(loaded(with_parts(table_of(SKILLS))))
    rows = json.loads(files["board.json"])["pages"][0]["tables"][0]["rows"]
    (name,) = [name for name in files if "--missing--foal-" in name]
    picture, foal = files[name], next(row for row in rows if row["slug"] == "foal")
    about = ET.fromstring(picture).find("{http://www.w3.org/2000/svg}desc").text
    for condition in ("full", "missing_0.1", "missing_0.5", "only_audio", "only_text"):
        assert f"{foal['conditions'][condition]:.2f}" in about
    assert "Foal: 0 " in about and "; Concat: 0 " in about and "Gated" not in about
    assert len(marks(picture)) == 2 * (3 + 2) + 2  # two rows of three rates and two modalities, and the legend
    heights = {x: y for x, y in marks(picture)}
    assert len(set(heights.values())) > 3
    assert f"(../{name})" in files["methods/foal.md"]
    (table,) = [t for t in tables(files[PAGE]) if t and "rate 0.5" in t[0]]
    shown = next(row for row in table if row["method"] == "Foal")
    assert shown["rate 0.5"] == f"{foal['conditions']['missing_0.5']:.2f}" and shown["only audio"] == "30.00"


def test_without_rates_there_is_no_curve():
    files, *_ = render(loaded(table_of(SKILLS)))
    assert not any("--missing" in name for name in files)
    assert "Missing at test" not in files[PAGE]


def test_three_modalities_show_what_is_left_out_too():
    records = []
    for r in extended(runs("concat", [[0.6, 0.61]] * 3, features=(AUDIO, TEXT, VISION), items=SIZES)):
        parts = {f"{kind}_{m}": {"emotion/ua": 0.4} for kind in ("only", "no") for m in ("audio", "text", "vision")}
        records.append(dataclasses.replace(r, metrics={**r.metrics, **parts}))
    files, *_ = render(loaded(records))
    (text,) = [text for name, text in files.items() if name.endswith("--default--missing.svg")]
    assert [name in text for name in (">only<", ">no<", ">vision<")] == [True] * 3
    assert "no vision 40.00" in text


# words --------------------------------------------------------------------------------------------------------------


def test_the_first_words_answer_what_is_better_by_how_much_and_what_goes_missing():
    records = with_parts(table_of({**SKILLS, "foal": 0.95, "unimodal:audio": 0.3, "unimodal:text": 0.4}))
    files, *_ = render(loaded(records))
    rows, page = rows_of(files[PAGE]), html.unescape(files[PAGE])
    line = {found[1]: found[0] for found in re.finditer(r"- \*\*([^:*]+):?.*", page)}
    foal = rows["Foal"]
    assert f"Foal {foal['Δ concat [95 %]']} (p {foal['p']}" in line["Better than concat"]
    single = rows["Unimodal (text)"]["Δ concat [95 %]"]
    gain = float(re.search(r"by \+([\d.]+)", line["One modality"])[1])
    assert single.startswith(f"-{gain:.2f}") and "BEST-SINGLE" in rows["Unimodal (text)"]["badges"]
    assert "half of the modalities removed" in line["Missing at test"] and "Foal is best" in line["Missing at test"]
    assert "Foal (10.0 CPU s a run, 1,000 parameters)" in line["Cost"]
    front = {html.unescape(k): html.unescape(v) for k, v in tables(files["README.md"])[0][0].items()}
    assert front["better than concat (Δ [95 %], p)"] == f"Foal {foal['Δ concat [95 %]']}, p {foal['p']}"
    assert front["concat"] == rows["Concat"]["UA % ↑ [95 %]"]
    document = html.unescape(files["leaderboard.html"])
    assert "Cost:" in document and "half of the modalities removed" in document


def test_the_page_of_a_method_begins_with_a_line_for_each_of_its_rows():
    records = [*table_of(SKILLS), *table_of({"foal": 0.6}, variant="tuned-20", settings={"lr": 0.01})]
    files, *_ = render(loaded(records))
    first, *_ = tables(files["methods/foal.md"])
    rows = rows_of(files[PAGE].partition("## Settings: tuned-20")[0])
    assert [row["row"] for row in first] == ["Foal", "Foal, tuned-20"]
    assert first[0]["score [95 %]"] == f"UA % ↑ {rows['Foal']['UA % ↑ [95 %]']}" and f"(../{PAGE})" in first[0]["board"]
    assert (first[0]["rank"], first[0]["runs"]) == (rows["Foal"]["rank"], "6/6")
    alone, *_ = tables(files["methods/unimodal.md"])
    assert {row["row"] for row in alone} == {"Unimodal (audio)", "Unimodal (text)"}


def test_a_lone_failed_method_says_little_and_nothing_wrong():
    files, *_ = render(loaded([make("concat", 0, 0, 0.5, items=SIZES)]))
    assert "Fewer than two ranked methods" in files[PAGE] and "**Cost" not in files[PAGE]
    assert tables(files["README.md"])[0][0]["concat"] == "—"


def test_cost_is_what_runs_took_of_processors_and_not_the_clock_of_a_busy_machine():
    records = []
    for r in table_of({"concat": 0.6, "gated": 0.61}):
        clock, used = {"concat": (99.0, 2.0), "gated": (1.0, 5.0)}[r.method.slug]
        cost = dataclasses.replace(r.cost, train_seconds=clock, cpu_seconds=used, gpu_seconds=1.0, parameters=0)
        records.append(dataclasses.replace(r, cost=cost))
    files, *_ = render(loaded(records))
    (line,) = re.findall(r"\*\*Cost:.*", files[PAGE])
    assert "the cheapest of them is Concat (3.0 CPU s a run)" in line and "the dearest Gated (6.0 CPU s a run)" in line
    shown = {slug: row["CPU s / run"] for slug, row in rows_of(files[PAGE]).items()}
    assert shown == {"Concat": "3.0", "Gated": "6.0"} and {
        row["parameters"] for row in rows_of(files[PAGE]).values()
    } == {"—"}
    assert "the independent unit is the fold, 3 of them" in files[PAGE]
    (pareto,) = (text for name, text in files.items() if "--pareto" in name)
    assert "Concat: " in pareto and "in 3.0 CPU s" in pareto
