"""What the cluster engines say and submit. SLURM is played by four small programs that start the jobs here."""

from __future__ import annotations

import importlib
import os
import signal
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from mer_bench.cli import main
from mer_bench.results.record import read_record
from mer_bench.sweep.ledger import Ledger
from mer_bench.sweep.progress import Progress
from mer_bench.sweep.slurm import Batch, SlurmEngine, sbatch_script
from tests.sweep.cases import PRELOAD, executions, planned, wait_until

TOOLS = {
    "sbatch": """
        cp "$1" "$FAKE/submitted.sh"
        rm -f "$FAKE"/7*
        job=7$(date +%N)
        for i in $(seq 0 $(sed -n 's/^#SBATCH --array=0-\\([0-9]*\\).*/\\1/p' "$1")); do
            SLURM_JOB_ID=80$i SLURM_ARRAY_JOB_ID=$job SLURM_ARRAY_TASK_ID=$i SLURM_NTASKS=1 \
                bash "$1" > "$FAKE/out$i" 2>&1 < /dev/null &
            echo $! > "$FAKE/${job}_$i"
        done
        echo "Submitted batch job $job"
        """,
    "srun": """
        while [[ "$1" == -* ]]; do case "$1" in --output|--error) shift 2;; *) shift;; esac; done
        SLURM_PROCID=0 SLURM_LOCALID=0 SLURM_NODEID=0 exec "$@"
        """,
    "sacct": """
        echo "JobID|State|NodeList"
        for file in "$FAKE"/7*; do
            kill -0 $(cat $file) 2> /dev/null && state=RUNNING || state=COMPLETED
            echo "$(basename $file)|$state|here"
        done
        """,
    "scancel": """
        for pid in $(cat /proc/$(cat "$FAKE/${@: -1}")/task/*/children); do kill -TERM $pid; done
        """,
}


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """A folder of SLURM's programs, first on the path."""
    folder = tmp_path / "slurm"
    folder.mkdir()
    for name, text in TOOLS.items():
        (folder / name).write_text(f"#!/bin/bash\n{text}")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("FAKE", str(folder))
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return folder


def engine(target: str, **options) -> SlurmEngine:
    given = {"runs": "runs", "notes": str(Path("runs.notes").absolute()), **options}
    return SlurmEngine(Ledger("runs"), f"tests.sweep.targets:{target}", given, PRELOAD, BATCH, look=0.1)


BATCH = Batch(jobs=2, minutes=30, partition="short", extra={"account": "lab"})


@pytest.mark.slow
def test_what_is_submitted_is_what_was_shown_and_works(home, slurm):
    shown = sbatch_script(Ledger("runs"), BATCH)
    plan = planned()
    assert not engine("record").work(plan, Progress(len(plan), 0, bar=False))
    assert (slurm / "submitted.sh").read_text() == shown
    for key, run in plan.items():
        assert read_record(run.folder / "record.json").run_key == key
    assert sorted(executions()) == sorted(plan)


@pytest.mark.slow
def test_an_interruption_cancels_the_jobs_and_they_keep_their_checkpoints(home, slurm):
    def interrupt() -> None:
        wait_until(lambda: len(executions()) >= 2)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=interrupt).start()
    plan = planned()
    assert engine("long", seconds=0.2).work(plan, Progress(len(plan), 0, bar=False))
    assert Ledger("runs").held() == {}
    assert [run for run in plan.values() if (run.folder / "checkpoints" / "last.ckpt").is_file()]
    assert not engine("long", seconds=0.001).work(plan, Progress(len(plan), 0, bar=False))
    for run in plan.values():
        assert [int(line) for line in (run.folder / "steps.txt").read_text().split()] == list(range(1, 21))


class Job:
    """A job as submitit shows it."""

    def __init__(self, number: int, folder: Path, error: Exception | None = None, ended: bool = True) -> None:
        self.job_id, self.paths, self.error, self.ended = number, SimpleNamespace(stderr=folder / "err"), error, ended

    def done(self, force_check: bool = False) -> bool:
        return self.ended or force_check

    def exception(self) -> Exception | None:
        assert self.ended, "would wait"
        return self.error

    def cancel(self, check: bool) -> None:
        pass


def test_jobs_that_raised_are_named(home, monkeypatch, capsys):
    jobs = [Job(1, home), Job(2, home, RuntimeError("no torch here\nmore"))]
    made = engine("record")
    monkeypatch.setattr(made, "_submit", lambda plan: jobs)
    plan = planned()
    assert not made.work(plan, Progress(len(plan), 0, bar=False))
    said = capsys.readouterr().err
    assert f"job 2 failed: no torch here; see {home / 'err'}" in said and "job 1" not in said and "more" not in said


def test_the_script_is_shown_without_slurm_and_leaves_nothing(home, capsys):
    command = "sweep s.yaml --engine slurm --print-script --jobs 3 --gpus 2 --time 60 --partition gpu --sbatch qos=low"
    assert main(command.split()) == 0
    lines = capsys.readouterr().out.splitlines()
    for wanted in ("--array=0-2%3", "--gpus-per-node=2", "--time=60", "--partition=gpu", "--qos=low", "--nodes=1"):
        assert f"#SBATCH {wanted}" in lines
    assert f"{home}/runs/.sweep/slurm" in lines[-1] and lines[-1].startswith("srun ")
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("--engine slurm", "no `srun` on this machine"),
        ("--engine slurm --sbatch account", "--sbatch takes KEY=VALUE"),
        ("--engine slurm --jobs 0", "--jobs and --time must be at least 1"),
        ("--engine slurm --print-script --workers 0", "--workers must be at least 1, got 0"),
        ("--engine ray --print-script", "--engine ray submits nothing"),
    ],
)
def test_refusals(home, capsys, monkeypatch, command, message):
    monkeypatch.setenv("PATH", "")
    assert main(["sweep", "s.yaml", *command.split()]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(("kind", "package"), [("ray", "ray"), ("slurm", "submitit")])
def test_an_engine_that_is_not_installed_names_its_extra(home, capsys, monkeypatch, kind, package):
    real = importlib.import_module

    def lacking(name: str, *arguments):
        if name.split(".")[0] == package:
            raise ImportError(name)
        return real(name, *arguments)

    monkeypatch.setattr(importlib, "import_module", lacking)
    assert main(["sweep", "s.yaml", "--engine", kind]) == 2
    assert f"pip install 'mer-bench[{kind}]'" in capsys.readouterr().err
