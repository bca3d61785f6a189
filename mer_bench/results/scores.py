"""From the predictions that a run kept to every number of its record. No torch; verification does the same.

Predictions hold what the method said of each test item when cut to each subset of its modalities (``full``,
``only_audio``, ...), and what its additive projection (``emap``) says of the items chosen for that. The protocol's
conditions are put together from these.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mer_bench.data.conditions import FULL, assemble, condition_names, smooth, smoothed, subsets_left
from mer_bench.data.partners import choose_items
from mer_bench.data.splits import targets
from mer_bench.data.views import frame_offsets
from mer_bench.errors import UserError
from mer_bench.merh5 import FeatureFile
from mer_bench.metrics import by_group, cluster_statistics, group_summary, score
from mer_bench.metrics.families import ADDITIVE, class_confusion, label_tables
from mer_bench.metrics.observed import observe_task
from mer_bench.protocol import Protocol
from mer_bench.results.facts import Confusion, GroupScores
from mer_bench.results.predictions import Predictions

Ints = NDArray[np.int64]
Outputs = Mapping[str, NDArray[Any]]
Truth = Mapping[str, tuple[NDArray[Any], NDArray[Any]]]
#: the additive projection of the network, and the network itself, on the items chosen for it
PROJECTION, PROJECTED = "emap", "emap_full"


@dataclass(frozen=True)
class Scores:
    """What a record says of the test part.

    Attributes:
        metrics: by condition, by ``task/metric``; ``missing_<rate>`` is the mean over the masks of that rate; ``emap``
            and ``emap_full`` have the primary metric only.
        groups: summary over clusters, by ``task/metric``, under ``full``.
        confusion: counts under ``full``, by task of classes, or ``task/label``.
        clusters: statistics of the primary metric by condition (each mask its own), (cluster, *parts), and the
            clusters' ``names``; empty where it is not a function of sums.
    """

    metrics: dict[str, dict[str, float]]
    groups: dict[str, GroupScores]
    confusion: dict[str, Confusion]
    clusters: dict[str, NDArray[Any]]


def score_run(protocol: Protocol, file: FeatureFile, modalities: Sequence[str], predictions: Predictions) -> Scores:
    """Score a run.

    Args:
        protocol: of the run.
        file: with the labels.
        modalities: that the run was given, in its order.
        predictions: of the test part of its fold.

    Raises:
        UserError: the predictions are not those of items of the file, or lack a subset that a condition needs.
    """
    tasks = protocol.tasks
    items = _items(file, predictions.ids)
    rows, item_of_row = _rows(protocol, file, items, predictions.lengths)
    truth = {}
    for name, spec in tasks.items():
        values, mask = targets(file, name, spec)
        truth[name] = (values[rows], mask[rows])
    people = file.group(protocol.cluster)[items][item_of_row]
    judge = _Judge(protocol, truth, people)
    by_condition: dict[str, dict[str, float]] = {}
    for condition, outputs in _conditions(protocol, file, modalities, predictions, items, item_of_row):
        by_condition[condition] = judge.score(condition, outputs, protocol.metrics)
        if condition == FULL:
            groups, confusion, full = judge.groups(outputs), judge.confusion(outputs), outputs
    for condition, frames in smoothed(protocol.conditions).items():
        assert predictions.lengths is not None  # such a protocol asks for frames
        calm = {t: smooth(values, predictions.lengths, frames) for t, values in full.items()}
        by_condition[condition] = judge.score(condition, calm, protocol.metrics)
    metrics = _over_masks(by_condition)
    projected = {
        t: predictions.outputs[f"{PROJECTION}/{t}"] for t in tasks if f"{PROJECTION}/{t}" in predictions.outputs
    }
    if len(projected) == len(tasks):
        chosen = choose_items(predictions.ids)
        part = _Judge(protocol, {t: (v[chosen], m[chosen]) for t, (v, m) in truth.items()}, people[chosen], judge.names)
        for condition, outputs in ((PROJECTED, full), (PROJECTION, projected)):
            cut = {t: values[chosen] for t, values in outputs.items()}
            metrics[condition] = part.score(condition, cut, (protocol.primary,), absent_classes=True)
        judge.clusters |= part.clusters
    return Scores(metrics, groups, confusion, judge.clusters)


class _Judge:
    """Scores outputs for one set of rows, condition by condition.

    Args:
        protocol: of the run.
        truth: values and mask by task.
        people: name of the cluster of each row.
        names: of all clusters that the statistics are to have; those of the rows by default.
    """

    def __init__(
        self, protocol: Protocol, truth: Truth, people: NDArray[Any], names: NDArray[Any] | None = None
    ) -> None:
        self.protocol, self.tasks, self.truth, self.people = protocol, protocol.tasks, truth, people
        self.names = np.unique(people) if names is None else names
        task, name = protocol.primary.split("/")[:2]
        self.additive = (name, protocol.tasks[task].kind) in ADDITIVE
        self.clusters: dict[str, NDArray[Any]] = {}
        if self.additive:
            self.clusters["names"] = np.char.encode(self.names, "utf-8")

    def score(
        self, condition: str, outputs: Outputs, metrics: Sequence[str], *, absent_classes: bool = False
    ) -> dict[str, float]:
        """Metrics of a condition; statistics of the primary one are kept in `clusters`."""
        if self.additive:
            found = cluster_statistics(self.tasks, self.protocol.primary, outputs, self.truth, self.people)
            values = np.zeros((len(self.names), *found.values.shape[1:]))
            values[np.searchsorted(self.names, found.clusters)] = found.values
            self.clusters[condition] = values
        return score(self.tasks, metrics, outputs, self.truth, absent_classes=absent_classes)

    def groups(self, outputs: Outputs) -> dict[str, GroupScores]:
        """Summary over clusters by metric."""
        found = {}
        for metric in self.protocol.metrics:
            summary = group_summary(by_group(self.tasks, metric, outputs, self.truth, self.people), metric)
            if summary is not None:
                plain: dict[str, Any] = dict(summary)
                found[metric] = GroupScores(key=self.protocol.cluster, **plain)
        return found

    def confusion(self, outputs: Outputs) -> dict[str, Confusion]:
        """Truth before prediction; for labels, absent before present. None for regressions."""
        found = {}
        for task, spec in self.tasks.items():
            if spec.kind == "regression":
                continue
            observed = observe_task(self.tasks, task, outputs, self.truth)
            family = class_confusion if spec.kind == "multiclass" else label_tables
            counts = family(observed, np.zeros(len(observed.outputs), np.int64), 1)[0].astype(np.int64)
            if spec.kind == "multiclass":
                found[task] = Confusion(spec.names, _nested(counts))
                continue
            for label, table in zip(spec.names, counts, strict=True):
                found[f"{task}/{label}"] = Confusion(("absent", "present"), _nested(table))
        return found


def _items(file: FeatureFile, ids: Sequence[str]) -> Ints:
    row = {item: index for index, item in enumerate(file.ids)}
    foreign = [item for item in ids if item not in row]
    if foreign:
        raise UserError(f"{len(foreign)} predicted items are not in {file.path}; expected those of a part of it")
    return np.array([row[item] for item in ids], np.int64)


def _rows(protocol: Protocol, file: FeatureFile, items: Ints, lengths: Ints | None) -> tuple[Ints, Ints]:
    """Rows of the label tables that were predicted, and the number of the item that each belongs to."""
    if lengths is None:
        return items, np.arange(len(items))
    name, spec = next(iter(protocol.tasks.items()))
    offsets = frame_offsets(file, spec.labels or name)
    if not np.array_equal(lengths, np.diff(offsets)[items]):
        raise UserError(f"predictions have other numbers of frames than the labels in {file.path}")
    item_of_row = np.repeat(np.arange(len(items)), lengths)
    within = np.arange(len(item_of_row)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    return offsets[items][item_of_row] + within, item_of_row


def _conditions(
    protocol: Protocol,
    file: FeatureFile,
    modalities: Sequence[str],
    predictions: Predictions,
    items: Ints,
    item_of_row: Ints,
) -> Iterator[tuple[str, Outputs]]:
    """Outputs by task under each condition."""
    answers: dict[str, dict[str, NDArray[Any]]] = {}
    for name, values in predictions.outputs.items():
        subset, task = name.split("/")
        answers.setdefault(task, {})[subset] = values
    present = {m: file.modalities[m].present[items] for m in modalities}
    left = subsets_left(condition_names(protocol.conditions, modalities), predictions.ids, present)
    for condition, subsets in left.items():
        try:
            yield condition, {t: assemble(said, subsets[item_of_row], modalities) for t, said in answers.items()}
        except KeyError as error:
            raise UserError(f"predictions lack {error}, which the condition {condition} needs") from None


def _over_masks(by_condition: Mapping[str, dict[str, float]]) -> dict[str, dict[str, float]]:
    """``missing_0.1_0`` to ``missing_0.1_9`` become their mean: mask seeds are averaged first."""
    together: dict[str, list[dict[str, float]]] = {}
    for name, values in by_condition.items():
        shown = name.rpartition("_")[0] if name.startswith("missing_") else name
        together.setdefault(shown, []).append(values)
    means = {}
    for name, several in together.items():
        shared = [metric for metric in several[0] if all(metric in values for values in several)]
        means[name] = {m: float(np.mean([values[m] for values in several])) for m in shared}
    return means


def _nested(counts: Ints) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(row) for row in counts.tolist())
