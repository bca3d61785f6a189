"""BioVid: both layouts, their known faults, and what is refused."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from scipy import signal as processing
from scipy import stats

from mer_bench.errors import UserError
from mer_bench.merh5 import FeatureFile, check
from mer_bench.prepare import Report, Request, prepare
from mer_bench.prepare.biovid.pack import BIO, VIDEO, ResearchPack
from mer_bench.prepare.biovid.samples import HOLDOUT, NOT_REACTIVE
from mer_bench.prepare.biovid.signals import STATISTICS
from mer_bench.prepare.biovid.signals import statistics as channel_statistics
from tests.prepare.fake_biovid import SUBJECTS, names, write_pack, write_tree


@pytest.fixture
def pack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("mer_bench.prepare.biovid.LAYOUTS", (ResearchPack(subjects=len(SUBJECTS), each=2),))
    write_pack(tmp_path / "pack")
    return tmp_path / "pack"


def convert(root: Path, **asked) -> tuple[Report, FeatureFile]:
    out = root.parent / "biovid.h5"
    report = prepare("biovid", Request(root, **asked), out)
    assert check(out) == []
    return report, FeatureFile(out)


def spoil(path: Path, old: str, new: str, count: int = 1) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, count))


def test_ids_stay_text_and_number_zero_is_a_hundred(pack: Path) -> None:
    report, file = convert(pack)
    assert file.ids == sorted(names(each=2))
    assert "000109_w_21-BL1-100" in file.ids
    assert set(file.group("speaker")) == set(SUBJECTS)
    assert report.repaired["sample number 0 read as 100"].count == len(SUBJECTS)
    assert Counter(file.group("sex")) == {"w": 10, "m": 30}


def test_statistics_are_those_of_the_signals_under_their_right_names(pack: Path, tmp_path: Path) -> None:
    signals = write_pack(tmp_path / "pack")
    report, file = convert(pack)
    columns = file.modalities["bio"].names
    assert len(columns) == 21 and report.dropped["columns of bio that are zero throughout (mean_emg_corrugator ...)"]
    values = dict(zip(file.ids, file.values("bio"), strict=True))
    for name, signal in signals.items():
        row = dict(zip(columns, values[name], strict=True))
        for k, channel in enumerate(("gsr", "ecg", "emg_trapezius")):
            for what in ("mean", "median", "max", "min", "std", "sum", "var"):
                assert row[f"{what}_{channel}"] == pytest.approx(getattr(np, what)(signal[:, k]), rel=1e-5)
    assert report.repaired["columns STD and SUM, exchanged in the header, named right"].count == 6


def test_labels_and_named_rules(pack: Path) -> None:
    _, file = convert(pack)
    level = np.array([name.split("-")[1] for name in file.ids])
    five, all_of_them = file.label("pain5")
    assert all_of_them.all() and [file.labels["pain5"].names[k] for k in five] == level.tolist()
    binary, mask = file.label("pain_binary")
    assert np.array_equal(mask, np.isin(level, ("BL1", "PA4")))
    assert [("BL1", "PA4")[k] for k in binary[mask]] == level[mask].tolist()
    subject = file.group("speaker")
    assert set(subject[file.group("reactive") == "no"]) == {NOT_REACTIVE[1]}
    (table,) = file.split_table("holdout")
    assert set(subject[table == 3]) == {HOLDOUT[5]} and set(table) == {1, 3}


def test_the_two_rules_overlap_as_documented() -> None:
    assert (len(set(NOT_REACTIVE)), len(set(HOLDOUT)), len(set(NOT_REACTIVE) & set(HOLDOUT))) == (20, 26, 5)


@pytest.mark.parametrize(
    ("file", "old", "new", "says"),
    [
        (BIO, "000109\t81", "109\t81", "it loses its zero"),
        (BIO, "000109\t81\t21\tw\tBL1", "000109\t81\t21\tw\tBL9", "not BioVid sample names"),
        (BIO, "000109\t0\t21\tw\tBL1", "000109\t81\t21\tw\tBL1", "duplicate ids"),
        (BIO, "000109\t81\t21\tw", "000109\t81\t22\tw", "two sexes or ages"),
        (VIDEO, "000109\t81\t21\tw\tBL1", "000109\t82\t21\tw\tBL1", "missing ids: 000109_w_21-BL1-081"),
        (BIO, "000109\t41\t21\tw\tPA3", "000109\t41\t21\tw\tPA2", "expected 2 samples of each level"),
        (BIO, "STD_GSR\tSUM_GSR", "SUM_GSR\tSTD_GSR", "header is"),
    ],
)
def test_what_cannot_be_right_is_refused(pack: Path, file: str, old: str, new: str, says: str) -> None:
    spoil(pack / file, old, new)
    with pytest.raises(UserError, match=says):
        convert(pack)
    assert not (pack.parent / "biovid.h5").exists()


def test_a_face_that_was_not_found_is_masked(pack: Path) -> None:
    lines = (pack / VIDEO).read_text().splitlines()
    lines[1] = "\t".join([*lines[1].split("\t")[:5], *["0"] * 19])
    lines[2] = "\t".join([*lines[2].split("\t")[:6], *["nan"] * 18])
    (pack / VIDEO).write_text("\n".join(lines) + "\n")
    report, file = convert(pack)
    assert (~file.valid("vision")).sum() == 2
    assert report.repaired["vision rows of nothing but zeros masked"].count == 1
    assert report.repaired["vision rows with a value that is not finite masked"].count == 1


def test_official_tree(tmp_path: Path) -> None:
    signals = write_tree(tmp_path / "PartA")
    report, file = convert(tmp_path / "PartA")
    assert report.recognised == "BioVid official tree (biosignals_filtered)"
    assert file.ids == sorted(signals) and list(file.modalities) == ["bio", "ecg", "eda", "emg"]
    assert {file.modalities[m].dim for m in ("eda", "ecg", "emg")} == {1}
    assert {file.modalities[m].rate_hz for m in ("eda", "ecg", "emg")} == {512.0}
    assert report.dropped["channels that are zero throughout"].ids == ["emg_corrugator", "emg_zygomaticus"]
    name = file.ids[3]
    rows = slice(*file.modalities["ecg"].offsets[3:5])
    np.testing.assert_allclose(file.values("ecg")[rows, 0], signals[name][:, 1], rtol=1e-6)
    row = dict(zip(file.modalities["bio"].names, file.values("bio")[3], strict=True))
    assert row["slope_gsr"] == pytest.approx(512 / 2815, rel=1e-3)
    assert row["skew_emg_trapezius"] == pytest.approx(stats.skew(signals[name][:, 2]), rel=1e-4)
    assert row["peaks_ecg"] in (6, 7)  # 1.2 beats a second for 5.5 s


def test_facial_channels_make_it_part_b(tmp_path: Path) -> None:
    write_tree(tmp_path / "PartB", facial=True)
    _, file = convert(tmp_path / "PartB")
    assert file.modalities["emg"].names == ["emg_trapezius", "emg_corrugator", "emg_zygomaticus"]
    assert file.attrs["corpus_part"] == "B"


def test_official_tree_with_gaps_and_own_features(tmp_path: Path) -> None:
    root = tmp_path / "PartA"
    signals = sorted(write_tree(root))
    for name in signals[:2]:
        (root / "biosignals_filtered" / name.split("-")[0] / f"{name}_bio.csv").unlink()
    broken = root / "biosignals_filtered" / signals[2].split("-")[0] / f"{signals[2]}_bio.csv"
    spoil(broken, broken.read_text().splitlines()[5].split("\t")[1], "nan")
    (tmp_path / "faces").mkdir()
    for name in signals[1:6]:
        np.save(tmp_path / "faces" / f"{name}.npy", np.ones((4, 3), np.float32))
    report, file = convert(root, features={"vision": tmp_path / "faces"})
    assert file.ids == signals[1:] and report.dropped["samples without signals or features"].ids == signals[:1]
    assert file.modalities["vision"].present.sum() == 5
    assert not file.modalities["bio"].present[:2].any() and file.modalities["bio"].present[2:].all()
    assert report.repaired["signals with a value that is not finite counted as absent"].ids == [signals[2]]


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [("\tBL1\t", "\tPA1\t", "disagree with sample_name"), ("-BL1-100", "-BL1-1000", "not BioVid sample names")],
)
def test_official_table_must_agree_with_itself(tmp_path: Path, old: str, new: str, says: str) -> None:
    write_tree(tmp_path / "PartA")
    spoil(tmp_path / "PartA" / "starting_point" / "samples.csv", old, new)
    with pytest.raises(UserError, match=says):
        convert(tmp_path / "PartA")


def test_another_sampling_rate_is_refused(tmp_path: Path) -> None:
    name = next(iter(write_tree(tmp_path / "PartA")))
    path = tmp_path / "PartA" / "biosignals_filtered" / name.split("-")[0] / f"{name}_bio.csv"
    header, first, *rest = path.read_text().splitlines()
    path.write_text("\n".join([header, first, *rest[1:]]))
    with pytest.raises(UserError, match="expected microseconds at 512 Hz"):
        convert(tmp_path / "PartA")


def test_statistics_of_a_constant_signal_are_finite() -> None:
    found = dict(zip(STATISTICS, channel_statistics(np.full(2816, 7.0), "gsr"), strict=True))
    assert found["mean"] == 7 and not any(found[name] for name in ("std", "skew", "kurtosis", "slope", "peaks"))


def test_peaks_are_counted_as_scipy_does() -> None:
    x = np.random.default_rng(0).normal(size=2816)
    expected, _ = processing.find_peaks(x, prominence=x.std() / 2, distance=51.2)
    assert channel_statistics(x, "emg_trapezius")[-1] == len(expected)
