"""The parts of a record: what is said of the protocol, the method, the features, the selection, cost and code."""

from __future__ import annotations

import dataclasses
import re
import unicodedata
from dataclasses import dataclass, field
from typing import Literal

from mer_bench.errors import UserError
from mer_bench.metrics.definitions import split
from mer_bench.protocol import Protocol

SLUG = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
MODULE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.]{0,199}")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.=-]{0,63}")
HEX = re.compile(r"[0-9a-f]{16,64}")
SHA = re.compile(r"[0-9a-f]{64}")
VALUE = re.compile(r"[A-Za-z0-9 ._+(),:@-]{0,100}")
#: marks a field that records written before it may lack; its default then counts
ADDED = {"added": True}
_UNREADABLE = frozenset(("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"))


def require(pattern: re.Pattern[str], value: str, where: str) -> None:
    """Raise `UserError` where a name does not have its form."""
    if not pattern.fullmatch(value):
        raise UserError(f"{where} is {value[:60]!r}; expected {pattern.pattern}")


def readable(value: str, where: str, longest: int) -> None:
    """Text of one line without control, formatting, private or unassigned characters."""
    if len(value) > longest or any(unicodedata.category(c) in _UNREADABLE for c in value):
        raise UserError(f"{where} is {value[:60]!r}; expected one line of at most {longest} printable characters")


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
        require(SLUG, self.name, "protocol.name")
        require(SLUG, self.corpus, "protocol.corpus")
        require(HEX, self.hash, "protocol.hash")
        readable(self.title, "protocol.title", 200)
        readable(self.note, "protocol.note", 1000)
        readable(self.cluster, "protocol.cluster", 64)
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
        require(SLUG, self.slug, "method.slug")
        require(SLUG, self.status, "method.status")
        readable(self.title, "method.title", 120)


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
        require(SLUG, self.modality, "features.modality")
        readable(self.extractor, "features.extractor", 200)


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
        ledger: sha256 of the trials from which the settings were chosen; empty where none were searched.
    """

    rule: Literal["validation", "fixed", "none", "test"]
    metric: str = ""
    val_score: float | None = None
    chosen_epoch: int | None = None
    epochs: int = 0
    ledger: str = field(default="", metadata=ADDED)

    def __post_init__(self) -> None:
        """Refuse an unknown metric, or what is no hash."""
        if self.metric:
            split(self.metric)
        if self.ledger:
            require(SHA, self.ledger, "selection.ledger")


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

    def __post_init__(self) -> None:
        """Refuse a key that could not stand in a table."""
        readable(self.key, "groups.key", 64)


@dataclass(frozen=True)
class Confusion:
    """How often which class was taken for which, over the whole test part.

    Attributes:
        names: of the classes; ``absent`` and ``present`` for a label.
        counts: truth before prediction.
    """

    names: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]

    def __post_init__(self) -> None:
        """Refuse what is no square of counts."""
        for name in self.names:
            readable(name, "confusion.names", 64)
        rows = [len(self.counts), *map(len, self.counts)]
        if any(row != len(self.names) for row in rows) or any(n < 0 for row in self.counts for n in row):
            raise UserError(
                f"confusion: counts of {len(self.names)} classes; expected a square of whole numbers from 0"
            )


@dataclass(frozen=True)
class Cost:
    """What the run took. All but `train_seconds` and `steps` count its last process: an interrupted one is not added.

    Attributes:
        train_seconds: in training steps and what goes with them.
        wall_seconds: start to record.
        steps: optimiser steps.
        parameters: trainable ones.
        peak_memory_bytes: of the device, or of the process on a CPU; None where unknown.
        cpu_seconds: of all threads, start to record, start-up included.
        gpu_seconds: for which it held a GPU or its share of one; None on a CPU.
        startup_seconds: from the birth of the process to the start of the run: imports, unless a server has made them.
    """

    train_seconds: float = 0.0
    wall_seconds: float | None = None
    steps: int = 0
    parameters: int = 0
    peak_memory_bytes: int | None = None
    cpu_seconds: float | None = field(default=None, metadata=ADDED)
    gpu_seconds: float | None = field(default=None, metadata=ADDED)
    startup_seconds: float | None = field(default=None, metadata=ADDED)


@dataclass(frozen=True)
class Code:
    """Which code it was.

    Attributes:
        version: of the package.
        hash: of every source file that the run's numbers can depend on; see `sources`.
        commit: of git, empty outside a checkout.
        dirty: uncommitted changes in the package; None where unknown.
        modules: those of the classes that its settings name; with the hash they tell what is stale.
    """

    version: str
    hash: str
    commit: str = ""
    dirty: bool | None = None
    modules: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse anything but a version and hashes."""
        require(VALUE, self.version, "code.version")
        require(SHA, self.hash, "code.hash")
        if self.commit:
            require(HEX, self.commit, "code.commit")
        for module in self.modules:
            require(MODULE, module, "code.modules")
