"""What is committed below `leaderboards/`: aggregates only, each record in the place that its content says."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from mer_bench.results.record import read_record, run_folder
from mer_bench.results.sums import NAMES, PUBLIC
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
        elif path.suffix not in SUFFIXES or (place.startswith("records/") and path.name != "same_numbers.json"):
            found.append(f"{place}: neither a page nor a record")
    return found


def test_only_aggregates_are_committed():
    assert not strays(ROOT / "leaderboards")


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
