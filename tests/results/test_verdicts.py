"""Claims against records."""

from __future__ import annotations

import dataclasses
import html
import random
import re

import numpy as np
import pytest

from mer_bench.data.corpora import protocols
from mer_bench.errors import UserError
from mer_bench.results.claims import Claim, Claims, Side, read_claims
from mer_bench.results.measured import groups
from mer_bench.results.paper import page, paper_pages
from mer_bench.results.published import read_published
from mer_bench.results.statistics import MARGIN, Folds
from mer_bench.results.verdicts import judge
from tests.results.test_tables import cell, protocol, record, runs
from tests.source import ROOT

SHIPPED = ROOT / "leaderboards"
HONEST, LEGACY = protocol(name="honest"), protocol(name="legacy", hash="cd" * 8, legacy=True)
RULE = Folds(higher_is_better=True, test_to_train=1 / 3)


def claim(**changes) -> Claim:
    plain = {
        **{"id": "c", "source": "s", "place": "Table 1", "says": "so", "protocol": "theirs", "metric": "emotion/ua"},
        **{"kind": "score", "value": 0.6, "left": Side("foal"), "honest": ("honest",), "legacy": "legacy"},
    }
    return Claim(**plain | changes)


def sample(skill: float, method: str = "foal") -> np.ndarray:
    return np.array([[cell(method, fold, seed, skill) for seed in HONEST.seeds] for fold in range(HONEST.folds)])


def verdict(one: Claim, records) -> str:
    (found,) = judge([one], records, {})
    return found.verdict


def test_a_score_is_held_against_both_intervals():
    honest, legacy = runs(HONEST, {"foal": 0.6}), runs(LEGACY, {"foal": 0.9})
    low, high = RULE.score(sample(0.6)).low, RULE.score(sample(0.6)).high
    higher = RULE.score(sample(0.9)).value
    assert verdict(claim(value=high + MARGIN - 1e-9), honest + legacy) == "within"
    assert verdict(claim(value=high + MARGIN + 1e-9), honest + legacy) == "not reproduced"
    assert verdict(claim(value=low - MARGIN - 1e-9), honest + legacy) == "not reproduced"
    assert verdict(claim(value=higher), honest + legacy) == "explained by protocol"
    assert verdict(claim(value=higher), honest) == "cannot test"  # the paper's procedure was not run
    assert verdict(claim(value=higher, legacy=""), honest) == "not reproduced"
    assert verdict(claim(), []) == "cannot test"
    assert verdict(claim(), legacy) == "cannot test"


@pytest.mark.parametrize(("gain", "expected"), [(0.06, "within"), (-0.06, "not reproduced"), (0.006, "cannot test")])
def test_a_direction_needs_the_whole_interval(gain: float, expected: str):
    records = runs(HONEST, {"concat": 0.6, "foal": 0.6 + gain})
    found = RULE.difference(sample(0.6 + gain), sample(0.6, "concat"))
    assert (found.low > 0, found.high < 0) == (gain == 0.06, gain == -0.06)
    one = claim(kind="direction", value=None, right=Side("concat"), legacy="")
    assert verdict(one, records) == expected


def test_a_direction_in_a_metric_that_should_be_low():
    where = protocol(name="honest", primary="sentiment/mae")
    records = runs(where, {"concat": 0.9, "mult": 0.8})
    one = claim(
        kind="direction", value=None, legacy="", metric="sentiment/mae", left=Side("mult"), right=Side("concat")
    )
    assert verdict(one, records) == "within"
    assert verdict(dataclasses.replace(one, left=one.right, right=one.left), records) == "not reproduced"


def test_nothing_but_equality_contradicts_a_direction_inside_the_margin():
    same = [record(HONEST, m, f, s, 0.6) for m in ("foal", "concat") for f in range(5) for s in HONEST.seeds]
    assert verdict(claim(kind="direction", value=None, right=Side("concat"), legacy=""), same) == "not reproduced"
    assert verdict(claim(kind="difference", value=0.0, right=Side("concat"), legacy=""), same) == "within"


def test_a_difference_is_confirmed_by_the_whole_interval_and_never_by_a_wide_one():
    records = runs(HONEST, {"concat": 0.6, "foal": 0.62})
    found = RULE.difference(sample(0.62), sample(0.6, "concat"))
    assert found.high - found.low > 2 * MARGIN
    one = claim(kind="difference", value=found.value, right=Side("concat"), legacy="")
    (wide,) = judge([one], records, {})
    assert wide.verdict == "cannot test" and wide.commands[0].startswith("mer-bench compare foal concat")
    same = [record(HONEST, m, f, s, 0.6) for m in ("foal", "concat") for f in range(5) for s in HONEST.seeds]
    for value, expected in ((MARGIN - 1e-9, "within"), (MARGIN + 1e-9, "not reproduced")):
        assert verdict(dataclasses.replace(one, value=value), same) == expected
    undecided = [dataclasses.replace(r, protocol=LEGACY) for r in records]
    both = dataclasses.replace(one, value=found.high + 2 * MARGIN, legacy="legacy")
    assert verdict(both, records + undecided) == "not reproduced"
    far = [
        record(HONEST, m, f, s, x) for m, x in (("foal", 0.9), ("concat", 0.6)) for f in range(5) for s in HONEST.seeds
    ]
    assert verdict(dataclasses.replace(both, value=found.value), far + undecided) == "cannot test"


def test_what_cannot_be_tested_stays_so_and_shows_ours():
    records = runs(HONEST, {"foal": 0.6})
    (found,) = judge([claim(testable=False, why="other features")], records, {})
    assert (found.verdict, found.reason) == ("cannot test", "other features")
    assert found.honest.value == pytest.approx(sample(0.6).mean())


def test_the_first_honest_protocol_with_complete_rows_counts():
    second = protocol(name="second", hash="ef" * 8)
    one, far = claim(honest=("honest", "second"), legacy=""), runs(second, {"foal": 0.9})
    assert verdict(one, far + runs(HONEST, {"foal": 0.6})) == "within"
    (found,) = judge([one], far + runs(HONEST, {"foal": 0.6})[1:], {})
    assert (found.verdict, found.honest.protocol) == ("not reproduced", "second")
    assert "`second`" in page(Claims({"s": "S"}, (one,)), [found], None)


def test_incomplete_and_synthetic_rows_do_not_speak():
    records = runs(HONEST, {"foal": 0.6})
    (found,) = judge([claim()], records[1:], {})
    assert (found.verdict, found.honest.value) == ("cannot test", None)
    assert "14 of 15 runs" in found.honest.reason
    assert verdict(claim(), [dataclasses.replace(one, synthetic=True) for one in records]) == "cannot test"
    chosen = dataclasses.replace(records[0].selection, rule="test")
    assert verdict(claim(), [dataclasses.replace(one, selection=chosen) for one in records]) == "cannot test"


def test_the_order_of_records_changes_nothing():
    records = runs(HONEST, {"foal": 0.6, "concat": 0.5}) + runs(LEGACY, {"foal": 0.9})
    claims = [claim(), claim(kind="difference", value=0.1, right=Side("concat"))]
    mixed = random.Random(1).sample(records, len(records))
    assert judge(claims, records, {}) == judge(claims, mixed, {})


def test_a_condition_is_averaged_over_its_masks():
    masks = {"missing_0.5_0": 0.3, "missing_0.5_1": 0.5, "no_audio": 0.1}
    records = [record(HONEST, "foal", f, s, 0.6, other=masks) for f in range(5) for s in HONEST.seeds]
    (group,) = groups(records, {}, "honest")
    row = group.find(Side("foal"))
    assert group.score(row, "emotion/ua", "missing_0.5").value == pytest.approx(0.4)
    with pytest.raises(UserError, match=r"no emotion/ua for missing_0\.2"):
        group.score(row, "emotion/ua", "missing_0.2")


def test_the_widest_set_is_meant_and_two_settings_are_a_question():
    single = runs(HONEST, {"foal": 0.5}, modalities=("text",))
    records = runs(HONEST, {"foal": 0.6}) + single
    (group,) = groups(records, {}, "honest")
    assert group.find(Side("foal")).key[1] == ("audio", "text")
    assert group.find(Side("foal", ("text",))).key[1] == ("text",)
    (group,) = groups(records + runs(HONEST, {"foal": 0.6}, settings="other"), {}, "honest")
    with pytest.raises(UserError, match="several rows"):
        group.find(Side("foal"))


# the shipped claims and their page ----------------------------------------------------------------------------------


def test_shipped_claims_name_what_there_is():
    claims, published = read_claims(SHIPPED / "claims.yaml"), read_published(SHIPPED / "published.yaml")
    known = protocols()
    assert len(claims.claims) >= 30
    assert sum(one.testable for one in claims.claims) >= 20
    for one in claims.claims:
        for name in one.honest:
            assert {one.metric, one.metric.rpartition("/")[0]} & set(known[name].metrics)
            assert not known[name].legacy
        assert not one.legacy or known[one.legacy].legacy
        if one.kind == "score" and one.source in published.sources:
            said = {n.value for n in published.of(one.left.method) if n.table.source == one.source}
            assert not said or min(abs(one.value - value) for value in said) < 1e-9, one.id


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": "direction"},  # has a value
        {"value": None},
        {"right": Side("concat")},
        {"testable": False},  # without a reason
        {"why": "because"},
        {"metric": "emotion/luck"},
        {"honest": ("<b>",)},
        {"honest": ()},
        {"says": "two\nlines"},
    ],
)
def test_claims_refuse_what_cannot_be(changes: dict):
    with pytest.raises(UserError):
        claim(**changes)


def test_the_page_shows_what_was_judged():
    records = runs(HONEST, {"foal": 0.6, "concat": 0.5}) + runs(LEGACY, {"foal": 0.9})
    hostile = "=1+1 | <script>alert(1)</script> [x](http://a.b)"
    claims = Claims({"s": hostile}, (claim(says=hostile), claim(id="d", kind="difference", value=0.1,
                                                                right=Side("concat"))))  # fmt: skip
    judged = judge(claims.claims, records, {})
    text = page(claims, judged, None)
    rows = [line for line in text.splitlines() if re.match(r"\| `[cd]` ", line)]
    assert len(rows) == 2 and all(row.count("|") == 8 for row in rows)
    assert "<script" not in text and "](http" not in text
    first, second = ([html.unescape(cell).strip() for cell in row.strip("|").split("|")] for row in rows)
    score, gain = RULE.score(sample(0.6)), RULE.difference(sample(0.6), sample(0.5, "concat"))
    numbers = [float(x) for x in re.findall(r"[-+]?\d+\.\d+", first[5])]
    assert numbers == [round(100 * x, 2) for x in (score.value, score.low, score.high)]
    assert [float(x) for x in re.findall(r"[-+]?\d+\.\d+", second[5])] == [
        round(100 * x, 2) for x in (gain.value, gain.low, gain.high)
    ]
    assert (first[6], second[6]) == (judged[0].verdict, judged[1].verdict)


def test_the_shipped_page_has_every_claim_and_every_number(tmp_path):
    assert paper_pages(tmp_path, [], {}) == {}
    (text,) = paper_pages(SHIPPED, [], {}).values()
    claims, published = read_claims(SHIPPED / "claims.yaml"), read_published(SHIPPED / "published.yaml")
    assert all(f"| `{one.id}` " in text for one in claims.claims)
    listed = sum(int(n) for n in re.findall(r"</code>: (\d+) numbers</summary>", text))
    assert listed == len(list(published.numbers()))
