"""What a record says, checked against everything that is at hand. A record is data: nothing in it is run or followed.

At most three things lie beside a record: predictions, statistics by cluster, nothing. The labels are in the feature
file. Whatever is missing is counted, never taken as checked.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from mer_bench.data.corpora import protocols
from mer_bench.data.splits import make_split
from mer_bench.errors import UserError
from mer_bench.merh5 import FeatureFile
from mer_bench.metrics.definitions import resolve
from mer_bench.metrics.families import ADDITIVE, class_confusion, label_tables, mean_defined
from mer_bench.protocol import Protocol
from mer_bench.results.cluster_counts import MINIMUM, few, items
from mer_bench.results.cluster_files import groups_again
from mer_bench.results.facts import ProtocolFacts
from mer_bench.results.measured import masks_of
from mer_bench.results.predictions import file_sha256, read_predictions
from mer_bench.results.samples import FULL, PROJECTED, PROJECTION
from mer_bench.results.schema import Record
from mer_bench.results.scores import score_run
from mer_bench.results.sound import PREDICTIONS, contradictions, identity, unvouched
from mer_bench.results.sums import PUBLIC, additive, beside, read_sums

TOLERANCE = 1e-9
_HASHED = re.compile(r"[0-9a-f]{16}")

Depth = Literal["predictions", "clusters", "confusion", "record"]


@dataclass(frozen=True)
class Checked:
    """One record after every check that was possible.

    Attributes:
        problems: what is wrong with it; one sentence each.
        depth: the most that its scores were computed again from; ``record`` is from nothing.
        absent: files that it names and that are not at hand.
        unknown: what stood in the way of a deeper check.
    """

    problems: tuple[str, ...]
    depth: Depth
    absent: tuple[str, ...]
    unknown: tuple[str, ...] = ()


def verify(folder: Path, record: Record, features: Mapping[str, FeatureFile]) -> Checked:
    """Check one record that could be read, so that its schema and its own hash are right.

    Args:
        folder: that it lies in.
        record: it.
        features: sound feature files by fingerprint.
    """
    protocol = protocols().get(record.protocol.name)
    unknown = [] if protocol else [f"protocol {record.protocol.name} is not known here; --trust names its package"]
    problems = [*_identity(folder, record), *(_protocol(record, protocol) if protocol else ())]
    if protocol and protocol.hash != record.protocol.hash:
        protocol = None  # its scores mean something else
    absent = [name for name in record.files if not (folder / name).is_file()]
    problems += [text for name in record.files if name not in absent for text in _file(folder / name, record)]
    problems += _published(folder)
    depth: Depth = "record"
    if protocol and record.status == "ok" and record.confusion:
        found = list(_confusion(record, protocol))
        depth = "confusion" if found else depth
        problems += [text for text in found if text]
    path = beside(folder)
    if path is not None and record.status == "ok" and additive(record) is not None:
        depth, found = "clusters", list(_clusters(path, record))
        problems += found
    if protocol and record.status == "ok" and PREDICTIONS in record.files and PREDICTIONS not in absent:
        file = features.get(record.data_fingerprint)
        if file is None:
            unknown.append(f"no feature file with the fingerprint {record.data_fingerprint[:16]} is at hand")
        else:
            depth = "predictions"
            problems += _predictions(folder / PREDICTIONS, record, protocol, file)
    return Checked(tuple(dict.fromkeys(problems)), depth, tuple(absent), tuple(unknown))


def _identity(folder: Path, record: Record) -> Iterator[str]:
    if folder.name != record.run_key[:16]:
        yield f"it lies in {folder.name[:60]!r}; the folder of its run is {record.run_key[:16]}"
    yield from identity(record)
    yield from unvouched(record)
    if record.selection.rule == "test" and not record.protocol.legacy:
        yield "its epoch was chosen on the test part, which only a legacy protocol may do"


def _protocol(record: Record, protocol: Protocol) -> Iterator[str]:
    now = ProtocolFacts.of(protocol, record.protocol.title)
    if record.protocol.hash != now.hash:
        yield f"made under another definition of {now.name} (hash {record.protocol.hash}, now {now.hash})"
        return
    yield from contradictions(record, protocol)
    for condition, values in record.metrics.items():
        for metric in values:
            try:
                resolve(metric, protocol.tasks)
            except UserError as error:
                yield f"metrics.{condition}: {error}"


def _file(path: Path, record: Record) -> Iterator[str]:
    if path.is_symlink():
        yield f"{path.name} is a link; expected a plain file"
    elif file_sha256(path) != record.files[path.name]:
        yield f"{path.name} is not the file of the record: its sha256 differs"


def _published(folder: Path) -> Iterator[str]:
    """A published record has statistics by hashed cluster, and nothing of single items."""
    if not (folder / PUBLIC).is_file():
        return
    for path in sorted(folder.iterdir()):
        if path.name not in ("record.json", PUBLIC):
            yield f"{path.name[:60]!r} lies beside a published record; expected record.json and {PUBLIC} only"


def _clusters(path: Path, record: Record) -> Iterator[str]:
    """The primary metric again, from sums."""
    try:
        sums = read_sums(path, record)
    except UserError as error:
        yield str(error).removeprefix(f"{path}: ")
        return
    some = next(iter(sums.values()), None)
    if path.name == PUBLIC and some is not None and not all(map(_HASHED.fullmatch, some.clusters)):
        yield f"{path.name} names its clusters; expected 16 hex digits each"
    small = [condition for condition, one in sums.items() if path.name == PUBLIC and few(items(one)).any()]
    if small:
        yield f"{path.name} has sums over fewer than {MINIMUM} items under {', '.join(small)[:60]}; publish it again"
    if FULL in sums:
        for field, said, again in groups_again(sums[FULL], record, public=path.name == PUBLIC):
            yield from _differs(field, said, again, path.name)
    for condition, values in record.metrics.items():
        if record.protocol.primary not in values:
            continue
        names = masks_of(sums, condition)
        if not names and path.name == PUBLIC and condition in (PROJECTION, PROJECTED):
            continue  # of too few items to be published
        if not names:
            yield f"{path.name} has no statistics for the condition {condition}"
            continue
        again = float(np.mean([sums[name].pooled() for name in names]))
        yield from _differs(
            f"{condition}, {record.protocol.primary}", values[record.protocol.primary], again, path.name
        )


def _confusion(record: Record, protocol: Protocol) -> Iterator[str]:
    """Metrics of counts with nothing missing, from the confusion in the record; an empty text for each that agrees."""
    for metric in protocol.metrics:
        task, name, _ = resolve(metric, protocol.tasks)
        spec = protocol.tasks[task]
        additive = ADDITIVE.get((name, spec.kind))
        if additive is None or additive.family not in (class_confusion, label_tables):
            continue
        keys = [task] if spec.kind == "multiclass" else [f"{task}/{label}" for label in spec.names]
        names = spec.names if spec.kind == "multiclass" else ("absent", "present")
        if any(key not in record.confusion or record.confusion[key].names != names for key in keys):
            yield f"confusion is not of {task} with {', '.join(names)}"
            continue
        counts = np.array([record.confusion[key].counts for key in keys], np.float64)
        value = additive.value(counts[0] if spec.kind == "multiclass" else counts)
        again = float(mean_defined(value) if additive.per_output else value)
        yield next(_differs(f"full, {metric}", record.metrics["full"].get(metric, np.nan), again, "its confusion"), "")


def _differs(what: str, said: float, again: float, source: str) -> Iterator[str]:
    if not abs(said - again) <= TOLERANCE:  # NaN differs too
        yield f"{what} is {said:.12g}; {source} gives {again:.12g}"


def _predictions(path: Path, record: Record, protocol: Protocol, file: FeatureFile) -> Iterator[str]:
    """Every score again, from raw outputs and labels; and that the items are those of the test part."""
    try:
        said = read_predictions(path)
        split = make_split(protocol, file, record.fold)
        again = score_run(protocol, file, [feature.modality for feature in record.features], said)
    except UserError as error:
        yield f"{path.name}: {error}"
        return
    if sorted(said.ids) != sorted(file.ids[row] for row in split.test):
        yield f"{path.name} holds {len(said.ids)} items that are not the {len(split.test)} of test fold {record.fold}"
    sizes = {"train": len(split.train), "validation": len(split.val), "test": len(split.test)}
    if record.items and dict(record.items) != sizes:
        yield f"items are {dict(record.items)}; the fold has {sizes}"
    for condition in sorted(record.metrics.keys() | again.metrics.keys()):
        stated, found = record.metrics.get(condition), again.metrics.get(condition)
        if stated is None or found is None or stated.keys() != found.keys():
            yield f"condition {condition}: the record and its predictions do not have the same metrics"
            continue
        for metric, value in stated.items():
            yield from _differs(f"{condition}, {metric}", value, found[metric], path.name)
    if record.confusion and dict(record.confusion) != again.confusion:
        yield f"confusion is not what {path.name} gives"
    for metric, group in record.groups.items():
        for field in ("groups", "mean", "sd", "worst", "worst_decile"):
            value = getattr(again.groups.get(metric), field, float("nan"))
            yield from _differs(f"groups.{metric}.{field}", getattr(group, field), value, path.name)
