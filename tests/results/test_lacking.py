"""What keeps a claim from a verdict, the commands that would change that, and verdicts once the runs are there."""

from __future__ import annotations

import dataclasses
import html
import random
import re
import shlex

import pytest

from mer_bench import recipes
from mer_bench.cli.sweep import main as sweep
from mer_bench.data.corpora import find_protocol, protocols
from mer_bench.results.claims import Claim, Side, read_claims
from mer_bench.results.facts import Feature, ProtocolFacts
from mer_bench.results.lacking import lacking, sweeps
from mer_bench.results.paper import page
from mer_bench.results.verdicts import judge, sides
from tests.results.factory import make
from tests.source import ROOT

CLAIMS = read_claims(ROOT / "leaderboards" / "claims.yaml")
SIZES = {"train": 3000, "validation": 1000, "test": 1000}


def runs_of(name: str, skills: dict[str, float], *, spread: float = 0.002):
    """Every planned run of the methods of a sweep under a shipped protocol, on invented luck."""
    facts = ProtocolFacts.of(find_protocol(name))
    modalities = sweep_of(name)["modalities"][name]
    found = []
    for method, skill in skills.items():
        inputs = [[one] for one in modalities] if method == "unimodal" else [modalities]
        for names in inputs:
            features = tuple(Feature(m, "made up", 8) for m in names)
            luck = random.Random(f"{method} {names}")
            for fold in range(facts.folds):
                for seed in facts.seeds:
                    value = skill + fold / 100 + luck.gauss(0, spread)
                    rule = "test" if facts.legacy and "testselect" in name else "validation"
                    more = {"protocol": facts, "features": features, "rule": rule, "items": SIZES}
                    found.append(make(method, fold, seed, value, **more))
    return found


def sweep_of(protocol: str) -> dict:
    return next(content for content in sweeps().values() if protocol in content["protocols"])


@pytest.mark.parametrize("name", sorted(sweeps()))
def test_the_runs_of_a_sweep_for_claims_are_enough_for_a_verdict(name):
    content = sweeps()[name]
    skills = {method: 0.5 + 0.04 * i for i, method in enumerate(content["methods"])}
    records = [one for protocol in content["protocols"] for one in runs_of(protocol, skills)]
    honest = [p for p in content["protocols"] if not find_protocol(p).legacy]
    mine = [
        claim
        for claim in CLAIMS.claims
        if claim.testable
        and claim.honest[0] in honest
        and {side.method for side in sides(claim)} <= set(content["methods"])
    ]
    assert len(mine) >= 4
    for one in judge(mine, records, {}):
        better = {side.method: skills[side.method] for side in sides(one.claim)}
        agrees = better[one.claim.left.method] > better[one.claim.right.method]
        assert one.verdict == ("within" if agrees else "not reproduced"), one.claim.id
        assert one.legacy is None or one.legacy.value is not None
    turned = [one for p in honest for one in runs_of(p, {m: 1.2 - s for m, s in skills.items()})]
    legacy = [one for one in records if one.protocol.legacy]
    for one in judge(mine, turned + legacy, {}):
        agrees = skills[one.claim.left.method] < skills[one.claim.right.method]
        assert one.verdict == ("within" if agrees else "explained by protocol"), one.claim.id
    for one in judge(mine, turned, {}):
        if one.verdict == "cannot test":
            assert "the paper's procedure was not run: under " in one.reason
            assert one.commands == (f"mer-bench sweep {name}",)


def test_every_claim_that_cannot_be_tested_says_what_is_missing_and_how_to_get_it():
    judged = judge(CLAIMS.claims, [], {})
    text = html.unescape(page(CLAIMS, judged, None))
    for one in judged:
        (line,) = re.findall(rf"^- `{re.escape(one.claim.id)}`: .*$", text, re.MULTILINE)
        if not one.claim.testable:
            assert "no run of this suite would tell" in line and not one.commands
            continue
        planned = {len(find_protocol(one.claim.honest[0]).seeds) * find_protocol(one.claim.honest[0]).folds}
        assert set(map(int, re.findall(r"has 0 of (\d+) runs", one.reason))) == planned
        assert one.commands and all(f"`{command}`" in line for command in one.commands)


def test_the_commands_name_what_there_is():
    known = {*recipes.cards()}
    commands = {command for one in judge(CLAIMS.claims, [], {}) for command in one.commands}
    assert len(commands) > 10
    for command in commands:
        words = shlex.split(command)
        if words[1] == "sweep":
            assert recipes.find(words[2], "sweep") is not None
            continue
        assert words[:2] == ["mer-bench", "fit"]
        corpus, _, method = words[2].partition("_")
        protocol = protocols()[words[words.index("--data.protocol") + 1]]
        assert protocol.corpus == corpus and method in known


def test_the_named_sweep_is_planned(features, capsys):
    assert sweep(["claims_iemocap", "--dry-run", "--data.root", str(features)]) == 0
    assert "foal_avel" in capsys.readouterr().out


def test_what_is_there_is_counted_and_the_rest_asked_for():
    claim = Claim(
        **{"id": "c", "source": "s", "place": "p", "says": "so", "protocol": "theirs", "metric": "emotion/ua"},
        **{
            "kind": "direction",
            "left": Side("gated"),
            "right": Side("mult", ("text", "audio")),
            "honest": ("iemocap4",),
        },
    )
    records = runs_of("iemocap4", {"gated": 0.5})
    (found,) = judge([claim], records, {})
    assert found.reason == "under iemocap4 mult on text + audio has 0 of 25 runs"
    (command,) = found.commands
    assert "fit iemocap_mult --data.protocol iemocap4 --data.modalities '[audio, text]' --data.fold FOLD" in command
    turned = [dataclasses.replace(r, features=r.features[::-1]) for r in records]
    assert "--data.modalities '[text, audio]' " in judge([claim], turned, {})[0].commands[0], "as the runs there are"
    (found,) = judge([claim], [r for r in records if r.fold], {})
    assert "gated has 20 of 25 runs, mult" in found.reason and len(found.commands) == 2
    assert lacking(claim, "iemocap4", [])[1][0].endswith("iemocap4 --data.fold FOLD --seed SEED")


def test_an_open_interval_names_the_comparison():
    claim = next(one for one in CLAIMS.claims if one.id == "foal-mem-wa")
    records = runs_of("iemocap4", {"foal_ce": 0.5, "foal_mem": 0.501}, spread=0.05)
    (found,) = judge([claim], records, {})
    assert (found.verdict, found.reason.partition(";")[0]) == ("cannot test", "the interval holds both answers")
    assert found.commands == ("mer-bench compare foal_ce foal_mem --protocol iemocap4 --metric emotion/wa",)
