"""Runs that train together: which they are, and that each leaves what it would leave alone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mer_bench import recipes
from mer_bench.cli import main, scoring
from mer_bench.cli import options as cli_options
from mer_bench.cli.fit import execute
from mer_bench.cli.together import How, execute_together
from mer_bench.errors import UserError
from mer_bench.results.provenance import code, is_stale
from mer_bench.results.record import read_record, read_records
from mer_bench.runs import plan
from mer_bench.sweep.agenda import Agenda
from mer_bench.sweep.interrupted import FOLDER, POINTER, state_of
from mer_bench.sweep.ledger import Ledger
from mer_bench.sweep.loop import drive
from mer_bench.sweep.populations import executor, kind
from mer_bench.sweep.progress import Progress
from mer_bench.sweep.worker import Ended
from tests.files import iemocap
from tests.sweep.cases import in_session, wait_until

pytestmark = pytest.mark.filterwarnings("ignore:There is a performance drop")


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    iemocap(tmp_path / "features" / "iemocap.h5", n=150)
    return tmp_path


def run(method="concat", **changes):
    chosen = {"data.modalities": "[audio, text]", "trainer.max_epochs": "2", "trainer.accelerator": "cpu"}
    (one,) = plan(recipes.resolve([f"iemocap_{method}"], (chosen | changes).items()), "runs")
    return one


def test_which_runs_train_as_one(home):
    first = kind(run())
    assert first
    for same in ({"data.fold": "3"}, {"seed_everything": "7"}, {"model.optimizer.lr": "0.1"}):
        assert kind(run(**same)) == first
    for other in ({"model.method.dim": "8"}, {"data.batch_size": "8"}, {"trainer.max_epochs": "3"}):
        assert kind(run(**other)) not in ("", first)
    assert kind(run(**{"data.stream": "always"})) == kind(run(**{"data.memory_gb": "1e-6"})) == ""
    assert kind(first_run := run(), "eager") == "" and kind(first_run, "branches") not in ("", first)


def test_the_executor_follows_from_card_and_settings_unless_asked_for(home):
    """What can be stacked is; hooks, schedules by step and other optimisers are side by side; the rest is alone."""
    names = ("auto", "stack", "branches", "eager")
    assert [executor(run(), asked) for asked in names] == ["stack", "stack", "branches", "eager"]
    apart = [run("concat_ogm"), run("iccl_alternate"), run(**{"model.optimizer.class_path": "torch.optim.RMSprop"})]
    for one in apart:
        assert [executor(one, asked) for asked in names] == ["branches", "eager", "branches", "eager"]
    for one in (run("majority"), run("gbt"), run(**{"data.stream": "always"})):
        assert {executor(one, asked) for asked in names} == {"eager"}


def test_regressions_in_a_stack_share_the_fold(home):
    folds = [run(**{"data.protocol": "iemocap_vad", "data.fold": fold, "seed_everything": fold}) for fold in "01"]
    assert kind(folds[0]) != kind(folds[1]) and kind(folds[0], "branches") == kind(folds[1], "branches")


def test_each_leaves_a_record_and_is_not_run_again(home, capsys):
    runs = [run(**{"data.fold": str(fold), "seed_everything": str(seed)}) for fold in (0, 1) for seed in (0, 1)]
    seen = []
    execute_together(runs, How("stack", width=3), done=seen.append)
    assert sorted(r.key for r in seen) == sorted(r.key for r in runs)
    found, rejected = read_records(home / "runs")
    assert not rejected and {(r.fold, r.seed) for r in found} == {(r.fold, r.seed) for r in runs}
    for record in found:
        assert {"training.population", "training.stack"} <= set(record.code.modules) and not is_stale(record.code)
        assert record.code.hash != code(runs[0].recipe.settings).hash
        assert record.executor == "stack" and record.status == "ok" and record.cost.train_seconds > 0
        assert record.selection.epochs == 2 and record.selection.chosen_epoch in (0, 1)
    execute_together(runs, How("stack"), done=seen.append)
    assert len(seen) == len(runs)
    # the checkpoint is the one that was scored
    best = runs[0].folder / "checkpoints" / "best.ckpt"
    argv = ["--data.modalities", "[audio, text]", "--trainer.max_epochs", "2", "--trainer.accelerator", "cpu"]
    assert main(["test", "iemocap_concat", *argv, "--ckpt_path", str(best)]) == 0
    (own,) = [r for r in found if (r.fold, r.seed) == (0, 0)]
    assert f"full emotion/ua {own.metrics['full']['emotion/ua']:.4f}" in capsys.readouterr().out


@pytest.mark.parametrize("method", ["foal", "concat_ogm"])
def test_branches_leave_the_numbers_of_runs_alone(home, method):
    """Scores, predictions byte for byte, chosen epoch and validation score, with dropout, in single precision."""
    runs = [run(method, **{"data.fold": fold, "seed_everything": fold, "trainer.max_epochs": "3"}) for fold in "01"]
    execute_together(runs, How("branches"))
    together = [read_record(one.folder / "record.json") for one in runs]
    logs = [(one.folder / "metrics.csv").read_text() for one in runs]
    options = cli_options.Options("fit", (), (), runs="alone", progress="none")
    for one, log, record in zip(runs, logs, together, strict=True):
        (same,) = plan(one.recipe, "alone")
        execute(same, options)
        alone = read_record(same.folder / "record.json")
        assert record.executor == "branches" and alone.executor == "eager"
        assert record.numbers() == alone.numbers()
        assert without_seconds(log) == without_seconds((same.folder / "metrics.csv").read_text())


def without_seconds(log: str) -> list[list[str]]:
    return [[*line.split(",")[:2], *line.split(",")[3:]] for line in log.splitlines()]


def test_an_automatic_executor_stacks_small_networks_only_on_a_cpu(home, monkeypatch):
    runs = [run(**{"trainer.max_epochs": "1", "seed_everything": seed}) for seed in "01"]
    monkeypatch.setattr("mer_bench.cli.together.SMALL", 10)
    execute_together(runs)
    assert {read_record(one.folder / "record.json").executor for one in runs} == {"branches"}


@pytest.mark.parametrize("way", ["stack", "branches"])
def test_asked_to_stop_they_go_on_later_with_the_same_numbers(home, way, capsys):
    runs = [run(**{"seed_everything": str(seed), "model.method.dim": "16"}) for seed in (0, 1, 2)]
    asked = []

    def ask() -> bool:
        asked.append(1)
        return len(asked) >= 4

    with pytest.raises(KeyboardInterrupt):
        execute_together(runs, How(way, asked=ask))
    assert len({state_of(one) for one in runs}) == 1 and state_of(runs[0]) is not None
    assert (
        kind(runs[0], way) == kind(runs[1], way) != kind(run(**{"seed_everything": "7", "model.method.dim": "16"}), way)
    )
    execute_together(runs, How(way))
    assert "continuing 3 interrupted runs" in capsys.readouterr().err
    assert not list(Path("runs").rglob(POINTER)) and not list(Path("runs").rglob(FOLDER))
    disturbed = [read_record(one.folder / "record.json") for one in runs]
    again = [one for same in runs for one in plan(same.recipe, "undisturbed")]
    execute_together(again, How(way))
    assert [r.numbers() for r in disturbed] == [read_record(o.folder / "record.json").numbers() for o in again]


def test_other_code_starts_them_again(home, monkeypatch, capsys):
    runs = [run(**{"seed_everything": str(seed), "model.method.dim": "16"}) for seed in (0, 1)]
    with pytest.raises(KeyboardInterrupt):
        execute_together(runs, How("stack", asked=lambda: True))
    execute_together(runs, How("branches"))
    assert "they start again" in capsys.readouterr().err
    assert {read_record(one.folder / "record.json").executor for one in runs} == {"branches"}


def test_less_room_than_was_saved_starts_them_again(home, capsys):
    """After running out of memory, a state of three at a time is not taken up with room for two."""
    runs = [run(**{"seed_everything": str(seed), "trainer.max_epochs": "1"}) for seed in (0, 1, 2)]
    with pytest.raises(KeyboardInterrupt):
        execute_together(runs, How("branches", width=3, asked=lambda: True))
    execute_together(runs, How("branches", width=2))
    said = capsys.readouterr().err
    assert "they start again" in said and "continuing" not in said
    assert all((one.folder / "record.json").is_file() for one in runs)


def test_a_run_that_cannot_be_scored_leaves_the_others_alone_and_is_not_trained_again(home, monkeypatch, capsys):
    runs = [run(**{"seed_everything": str(seed), "trainer.max_epochs": "1"}) for seed in (0, 1, 2)]
    real = scoring.write_results

    def write(one, *given):
        if one.seed == 1:
            raise OSError(28, "No space left on device")
        return real(one, *given)

    monkeypatch.setattr("mer_bench.cli.together.write_results", write)
    with pytest.raises(OSError, match="No space left"):
        execute_together(runs, How("stack"))
    assert [(one.folder / "record.json").is_file() for one in runs] == [True, False, True]
    monkeypatch.undo()
    monkeypatch.chdir(home)
    monkeypatch.setattr("mer_bench.training.stack.Stack.step", lambda self: pytest.fail("trained again"))
    execute_together(runs, How("stack"))
    assert read_record(runs[1].folder / "record.json").status == "ok"


def test_several_that_fail_are_all_named(home, monkeypatch):
    runs = [run(**{"seed_everything": str(seed), "trainer.max_epochs": "1"}) for seed in (0, 1)]
    monkeypatch.setattr("mer_bench.cli.together.write_results", lambda *given: 1 / 0)
    with pytest.raises(RuntimeError, match=r"2 runs failed: .*seed 0: ZeroDivisionError.*seed 1: ZeroDivisionError"):
        execute_together(runs, How("stack"))
    majority = [run("majority", **{"seed_everything": str(seed)}) for seed in (0, 1)]
    with pytest.raises(UserError, match=r"2 runs failed: .*nothing to train"):
        execute_together(majority, How("branches"))


SWEEP = """
protocols: [iemocap4]
methods: [concat]
modalities: {iemocap4: [audio, text]}
folds: [0, 1]
seeds: [0, 1]
set: {trainer.max_epochs: 60, early_stopping.patience: 60, data.batch_size: 4, model.method.dim: 16}
"""
#: the runs of the sweep in a process of their own, saved after every epoch
SAVING = """
from mer_bench.cli.together import How, execute_together
from mer_bench.sweep.plan import make_plan, read
execute_together([*make_plan(read("s.yaml"), "runs").runs.values()], How("stack", every=0.0))
"""


class Fake:
    """A place that notes what it is given, and is done at once."""

    usable = True

    def __init__(self, room):
        self.room, self.given = room, []

    def start(self, runs):
        self.given.append(len(runs))
        for one in runs:
            one.folder.mkdir(parents=True)
            (one.folder / one.result).touch()

    def ended(self):
        return Ended("ok")


@pytest.mark.parametrize(
    ("rooms", "given"),
    [((1, 1), [1] * 14), ((2,), [8, 6]), ((4, 4), [7, 4, 3]), ((20,), [14]), ((3, 1), [7, 1, 3, 1, 2])],
)
def test_a_place_takes_more_than_it_has_room_for_so_that_none_of_it_is_empty(home, rooms, given):
    """Those that queue step in for early stoppers; at most four times the room, and a share stays for other places."""
    runs = [run(**{"data.fold": str(n % 5), "seed_everything": str(n)}) for n in range(14)]
    ledger, places = Ledger("runs"), [Fake(room) for room in rooms]
    ledger.prepare()
    agenda = Agenda(ledger, {one.key: one for one in runs}, Progress(len(runs), 0, bar=False))
    assert not drive(places, agenda, lambda *_: None)
    assert sorted(n for place in places for n in place.given) == sorted(given)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_stopped_or_killed_they_end_with_the_numbers_of_a_sweep_that_was_not(home, number):
    """Killed, they go on from the last state; SIGTERM to a sweep saves one, within seconds, and exits with 130."""
    (home / "s.yaml").write_text(SWEEP)
    words = [sys.executable, "-m", "mer_bench", "sweep", "s.yaml", "--cpu", "--workers", "1", "--stack", "4"]
    words += ["--executor", "stack"]
    if number == signal.SIGKILL:
        first = subprocess.Popen([sys.executable, "-c", SAVING], start_new_session=True)
        wait_until(lambda: list(Path("runs").rglob(f"{FOLDER}/*.ckpt")), 240)
    else:
        first = subprocess.Popen(words, start_new_session=True)
        wait_until(lambda: any("train together" in p.read_text() for p in Path("runs").rglob("log.txt")), 240)
    os.kill(first.pid, number)
    assert first.wait(60) == (-9 if number == signal.SIGKILL else 130)
    wait_until(lambda: not in_session(first.pid))
    assert not list(Path("runs").rglob("record.json")), "it was too quick for this test"
    assert list(Path("runs").rglob(f"{FOLDER}/*.ckpt"))
    subprocess.run(words, check=True)
    subprocess.run([*words, "--runs", "undisturbed"], check=True)
    disturbed, undisturbed = (read_records(Path(name))[0] for name in ("runs", "undisturbed"))
    assert len(disturbed) == 4
    assert [r.numbers() for r in disturbed] == [r.numbers() for r in undisturbed]


@pytest.mark.slow
def test_a_sweep_trains_them_together_whoever_queues_too(home, capsys):
    (home / "s.yaml").write_text(
        "protocols: [iemocap4]\nmethods: [majority, concat]\nmodalities: {iemocap4: [audio, text]}\nfolds: [0, 1]\n"
        "seeds: [0, 1]\nset: {trainer.max_epochs: 2}\n"
    )
    assert main(["sweep", "s.yaml", "--cpu", "--workers", "1", "--stack", "2", "--executor", "stack"]) == 0
    assert "8 of 8 runs are recorded" in capsys.readouterr().out
    found, _ = read_records(home / "runs")
    assert {(r.method.slug, r.executor) for r in found} == {("majority", "eager"), ("concat", "stack")}
    assert main(["sweep", "s.yaml", "--cpu", "--stack", "4"]) == 0
    assert "nothing to do" in capsys.readouterr().out
