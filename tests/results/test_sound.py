"""Records that say what cannot be are left out one by one; the others of their table stay."""

from __future__ import annotations

import dataclasses
import html
import json
from pathlib import Path

import pytest

from mer_bench.cli.leaderboard import main
from mer_bench.data.corpora import find_protocol
from mer_bench.results import loading
from mer_bench.results.canonical import digest
from mer_bench.results.facts import ProtocolFacts
from mer_bench.results.record import NAME, run_folder, write_record
from mer_bench.results.sound import faults
from tests.results.factory import make

SHIPPED = ProtocolFacts.of(find_protocol("iemocap4"), "IEMOCAP")


@pytest.fixture
def records(tmp_path, monkeypatch) -> Path:
    """A complete row under a shipped protocol."""
    monkeypatch.setattr(loading, "_outdated", lambda record, same: False)
    for fold in range(SHIPPED.folds):
        for seed in SHIPPED.seeds:
            put(tmp_path / "records", make("concat", fold, seed, 0.5 + fold / 100 + seed / 1000, protocol=SHIPPED))
    return tmp_path / "records"


def put(folder: Path, record) -> Path:
    place = run_folder(folder, record.protocol.name, record.method.slug, record.run_key)
    write_record(place, record)
    return place / NAME


def forge(path: Path, change) -> None:
    """Change a record as somebody would who knows how its own hash is made."""
    content = json.loads(path.read_text())
    content.pop("record_id")
    change(content)
    path.write_text(json.dumps(content | {"record_id": digest(content)}))


FORGED = {
    "no predictions": (lambda c: c.update(files={}), "vouches for no predictions.npz"),
    "more folds": (lambda c: c["protocol"].update(folds=7), "protocol.folds is '7'; the protocol of this hash has '5'"),
    "fewer seeds": (lambda c: c["protocol"].update(seeds=[0]), "protocol.seeds is '(0,)'"),
    "another rule": (lambda c: c["protocol"].update(statistics="A"), "protocol.statistics is 'A'"),
    "another seed": (lambda c: c.update(seed=4), "its run key is not that of its settings"),
    "another key": (lambda c: c.update(run_key="1" * 64), "its run key is not that of its settings"),
    "no number": (lambda c: c["metrics"]["full"].update({"emotion/ua": 1.5}), "expected 0 to 1"),
    "no score": (lambda c: c["metrics"].clear(), "lacks emotion/ua"),
    "another schema": (lambda c: c.update(schema="mer-bench/record/9"), "this version reads mer-bench/record/1"),
}


@pytest.mark.parametrize("name", FORGED)
def test_a_forged_record_is_left_out_alone(records, tmp_path, capsys, name):
    change, reason = FORGED[name]
    forge(sorted(records.rglob(NAME))[0], change)
    argv = ["--records", str(records), "--out", str(tmp_path / "board")]
    assert main(argv) == 0
    assert "24 records, 1 left out" in capsys.readouterr().out
    assert main([*argv, "--strict"]) == 2
    assert reason in capsys.readouterr().err
    page, front = (
        html.unescape((tmp_path / "board" / n).read_text()) for n in ("iemocap4--audio-text.md", "README.md")
    )
    assert reason in page and reason in front and "INCOMPLETE 24/25" in page


def test_a_seed_that_is_not_planned_is_left_out_and_the_row_stays(records, tmp_path, capsys):
    put(records, make("concat", 0, 77, 0.9, protocol=SHIPPED))
    argv = ["--records", str(records), "--out", str(tmp_path / "board"), "--strict"]
    assert main(argv) == 2
    assert "does not plan seed 77; iemocap4 has the seeds 0, 1, 2, 3, 4" in capsys.readouterr().err
    page = (tmp_path / "board" / "iemocap4--audio-text.md").read_text()
    assert "INCOMPLETE 2" not in page and "seed 77" in page


def test_sound_records_have_no_faults():
    good = make("concat", 0, 0, 0.5, protocol=SHIPPED)
    assert not [*faults(good)]
    assert not [*faults(dataclasses.replace(good, status="diverged", metrics={}, files={}))]
    tuned = dataclasses.replace(good, variant="tuned-20", run_key="1" * 64)  # its key knows of the search
    assert not [*faults(tuned)]
