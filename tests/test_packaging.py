"""The lock, the Makefile and the wheel."""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tomllib
import venv
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests.source import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
LOCK = ROOT / "requirements" / "dev.lock"


def locked() -> dict[str, list[tuple[Requirement, int]]]:
    """By canonical name, the pinned requirements of the lock and how many hashes each has."""
    text = LOCK.read_text(encoding="utf-8").replace("\\\n", " ")
    found: dict[str, list[tuple[Requirement, int]]] = {}
    for line in text.splitlines():
        if line.strip() and not line.lstrip().startswith("#"):
            pin, *hashes = line.split("--hash=sha256:")
            requirement = Requirement(pin)
            found.setdefault(canonicalize_name(requirement.name), []).append((requirement, len(hashes)))
    return found


def test_the_lock_pins_and_hashes_everything():
    for name, pins in locked().items():
        for requirement, hashes in pins:
            assert re.fullmatch(r"==[^*]+", str(requirement.specifier)), f"{name} floats"
            assert hashes > 0, f"{name} has no hash"
            assert requirement.url is None


def test_the_lock_fits_the_project():
    found = locked()
    wanted = [Requirement(line) for line in (*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["dev"])]
    for requirement in wanted:
        if requirement.name == "torch":
            continue
        pins = found.get(canonicalize_name(requirement.name), [])
        assert pins, f"{requirement.name} is not in the lock: make lock"
        for pin, _ in pins:
            (exact,) = pin.specifier
            assert Version(exact.version) in requirement.specifier, f"{pin} does not fit {requirement}: make lock"


def test_torch_is_pinned_beside_the_lock_and_its_needs_are_in_it():
    spec = next(r for r in map(Requirement, PROJECT["dependencies"]) if r.name == "torch").specifier
    (pin,) = re.findall(r"^torch==(\S+)$", (ROOT / "requirements" / "torch.in").read_text(encoding="utf-8"), re.M)
    found = locked()
    assert Version(pin) in spec
    assert "torch" not in found
    assert not [name for name in found if name.startswith(("nvidia-", "triton", "cuda-"))]
    needs = [Requirement(line) for line in importlib.metadata.requires("torch") or ()]
    plain = {n.name for n in needs if n.marker is None and not n.name.startswith(("nvidia-", "triton", "cuda-"))}
    assert {canonicalize_name(name) for name in plain} <= set(found)


@pytest.mark.parametrize("version", ["2.6.2", "2.6.3"])
def test_malicious_uploads_are_refused(version: str):
    spec = next(r for r in map(Requirement, PROJECT["dependencies"]) if r.name == "lightning").specifier
    assert version not in spec


def test_help_is_the_default_and_knows_every_target():
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^\.PHONY: (\S+)$", text, re.M))
    env = {key: value for key, value in os.environ.items() if not key.startswith("MAKE")}
    said = subprocess.run(["make"], cwd=ROOT, check=True, capture_output=True, text=True, env=env).stdout
    assert set(re.findall(r"^  make (\S+)  +\S", said, re.M)) == targets
    assert {"install", "demo", "test", "test-all", "lint", "format", "bench", "clean"} <= targets


def test_another_torch_than_the_one_that_is_there_is_not_ignored_silently(tmp_path: Path):
    """`make install TORCH=...` over a finished environment leaves it as it is, and says so."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").symlink_to(sys.executable)
    (tmp_path / ".installed").touch()
    env = {key: value for key, value in os.environ.items() if not key.startswith("MAKE")}
    env["PYTHONPATH"] = str(Path(importlib.metadata.distribution("torch").locate_file("")))

    def said(*more: str) -> str:
        argv = ["make", "install", f"VENV={tmp_path}", *more]
        return subprocess.run(argv, cwd=ROOT, check=True, capture_output=True, text=True, env=env).stdout

    assert f"torch {importlib.metadata.version('torch')} is in {tmp_path} and stays" in said("TORCH=torch==9.9")
    assert "torch" not in said()


def test_the_source_archive_has_what_its_tests_read():
    included = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    patterns = included["tool"]["hatch"]["build"]["targets"]["sdist"]["include"]
    for path in (ROOT / "tests").rglob("*.py"):
        for name in re.findall(r'(?:ROOT|parents\[\d\]) / "(\w+)" / "([\w.]+)"', path.read_text(encoding="utf-8")):
            place = Path(*name)
            assert any(place.parts[0] == pattern or place.match(pattern) for pattern in patterns), f"{path}: {place}"


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy so that the checkout stays as it is."""
    copy, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in ("mer_bench", "configs"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(copy)]
    subprocess.run(command, check=True, capture_output=True)
    (path,) = out.glob("*.whl")
    return path


@pytest.mark.slow
def test_the_wheel_works_from_any_folder(wheel: Path, tmp_path: Path):
    """In an environment of its own, which borrows this one's libraries but not its mer-bench."""
    home = tmp_path / "env"
    venv.create(home, with_pip=True)
    python = home / "bin" / "python"
    install = [str(python), "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", str(wheel)]
    subprocess.run(install, check=True, capture_output=True)
    (site,) = (home / "lib").glob("python*/site-packages")
    libraries = Path(importlib.metadata.distribution("h5py").locate_file(""))
    (site / "borrowed.pth").write_text(f"{libraries}\n", encoding="utf-8")

    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()

    def run(name: str, *argv: str) -> str:
        env = {"PATH": os.environ["PATH"], "OMP_NUM_THREADS": "1"}
        command = [str(home / "bin" / name), *argv]
        done = subprocess.run(command, cwd=elsewhere, capture_output=True, text=True, env=env)
        assert done.returncode == 0, done.stderr
        return done.stdout

    where = run("python", "-c", "import mer_bench; print(mer_bench.__file__)")
    assert Path(where.strip()).is_relative_to(home), "the environment takes the checkout, not the wheel"
    assert "Foal-Net" in run("mer-bench", "list")
    assert "mer_bench.methods.concat.Concat" in run("mer-bench", "fit", "iemocap_concat", "--print-config")
    run("mer-bench", "data", "synth", "iemocap", "--items", "200", "--out", "features/iemocap.h5")
    run("mer-bench", "fit", "iemocap_concat", "--trainer.max_epochs", "1")
    assert list(elsewhere.glob("runs/iemocap4/concat/*/record.json"))
