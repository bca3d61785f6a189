"""The night: every shipped sweep is planned, the summary tells what changed, the exit code what a timer must know."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mer_bench.cli import engines, main, nightly, sweep
from mer_bench.data.corpora import find_protocol
from mer_bench.errors import UserError
from mer_bench.merh5 import Contents, Labels, Modality, write
from mer_bench.results.record import run_folder, write_record
from mer_bench.results.summary import make_rows, page, summarise
from mer_bench.sweep.agenda import code_of
from mer_bench.sweep.file import read
from mer_bench.sweep.ledger import Ledger
from tests.files import iemocap
from tests.results.factory import make
from tests.source import ROOT

SHIPPED = sorted(path.stem for path in (ROOT / "configs" / "sweep").glob("*.yaml"))


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MER_BENCH_DATA", raising=False)
    iemocap(tmp_path / "features" / "iemocap.h5", n=100)
    return tmp_path


def test_the_promised_sweeps_are_there():
    assert {"smoke", "controls", "seeds", "nightly", "missing_modalities", "tuned"} <= set(SHIPPED)


def some_features(corpus: str) -> None:
    """A file of ten people, with every modality that a shipped sweep names: enough to plan with."""
    n = 20
    one = Modality(values=np.ones((n, 2), np.float32), lengths=np.ones(n, int), kind="utterance", rate_hz=0.0)
    label = Labels(kind="multiclass", names=("a", "b"), values=np.arange(n) % 2, mask=np.ones(n, bool))
    ids, speaker = [f"i{i:02d}" for i in range(n)], [f"p{i // 2}" for i in range(n)]
    modalities = dict.fromkeys(("audio", "text", "vision", "bio"), one)
    content = Contents(corpus, ids, modalities, {"any": label}, speaker=speaker, synthetic=True)
    write(Path("features") / f"{corpus}.h5", content)


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_sweep_is_planned(home, name, capsys):
    for protocol in read(name).protocols:
        corpus = find_protocol(protocol).corpus
        if not Path(f"features/{corpus}.h5").exists():
            some_features(corpus)
    assert main(["sweep", name, "--dry-run", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["planned"] > 0 or facts["search"]["trials"] > 0
    assert not Path("runs").exists()


def test_corpora_without_features_are_left_out_by_name(home, capsys):
    assert main(["sweep", "nightly", "--dry-run"]) == 0
    said = capsys.readouterr().err
    absent = set(read("nightly").protocols) - {"iemocap4"}
    assert absent and all(re.search(rf"left out: concat on {name}: no features of", said) for name in absent)
    Path("features/iemocap.h5").unlink()
    assert main(["sweep", "nightly", "--dry-run"]) == 2
    assert "every run of it was left out" in capsys.readouterr().err


@pytest.mark.slow
def test_a_night_from_end_to_end(home):
    command = [sys.executable, "-c", "import sys; from mer_bench.cli import main; sys.exit(main(sys.argv[1:]))"]
    night = [*command, "nightly", "smoke", "--progress", "lines"]
    env = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}

    def sleep() -> tuple[int, dict]:
        done = subprocess.run(night, env=env, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        assert Path("night/summary.json").is_file(), done.stderr
        return done.returncode, json.loads(Path("night/summary.json").read_text())

    code, first = sleep()
    assert code == 0 and first["new"] == 2 and len(first["changed"]) == 2 and not first["failed"]
    assert {row["before"] for row in first["changed"]} == {None}
    assert list(Path("board").glob("*.md"))
    code, second = sleep()
    assert code == 0 and second["new"] == 0 and second["changed"] == [] and second["rows"] == first["rows"]
    path = sorted(Path("runs").rglob("record.json"))[0]
    path.write_text(path.read_text().replace('"fold": 0', '"fold": 1'))  # somebody changes a record
    code, third = sleep()
    assert code == 1 and any("was changed after it was written" in line for line in third["failed"])
    assert "was changed" in Path("night/summary.md").read_text()


def test_a_failed_run_is_named_and_the_code_says_so(home, monkeypatch):
    monkeypatch.setattr(sweep, "main", lambda argv: 1)
    fake_run()
    Ledger("runs").prepare()
    ledger = Ledger("runs")
    (plan, _) = sweep.planned(sweep.options_of(["smoke"]), [], looking=True)
    for key, run in plan.runs.items():
        ledger.fail(key, "RuntimeError: no luck", code_of(run))
        ledger.fail(key, "RuntimeError: no luck", code_of(run))
    assert nightly.main(["smoke"]) == 1
    assert Path("night/summary.md").read_text().count("no luck") == 2
    monkeypatch.setattr(sweep, "main", lambda argv: 130)
    assert nightly.main(["smoke"]) == 130
    Path("night/summary.json").write_text("{}")
    assert main(["nightly", "smoke"]) == 2


def fake_run() -> None:
    record = make()
    folder = run_folder(Path("runs"), record.protocol.name, record.method.slug, record.run_key)
    write_record(folder, record)


def test_rows_are_means_over_folds_and_changes_are_told():
    scores = {(0, 0): 0.5, (0, 1): 0.7, (1, 0): 0.2}
    records = [make(fold=fold, seed=seed, value=score) for (fold, seed), score in scores.items()]
    (row,) = make_rows(records)
    assert row.score == pytest.approx((0.6 + 0.2) / 2) and row.runs == 3
    first = summarise(records[:2], [], None)
    second = summarise(records, ["x: broken"], json.loads(json.dumps(first.plain())))
    assert (first.new, second.new) == (2, 1)
    assert [before for _, before in second.changed] == [pytest.approx(0.6)]
    shown = page(second)
    assert "- x: broken" in shown and "1 new of 3 records" in shown and "| 0.6000 | 0.4000 |" in shown
    assert summarise(records, [], json.loads(json.dumps(second.plain()))).changed == []


def test_the_commands_of_the_docs_mean_the_sweep_that_they_should():
    text = (ROOT / "docs" / "nightly.md").read_text(encoding="utf-8")
    lines = re.findall(r"mer-bench nightly (\S.*?)(?: &)?$", text, re.M)
    made = [f"nightly {more}" for more in re.findall(r"NIGHT=[\"]?([^\"\n]+)", text)]
    lines = [line for line in lines if "--" in line] + made
    assert len(lines) >= 4
    for line in lines:
        options, rest = nightly.split(line.split())
        assert options.name in ("nightly", "controls")
        own, overrides = sweep.split([options.name, *rest])
        assert dict(overrides) == {"data.root": "/data/features"} and sweep.options_of(own).name == options.name
    options, rest = nightly.split(["--data.root", "/data", "--runs", "r"])
    assert (options.name, options.runs, rest) == ("nightly", "r", ["--data.root", "/data"])


@pytest.mark.parametrize(
    "given", [["--workers", "-1"], ["--slots-per-gpu", "0"], ["--engine", "ray", "--slots-per-gpu", "0"]]
)
def test_no_places_at_all_are_refused(given):
    with pytest.raises(UserError, match="must be at least 1"):
        engines.launch({}, sweep.options_of(["s", *given]), engines.TARGET, {})


def test_the_timers_of_the_docs_are_well_formed(tmp_path):
    text = (ROOT / "docs" / "nightly.md").read_text(encoding="utf-8")
    titled = dict(re.findall(r"```\w+ title=(\S+)\n(.*?)```", text, re.S))
    assert titled.keys() == {"mer-bench.service", "mer-bench.timer", "crontab", "nightly.sbatch"}
    for name, body in titled.items():
        (tmp_path / name).write_text(body)
    called = re.findall(r"bin/mer-bench (\S+)", "".join(titled.values()))
    assert called and set(called) <= {"nightly", "sweep"}
    script = subprocess.run(["bash", "-n", tmp_path / "nightly.sbatch"], capture_output=True, text=True)
    assert script.returncode == 0, script.stderr
    assert titled["crontab"].startswith("0 23 * * * ") and len(titled["crontab"].strip().splitlines()) == 1
    if shutil.which("systemd-analyze"):
        units = [str(tmp_path / name) for name in ("mer-bench.service", "mer-bench.timer")]
        assert (
            "Unknown"
            not in subprocess.run(["systemd-analyze", "verify", *units], capture_output=True, text=True).stderr
        )
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert "mer-bench nightly nightly $(NIGHT)" in makefile
