"""What is committed below `leaderboards/`: aggregates only, each record in the place that its content says."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from mer_bench.cli.leaderboard import main
from mer_bench.results.cluster_counts import few, items
from mer_bench.results.record import read_record, run_folder
from mer_bench.results.sums import NAMES, PUBLIC, read_sums
from tests.source import ROOT

SUFFIXES = {".md", ".svg", ".csv", ".json", ".yaml", ".html"}


def strays(folder: Path) -> list[str]:
    """Files that should not be there, with the reason."""
    found = []
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        place = path.relative_to(folder).as_posix()
        if path.name == "record.json":
            record = read_record(path)
            own = run_folder(folder / "records", record.protocol.name, record.method.slug, record.run_key)
            found += [f"{place}: its content belongs to {own.name}"] if path.parent != own else []
        elif path.name == PUBLIC:
            with np.load(path, allow_pickle=False) as arrays:
                names = [name.decode() for name in arrays[NAMES].tolist()]
            hashed = names == sorted(names) and all(re.fullmatch("[0-9a-f]{16}", name) for name in names)
            found += [] if hashed else [f"{place}: names of clusters"]
            found += [f"{place}: sums of a few items under {condition}" for condition in small(path)]
        elif path.suffix not in SUFFIXES or (place.startswith("records/") and path.name != "same_numbers.json"):
            found.append(f"{place}: neither a page nor a record")
    return found


def small(path: Path) -> list[str]:
    """Conditions with a cluster of fewer items than may be published."""
    if not path.with_name("record.json").is_file():
        return []
    found = read_sums(path, read_record(path.with_name("record.json")))
    return [condition for condition, sums in found.items() if few(items(sums)).any()]


def test_only_aggregates_are_committed():
    assert not strays(ROOT / "leaderboards")


@pytest.mark.slow
def test_committed_pages_are_what_the_records_say(capsys):
    folder = ROOT / "leaderboards"
    status = main(["--check", "--records", str(folder / "records"), "--out", str(folder)])
    said = capsys.readouterr()
    assert status == 0, f"{said.err}\n{said.out}\nmer-bench leaderboard --records {folder / 'records'} --out {folder}"


@pytest.mark.parametrize(
    "name", ["records/p/m/0123456789abcdef/predictions.npz", "records/p/m/k/clusters.npz", "run.ckpt", "records/a.md"]
)
def test_the_search_for_strays_finds_them(tmp_path, name):
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_bytes(b"x")
    assert len(strays(tmp_path)) == 1
    plain = tmp_path / "records" / PUBLIC
    plain.parent.mkdir(exist_ok=True)
    np.savez(plain, **{NAMES: np.array([b"speaker01"]), "full": np.zeros((1, 2))})
    assert f"records/{PUBLIC}: names of clusters" in strays(tmp_path)


def test_one_item_in_a_cluster_is_a_stray(tmp_path):
    committed = next(path for path in ROOT.glob(f"leaderboards/records/mosi_sentiment/*/*/{PUBLIC}"))
    folder = tmp_path / committed.parent.relative_to(ROOT / "leaderboards")
    shutil.copytree(committed.parent, folder)
    assert not strays(tmp_path)
    with np.load(committed) as arrays:
        content = dict(arrays)
    content["full"][3, 0, 0] = 1.0
    np.savez(folder / PUBLIC, **content)
    assert strays(tmp_path) == [f"{folder.relative_to(tmp_path) / PUBLIC}: sums of a few items under full"]
