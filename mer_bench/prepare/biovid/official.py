"""The official tree of part A or B: ``starting_point/samples.csv`` and one file of biosignals per sample."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from mer_bench.errors import UserError
from mer_bench.merh5 import Contents, Modality
from mer_bench.prepare.biovid.samples import LEVELS, LICENCE, Samples, parse
from mer_bench.prepare.biovid.signals import CHANNELS, RATE_HZ, STATISTICS, read_signals, statistics
from mer_bench.prepare.feature_folder import feature_files, read_folder
from mer_bench.prepare.ids import shown
from mer_bench.prepare.layout import Layout, Request
from mer_bench.prepare.report import Report
from mer_bench.prepare.sources import folder_source, source
from mer_bench.prepare.tables import read_table

SAMPLES = "starting_point/samples.csv"
COLUMNS = ("subject_id", "subject_name", "class_id", "class_name", "sample_id", "sample_name")
FOLDERS = ("biosignals_filtered", "biosignals_raw")
MODALITIES = {"eda": ("gsr",), "ecg": ("ecg",), "emg": tuple(name for name in CHANNELS if name.startswith("emg"))}
UNITS = {"biosignals_filtered": {"eda": "uS", "ecg": "uV", "emg": "uV"}, "biosignals_raw": {}}
WINDOW_S = 5.5


class OfficialTree(Layout):
    """Part A or B as released: filtered signals where both forms are there."""

    name = "BioVid official tree"
    required = (SAMPLES,)
    options = ("features",)

    def missing(self, root: Path) -> list[str]:
        """The table of samples, and one of the two folders of signals."""
        signals = [] if any((root / folder).is_dir() for folder in FOLDERS) else [" or ".join(FOLDERS)]
        return [*super().missing(root), *signals]

    def read(self, request: Request, report: Report) -> Contents:
        """Read and verify; samples without signals and without any feature are left out."""
        root = request.source
        folder = next(name for name in FOLDERS if (root / name).is_dir())
        report.recognised += f" ({folder})"
        samples = _samples(root / SAMPLES)
        files = {item: root / folder / _subject(item) / f"{item}_bio.csv" for item in samples.ids}
        files = {item: path for item, path in files.items() if path.is_file()}
        named = {name: feature_files(name, path, samples.ids) for name, path in request.features.items()}
        _refuse_names(named)
        samples = _with_data(root / folder, samples, files, named, report)
        samples.count(report)
        signals = _signals(files, samples, report)
        found = _modalities(signals, samples, folder, report)
        for name, paths in named.items():
            found[name] = read_folder(name, request.features[name], paths, samples.ids, report)
        for name, modality in found.items():
            report.counted[f"with {name}"] = int((np.asarray(modality.lengths) > 0).sum())
        return Contents(
            corpus="biovid",
            ids=samples.ids,
            modalities=found,
            labels=samples.labels(),
            speaker=samples.subject,
            attrs=samples.attrs(),
            splits=samples.splits(report),
            sources=[
                source(root / SAMPLES),
                *([folder_source(files.values(), root / folder)] if files else []),
                *(folder_source(paths.values(), request.features[name]) for name, paths in named.items()),
            ],
            corpus_version=f"shipped windows of {WINDOW_S} s",
            corpus_part=_part(found),
            licence=LICENCE,
            notes="speaker: the subject. reactive: no for the 20 subjects usually left out.",
        )


def _subject(sample: str) -> str:
    return sample.partition("-")[0]


def _samples(path: Path) -> Samples:
    """Samples of the table, every column of which must agree with the sample's name."""
    table = read_table(path, COLUMNS, delimiter="\t")
    samples = parse(path, table["sample_name"])
    rows = zip(table["sample_name"], table["subject_name"], table["class_id"], table["class_name"], strict=True)
    wrong = [
        name
        for name, subject, number, level in rows
        if _subject(name) != subject or f"-{level}-" not in name or number.strip() != str(LEVELS.index(level))
    ]
    if wrong:
        raise UserError(f"{path}: subject_name, class_id or class_name disagree with sample_name: {shown(wrong)}")
    return samples


def _refuse_names(named: Mapping[str, object]) -> None:
    taken = [name for name in named if name in ("bio", *MODALITIES)]
    if taken:
        raise UserError(f"--features {taken[0]}: the biosignals already give a modality of that name; choose another")


def _with_data(
    where: Path, samples: Samples, files: Mapping[str, Path], named: Mapping[str, Mapping[str, Path]], report: Report
) -> Samples:
    """The samples that have signals or features."""
    have = set(files).union(*named.values())
    kept = [item for item in samples.ids if item in have]
    if not kept:
        raise UserError(f"{where}: no signal file of any sample, such as {samples.ids[0]}_bio.csv")
    report.drop("samples without signals or features", [item for item in samples.ids if item not in have])
    report.counted["without a signal file"] = len([item for item in kept if item not in files])
    return parse(where, kept)


def _signals(files: Mapping[str, Path], samples: Samples, report: Report) -> dict[str, np.ndarray]:
    """Signals by sample; those with a value that is not finite are left out and reported."""
    found, broken = {}, []
    for item in samples.ids:
        if item in files:
            signal = read_signals(files[item])
            if np.isfinite(signal).all():
                found[item] = signal.astype(np.float32)
            else:
                broken.append(item)
    report.repair("signals with a value that is not finite counted as absent", broken)
    return found


def _modalities(
    signals: Mapping[str, np.ndarray], samples: Samples, folder: str, report: Report
) -> dict[str, Modality]:
    """The statistics, and each kind of signal with the channels that are not zero throughout."""
    if not signals:
        return {}
    live = np.any([(signal != 0).any(axis=0) for signal in signals.values()], axis=0)
    channels = [name for name, keep in zip(CHANNELS, live, strict=True) if keep]
    report.drop("channels that are zero throughout", [name for name in CHANNELS if name not in channels])
    lengths = np.array([len(signals[item]) if item in signals else 0 for item in samples.ids])
    odd = lengths[(lengths > 0) & (np.abs(lengths - WINDOW_S * RATE_HZ) > 1)]
    if len(odd):
        report.counted[f"with signals not {WINDOW_S} s long"] = len(odd)
    names = [f"{statistic}_{channel}" for channel in channels for statistic in STATISTICS]
    table = np.array(
        [
            np.concatenate([statistics(one[:, CHANNELS.index(c)].astype(np.float64), c) for c in channels])
            for one in signals.values()
        ]
    )
    found = {
        "bio": Modality(
            table,
            (lengths > 0).astype(np.int64),
            kind="utterance",
            names=names,
            extractor="mer-bench signal statistics",
            extractor_version="1",
            note=f"of {folder}; definitions in mer_bench/prepare/biovid/signals.py",
        )
    }
    for name, wanted in MODALITIES.items():
        columns = [CHANNELS.index(channel) for channel in wanted if channel in channels]
        if columns:
            found[name] = Modality(
                np.concatenate([signal[:, columns] for signal in signals.values()]),
                lengths,
                kind="signal",
                rate_hz=RATE_HZ,
                names=[CHANNELS[column] for column in columns],
                unit=UNITS[folder].get(name, "device units"),
                note=folder,
            )
    return found


def _part(found: Mapping[str, Modality]) -> str:
    """B has facial EMG, A has not; without signals nothing tells."""
    if "emg" not in found:
        return ""
    return "B" if len(found["emg"].names or ()) > 1 else "A"
