"""Faults of a record that can be told from the record and the shipped protocols alone."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from mer_bench.data.corpora import protocols
from mer_bench.protocol import Protocol
from mer_bench.results.facts import ProtocolFacts
from mer_bench.results.record import key_of
from mer_bench.results.schema import Record

PREDICTIONS = "predictions.npz"


def faults(record: Record) -> Iterator[str]:
    """Why it may not enter a table, one sentence each."""
    yield from identity(record)
    known = protocols().get(record.protocol.name)
    if known is not None and known.hash == record.protocol.hash:
        yield from contradictions(record, known)
    if record.seed not in record.protocol.seeds:  # folds are checked with the schema
        seeds = ", ".join(map(str, record.protocol.seeds))
        yield f"the protocol does not plan seed {record.seed}; {record.protocol.name} has the seeds {seeds}"
    yield from unvouched(record)


def unvouched(record: Record) -> Iterator[str]:
    """Whether its scores follow from something that it names."""
    if record.status == "ok" and PREDICTIONS not in record.files:
        yield f"it vouches for no {PREDICTIONS}, so nobody could ever score it again"


def identity(record: Record) -> Iterator[str]:
    """Whether its name follows from its content."""
    stated = key_of(record.settings_hash, record.protocol.hash, record.data_fingerprint, record.fold, record.seed)
    if not record.variant.startswith("tuned-") and record.run_key != stated:
        yield "its run key is not that of its settings, protocol, data, fold and seed"


def contradictions(record: Record, protocol: Protocol) -> Iterator[str]:
    """What it says of its protocol, where the shipped one of the same hash says something else."""
    now = ProtocolFacts.of(protocol, record.protocol.title)
    for field in dataclasses.fields(ProtocolFacts):
        said, right = getattr(record.protocol, field.name), getattr(now, field.name)
        if field.name != "note" and said != right:
            yield f"protocol.{field.name} is {str(said)[:60]!r}; the protocol of this hash has {str(right)[:60]!r}"
