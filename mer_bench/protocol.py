"""A protocol: the frozen definition of one comparison. No torch here.

A protocol stands as a Python constant beside its corpus (`data/corpora`). It is hashed into every record, and
nothing on a command line changes it. Tunable things live in YAML, definitions here.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from mer_bench.types import TaskSpec


@dataclass(frozen=True)
class LeaveOneGroupOut:
    """Each group of `key` (session, speaker) is the test part of one fold, in the order of the group names.

    Validation is taken from the other groups: `next` uses the following group in cyclic order; `hashed` takes
    `count` groups, chosen by a hash of their names, the same for all methods; `none` leaves them all to the training
    part, for protocols that do not select on validation.
    """

    key: str
    validation: Literal["next", "hashed", "none"] = "next"
    count: int = 1


@dataclass(frozen=True)
class OfficialTable:
    """A split that the corpus ships: `/splits/<scheme>/table`, one row a fold, 1 train, 2 validation, 3 test.

    Where the official split has no validation part, `validation_key` names the groups (speaker, dialogue) of which
    a share of `validation_share`, chosen by hash, is taken out of the training part.
    """

    scheme: str
    validation_key: str = ""
    validation_share: float = 0.0


@dataclass(frozen=True)
class GroupKFold:
    """Groups of `key`, ordered by a hash of their names, dealt to k folds; the next fold validates."""

    key: str
    k: int


@dataclass(frozen=True)
class ItemKFold:
    """Items, ordered by a hash of their ids, dealt to k folds; the next fold validates.

    People and recordings are in all parts at once, so a model is tested on those it was trained on: only a `legacy`
    protocol may use it, to reproduce what a paper did.
    """

    k: int


#: a protocol of more folds than this is searched in blocks, and how many blocks there are (five: ours)
MANY_FOLDS = 10
BLOCKS = 5
#: ends the name of the protocol under which the blocks are searched
SEARCH = ".search"

SplitRule = LeaveOneGroupOut | OfficialTable | GroupKFold | ItemKFold


@dataclass(frozen=True)
class Condition:
    """What is missing at test. `full`; `only` and `no` stand for one condition per modality; `missing` for a rate.

    `missing` removes a share `rate` of the present (item, modality) pairs, ten stored masks each. `smoothed` misses
    nothing: the answers of `full`, averaged over so many `frames` around each frame of a recording. Their number is
    fixed here, so that nobody chooses it by a score.
    """

    kind: Literal["full", "only", "no", "missing", "smoothed"]
    rates: tuple[float, ...] = ()
    frames: int = 0


@dataclass(frozen=True)
class Protocol:
    """One comparison.

    Attributes:
        name: slug, the name of its table.
        corpus: slug of the corpus.
        tasks: by name; the first one is primary unless `primary` says otherwise.
        primary: ``task/metric``, the only one used for selection, ranks and tests.
        metrics: every ``task/metric`` that is reported, the primary one first.
        split: rule that makes the folds, validation part included.
        folds: number of folds.
        seeds: the seeds that a complete row needs.
        where: keep only items whose text attribute has one of the given values, by attribute name
            (`/items/attr/<name>`, or one of speaker, session, dialogue).
        cluster: the unit that is independent (speaker, dialogue, video, subject); per-group scores use it.
        statistics: rule A, B or C of the statistics notes.
        conditions: what is missing at test; `full` always.
        legacy: reproduces what a paper did; never ranked.
        selection: which epoch is scored: the best one on the validation part, (``fixed``) the last of a fixed
            number, for splits without a validation part, or (``test``) the best one on the test part itself, which
            then stands for the validation part: what papers without a validation part did, only for `legacy`.
        note: one sentence shown above the table.
    """

    name: str
    corpus: str
    tasks: Mapping[str, TaskSpec]
    primary: str
    metrics: tuple[str, ...]
    split: SplitRule
    folds: int
    seeds: tuple[int, ...]
    cluster: str
    statistics: Literal["A", "B", "C"]
    where: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    conditions: tuple[Condition, ...] = (Condition("full"),)
    legacy: bool = False
    note: str = ""
    selection: Literal["validation", "fixed", "test"] = "validation"

    @property
    def hash(self) -> str:
        """First 16 hex digits of the sha256 of the canonical definition.

        Fields at their default do not count, so a field that is added later changes no protocol that does not use it;
        nor does the note, which defines nothing.
        """
        plain = _definition(dataclasses.replace(self, note=""))
        text = json.dumps(plain, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def _definition(value: Any) -> Any:
    """Plain data that two definitions share exactly when they mean the same."""
    if dataclasses.is_dataclass(value):
        given = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
        plain = {
            f.name: _definition(given[f.name])
            for f in dataclasses.fields(value)
            if f.default is dataclasses.MISSING or given[f.name] != f.default
        }
        return {"type": type(value).__name__, **plain}
    if isinstance(value, Mapping):
        return {key: _definition(item) for key, item in value.items()}
    return [_definition(item) for item in value] if isinstance(value, tuple | list) else value


@dataclass(frozen=True)
class Corpus:
    """What is known of a corpus without its files.

    Attributes:
        slug: no underscore, so that ``<corpus>_<method>`` always splits at the first one.
        title: full name.
        about: content, size, licence and where to ask for it, in a sentence or two.
        citation: how its authors want to be cited, short.
        protocols: the first one is the default.
    """

    slug: str
    title: str
    about: str
    citation: str
    protocols: tuple[Protocol, ...]


def searched(protocol: Protocol) -> Protocol:
    """The protocol under which settings are searched: itself, or, with many folds, five fixed blocks of its groups.

    A block's settings serve every fold whose group is in it. They are searched without the block: it is the test part
    of the search's fold, and stays locked. The groups are dealt by hash; the next block validates.
    """
    if not isinstance(protocol.split, LeaveOneGroupOut) or protocol.folds <= MANY_FOLDS:
        return protocol
    return dataclasses.replace(
        protocol,
        name=protocol.name + SEARCH,
        split=GroupKFold(protocol.split.key, BLOCKS),
        folds=BLOCKS,
        conditions=(Condition("full"),),
    )
