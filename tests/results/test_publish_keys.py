"""Names of clusters in public: with another key nothing pairs, so it is refused, and said where it has happened."""

from __future__ import annotations

import hashlib
import html
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from mer_bench.cli.compare import compare
from mer_bench.cli.leaderboard import main
from mer_bench.errors import UserError
from mer_bench.merh5 import FeatureFile
from mer_bench.results import loading
from mer_bench.results.canonical import digest
from mer_bench.results.claims import Side
from mer_bench.results.sums import PUBLIC
from tests.results.test_leaderboard import rows_of
from tests.results.test_leaderboard_command import SPLIT, split_run
from tests.results.test_predictions import stating

RECORDS = Path("leaderboards/records")


@pytest.fixture
def published(features, tmp_path, monkeypatch) -> list[str]:
    """What `--publish` needs beside a folder; of two folders of runs of one protocol the first has been published."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(loading, "_outdated", lambda record, same: False)
    data = FeatureFile(features / "iemocap.h5").content_sha256
    for seed in SPLIT.seeds:
        split_run(Path("first"), "concat", seed, data_fingerprint=data)
        split_run(Path("second"), "foal", seed, data_fingerprint=data)
    argv = ["--features", str(features)]
    assert main(["--publish", "first", *argv]) == 0
    return argv


def rename(folder: Path) -> None:
    """The names that another key would have given."""
    for path in sorted(folder.rglob(PUBLIC)):
        arrays = dict(np.load(path))
        names = np.array([hashlib.sha256(name).hexdigest()[:16] for name in arrays.pop("names")]).astype("S16")
        order = np.argsort(names)
        np.savez(path, names=names[order], **{name: values[order] for name, values in arrays.items()})


def everything(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_runs_that_would_pair_with_nothing_are_refused_and_nothing_is_changed(published):
    rename(RECORDS)
    before = everything(Path())
    with pytest.raises(UserError, match=r"nothing was changed\. Remove .*iemocap4 and publish all") as caught:
        main(["--publish", "second", *published])
    assert "\n" not in str(caught.value) and everything(Path()) == before
    shutil.rmtree(RECORDS / SPLIT.name)
    assert main(["--publish", "second", *published]) == 0
    assert main(["--publish", "first", *published]) == 0
    assert set(rows_of(Path("leaderboards/iemocap4--audio-text.md").read_text())) == {"Concat", "Foal"}


def test_later_runs_pair_with_earlier_ones(published):
    assert main(["--publish", "second", *published]) == 0
    rows = rows_of(Path("leaderboards/iemocap4--audio-text.md").read_text())
    assert rows["Foal"]["Δ concat [95 %]"] != "—" and rows["Foal"]["rank"] != "—"
    assert main(["--check", "--strict"]) == 0


def test_a_conflict_is_found_before_anything_is_copied(published):
    path = next(RECORDS.rglob("record.json"))
    content = json.loads(path.read_text())
    content["metrics"]["full"]["emotion/ua"] = 0.123
    del content["record_id"]
    path.write_text(json.dumps(content | {"record_id": digest(content)}))
    split_run(Path("first"), "aaa", 0, data_fingerprint=content["data_fingerprint"])  # comes first
    before = everything(RECORDS)
    with pytest.raises(UserError, match=r"CONFLICT: .* nothing was changed"):
        main(["--publish", "first", *published])
    assert everything(RECORDS) == before


def test_names_that_share_nothing_are_told_and_not_compared(published, capsys):
    assert main(["--publish", "second", *published]) == 0
    rename(RECORDS / SPLIT.name / "foal")
    assert main(["--records", str(RECORDS), "--out", "leaderboards", "--strict"]) == 2
    assert "no video has the same name in both, as after publishing with two keys" in capsys.readouterr().err
    page = html.unescape(Path("leaderboards/iemocap4--audio-text.md").read_text())
    rows = rows_of(page)
    assert (rows["Foal"]["rank"], rows["Foal"]["Δ concat [95 %]"]) == ("—", "—")
    assert "NO-INTERVAL" in rows["Foal"]["badges"] and rows["Concat"]["rank"] == "1"
    assert "remove the published records of iemocap4 and publish all of its runs again" in page
    with pytest.raises(UserError, match="no video has the same name"):
        compare(RECORDS, "iemocap4", "emotion/wa", Side("foal"), Side("concat"), synthetic=False)


def test_one_run_of_a_row_under_other_names_is_told_too(published, capsys):
    rename(next(RECORDS.rglob(PUBLIC)).parent)
    assert main(["--records", str(RECORDS), "--out", "leaderboards", "--strict"]) == 2
    assert "its seeds cannot be taken together: no video has the same name in both" in capsys.readouterr().err


def test_a_folder_above_the_runs_is_searched_and_each_run_copied_once(published, capsys):
    for name in ("first", "second"):
        shutil.copytree(name, f"all/{name}")
    shutil.copytree("second", "all/again")
    capsys.readouterr()
    assert main(["--publish", "all", *published]) == 0
    assert "5 records copied" in capsys.readouterr().out
    path = next(Path("all/again").rglob("record.json"))
    content = json.loads(path.read_text())
    content["metrics"]["full"]["emotion/ua"] = 0.123
    del content["record_id"]
    path.write_text(json.dumps(content | {"record_id": digest(content)}))
    with pytest.raises(UserError, match=r"CONFLICT: .*again.* and .*second.* are the same run"):
        main(["--publish", "all", *published])


@pytest.mark.parametrize(("shape", "flags"), [((10**13,), 0), ((1,), 1)])
def test_a_hostile_file_is_left_out_and_the_others_are_ranked(published, capsys, shape, flags):
    assert main(["--publish", "second", *published]) == 0
    next((RECORDS / SPLIT.name / "foal").rglob(PUBLIC)).write_bytes(stating(shape, flags=flags))
    assert main(["--records", str(RECORDS), "--out", "leaderboards"]) == 0
    assert "left out: " in (said := capsys.readouterr().err) and "no readable statistics" in said
    rows = rows_of(Path("leaderboards/iemocap4--audio-text.md").read_text())
    assert rows["Concat"]["rank"] == "1" and "INCOMPLETE" in rows["Foal"]["badges"]
