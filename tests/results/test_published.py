"""What papers report: the shipped file holds what it should, and nothing that does not fit gets in."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import yaml

from mer_bench import recipes
from mer_bench.data.corpora import corpora, protocols
from mer_bench.errors import UserError
from mer_bench.results.published import Published, read_published
from tests.source import ROOT

SEEDS = {"foal", "iccl", "mmtransmt", "jmt"}
BASELINES = {
    *("tfn", "lmf", "mfn", "mult", "misa", "mmim", "self_mm", "mag", "almt", "mbt", "tmc", "mmin", "auxformer", "dmd"),
    *("lnln", "jca", "rjcma", "lfan", "dca"),
}


@pytest.fixture(scope="module")
def published() -> Published:
    return read_published(ROOT / "leaderboards" / "published.yaml")


def test_every_method_has_numbers_or_a_reason(published: Published):
    numbers = list(published.numbers())
    methods = {number.method for number in numbers}
    assert methods | set(published.unread) >= SEEDS | BASELINES
    assert methods <= SEEDS | BASELINES | set(recipes.cards())
    assert sum(number.method in SEEDS | BASELINES for number in numbers) >= 60
    assert {table.near for table in published.tables} - {""} <= set(protocols())
    assert {"iccl", "mmtransmt"} <= set(published.unread)


@pytest.mark.parametrize(
    ("table", "method", "metric", "value"),
    [
        ("mmsa-mosi", "mult", "sentiment/mae", 0.8799),
        ("mmsa-mosi", "self_mm", "sentiment/corr", 0.7892),
        ("mmsa-mosei", "tfn", "sentiment/acc7", 0.516),
        ("foal-iemocap", "foal", "emotion/ua", 0.801),
        ("foal-iemocap", "foal_mem", "emotion/wa", 0.7694),
        ("jmt-biovid", "jmt", "pain/wa", 0.891),
        ("jmt-affwild2-test", "jca", "va/ccc", 0.369),
        ("rjcma-affwild2-official", "rjcma", "va/ccc/arousal", 0.652),
        ("almt-mosi", "almt", "sentiment/acc2_pos", 0.8643),
    ],
)
def test_numbers_typed_a_second_time_from_the_source(published: Published, table, method, metric, value):
    (found,) = (n for n in published.of(method) if n.table.id == table and n.metric == metric)
    assert found.value == pytest.approx(value, abs=1e-12)


def test_nothing_on_our_corpora_claims_to_compare(published: Published):
    """Whoever sets `comparable` has to have the same features and an honest selection."""
    for table in published.tables:
        assert table.why
        assert not table.comparable or (table.selection == "validation" and table.near)
        assert table.near == "" or table.near in {p.name for p in corpora()[table.corpus].protocols}


def plain() -> dict:
    table = {
        **{"id": "one", "source": "s", "place": "Table 1", "edition": "1", "corpus": "mosi", "protocol": "official"},
        **{"near": "", "features": "BERT", "selection": "validation", "comparable": False, "why": "features"},
        **{"columns": ["sentiment/mae", "sentiment/acc7 %"], "rows": {"tfn": [0.9, 34.5], "lmf": [0.91, None]}},
    }
    return {"sources": {"s": {"title": "S", "where": "here", "read": "source"}}, "tables": [table]}


def write(folder: Path, content: dict) -> Path:
    path = folder / "published.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


def test_what_is_printed_in_per_cent_becomes_a_fraction(tmp_path: Path):
    found = read_published(write(tmp_path, plain()))
    assert [(n.method, n.metric, n.value) for n in found.numbers()] == [
        ("lmf", "sentiment/mae", 0.91),
        ("tfn", "sentiment/mae", 0.9),
        ("tfn", "sentiment/acc7", pytest.approx(0.345)),
    ]


BROKEN = {
    "no source of that name": (("tables", 0, "source"), "t", "did you mean|known: s"),
    "a key too many": (("tables", 0, "best"), True, "unknown key 'best'"),
    "another selection": (("tables", 0, "selection"), "luck", "one of validation"),
    "no such metric": (("tables", 0, "columns", 0), "sentiment/mea", "mae"),
    "a column twice": (("tables", 0, "columns", 1), "sentiment/mae %", "each once"),
    "per cent without its sign": (("tables", 0, "columns", 1), "sentiment/acc7", "missing behind"),
    "a ragged row": (("tables", 0, "rows", "tfn"), [0.9], "write null"),
    "not a number": (("tables", 0, "rows", "tfn", 0), float("nan"), "finite"),
    "a hostile method": (("tables", 0, "rows", "=cmd|' /C calc'!A0"), [0.9, 1.0], "a method"),
    "a hidden character": (("tables", 0, "why"), "a\u202eb", "printable"),
    "read by nobody knows whom": (("sources", "s", "read"), "memory", "one of source"),
    "unread and read": (("unread",), {"tfn": "not found"}, "remove one"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_refusals(case: str, tmp_path: Path):
    (*way, last), value, message = BROKEN[case]
    content = copy.deepcopy(plain())
    place = content
    for key in way:
        place = place[key]
    place[last] = value
    path = write(tmp_path, content)
    with pytest.raises(UserError, match=message) as refusal:
        read_published(path)
    assert str(path) in str(refusal.value)
