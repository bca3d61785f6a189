"""The record of one run, schema 1: method x protocol x fold x seed. Written once, never changed.

Nothing in it tells who ran it, where, or on whose data: no host, user or path; of the test items, aggregates only.
The fields are their own documentation; `record` writes and reads them.
"""

from __future__ import annotations

import dataclasses
import functools
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from mer_bench.errors import UserError
from mer_bench.metrics.definitions import METRICS, split
from mer_bench.protocol import Protocol
from mer_bench.results.canonical import digest
from mer_bench.results.decode import decode

SCHEMA = "mer-bench/record/1"
#: what may be said of the machine
ENVIRONMENT = frozenset(
    (
        *("python", "torch", "lightning", "torchmetrics", "numpy", "mer_bench", "cuda", "cudnn", "driver"),
        *("accelerator", "accelerators", "cpu_threads", "system", "machine", "deterministic", "tf32", "precision"),
    )
)
_SLUG = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.=-]{0,63}")
_VARIANT = re.compile(r"default|paper|tuned-[1-9][0-9]{0,5}")
_HEX = re.compile(r"[0-9a-f]{16,64}")
_SHA = re.compile(r"[0-9a-f]{64}")
_VALUE = re.compile(r"[A-Za-z0-9 ._+(),:@-]{0,100}")
_DATE = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ)?")

Status = Literal["ok", "diverged", "oom", "failed", "timeout"]


@dataclass(frozen=True)
class ProtocolFacts:
    """What a table needs to know of the protocol, so that it can be made from records alone.

    Attributes:
        name: slug.
        hash: of the whole definition.
        title: for people; the corpus and what is compared.
        corpus: slug.
        folds: planned test folds, numbered from 0.
        seeds: planned seeds.
        primary: ``task/metric``, the only one that ranks.
        metrics: every one that is reported, the primary one first.
        statistics: rule A, B or C.
        cluster: the independent unit.
        legacy: reproduces what a paper did; never ranked.
        note: one sentence.
    """

    name: str
    hash: str
    title: str
    corpus: str
    folds: int
    seeds: tuple[int, ...]
    primary: str
    metrics: tuple[str, ...]
    statistics: Literal["A", "B", "C"]
    cluster: str
    legacy: bool = False
    note: str = ""

    @classmethod
    def of(cls, protocol: Protocol, title: str = "") -> ProtocolFacts:
        """The facts of a protocol; the title is the corpus's."""
        shared = {f.name: getattr(protocol, f.name) for f in dataclasses.fields(cls) if f.name != "title"}
        return cls(title=title or protocol.name, **shared)

    def __post_init__(self) -> None:
        """Refuse what cannot be a protocol."""
        _require(_SLUG, self.name, "protocol.name")
        _require(_SLUG, self.corpus, "protocol.corpus")
        _require(_HEX, self.hash, "protocol.hash")
        _readable(self.title, "protocol.title", 200)
        _readable(self.note, "protocol.note", 1000)
        if not 1 <= self.folds <= 10_000 or not 1 <= len(set(self.seeds)) == len(self.seeds) <= 1000:
            raise UserError(
                f"protocol: {self.folds} folds and seeds {self.seeds}; expected some of each, each seed once"
            )
        for metric in self.metrics:
            split(metric)
        if self.primary not in self.metrics:
            raise UserError(f"protocol.primary is {self.primary!r}; expected one of its metrics")


@dataclass(frozen=True)
class MethodFacts:
    """From the method's card.

    Attributes:
        slug: name of file, YAML and row.
        title: as in the paper.
        status: faithful, adapted, feature-level, reconstruction or control.
        year: of the paper.
    """

    slug: str
    title: str
    status: str
    year: int | None = None

    def __post_init__(self) -> None:
        """Refuse names that could not be a file or a row."""
        _require(_SLUG, self.slug, "method.slug")
        _require(_SLUG, self.status, "method.status")
        _readable(self.title, "method.title", 120)


@dataclass(frozen=True)
class Feature:
    """One modality of the input.

    Attributes:
        modality: slug.
        extractor: what made it, with its version.
        dim: features per frame.
    """

    modality: str
    extractor: str
    dim: int

    def __post_init__(self) -> None:
        """Refuse names that could not stand in a table."""
        _require(_SLUG, self.modality, "features.modality")
        _readable(self.extractor, "features.extractor", 200)


@dataclass(frozen=True)
class Selection:
    """How the scored weights were chosen.

    Attributes:
        rule: ``validation`` (best epoch on the inner validation part), ``fixed`` (the last of a fixed number),
            ``none`` (nothing is trained), ``test`` (best epoch on the reported part: legacy protocols only).
        metric: by which.
        val_score: its value on the validation part.
        chosen_epoch: from 0.
        epochs: how many were trained.
    """

    rule: Literal["validation", "fixed", "none", "test"]
    metric: str = ""
    val_score: float | None = None
    chosen_epoch: int | None = None
    epochs: int = 0


@dataclass(frozen=True)
class GroupScores:
    """A metric over groups of test items, without their names; see `mer_bench.metrics.group_summary`.

    Attributes:
        key: what the groups are (speaker, session, subject).
        groups: how many were large enough.
        mean: over groups.
        sd: over groups.
        worst: the worst of them.
        worst_decile: what one group in ten falls short of.
    """

    key: str
    groups: int
    mean: float
    sd: float
    worst: float
    worst_decile: float


@dataclass(frozen=True)
class Cost:
    """What the run took.

    Attributes:
        train_seconds: in training steps and what goes with them.
        wall_seconds: start to record.
        steps: optimiser steps.
        parameters: trainable ones.
        peak_memory_bytes: of the device, or of the process on a CPU; None where unknown.
    """

    train_seconds: float = 0.0
    wall_seconds: float | None = None
    steps: int = 0
    parameters: int = 0
    peak_memory_bytes: int | None = None


@dataclass(frozen=True)
class Code:
    """Which code it was.

    Attributes:
        version: of the package.
        hash: of every source file that touches numbers.
        commit: of git, empty outside a checkout.
        dirty: uncommitted changes in the package; None where unknown.
    """

    version: str
    hash: str
    commit: str = ""
    dirty: bool | None = None

    def __post_init__(self) -> None:
        """Refuse anything but a version and hashes."""
        _require(_VALUE, self.version, "code.version")
        _require(_SHA, self.hash, "code.hash")
        if self.commit:
            _require(_HEX, self.commit, "code.commit")


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
        metrics: by condition (``full``, ``no_audio``, ...), by ``task/metric``.
        groups: by ``task/metric``, under ``full``.
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

    def __post_init__(self) -> None:
        """Refuse what no run can have left."""
        if self.schema != SCHEMA:
            raise UserError(f"schema is {self.schema!r}; this version reads {SCHEMA}")
        for name in ("run_key", "settings_hash", "data_fingerprint"):
            _require(_SHA, getattr(self, name), name)
        _require(_VARIANT, self.variant, "variant")
        _require(_NAME, self.executor, "executor")
        _require(_DATE, self.finished_utc, "finished_utc")
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
            _require(_VALUE, value, f"environment.{key}")
        for name, sha in self.files.items():
            _require(_NAME, name, "a name in files")
            _require(_SHA, sha, f"files.{name}")
        for warning in self.warnings:
            _readable(warning, "warnings", 500)
        _check_metrics(self)

    def plain(self) -> dict[str, Any]:
        """As data for JSON, without `record_id`."""
        return _plain(self)

    @functools.cached_property
    def record_id(self) -> str:
        """Sha256 of the canonical content."""
        return digest(self.plain())

    def numbers(self) -> dict[str, Any]:
        """What two runs of the same key must agree in: everything but time, machine and provenance."""
        kept = ("status", "metrics", "groups", "items", "selection", "files")
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
        _require(_NAME, condition, "a condition in metrics")
        for metric, value in values.items():
            low, high = _bounds(metric)
            if not low <= value <= high:
                raise UserError(f"metrics.{condition}.{metric} is {value}; expected {low:g} to {high:g}")
    for metric in record.groups:
        split(metric)


@functools.lru_cache(4096)
def _bounds(metric: str) -> tuple[float, float]:
    return METRICS[split(metric)[1]].bounds


def _require(pattern: re.Pattern[str], value: str, where: str) -> None:
    if not pattern.fullmatch(value):
        raise UserError(f"{where} is {value[:60]!r}; expected {pattern.pattern}")


def _readable(value: str, where: str, longest: int) -> None:
    """Text of one line without control, formatting, private or unassigned characters."""
    if len(value) > longest or any(unicodedata.category(c) in _UNREADABLE for c in value):
        raise UserError(f"{where} is {value[:60]!r}; expected one line of at most {longest} printable characters")


_UNREADABLE = frozenset(("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"))


def _plain(value: Any) -> Any:
    """Dataclasses and mappings as dictionaries, tuples as lists."""
    if dataclasses.is_dataclass(value):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, tuple | list) else value
