"""Pages are read back and compared with the records that made them."""

from __future__ import annotations

import dataclasses
import html
import itertools
import random
import re
import statistics
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mer_bench.cli.leaderboard import main
from mer_bench.errors import UserError
from mer_bench.results import markdown
from mer_bench.results.facts import Feature
from mer_bench.results.leaderboard import build, write_pages
from mer_bench.results.record import Rejected, settings_hash, write_record
from tests.results.factory import AUDIO, PROTOCOL, TEXT, VISION, make, runs

ERROR = dataclasses.replace(PROTOCOL, name="mosi", primary="sentiment/mae", metrics=("sentiment/mae", "sentiment/ccc"))


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


def only_page(records) -> str:
    pages = [text for name, text in build(records)[0].items() if "--" in name]
    assert len(pages) == 1
    return pages[0]


def scores(records) -> list[dict[str, str]]:
    """The first table of scores of the only page."""
    return tables(only_page(records))[1]


# numbers ------------------------------------------------------------------------------------------------------------

unit = st.floats(0, 1)
rows = st.lists(st.lists(unit, min_size=2, max_size=2), min_size=3, max_size=3)


@settings(max_examples=40)
@given(st.dictionaries(st.sampled_from(["concat", "foal", "gated", "mult"]), rows, min_size=1))
def test_every_number_of_a_page_equals_what_the_records_say(values):
    records = [record for name, table in values.items() for record in runs(name, table, seconds=12.34)]
    found = {re.search("`(.+?)`", row["method"])[1]: row for row in scores(records)}
    assert set(found) == set(values)
    for name, table in values.items():
        row, folds = found[name], [statistics.fmean(seeds) for seeds in table]
        assert float(row["UA % ↑"]) == pytest.approx(100 * statistics.fmean(folds), abs=0.005001)
        assert float(row["WA % ↑"]) == float(row["UA % ↑"])
        assert float(row["fold SD"]) == pytest.approx(100 * statistics.stdev(folds), abs=0.005001)
        assert (row["parameters"], row["train s"], row["runs"], row["gain"]) == ("1,000", "12.3", "6/6", "—")
    order = [statistics.fmean(map(statistics.fmean, values[name])) for name in found]
    assert all(a >= b - 1e-12 for a, b in itertools.pairwise(order))
    ranks = [int(row["#"]) for row in found.values()]
    assert ranks == sorted(ranks) and ranks[0] == 1
    by_fold = tables(only_page(records))[2]
    for row in by_fold:
        table = values[re.search("`(.+?)`", row["method"])[1]]
        shown = [float(row[f"fold {fold}"]) for fold in range(3)]
        assert shown == pytest.approx([100 * statistics.fmean(seeds) for seeds in table], abs=0.005001)


def test_lower_is_better_where_the_metric_says_so():
    bad, good = ([[v, v]] * 3 for v in (0.9, 0.7))
    lines = scores([*runs("bad", bad, protocol=ERROR), *runs("good", good, protocol=ERROR)])
    assert [(row["#"], row["method"], row["MAE ↓"]) for row in lines] == [
        ("1", "Good (2024) `good`", "0.700"),
        ("2", "Bad (2024) `bad`", "0.900"),
    ]


def test_equal_scores_share_a_rank():
    records = [*runs("b", [[0.1, 0.2], [0.3, 0.1], [0.2, 0.2]]), *runs("a", [[0.3, 0.1], [0.2, 0.2], [0.2, 0.1]])]
    assert [row["#"] for row in scores([*records, *runs("c", [[0.1, 0.1]] * 3)])] == ["1", "1", "3"]


def test_one_fold_shows_the_spread_of_seeds():
    single = dataclasses.replace(PROTOCOL, folds=1, seeds=(0, 1, 2))
    row = scores(runs("concat", [[0.5, 0.6, 0.9]], protocol=single))[0]
    assert float(row["seed SD"]) == pytest.approx(100 * statistics.stdev([0.5, 0.6, 0.9]), abs=0.01)


def test_the_largest_parameter_count_and_the_mean_time_are_shown():
    records = runs("concat", [[0.5, 0.5]] * 3)
    records[0] = make("concat", 0, 0, 0.5, parameters=2_000_000, seconds=70.0)
    row = scores(records)[0]
    assert (row["parameters"], row["train s"]) == ("2,000,000", "20.0")


# what stands together -----------------------------------------------------------------------------------------------


def test_incomplete_rows_stand_below_unranked():
    lines = scores([*runs("weak", [[0.2, 0.2]] * 3), *runs("strong", [[0.9, 0.9], [0.9]])])
    assert [(row["#"], row["method"], row["badges"], row["runs"]) for row in lines] == [
        ("1", "Weak (2024) `weak`", "CONTROL", "6/6"),
        ("—", "Strong (2024) `strong`", "INCOMPLETE 3/6, CONTROL", "3/6"),
    ]


def test_failures_count_and_extra_seeds_do_not():
    records = runs("concat", [[0.5, 0.5]] * 3)
    records[5] = make("concat", 2, 1, status="diverged", metrics={}, files={})
    records.append(make("concat", 0, 77, 1.0))
    page = only_page(records)
    row = tables(page)[1][0]
    assert (row["#"], row["badges"], row["UA % ↑"]) == ("—", "INCOMPLETE 5/6, DIVERGED 1, CONTROL", "50.00")
    assert "not counted: Concat (2024) `concat` 1." in page


def test_a_method_without_any_score_is_still_shown():
    row = scores([*runs("a", [[0.5, 0.5]] * 3), make("b", status="oom", metrics={}, files={})])[1]
    assert (row["UA % ↑"], row["parameters"], row["badges"]) == ("—", "—", "INCOMPLETE 0/6, OOM 1, CONTROL")


def test_single_modalities_are_controls_and_the_best_of_them_is_what_fusion_must_beat():
    records = [
        *runs("concat", [[0.6, 0.6]] * 3),
        *runs("foal", [[0.4, 0.4]] * 3),
        *runs("unimodal", [[0.5, 0.5]] * 3, features=(AUDIO,)),
        *runs("unimodal", [[0.3, 0.3]] * 3, features=(TEXT,)),
        *runs("unimodal", [[0.99]], features=(AUDIO,), settings={"lr": 0.5}),  # incomplete: beats nobody
    ]
    page = only_page(records)
    lines = [(row["#"], row["method"].split(" ", 2)[2], row["gain"]) for row in tables(page)[1]]
    tags = [settings_hash(dict(lr=lr, method="unimodal", modalities=["audio"]))[:8] for lr in (0.001, 0.5)]
    assert lines == [
        ("1", "`concat`", "+10.00"),
        ("2", "`foal`", "-10.00"),
        ("—", f"`unimodal`, audio only `{tags[0]}`", "—"),
        ("—", "`unimodal`, text only", "—"),
        ("—", f"`unimodal`, audio only `{tags[1]}`", "—"),
    ]
    assert "Gain is over the best single modality" in page


def test_gain_of_an_unfinished_row_is_over_the_runs_that_it_has():
    records = [
        *runs("concat", [[0.6], [0.7]]),
        *runs("unimodal", [[0.5, 0.9], [0.4, 0.9], [0.9, 0.9]], features=(AUDIO,)),
        *runs("unimodal", [[0.55, 0.1]], features=(TEXT,)),  # better on fold 0, but fold 1 is not there
    ]
    lines = {row["method"].split(" ", 2)[2]: row for row in scores(records)}
    assert lines["`concat`"]["gain"] == "+20.00" and "INCOMPLETE 2/6" in lines["`concat`"]["badges"]
    assert scores(records[:2])[0]["gain"] == "—"


def test_gain_is_positive_for_better_also_where_less_is_better():
    records = [
        *runs("concat", [[0.7, 0.7]] * 3, protocol=ERROR),
        *runs("unimodal", [[0.9, 0.9]] * 3, protocol=ERROR, features=(TEXT,)),
    ]
    assert scores(records)[0]["gain"] == "+0.200"


def test_unimodal_runs_alone_have_a_page_and_are_ranked_there():
    assert scores(runs("unimodal", [[0.5, 0.5]] * 3, features=(AUDIO,)))[0]["#"] == "1"


def test_a_method_that_was_given_more_than_it_used_counts_by_what_it_used():
    records = [*runs("concat", [[0.6, 0.6]] * 3), *runs("unimodal", [[0.5, 0.5]] * 3, modalities=("audio",))]
    assert "audio only" in scores(records)[1]["method"]


@pytest.mark.parametrize(
    "other",
    [
        {"protocol": dataclasses.replace(PROTOCOL, name="iemocap6")},
        {"protocol": dataclasses.replace(PROTOCOL, hash="0" * 16)},
        {"protocol": dataclasses.replace(PROTOCOL, note="another note under the same hash")},
        {"features": (AUDIO, TEXT, VISION)},
        {"features": (AUDIO, Feature("text", "another extractor", 384))},
        {"features": (AUDIO, Feature("text", "MiniLM-L6", 128))},
        {"data_fingerprint": "b" * 64},
        {"synthetic": True},
    ],
)
def test_what_does_not_compare_never_shares_a_page(other):
    records = [*runs("here", [[0.5, 0.5]] * 3), *runs("there", [[0.6, 0.6]] * 3, **other)]
    pages = {name: text for name, text in build(records)[0].items() if "--" in name}
    assert len(pages) == 2
    assert all(("`here`" in text) != ("`there`" in text) for text in pages.values())


def test_synthetic_data_are_marked_and_listed_apart():
    records = [*runs("here", [[0.5, 0.5]] * 3), *runs("there", [[0.6, 0.6]] * 3, synthetic=True)]
    pages = build(records)[0]
    fake = next(name for name in pages if name.startswith("synthetic--"))
    real = next(name for name in pages if name.startswith("iemocap4--"))
    assert "**Synthetic data.**" in pages[fake] and "SYNTHETIC" in tables(pages[fake])[1][0]["badges"]
    assert fake in pages["synthetic.md"] and fake not in pages["README.md"]
    assert real in pages["README.md"] and real not in pages["synthetic.md"]
    assert not re.search(r"\d\d\.\d\d", pages["README.md"] + pages["synthetic.md"])


def test_variants_have_tables_of_their_own_and_papers_settings_never_rank():
    records = [
        *runs("concat", [[0.5, 0.5]] * 3),
        *runs("concat", [[0.6, 0.6]] * 3, variant="tuned-20", settings={"lr": 0.01}),
        *runs("concat", [[0.9, 0.9]] * 3, variant="paper", settings={"lr": 0.02}),
        *runs("unimodal", [[0.4, 0.4]] * 3, features=(AUDIO,)),
    ]
    page = only_page(records)
    assert re.findall(r"## Settings: (.+)", page) == ["default", "paper", "tuned-20"]
    default, paper, tuned = (table for table in tables(page) if table and "gain" in table[0])
    assert (default[0]["#"], default[0]["gain"]) == ("1", "+10.00")
    assert (paper[0]["#"], paper[0]["badges"]) == ("—", "PAPER-SETTINGS, CONTROL")
    assert (tuned[0]["#"], tuned[0]["gain"]) == ("1", "—")  # its unimodal runs are not there


def test_legacy_and_test_selected_rows_never_rank():
    legacy = dataclasses.replace(PROTOCOL, legacy=True)
    assert scores(runs("a", [[0.5, 0.5]] * 3, protocol=legacy))[0]["#"] == "—"
    row = scores(runs("a", [[0.5, 0.5]] * 3, rule="test"))[0]
    assert (row["#"], row["badges"]) == ("—", "TEST-SELECTED, CONTROL")


def test_different_settings_and_code_are_never_mixed_in_silence():
    records = [*runs("concat", [[0.5, 0.5]] * 3), *runs("concat", [[0.6, 0.6]] * 3, settings={"lr": 1})]
    assert len({row["method"] for row in scores(records)}) == 2
    records = runs("concat", [[0.5, 0.5]] * 3, card="adapted")
    changed = dataclasses.replace(records[0], code=dataclasses.replace(records[0].code, hash="9" * 64))
    assert scores([changed, *records[1:]])[0]["badges"] == "MIXED-CODE, ADAPTED"


# records that cannot be used ----------------------------------------------------------------------------------------


def test_copies_count_once_and_conflicts_not_at_all():
    records = runs("concat", [[0.5, 0.5]] * 3)
    again = make("concat", 0, 0, 0.5, seconds=99.0)
    page, left_out = build([*records, records[0], again])
    assert [entry.reason.split(" run ")[0] for entry in left_out] == ["repeats"]
    assert build([*records, again])[0] == page
    pages, left_out = build([*records, make("concat", 0, 0, 0.7)])
    assert [entry.reason.startswith("CONFLICT: 2 records") for entry in left_out] == [True, True]
    assert "5/6" in next(text for name, text in pages.items() if "--" in name)
    assert pages["README.md"].count("CONFLICT") == 2


def test_two_runs_for_one_place_do_not_make_up_for_a_missing_one():
    records = runs("concat", [[0.5, 0.5]] * 3)
    records[5] = make("concat", 0, 0, 0.5, run_key="f" * 64)
    pages, left_out = build(records)
    assert [entry.reason for entry in left_out] == ["CONFLICT: 2 runs claim fold 0, seed 0; none counts"] * 2
    assert "INCOMPLETE 4/6" in next(text for name, text in pages.items() if "--" in name)


def test_unreadable_records_are_named_in_the_index():
    pages, left_out = build(runs("a", [[0.5, 0.5]] * 3), [Rejected("x/record.json", "not valid | JSON <b>")])
    assert tables(pages["README.md"])[1] == [{"record": "x/record.json", "reason": "not valid | JSON <b>"}]
    assert "<b>" not in pages["README.md"] and left_out == [Rejected("x/record.json", "not valid | JSON <b>")]


# determinism --------------------------------------------------------------------------------------------------------


def mixed_records():
    rng = random.Random(0)

    def table():
        return [[rng.random(), rng.random()] for _ in range(3)]

    return [
        *(r for name in ("concat", "foal", "gated") for r in runs(name, table())),
        *(r for f in (AUDIO, TEXT) for r in runs("unimodal", table(), features=(f,))),
        *runs("concat", table(), features=(AUDIO, TEXT, VISION)),
        *runs("concat", table(), synthetic=True, data_fingerprint="b" * 64),
        *runs("mult", table(), protocol=ERROR),
        make("foal", 0, 0, 0.123),
    ]


def test_the_order_of_records_never_matters():
    records = mixed_records()
    expected = build(records)
    for seed in range(5):
        random.Random(seed).shuffle(records)
        assert build(records) == expected


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
        outputs.append({path.name: path.read_bytes() for path in out.iterdir()})
    assert outputs[0] == outputs[1] and len(outputs[0]) == 6


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
    return only_page(
        runs("foal", [[0.5, 0.5]] * 3, title=name, protocol=protocol, features=(AUDIO, Feature("text", name, 1)))
    )


def check_harmless(name: str) -> None:
    page, plain = page_with(name), page_with("Foal Net")
    shape = [[len(row) for row in table] for table in tables(page)]
    assert shape == [[len(row) for row in table] for table in tables(plain)]
    assert len(page.splitlines()) == len(plain.splitlines())
    assert tables(page)[1][0]["UA % ↑"] == "50.00"
    shown = " ".join(name.split()).replace("@", "\uff20")
    assert tables(page)[0][1]["features"] == (shown or "—")
    assert tables(page)[1][0]["method"] == f"{shown} (2024) `foal`"


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_change_nothing_but_their_own_text(name):
    check_harmless(name)
    assert not re.search(r"[<>\[\]*_~|$@#!=\\]|www\.|:[a-z/]", re.sub(r"&#\d+;", "", markdown.text(name)))


@settings(max_examples=150, deadline=None)
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
    assert f'<td style="text-align:left">{html.escape(shown)} (2024) <code>foal</code></td>' in page.replace(
        "&#x27;", "'"
    )


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


# writing ------------------------------------------------------------------------------------------------------------


def test_the_command(tmp_path, capsys):
    for number, record in enumerate(runs("concat", [[0.5, 0.5]] * 3)):
        write_record(tmp_path / "runs" / str(number), record)
    argv = ["--records", str(tmp_path / "runs"), "--out", str(tmp_path / "board")]
    assert main([*argv, "--strict"]) == 0
    assert "6 records, 0 left out; 3 pages" in capsys.readouterr().out
    (tmp_path / "runs" / "0" / "record.json").write_text("{")
    assert main(argv) == 0
    assert main([*argv, "--strict"]) == 2
    assert "left out: 0/record.json: not valid JSON" in capsys.readouterr().err
    assert "INCOMPLETE 5/6" in next((tmp_path / "board").glob("iemocap4--*.md")).read_text()


def test_nothing_to_show_is_said(tmp_path):
    with pytest.raises(UserError, match=r"no record.json below"):
        main(["--records", str(tmp_path), "--out", str(tmp_path / "board")])
    with pytest.raises(UserError, match="no such folder"):
        main(["--records", str(tmp_path / "runs"), "--out", str(tmp_path / "board")])
    assert not (tmp_path / "board").exists()


def test_pages_that_no_record_makes_any_more_go_and_foreign_files_stay(tmp_path):
    write_pages(tmp_path, build(runs("a", [[0.5, 0.5]] * 3))[0])
    (tmp_path / "notes.md").write_text("mine")
    before = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    write_pages(tmp_path, build(runs("a", [[0.5, 0.5]] * 3))[0])
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == before
    write_pages(tmp_path, build(runs("a", [[0.5, 0.5]] * 3, features=(AUDIO,)))[0])
    names = sorted(path.name.split("--")[1] if "--" in path.name else path.name for path in tmp_path.iterdir())
    assert names == ["README.md", "audio", "notes.md", "synthetic.md"]


def test_a_hand_written_page_is_never_replaced(tmp_path):
    (tmp_path / "README.md").write_text("# Mine\n")
    with pytest.raises(UserError, match=r"README.md was not made by"):
        write_pages(tmp_path, build(runs("a", [[0.5, 0.5]] * 3))[0])
    assert [path.name for path in tmp_path.iterdir()] == ["README.md"]
