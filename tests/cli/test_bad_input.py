"""Bad input: one clear line, exit code 2, no traceback, nothing half-written."""

from __future__ import annotations

import subprocess
import sys

import h5py
import pytest

from mer_bench.cli import main
from mer_bench.results.record import read_records
from tests.files import iemocap


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A working folder with a small feature file in ./features."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MER_BENCH_DATA", raising=False)
    iemocap(tmp_path / "features" / "iemocap.h5", n=120)
    return tmp_path


FIT = ["fit", "iemocap_concat", "--data.modalities", "[audio, text]", "--trainer.accelerator", "cpu"]
CASES = {
    "no command": (["fitt"], "no command 'fitt'; did you mean fit"),
    "no config": (["fit"], "no --config given"),
    "unknown config": (["fit", "iemocap_conct"], "no method named 'conct'; did you mean concat"),
    "unknown option": (["fit", "iemocap_concat", "--no-tset"], "no option --no-tset; did you mean --no-test"),
    "unknown setting": ([*FIT, "--model.method.dimm", "3"], "model.method.init_args.dimm; did you mean dim"),
    "unknown data setting": ([*FIT, "--data.batchsize", "3"], "data.init_args.batchsize; did you mean batch_size"),
    "unknown trainer setting": ([*FIT, "--trainer.max_epoch", "3"], "trainer.max_epoch; did you mean max_epochs"),
    "wrong type": ([*FIT, "--model.method.dim", "wide"], "model.method"),
    "fold": ([*FIT, "--data.fold", "5"], "--data.fold 5 is out of range: iemocap4 has folds 0 to 4"),
    "fold type": ([*FIT, "--data.fold", "one"], "--data.fold must be a whole number"),
    "modality": ([*FIT, "--data.modalities", "[audio, tekst]"], "no modality 'tekst'; did you mean text"),
    "protocol": (
        [*FIT, "--data.protocol", "iemocap5"],
        "no protocol named 'iemocap5' for iemocap; did you mean iemocap",
    ),
    "one modality": (
        ["fit", "iemocap_foal", "--data.modalities", "[audio]"],
        "fuses pairs of modalities, so it needs two or more",
    ),
    "epochs": ([*FIT, "--trainer.max_epochs", "-1"], "trainer.max_epochs must be at least 1, got -1"),
    "unread weights": (
        ["fit", "iemocap_mbt", "--model.task_weights", "{emotion: 2.0}"],
        "model.task_weights has no effect with AuxiliaryOnly",
    ),
    "unread views": (
        ["fit", "iemocap_tmc", "--model.subsets.class_path", "JointSubsets"],
        "model.subsets has no effect with AuxiliaryOnly",
    ),
    "replaced": ([*FIT, "--trainer.precision", "16"], "--trainer.precision has no effect here"),
    "foreign class": ([*FIT, "--model.method", "os.system"], "class 'os.system' is outside the packages"),
    "derived": ([*FIT, "--model.tasks", "{}"], "'tasks' is derived from the data"),
    "no features": (["fit", "biovid_concat"], "mer-bench data synth biovid --out"),
    "no value": ([*FIT, "--data.fold"], "--data.fold needs a value"),
}


@pytest.mark.parametrize("case", CASES)
def test_one_line_and_exit_code_2(home, capsys, case):
    argv, message = CASES[case]
    assert main(argv) == 2
    shown = capsys.readouterr()
    assert message in shown.err
    assert shown.err.startswith("mer-bench: error: ") or "\nmer-bench: error: " in shown.err
    assert "Traceback" not in shown.err
    assert not list(home.glob("runs/**/record.json"))


@pytest.mark.parametrize("kind", [TypeError, KeyError, ValueError])
def test_a_fault_of_a_constructor_is_no_bad_input(home, monkeypatch, kind):
    def broken(self, *given, **named):
        raise kind("a fault of the method")

    monkeypatch.setattr("mer_bench.methods.concat.Heads", broken)
    with pytest.raises(kind, match="a fault of the method"):
        main(FIT)


def test_names_are_checked_before_torch_is_imported(home):
    """The cases that only need names must not wait for torch."""
    script = (
        "import sys; from mer_bench.cli import main\n"
        "assert main(['fit', 'iemocap_foul']) == 2\n"
        "assert main(['fit', 'biovid_concat']) == 2\n"
        "assert main(['fit', 'iemocap_concat', '--data.protocol', 'x']) == 2\n"
        "assert main(['list']) == 0\n"
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_broken_feature_files(home, capsys):
    path = home / "features" / "iemocap.h5"
    whole = path.read_bytes()
    for content in (whole[: len(whole) // 2], b"", b"not hdf5 at all"):
        path.write_bytes(content)
        assert main(FIT) == 2
        error = capsys.readouterr().err
        assert "iemocap.h5" in error and "Traceback" not in error
    assert not (home / "runs").exists()


@pytest.mark.parametrize("command", [FIT, ["sweep", "smoke", "--cpu"], ["sweep", "searched.yaml", "--cpu"]])
def test_values_that_were_changed_in_place_are_not_trained_on(home, capsys, command):
    """The stored hash of the content is no longer that of the content: no run starts, and no trial of a search."""
    searched = "protocols: [iemocap4]\nmethods: [concat]\nmodalities: {iemocap4: [audio, text]}\nsearch: {draws: 1}\n"
    (home / "searched.yaml").write_text(searched)
    with h5py.File(home / "features" / "iemocap.h5", "r+") as file:
        values = file["modalities/audio/values"]
        values[0, 0] = values[0, 0] + 1
    assert main(command) == 2
    error = capsys.readouterr().err
    assert "iemocap.h5" in error and "content" in error and "Traceback" not in error
    assert not [*home.glob("runs/**/config.yaml"), *home.glob("runs/trials/**/metrics.csv")]


def test_a_loss_that_is_not_finite_stops_the_run(home, capsys):
    assert main([*FIT, "--model.optimizer.lr", "1e30", "--model.clip", "null", "--trainer.max_epochs", "2"]) == 2
    assert "is recorded as diverged" in capsys.readouterr().err
    (found,), rejected = read_records(home / "runs")
    assert found.status == "diverged" and not found.metrics and not rejected


def test_a_rare_modality_is_refused_with_a_working_line(home, capsys):
    iemocap(home / "features" / "iemocap.h5", n=300, absent=0.98)
    assert main([*FIT[:2], "--data.modalities", "[text, vision]"]) == 2
    error = capsys.readouterr().err
    assert "modality 'vision' is present in" in error and "use --data.modalities '[text]'" in error
