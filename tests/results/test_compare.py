"""Two rows side by side, and what it would take to tell them apart."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from mer_bench.cli.compare import main, side
from mer_bench.data.corpora import find_protocol
from mer_bench.errors import UserError
from mer_bench.metrics import cluster_statistics
from mer_bench.results.claims import Side
from mer_bench.results.facts import Confusion, Feature, ProtocolFacts
from mer_bench.results.measured import groups
from mer_bench.results.needs import LARGEST, needs
from mer_bench.results.predictions import file_sha256
from mer_bench.results.record import run_folder, write_record
from mer_bench.results.statistics import Folds, LeaveOneOut, SingleSplit
from tests.results.test_tables import protocol, record, runs

FACTOR = {df: stats.t.ppf(0.975, df) + stats.t.ppf(0.8, df) for df in range(1, 400)}


def luck(shape, seed=0, scale=0.02):
    return np.random.default_rng(seed).normal(0, scale, shape)


# what it would take -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wanted", [0.001, 0.01, 0.03, 0.2])
def test_rule_b_needs(wanted: float):
    (group,) = groups(runs(protocol(), {"foal": 0.6}), {}, "made_up")
    a, b, ratio = 0.6 + luck((5, 3), 1), 0.6 + luck((5, 3), 2), 1 / 3
    found = needs(group, Folds(higher_is_better=True, test_to_train=ratio), a, b, wanted)
    variance = (a - b).var(ddof=1)

    def detectable(seeds):
        return FACTOR[4] * np.sqrt((1 / (5 * seeds) + ratio) * variance)

    assert found.detectable == pytest.approx(detectable(3))
    assert (found.have, found.unit) == ((3, 5), "fold")
    if found.seeds is None:
        assert detectable(LARGEST) > wanted
    else:
        assert detectable(found.seeds) <= wanted
        assert found.seeds == 3 or detectable(found.seeds - 1) > wanted


@pytest.mark.parametrize("wanted", [0.002, 0.004, 0.1])
def test_rule_c_needs(wanted: float):
    (group,) = groups(runs(protocol("C", folds=40), {"foal": 0.6}), {}, "made_up")
    a, b = 0.6 + luck((40, 3), 1), 0.6 + luck((40, 3), 2)
    found = needs(group, LeaveOneOut(higher_is_better=True), a, b, wanted)
    mean = (a - b).mean(axis=1)
    assert found.detectable == pytest.approx(FACTOR[39] * np.sqrt(1.21 * mean.var(ddof=1) / 40))
    assert (found.have, found.unit) == ((3, 40), "subject")
    if found.units is not None and 40 < found.units < 400:
        by_hand = [FACTOR[n - 1] * np.sqrt(1.21 * mean.var(ddof=1) / n) for n in (found.units - 1, found.units)]
        assert by_hand[0] > wanted >= by_hand[1]


def test_rule_a_needs_people_where_seeds_do_not_help():
    (group,) = groups(runs(protocol("A", folds=1, seeds=(0, 1, 2, 3, 4)), {"foal": 0.6}), {}, "made_up")
    counts = np.full((5, 30), 40.0)
    people = luck(30, 3, 0.2)
    a, b = (np.stack([40 * (0.5 + who + luck((5, 30), i, 0.001)), counts], axis=-1)[:, :, None]
            for i, who in ((1, people), (2, 0 * people)))  # fmt: skip

    def value(sums):
        return (sums[..., 0] / sums[..., 1]).mean(axis=-1)

    found = needs(group, SingleSplit(higher_is_better=True, metric=value), a, b, 0.05)
    assert found.seeds is None
    gains = (a / b[..., 1:])[..., 0].mean(axis=(0, 2)) - (b / b[..., 1:])[..., 0].mean(axis=(0, 2))
    se = gains.std(ddof=1) / np.sqrt(30)
    assert found.detectable == pytest.approx(FACTOR[29] * se, rel=0.02)
    assert found.units == pytest.approx(30 * (found.detectable / 0.05) ** 2, rel=0.1)
    assert (found.have, found.unit) == ((5, 30), "speaker")


# the command --------------------------------------------------------------------------------------------------------

HOLDOUT = find_protocol("biovid_a_holdout")
PEOPLE = 20


def publish(folder: Path) -> dict[str, np.ndarray]:
    """Records with statistics by cluster of two methods on an official split; returns hits by subject and seed."""
    facts = ProtocolFacts.of(HOLDOUT, "BioVid")
    truth = np.tile([0, 1], 10 * PEOPLE)
    people = np.repeat([f"p{i:02}" for i in range(PEOPLE)], 20)
    rng, hits = np.random.default_rng(0), {}
    for method, skill in (("concat", 0.7), ("foal", 0.8)):
        hits[method] = rng.random((5, len(truth))) < skill
        for seed in HOLDOUT.seeds:
            logits = np.eye(2)[np.where(hits[method][seed], truth, 1 - truth)]
            targets = {"pain": (truth, np.ones(len(truth), bool))}
            sums = cluster_statistics(HOLDOUT.tasks, "pain/wa", {"pain": logits}, targets, people)
            made = record(facts, method, 0, seed, hits[method][seed].mean(), modalities=("bio", "vision"),
                          features=(Feature("bio", "x", 3), Feature("vision", "x", 3)),
                          metrics={"full": dict.fromkeys(HOLDOUT.metrics, float(hits[method][seed].mean()))},
                          confusion={"pain": Confusion(("BL1", "PA4"), tuple(
                              tuple(int((hits[method][seed] == (a == b))[truth == a].sum()) for b in (0, 1))
                              for a in (0, 1)))},
                          files={"clusters.npz": "0" * 64})  # fmt: skip
            place = run_folder(folder, HOLDOUT.name, method, made.run_key)
            place.mkdir(parents=True)
            np.savez(place / "clusters.npz", names=np.array(sums.clusters).astype(np.bytes_), full=sums.values)
            files = {"clusters.npz": file_sha256(place / "clusters.npz")}
            write_record(place, type(made)(**{**made.__dict__, "files": files}))
    return hits


def test_the_command_on_an_official_split(tmp_path: Path, capsys):
    hits = publish(tmp_path)
    assert main(["foal", "concat", "--protocol", HOLDOUT.name, "--records", str(tmp_path)]) == 0
    text = capsys.readouterr().out
    gain = 100 * (hits["foal"].mean() - hits["concat"].mean())
    assert f"  {gain:+.2f}   95 % interval" in text
    by_person = (hits["foal"].astype(float) - hits["concat"]).reshape(5, PEOPLE, 20).mean(axis=(0, 2))
    better, worse = (by_person > 1e-12).sum(), (by_person < -1e-12).sum()
    assert f"by speaker ({PEOPLE}): foal is better in {better}, worse in {worse}" in text
    recall = 100 * hits["foal"].reshape(5, -1, 2)[:, :, 0].mean()
    assert f"{recall:6.2f}" in text
    assert "this difference is resolved" in text
    terms = [(by_person.var(ddof=1) / PEOPLE, PEOPLE - 1)]
    terms += [(hits[method].mean(axis=1).var(ddof=1) / 5, 4) for method in hits]
    variance = sum(part for part, _ in terms)
    df = variance**2 / sum(part**2 / free for part, free in terms)
    low, high = map(float, re.search(r"interval ([+-][\d.]+) to ([+-][\d.]+), p", text).groups())
    assert (high - low) / 2 == pytest.approx(100 * stats.t.ppf(0.975, df) * np.sqrt(variance), abs=0.0101)


def test_a_row_against_itself_is_no_difference(tmp_path: Path, capsys):
    publish(tmp_path)
    main(["foal", "foal", "--protocol", HOLDOUT.name, "--records", str(tmp_path)])
    text = capsys.readouterr().out
    assert "+0.00 to +0.00, p = 1" in text or "0.00 to 0.00, p = 1" in text


def test_only_some_seeds(tmp_path: Path, capsys):
    """Seeds that both have are compared as if no others were planned, and the answer says so."""
    where = find_protocol("iemocap4")
    facts = ProtocolFacts.of(where, "IEMOCAP")
    scores = {"foal": 0.7 + luck((5, 2), 1), "concat": 0.69 + luck((5, 5), 2)}
    for method, found in scores.items():
        for (fold, seed), score in np.ndenumerate(found):
            metrics = {"full": dict.fromkeys(where.metrics, float(score))}
            made = record(facts, method, fold, seed, score, metrics=metrics)
            place = run_folder(tmp_path, where.name, method, made.run_key)
            place.mkdir(parents=True)
            write_record(place, made)
    command = ["foal", "concat", "--protocol", where.name, "--records", str(tmp_path)]
    with pytest.raises(UserError, match="10 of 25 runs; expected all; it has every fold of seeds 0, 1"):
        main(command)
    assert main([*command, "--seeds", "1", "0"]) == 0
    text = capsys.readouterr().out
    gains = scores["foal"] - scores["concat"][:, :2]
    assert "A PART OF THE PROTOCOL: seeds 0, 1 of 0, 1, 2, 3, 4" in text
    low, high = map(float, re.search(r"interval ([+-][\d.]+) to ([+-][\d.]+), p", text).groups())
    half = 100 * stats.t.ppf(0.975, 4) * np.sqrt((1 / 10 + 1 / 3) * gains.var(ddof=1))
    assert (high + low) / 2 == pytest.approx(100 * gains.mean(), abs=0.0101)
    assert (high - low) / 2 == pytest.approx(half, abs=0.0101)
    assert "P(foal is better)" in text
    # only the primary metric is tested
    assert main([*command, "--seeds", "0", "1", "--metric", "emotion/wa"]) == 0
    text = capsys.readouterr().out
    assert re.search(r"^difference .* interval [+-][\d.]+ to [+-][\d.]+$", text, re.MULTILINE)
    assert "p = " not in text and "better) =" not in text and "no p: only emotion/ua" in text
    with pytest.raises(UserError, match="foal under iemocap4: 10 of 15 runs"):
        main([*command, "--seeds", "0", "1", "2"])


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ("foal concat --protocol biovid_a_holdout --records DIR --seeds 9", "does not plan it; expected some of 0, 1"),
        ("foal concat --protocol biovid_a_holdout --records DIR --seeds 0", "needs at least 5"),
        ("foal concat --protocol iemocap4 --records DIR", "no record of iemocap4 on real data"),
        ("foul concat --protocol biovid_a_holdout --records DIR", "no run of foul .*did you mean foal"),
        (
            "foal concat:bio --protocol biovid_a_holdout --records DIR",
            r"no run of concat on bio .*run on bio \+ vision",
        ),
        ("foal@no_bio concat --protocol biovid_a_holdout --records DIR", "not scored under 'no_bio'; known: full"),
        ("foal concat --protocol biovid_a_holdout --metric pain/auc --records DIR", "only the primary metric"),
        ("foal concat --protocol biovid_a_holdout --metric pain/ua --records DIR", "did you mean pain/wa"),
        ("foal concat --protocol biovid --records DIR", "did you mean"),
        ("foal:: concat --protocol biovid_a_holdout --records DIR", "expected METHOD"),
        ("foal:a:b concat --protocol biovid_a_holdout --records DIR", "expected METHOD"),
        ("@ concat --protocol biovid_a_holdout --records DIR", "expected METHOD"),
        ("foal concat --protocol biovid_a_holdout --records nowhere", "no such folder"),
    ],
)
def test_refusals(argv: str, message: str, tmp_path: Path):
    publish(tmp_path)
    with pytest.raises(UserError, match=message):
        main(argv.replace("DIR", str(tmp_path)).split())


def test_sides():
    assert side("foal") == Side("foal")
    assert side("foal:audio+text@no_audio") == Side("foal", ("audio", "text"), "no_audio")
    assert side("foal@only_text") == Side("foal", (), "only_text")
