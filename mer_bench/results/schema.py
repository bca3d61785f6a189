"""The record of one run, schema 1: method x protocol x fold x seed. Written once, never changed.

Nothing in it tells who ran it, where, or on whose data: no host, user or path; of the test items, aggregates only.
The fields are their own documentation; `facts` holds the parts, `record` writes and reads the whole.
"""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from mer_bench.errors import UserError
from mer_bench.metrics.definitions import METRICS, split
from mer_bench.results.canonical import digest
from mer_bench.results.decode import decode
from mer_bench.results.facts import (
    ADDED,
    NAME,
    SHA,
    VALUE,
    Code,
    Confusion,
    Cost,
    Feature,
    GroupScores,
    MethodFacts,
    ProtocolFacts,
    Selection,
    readable,
    require,
)

SCHEMA = "mer-bench/record/1"
#: what may be said of the machine
ENVIRONMENT = frozenset(
    (
        *("python", "torch", "lightning", "torchmetrics", "numpy", "mer_bench", "cuda", "cudnn", "driver"),
        *(
            "accelerator",
            "accelerators",
            "cpu_threads",
            "processor",
            "system",
            "machine",
            "deterministic",
            "tf32",
            "precision",
        ),
    )
)
_ROUNDING = 1e-9  # of sums of many items: no reason to lose a run
_VARIANT = re.compile(r"default|paper|tuned-[1-9][0-9]{0,5}")
_DATE = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ)?")

Status = Literal["ok", "diverged", "oom", "failed", "timeout"]


@dataclass(frozen=True)
class Record:
    """One run.

    Attributes:
        run_key: of `record.run_key`, 64 hex digits; names the run's folder.
        settings_hash: of the settings without fold and seed; rows of a table are told apart by it.
        data_fingerprint: content hash of the feature file.
        protocol: what was compared.
        method: what was trained.
        variant: ``default``, ``tuned-N`` (N draws of the common search) or ``paper`` (the source's own settings).
        fold: from 0.
        seed: of everything random.
        features: the modalities of the file that the run was given.
        modalities: those that the method used.
        synthetic: invented data.
        status: how it ended; only ``ok`` has metrics.
        metrics: by condition (``full``, ``no_audio``, ``missing_0.2``, ``emap``), by ``task/metric``; of a rate, the
            mean over its masks.
        groups: by ``task/metric``, under ``full``.
        confusion: by task of classes, or ``task/label``, under ``full``.
        items: number of items by part (train, validation, test).
        selection: of the weights.
        cost: of the run.
        code: which it was.
        environment: versions and kind of machine, keys from `ENVIRONMENT`.
        executor: ``eager`` (alone), or how it shared its training with others.
        files: sha256 by name of the files beside the record.
        warnings: what a reader should know, without ids or paths.
        finished_utc: ``2026-01-31T12:00:00Z``, or empty.
        schema: version of this form.
    """

    run_key: str
    settings_hash: str
    data_fingerprint: str
    protocol: ProtocolFacts
    method: MethodFacts
    variant: str
    fold: int
    seed: int
    features: tuple[Feature, ...]
    modalities: tuple[str, ...]
    synthetic: bool
    status: Status
    metrics: Mapping[str, Mapping[str, float]]
    selection: Selection
    cost: Cost
    code: Code
    environment: Mapping[str, str]
    groups: Mapping[str, GroupScores] = field(default_factory=dict)
    items: Mapping[str, int] = field(default_factory=dict)
    executor: str = "eager"
    files: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    finished_utc: str = ""
    schema: str = SCHEMA
    confusion: Mapping[str, Confusion] = field(default_factory=dict, metadata=ADDED)

    def __post_init__(self) -> None:
        """Refuse what no run can have left."""
        if self.schema != SCHEMA:
            raise UserError(f"schema is {self.schema!r}; this version reads {SCHEMA}")
        for name in ("run_key", "settings_hash", "data_fingerprint"):
            require(SHA, getattr(self, name), name)
        require(_VARIANT, self.variant, "variant")
        require(NAME, self.executor, "executor")
        require(_DATE, self.finished_utc, "finished_utc")
        if not 0 <= self.fold < self.protocol.folds:
            raise UserError(f"fold is {self.fold}; the protocol has folds 0 to {self.protocol.folds - 1}")
        offered = [feature.modality for feature in self.features]
        if len(set(offered)) != len(offered) or not self.modalities or not set(self.modalities) <= set(offered):
            raise UserError(
                f"modalities are {self.modalities} of features {tuple(offered)}; expected some of them, once"
            )
        for key, value in self.environment.items():
            if key not in ENVIRONMENT:
                raise UserError(f"environment.{key[:40]!r} is not on the list of what a record may hold")
            require(VALUE, value, f"environment.{key}")
        for name, sha in self.files.items():
            require(NAME, name, "a name in files")
            require(SHA, sha, f"files.{name}")
        for part in self.items:
            require(NAME, part, "a part in items")
        for warning in self.warnings:
            readable(warning, "warnings", 500)
        _check_metrics(self)

    def plain(self) -> dict[str, Any]:
        """As data for JSON, without `record_id`."""
        return plain(self)

    @functools.cached_property
    def record_id(self) -> str:
        """Sha256 of the canonical content."""
        return digest(self.plain())

    def numbers(self) -> dict[str, Any]:
        """What two runs of the same key must agree in: everything but time, machine and provenance."""
        kept = ("status", "metrics", "groups", "confusion", "items", "selection", "files")
        content = self.plain()
        block = {name: content[name] for name in kept}
        block["files"] = {"predictions.npz": content["files"].get("predictions.npz", "")}
        return {**block, "parameters": self.cost.parameters, "steps": self.cost.steps}

    @classmethod
    def from_plain(cls, data: Any) -> Record:
        """The record that `plain` gave.

        Raises:
            UserError: a key or value does not fit the schema.
        """
        return decode(cls, data, "record")


def _check_metrics(record: Record) -> None:
    if record.status != "ok":
        if record.metrics:
            raise UserError(f"status is {record.status}, yet there are metrics; only a finished run has a score")
        return
    lacking = [m for m in record.protocol.metrics if m not in record.metrics.get("full", {})]
    if lacking:
        raise UserError(f"metrics.full lacks {', '.join(lacking)}")
    for condition, values in record.metrics.items():
        require(NAME, condition, "a condition in metrics")
        for metric, value in values.items():
            low, high = _bounds(metric)
            if not low - _ROUNDING <= value <= high + _ROUNDING:
                raise UserError(f"metrics.{condition}.{metric} is {value}; expected {low:g} to {high:g}")
    for metric in record.groups:
        split(metric)


@functools.lru_cache(4096)
def _bounds(metric: str) -> tuple[float, float]:
    return METRICS[split(metric)[1]].bounds


def plain(value: Any) -> Any:
    """Dataclasses and mappings as dictionaries, tuples as lists."""
    if dataclasses.is_dataclass(value):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, tuple | list) else value
