"""From made-up records to tables and rows."""

from __future__ import annotations

import dataclasses
import hashlib
import random

import numpy as np
import pytest

from mer_bench.metrics import cluster_statistics
from mer_bench.results.facts import Code, Cost, Feature, GroupScores, MethodFacts, ProtocolFacts, Selection
from mer_bench.results.schema import Record
from mer_bench.results.statistics import Folds, LeaveOneOut, RankInterval, SingleSplit, families, missing_auc
from mer_bench.results.tables import make_tables
from mer_bench.types import TaskSpec

CODE = "c" * 64
FEW = 199


def sha(*parts):
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def protocol(rule="B", folds=5, seeds=(0, 1, 2), primary="emotion/ua", **kwargs):
    facts = {"name": "made_up", "hash": "ab" * 8, "title": "Made up", "corpus": "iemocap", "cluster": "speaker"}
    return ProtocolFacts(
        **facts | kwargs, folds=folds, seeds=seeds, primary=primary, metrics=(primary,), statistics=rule
    )


def record(where, method, fold, seed, score, *, modalities=("audio", "text"), settings="", other=None, **changes):
    conditions = {"full": score, **(other or {})}
    plain = {
        "run_key": sha(where.name, method, fold, seed, modalities, settings, changes.get("variant")),
        "settings_hash": sha(method, settings),
        "data_fingerprint": "d" * 64,
        "protocol": where,
        "method": MethodFacts(method, method.title(), "adapted" if method == "foal" else "faithful", 2024),
        "variant": "default",
        "fold": fold,
        "seed": seed,
        "features": tuple(Feature(m, "made up", 8) for m in modalities),
        "modalities": modalities,
        "synthetic": False,
        "status": "ok",
        "metrics": {name: {where.primary: float(value)} for name, value in conditions.items()},
        "selection": Selection("validation", where.primary, 0.6, 3, 10),
        "cost": Cost(train_seconds=2.0, parameters=1000 + fold, cpu_seconds=3.0, gpu_seconds=0.5 if seed else None),
        "code": Code("0.1.0", CODE),
        "environment": {},
        "items": {"train": 3000, "validation": 1000, "test": 1000},
    }
    return Record(**plain | changes)


def cell(method, fold, seed, skill):
    """A score with an effect of the fold that all methods share, and a little luck."""
    shared = random.Random(f"fold {fold}").gauss(0, 0.03)
    return skill + shared + random.Random(f"{method} {fold} {seed}").gauss(0, 0.008)


SKILLS = {"concat": 0.60, "foal": 0.66, "gated": 0.603, "majority": 0.25}


def runs(where, skills=SKILLS, **changes):
    return [
        record(where, method, fold, seed, cell(method, fold, seed, skill), **changes)
        for method, skill in skills.items()
        for fold in range(where.folds)
        for seed in where.seeds
    ]


def only(records, **kwargs):
    (table,) = make_tables(records, **{"draws": FEW, **kwargs})
    return table, {row.method.slug if len(row.modalities) > 1 else "/".join(row.modalities): row for row in table.rows}


def scores(records, method):
    where = records[0].protocol
    found = {(r.fold, r.seed): r.metrics["full"][where.primary] for r in records if r.method.slug == method}
    return np.array([[found[fold, seed] for seed in where.seeds] for fold in range(where.folds)])


def by_seed(records):
    """Mean of each seed, whatever folds it has."""
    found = {}
    for r in records:
        found.setdefault(r.seed, []).append(r.metrics["full"][r.protocol.primary])
    return np.array([np.mean(found[seed]) for seed in sorted(found)])


@pytest.mark.parametrize(
    ("where", "rule"),
    [
        (protocol("B"), Folds(higher_is_better=True, test_to_train=1 / 3)),
        (protocol("C", folds=24, primary="emotion/wa"), LeaveOneOut(higher_is_better=True)),
    ],
)
def test_rows_say_what_the_engine_says(where, rule):
    records = runs(where)
    _, rows = only(records)
    for method in SKILLS:
        assert rows[method].score == rule.score(scores(records, method))
        assert rows[method].mean == pytest.approx(scores(records, method).mean())
        assert rows[method].seed_sd == pytest.approx(scores(records, method).mean(axis=0).std(ddof=1))
        assert (rows[method].done, rows[method].planned) == (where.folds * 3, where.folds * 3)
    assert rows["concat"].difference is None
    assert rows["foal"].difference == rule.difference(scores(records, "foal"), scores(records, "concat"))
    # three of the four announced methods were not measured: they count, so Holm multiplies by four
    assert rows["foal"].tested == families({"foal": rows["foal"].difference.p}, ["foal", "a", "b", "c"])["foal"]
    assert rows["gated"].tested.family == "exploratory"
    assert set(rows["foal"].second_opinions) == ({"sign-flip", "wilcoxon"} if where.statistics == "C" else set())


def test_order_ranks_and_controls():
    table, rows = only(runs(protocol(), {**SKILLS, "jmt": 0.9}))
    assert [row.method.slug for row in table.rows] == ["jmt", "foal", "gated", "concat", "majority"]
    # majority is a control: it stands last, has a difference, and no rank
    assert rows["majority"].rank is None
    assert rows["majority"].difference.value < -0.3
    assert rows["jmt"].rank == RankInterval(1, 1)
    assert rows["gated"].rank.high == rows["concat"].rank.high == 4
    assert table.problems == ()
    assert table.resolution.adjusted > table.resolution.single > 0


def test_lower_is_better_where_the_metric_says_so():
    where = protocol(primary="sentiment/mae")
    table, rows = only(runs(where, {"concat": 1.0, "foal": 0.7, "jmt": 1.4}))
    assert [row.method.slug for row in table.rows] == ["foal", "concat", "jmt"]
    assert rows["foal"].rank == RankInterval(1, 1)
    assert rows["foal"].difference.value < 0
    assert rows["foal"].difference.p_better > 0.99


@pytest.mark.parametrize("seed", range(3))
def test_order_of_records_changes_nothing(seed):
    records = runs(protocol()) + runs(protocol(), {"unimodal": 0.5}, modalities=("text",))
    other_title = dataclasses.replace(protocol(), title="The same under another title")
    records += runs(other_title, {"jmt": 0.7})
    mixed = records.copy()
    random.Random(seed).shuffle(mixed)
    assert make_tables(mixed, draws=FEW) == make_tables(records, draws=FEW)


def test_another_method_changes_no_score_and_no_confirmatory_p():
    few, more = only(runs(protocol()))[1], only(runs(protocol(), {**SKILLS, "mult": 0.7}))[1]
    for method in SKILLS:
        kept = dataclasses.replace(more[method], rank=few[method].rank)
        assert kept == few[method]


def test_incomplete_and_failed_rows_are_shown_without_rank_or_interval():
    where = protocol()
    records = runs(where)
    foal = [r for r in records if r.method.slug == "foal"]
    rest = [r for r in records if r.method.slug != "foal"]
    kept = [r for r in foal if r.seed != 2 or r.fold < 3]
    _, rows = only(rest + kept)
    assert rows["foal"].badges == ("INCOMPLETE 13/15", "ADAPTED")
    assert (rows["foal"].score, rows["foal"].rank, rows["foal"].difference) == (None, None, None)
    assert rows["foal"].mean == pytest.approx(np.mean([r.metrics["full"]["emotion/ua"] for r in kept]))
    # the last seed lacks folds: it says nothing about the spread between seeds
    assert rows["foal"].seed_sd == pytest.approx(by_seed(kept)[:2].std(ddof=1))
    failed = [dataclasses.replace(r, status="diverged", metrics={}) for r in foal[:2]]
    _, rows = only(rest + failed + foal[2:-1])
    assert rows["foal"].badges == ("DIVERGED 2", "INCOMPLETE 12/15", "ADAPTED")
    assert rows["foal"].rank is None
    _, rows = only(rest + [dataclasses.replace(r, status="oom", metrics={}) for r in foal])
    assert (rows["foal"].mean, rows["foal"].seed_sd, rows["foal"].worst_group) == (None, None, None)
    assert rows["foal"].badges == ("OOM 15", "ADAPTED")


def test_dishonest_rows_have_a_score_but_no_rank_and_no_p_value():
    where = protocol()
    chosen = runs(where, {"foal": 0.7}, selection=Selection("test", where.primary))
    old = runs(where, {"gated": 0.7})
    _, rows = only(runs(where, {"concat": 0.6, "jmt": 0.6}) + chosen + old, stale=[old[4].run_key])
    for method, badge in (("foal", "TEST-SELECTED"), ("gated", "STALE")):
        assert badge in rows[method].badges
        assert rows[method].score is not None
        assert (rows[method].rank, rows[method].difference, rows[method].tested) == (None, None, None)
    assert rows["jmt"].rank == RankInterval(1, 2)
    # nobody asked what is stale
    assert "STALE" not in only(runs(where, {"concat": 0.6}) + old)[1]["gated"].badges


def test_legacy_protocols_never_rank():
    table, rows = only(runs(protocol(legacy=True)))
    assert all(row.rank is None and row.difference is None for row in rows.values())
    assert table.resolution is None


def test_variants_data_and_feature_sets_never_share_a_table():
    where = protocol()
    records = [
        *runs(where, {"concat": 0.6, "foal": 0.7}),
        *runs(where, {"concat": 0.7, "foal": 0.6}, variant="tuned-20"),
        *runs(where, {"foal": 0.9}, variant="paper"),
        *runs(where, {"concat": 0.8}, modalities=("audio", "text", "vision")),
        *runs(where, {"concat": 0.1}, data_fingerprint="9" * 64),
        *runs(where, {"unimodal": 0.5}, modalities=("text",)),
        *runs(where, {"unimodal": 0.4}, modalities=("vision",)),
    ]
    found = make_tables(records, draws=FEW)
    seen = {(t.data[0], t.variant, t.modalities): [(r.method.slug, r.modalities) for r in t.rows] for t in found}
    pair, three = ("audio", "text"), ("audio", "text", "vision")
    assert seen == {
        ("9", "default", pair): [("concat", pair)],
        ("d", "default", pair): [("foal", pair), ("concat", pair), ("unimodal", ("text",))],
        ("d", "default", three): [("concat", three), ("unimodal", ("text",)), ("unimodal", ("vision",))],
        ("d", "paper", pair): [("foal", pair)],
        ("d", "tuned-20", pair): [("concat", pair), ("foal", pair)],
    }
    paper = next(t for t in found if t.variant == "paper")
    assert paper.rows[0].rank is None
    assert paper.rows[0].badges == ("PAPER", "ADAPTED")
    tuned = next(t for t in found if t.variant == "tuned-20")
    assert tuned.rows[1].difference.value < 0


def test_two_records_for_one_run_count_as_none_and_are_named():
    records = runs(protocol())
    foal = next(r for r in records if r.method.slug == "foal")
    again = dataclasses.replace(foal, metrics={"full": {"emotion/ua": 0.99}})
    table, rows = only([*records, again])
    assert rows["foal"].badges[0] == "INCOMPLETE 14/15"
    assert len(table.problems) == 1
    assert "foal (audio, text; settings " in table.problems[0]
    assert "fold 0, seed 0: 2 records for one run" in table.problems[0]


def test_unplanned_seeds_are_left_out_and_named():
    where = protocol()
    table, rows = only([*runs(where), record(where, "foal", 0, 7, 0.99)])
    assert rows["foal"].score is not None
    assert "seed 7: the protocol does not plan" in table.problems[0]


@pytest.mark.parametrize(
    "later",
    [
        {"settings": "lr=1", "finished_utc": "2026-03-01T00:00:00Z"},
        {"settings": "turned", "modalities": ("text", "audio"), "finished_utc": "2025-01-01T00:00:00Z"},
    ],
)
def test_of_two_settings_of_the_reference_the_one_that_was_there_stays(later):
    """A later row, and one with the inputs in another order than the others, takes no difference from anyone."""
    where = protocol()
    mine = runs(where, finished_utc="2026-02-01T00:00:00Z")
    before = {(row.method.slug, row.settings): row.difference for row in (only(mine)[0]).rows}
    table, _ = only(mine + runs(where, {"concat": 0.7}, **later))
    assert {
        (row.method.slug, row.settings): row.difference
        for row in table.rows
        if (row.method.slug, row.settings) in before
    } == before
    (problem,) = table.problems
    assert "2 complete rows with different settings; differences are to concat (audio, text" in problem
    assert f"settings {sha('concat', '')[:8]}" in problem


def test_two_settings_of_a_seed_method_are_exploratory():
    where = protocol()
    table, _ = only(runs(where) + runs(where, {"foal": 0.7}, settings="lr=1"))
    assert {row.tested.family for row in table.rows if row.method.slug == "foal"} == {"exploratory"}


def test_missing_sizes_are_named_under_rule_b():
    table, rows = only(runs(protocol(), items={}))
    assert all(row.score is None and row.mean is not None for row in rows.values())
    assert all("how many items" in problem for problem in table.problems)
    assert len(table.problems) == len(SKILLS)


def test_too_few_folds_are_named():
    table, rows = only(runs(protocol("C", folds=5, primary="emotion/wa")))
    assert rows["foal"].score is None
    assert any("at least 20 folds" in problem for problem in table.problems)


def test_missing_auc_interaction_gain_and_their_badges():
    where = protocol()
    curve = {f"missing_{rate}": 0.6045 - rate / 2 for rate in (0.1, 0.5)}
    additive = runs(where, {"concat": 0.6}, other={**curve, "no_audio": 0.5})
    flat = [
        dataclasses.replace(r, metrics={**r.metrics, "emap": r.metrics["full"], "emap_full": r.metrics["full"]})
        for r in runs(where, {"gated": 0.6})
    ]
    less = {"foal": 0.1, "jmt": 0.0}
    fused = [
        dataclasses.replace(
            r,
            metrics={
                "full": {where.primary: 0.9},
                "emap_full": r.metrics["full"],
                "emap": {where.primary: cell("emap", r.fold, r.seed, 0.6) - less[r.method.slug]},
            },
        )
        for r in runs(where, {"foal": 0.6, "jmt": 0.6})
    ]
    _, rows = only(additive + flat + fused)
    means = [scores(additive, "concat"), *(np.full((5, 3), 0.6 - rate / 2 + 0.0045) for rate in (0.1, 0.5))]
    expected = missing_auc([0, 0.1, 0.5], np.stack(means, axis=-1)[..., None]).mean()
    assert rows["concat"].missing_auc.value == pytest.approx(expected)
    assert rows["gated"].missing_auc is None
    assert rows["concat"].gain is None
    assert (rows["gated"].gain.value, rows["gated"].badges) == (0.0, ("ADDITIVE",))
    assert rows["foal"].gain.value == pytest.approx(0.1, abs=0.01)
    assert rows["foal"].badges == ("ADAPTED",)
    assert rows["jmt"].badges == ("UNRESOLVED",)


def test_a_curve_with_a_mask_missing_is_no_curve():
    other = {"missing_0.1_0": 0.5, "missing_0.1_1": 0.5, "missing_0.5_0": 0.4}
    assert only(runs(protocol(), {"concat": 0.6}, other=other))[1]["concat"].missing_auc is None


def test_worst_group_by_folds_and_by_subjects():
    where = protocol()
    worst = {0: 0.5, 1: 0.4, 2: 0.45, 3: 0.6, 4: 0.7}
    records = [
        dataclasses.replace(
            r, groups={where.primary: GroupScores("speaker", 2, 0.6, 0.1, worst[r.fold] + r.seed / 100, 0.55)}
        )
        for r in runs(where, {"concat": 0.6})
    ]
    assert only(records)[1]["concat"].worst_group == pytest.approx(0.41)
    subjects = protocol("C", folds=30, primary="emotion/wa")
    records = runs(subjects, {"concat": 0.7})
    expected = np.percentile(scores(records, "concat").mean(axis=1), 10)
    assert only(records)[1]["concat"].worst_group == pytest.approx(expected)


@pytest.mark.parametrize(("groups", "field"), [(9, "worst"), (10, "worst_decile")])
def test_worst_of_few_groups_or_tenth_of_many_in_the_direction_of_the_metric(groups, field):
    where = protocol(primary="sentiment/mae")
    records = [
        dataclasses.replace(
            r, groups={where.primary: GroupScores("speaker", groups, 1.0, 0.1, 2.0 + r.fold / 10, 1.5 + r.fold / 10)}
        )
        for r in runs(where, {"concat": 1.0})
    ]
    expected = {"worst": 2.4, "worst_decile": 1.9}[field]
    assert only(records)[1]["concat"].worst_group == pytest.approx(expected)


def test_costs_and_synthetic_mark():
    _, rows = only(runs(protocol(), {"concat": 0.6}, synthetic=True))
    assert rows["concat"].parameters == 1004
    assert rows["concat"].train_seconds == pytest.approx(30.0)
    assert rows["concat"].compute_seconds == pytest.approx(15 * 3.0 + 10 * 0.5)
    assert rows["concat"].badges == ("SYNTHETIC",)


SENTIMENT = {"sentiment": TaskSpec("regression", ("sentiment",), range=(-3.0, 3.0))}
SPLIT = protocol("A", folds=1, seeds=(0, 1, 2, 3, 4), primary="sentiment/mae", cluster="video")


def split_run(method, seed, noise, videos=40):
    """A record of an official split, with statistics by video for full and two missing rates."""
    rng = np.random.default_rng([7, seed, *method.encode()])
    groups = np.repeat(np.arange(videos), 6)
    truth = np.random.default_rng(1).normal(0, 1, (len(groups), 1))
    targets = {"sentiment": (truth, np.ones_like(truth, dtype=bool))}
    names = [f"v{group:03d}" for group in groups]
    sums = {}
    for condition, extra in {
        "full": 0.0,
        "missing_0.1_0": 0.1,
        "missing_0.5_0": 0.4,
        "emap": 0.05,
        "emap_full": 0.01,
    }.items():
        outputs = {"sentiment": truth + rng.normal(0, noise + extra, truth.shape)}
        sums[condition] = cluster_statistics(SENTIMENT, "sentiment/mae", outputs, targets, names)
    other = {name: float(found.pooled()) for name, found in sums.items() if name != "full"}
    return record(SPLIT, method, 0, seed, float(sums["full"].pooled()), other=other), sums


def split_runs(**methods):
    pairs = [split_run(method, seed, noise) for method, noise in methods.items() for seed in SPLIT.seeds]
    return [one for one, _ in pairs], {one.run_key: sums for one, sums in pairs}


def test_an_official_split_uses_statistics_by_cluster():
    records, statistics = split_runs(concat=0.6, foal=0.4, jmt=0.6)
    table, rows = only(records, statistics=statistics)
    assert table.rows[0].method.slug == "foal"
    assert rows["foal"].rank == RankInterval(1, 1)
    assert rows["foal"].difference.value < 0 < rows["foal"].difference.p_better
    # a board's metric reads the same as a mean of plain sums of errors
    parts = [statistics[r.run_key]["full"] for r in records if r.method.slug == "foal"]
    errors = np.stack([np.stack([p.values[:, 0, 6], p.values[:, 0, 0]], axis=-1) for p in parts])
    plain = SingleSplit(higher_is_better=False).score(errors)
    assert (rows["foal"].score.value, rows["foal"].score.se) == pytest.approx((plain.value, plain.se))
    assert rows["foal"].missing_auc.value > rows["foal"].score.value
    # the projection belongs to the same networks, so its seeds are paired with theirs
    rule = SingleSplit(higher_is_better=False, metric=parts[0].value)
    whole, projection = (
        np.stack([statistics[r.run_key][name].values for r in records if r.method.slug == "foal"])
        for name in ("emap_full", "emap")
    )
    assert rows["foal"].gain == rule.difference(whole, projection, same_runs=True)
    assert rows["foal"].gain.value < 0
    assert rows["foal"].gain.p_better > 0.9


def test_an_official_split_without_statistics_has_no_interval():
    records, statistics = split_runs(concat=0.6, foal=0.4)
    table, rows = only(records)
    assert rows["foal"].mean is not None
    assert rows["foal"].score is None
    assert all("no statistics by video" in problem for problem in table.problems)
    less = {key: sums for key, sums in statistics.items() if key != records[0].run_key}
    assert only(records, statistics=less)[1]["foal"].score is not None


def test_other_test_clusters_cannot_be_paired():
    records, statistics = split_runs(concat=0.6)
    pairs = [split_run("foal", seed, 0.4, videos=39) for seed in SPLIT.seeds]
    records += [one for one, _ in pairs]
    table, rows = only(records, statistics=statistics | {one.run_key: sums for one, sums in pairs})
    assert rows["foal"].score is None
    assert "they were tested on different sets of videos" in table.problems[0]


def test_seeds_tested_on_other_clusters_have_no_interval():
    records, statistics = split_runs(concat=0.6)
    statistics[records[2].run_key] = split_run("concat", 2, 0.6, videos=39)[1]
    table, rows = only(records, statistics=statistics)
    assert rows["concat"].score is None
    assert "different sets of videos" in table.problems[0]


def test_no_record_no_table():
    assert make_tables([]) == []
