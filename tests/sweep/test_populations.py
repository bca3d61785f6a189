"""Runs that train as one: which they are, and that each leaves what it would leave alone."""

from __future__ import annotations

import pytest

from mer_bench import recipes
from mer_bench.cli import main
from mer_bench.cli.together import execute_together
from mer_bench.results.record import read_records
from mer_bench.runs import plan
from mer_bench.sweep.populations import kind
from tests.files import iemocap

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
    for alone in ("majority", "concat_ogm", "iccl_alternate", "gbt"):
        assert kind(run(alone)) == ""
    assert kind(run(**{"model.optimizer.class_path": "torch.optim.RMSprop"})) == ""
    assert kind(run(**{"data.stream": "always"})) == kind(run(**{"data.memory_gb": "1e-6"})) == ""


def test_regressions_share_the_fold(home):
    folds = [run(**{"data.protocol": "iemocap_vad", "data.fold": fold, "seed_everything": fold}) for fold in "01"]
    assert kind(folds[0]) != kind(folds[1])


def test_each_leaves_a_record_and_is_not_run_again(home, capsys):
    runs = [run(**{"data.fold": str(fold), "seed_everything": str(seed)}) for fold in (0, 1) for seed in (0, 1)]
    seen = []
    execute_together(runs, width=3, done=seen.append)
    assert sorted(r.key for r in seen) == sorted(r.key for r in runs)
    found, rejected = read_records(home / "runs")
    assert not rejected and {(r.fold, r.seed) for r in found} == {(r.fold, r.seed) for r in runs}
    for record in found:
        assert record.executor == "stack" and record.status == "ok" and record.cost.train_seconds > 0
        assert record.selection.epochs == 2 and record.selection.chosen_epoch in (0, 1)
    execute_together(runs, done=seen.append)
    assert len(seen) == len(runs)
    # the checkpoint is the one that was scored
    best = runs[0].folder / "checkpoints" / "best.ckpt"
    argv = ["--data.modalities", "[audio, text]", "--ckpt_path", str(best), "--trainer.accelerator", "cpu"]
    assert main(["test", "iemocap_concat", *argv]) == 0
    (own,) = [r for r in found if (r.fold, r.seed) == (0, 0)]
    assert f"full emotion/ua {own.metrics['full']['emotion/ua']:.4f}" in capsys.readouterr().out


@pytest.mark.slow
def test_a_sweep_trains_them_as_one(home, capsys):
    (home / "s.yaml").write_text(
        "protocols: [iemocap4]\nmethods: [majority, concat]\nmodalities: {iemocap4: [audio, text]}\nfolds: [0, 1]\n"
        "seeds: [0, 1]\nset: {trainer.max_epochs: 2}\n"
    )
    assert main(["sweep", "s.yaml", "--cpu", "--workers", "1", "--stack", "4"]) == 0
    assert "8 of 8 runs are recorded" in capsys.readouterr().out
    found, _ = read_records(home / "runs")
    assert {(r.method.slug, r.executor) for r in found} == {("majority", "eager"), ("concat", "stack")}
    assert main(["sweep", "s.yaml", "--cpu", "--stack", "4"]) == 0
    assert "nothing to do" in capsys.readouterr().out
