"""`fit`, `validate`, `test`, `predict`: what they leave, and what they leave alone."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest
import yaml

import mer_bench
from mer_bench.cli import main
from mer_bench.data.splits import targets
from mer_bench.merh5 import FeatureFile
from mer_bench.metrics import score
from mer_bench.results.record import read_predictions, read_record, write_record
from tests.files import iemocap

FIT = ["fit", "iemocap_concat", "--data.modalities", "[audio, text]", "--trainer.max_epochs", "2", "--progress", "none"]


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MER_BENCH_DATA", raising=False)
    iemocap(tmp_path / "features" / "iemocap.h5", n=150)
    return tmp_path


def folder() -> Path:
    (path,) = Path("runs/iemocap4").glob("*/*")
    return path


def test_a_run_leaves_a_record_that_its_predictions_give_again(home, capsys):
    assert main(FIT) == 0
    run = folder()
    record = read_record(run / "record.json")
    assert record.synthetic and record.status == "ok" and record.modalities == ("audio", "text")
    assert record.run_key.startswith(run.name)
    assert {"full", "only_audio", "no_text", "missing_0.5", "emap"} <= record.metrics.keys()
    file = FeatureFile("features/iemocap.h5")
    predictions = read_predictions(run / "predictions.npz", record.files["predictions.npz"])
    rows = np.array([file.ids.index(i) for i in predictions.ids])
    assert set(file.group("session")[rows]) == {"Ses01"}
    data = mer_bench.build("iemocap_concat", **{"data.modalities": ["audio", "text"]})[1]
    values, mask = targets(file, "emotion", data.tasks["emotion"])
    for condition, subset in {"full": "full", "no_text": "only_audio", "only_text": "only_text"}.items():
        outputs = {"emotion": predictions.outputs[f"{subset}/emotion"]}
        again = score(data.tasks, data.metrics, outputs, {"emotion": (values[rows], mask[rows])})
        assert again == pytest.approx(record.metrics[condition], abs=1e-9)
    counts = np.array(record.confusion["emotion"].counts)
    assert counts.sum() == mask[rows].sum()
    assert np.mean(counts.diagonal() / counts.sum(axis=1)) == pytest.approx(record.metrics["full"]["emotion/ua"])
    assert yaml.safe_load((run / "config.yaml").read_text())["data"]["init_args"]["fold"] == 0
    assert len((run / "metrics.csv").read_text().splitlines()) == 3
    assert "emotion/ua" in capsys.readouterr().out


def test_a_method_is_asked_once_for_each_subset(home):
    assert main(FIT) == 0
    outputs = read_predictions(folder() / "predictions.npz").outputs
    assert set(outputs) == {f"{name}/emotion" for name in ("full", "only_audio", "only_text", "emap")}
    assert not np.array_equal(outputs["only_audio/emotion"], outputs["full/emotion"])


def test_a_recorded_run_is_not_trained_again(home, capsys, monkeypatch):
    assert main(FIT) == 0
    before = (folder() / "record.json").stat().st_mtime_ns
    capsys.readouterr()
    assert main(FIT) == 0
    said = capsys.readouterr().out
    assert "already recorded" in said and "stale" not in said
    with monkeypatch.context() as patch:
        patch.setattr("mer_bench.cli.scoring.is_stale", lambda code: True)
        assert main(FIT) == 0
    assert "the code of this run has changed since" in capsys.readouterr().out
    assert (folder() / "record.json").stat().st_mtime_ns == before
    assert main([*FIT, "--seed", "1"]) == 0
    assert len(list(Path("runs").rglob("record.json"))) == 2
    costs = [read_record(path).cost for path in sorted(Path("runs").rglob("record.json"), key=os.path.getmtime)]
    for cost in costs:
        assert 0 < cost.train_seconds <= cost.wall_seconds and cost.cpu_seconds > 0 and cost.gpu_seconds is None
        assert cost.peak_memory_bytes > 1 << 20
    assert costs[1].startup_seconds == 0  # the process had been there for the first one


def test_no_test_leaves_the_test_part_locked(home, monkeypatch):
    from mer_bench.module import FusionModule

    def locked(*args):
        raise AssertionError("the test part was touched")

    with monkeypatch.context() as patch:
        patch.setattr(FusionModule, "test_step", locked)
        assert main([*FIT, "--no-test"]) == 0
    assert not list(Path("runs").rglob("record.json")) and not list(Path("runs").rglob("predictions.npz"))
    trained = (folder() / "trained.json").read_text()
    assert main(FIT) == 0  # scores what was trained
    assert (folder() / "trained.json").read_text() == trained
    assert read_record(folder() / "record.json").status == "ok"


def test_an_interrupted_run_goes_on_to_the_same_record(home, monkeypatch, capsys):
    from mer_bench.training.callbacks import EpochLog

    assert main([*FIT, "--runs", "straight"]) == 0
    after = EpochLog.on_train_epoch_end

    def interrupt(self, trainer, module):
        after(self, trainer, module)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(EpochLog, "on_train_epoch_end", interrupt)
        assert main(FIT) == 130
    assert not list(Path("runs").rglob("record.json"))
    capsys.readouterr()
    assert main(FIT) == 0
    one = read_record(next(Path("straight").rglob("record.json")))
    two = read_record(folder() / "record.json")
    assert one.run_key == two.run_key
    assert one.numbers() == two.numbers()


def test_sigterm_ends_the_epoch_first_and_loses_nothing(home, monkeypatch, capsys):
    from mer_bench.module import FusionModule

    assert main([*FIT, "--runs", "straight"]) == 0
    step = FusionModule.training_step

    def term(self, *arguments):
        os.kill(os.getpid(), signal.SIGTERM)  # in the middle of the first epoch
        step(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(FusionModule, "training_step", term)
        assert main(FIT) == 130
    assert len((folder() / "metrics.csv").read_text().splitlines()) == 2  # one whole epoch
    assert (folder() / "checkpoints" / "last.ckpt").is_file() and not (folder() / "record.json").exists()
    monkeypatch.setattr(FusionModule, "training_step", step)
    assert main(FIT) == 0
    one = read_record(next(Path("straight").rglob("record.json")))
    assert one.numbers() == read_record(folder() / "record.json").numbers()


def test_who_comes_second_touches_nothing(home, monkeypatch, capsys):
    """Another launcher records the same run, with another result, while ours is at its test part."""
    from mer_bench.cli import scoring

    assert main(FIT) == 0
    run, ours = folder(), scoring.predict_test
    record = read_record(run / "record.json")
    (run / "record.json").unlink()
    worse = {name: {m: 0.0 for m in values} for name, values in record.metrics.items()}

    def meanwhile(command):
        write_record(run, dataclasses.replace(record, metrics=worse))
        (run / "predictions.npz").write_bytes(b"theirs")
        return ours(command)

    monkeypatch.setattr(scoring, "predict_test", meanwhile)
    assert main(FIT) == 2
    assert "CONFLICT" in capsys.readouterr().err
    assert (run / "predictions.npz").read_bytes() == b"theirs"
    assert read_record(run / "record.json").metrics == worse
    (other,) = run.glob("conflict-*.json")
    assert read_record(other).numbers() == record.numbers()
    assert not list(run.glob(".again-*"))


def test_a_control_without_parameters_is_scored_without_training(home):
    assert main(["fit", "iemocap_majority", "--data.modalities", "[audio, text]"]) == 0
    record = read_record(folder() / "record.json")
    assert record.cost.parameters == record.cost.steps == 0
    assert record.metrics["full"]["emotion/ua"] == pytest.approx(0.25)


def test_one_run_per_modality(home):
    assert main([*FIT[:1], "iemocap_unimodal", *FIT[2:]]) == 0
    records = [read_record(path) for path in Path("runs").rglob("record.json")]
    assert sorted(r.modalities for r in records) == [("audio",), ("text",)]


def test_checkpoints_can_be_looked_at_again(home, capsys):
    assert main(FIT) == 0
    record = read_record(folder() / "record.json")
    checkpoint = ["--ckpt_path", str(folder() / "checkpoints" / "best.ckpt")]
    names = [*FIT[1:6], *checkpoint]
    capsys.readouterr()
    assert main(["test", *names]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[0].startswith(f"full emotion/ua {record.metrics['full']['emotion/ua']:.4f}")
    assert main(["validate", *names]) == 0
    assert f"val/emotion/ua {record.selection.val_score:.4f}" in capsys.readouterr().out
    assert main(["predict", *names, "--out", "all.npz"]) == 0
    every = read_predictions(Path("all.npz"))
    assert len(every.ids) == 150
    test = read_predictions(folder() / "predictions.npz")
    at = [every.ids.index(i) for i in test.ids]
    np.testing.assert_allclose(every.outputs["full/emotion"][at], test.outputs["full/emotion"], atol=1e-5)
    (home / "copied.ckpt").write_bytes(Path(checkpoint[1]).read_bytes())
    assert main(["test", *FIT[1:6], "--model.method.dim", "7", "--ckpt_path", "copied.ckpt"]) == 2
    assert "do not fit these settings" in capsys.readouterr().err


def test_a_checkpoint_is_scored_on_its_own_fold_only(home, capsys):
    assert main([*FIT, "--data.fold", "3", "--no-test"]) == 0
    best = folder() / "checkpoints" / "best.ckpt"
    for command in ("test", "validate"):
        capsys.readouterr()
        assert main([command, *FIT[1:6], "--ckpt_path", str(best)]) == 2
        shown = capsys.readouterr()
        assert "another run (iemocap4 fold 3 seed 0), asked for is" in shown.err and not shown.out
        assert main([command, *FIT[1:6], "--data.fold", "3", "--ckpt_path", str(best)]) == 0
        assert "unknown" not in capsys.readouterr().err
    (home / "copied.ckpt").write_bytes(best.read_bytes())
    assert main(["validate", *FIT[1:6], "--ckpt_path", "copied.ckpt"]) == 0
    assert "the fold that it was trained for is unknown" in capsys.readouterr().err


def test_records_say_nothing_of_the_machine(home):
    assert main(FIT) == 0
    text = (folder() / "record.json").read_text()
    assert str(home) not in text and str(Path.home()) not in text
    assert "Ses01" not in json.dumps(json.loads(text)["groups"])
