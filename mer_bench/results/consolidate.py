"""One record for each run, one run for each place in a row, one meaning for each hash. Pure."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Iterable

from mer_bench.results.facts import Feature
from mer_bench.results.record import Rejected
from mer_bench.results.schema import Record


def consolidate(records: Iterable[Record]) -> tuple[list[Record], list[Rejected]]:
    """One record for each run, and one run for each fold and seed of a line.

    Copies count once. Of two records of a run with the same numbers the one with the smaller id stays; with different
    numbers none does, since nobody may choose. The same for two runs that claim one place in a line.

    Returns:
        Records in an order that depends on their content only, and those left out.
    """
    sound, rejected = _unanimous(records)
    runs: dict[str, dict[str, Record]] = defaultdict(dict)
    for record in sound:
        runs[record.run_key][record.record_id] = record
    kept = []
    for found in runs.values():
        first, *others = (found[key] for key in sorted(found))
        if all(other.numbers() == first.numbers() for other in others):
            kept.append(first)
            rejected += [Rejected(_place(o), f"repeats run {o.run_key[:16]} with the same result") for o in others]
        else:
            reason = f"CONFLICT: {len(found)} records of run {first.run_key[:16]} with different results; none counts"
            rejected += [Rejected(_place(record), reason) for record in (first, *others)]
    places: dict[tuple[object, ...], list[Record]] = defaultdict(list)
    for record in kept:
        row = (record.method.slug, used_features(record), record.settings_hash, record.variant)
        family = (record.protocol, record.data_fingerprint, record.synthetic)
        places[*family, *row, record.fold, record.seed].append(record)
    for claims in places.values():
        reason = f"CONFLICT: {len(claims)} runs claim fold {claims[0].fold}, seed {claims[0].seed}; none counts"
        rejected += [Rejected(_place(record), reason) for record in claims if len(claims) > 1]
    single = [claims[0] for claims in places.values() if len(claims) == 1]
    return sorted(single, key=lambda record: record.record_id), sorted(rejected)


def _unanimous(records: Iterable[Record]) -> tuple[list[Record], list[Rejected]]:
    """Records whose hashes mean the same in all of them; where two contradict each other, neither counts.

    A protocol's hash stands for all that decides numbers (not for title and note), a feature file's for its features.
    """
    everything, meanings = list(records), defaultdict[tuple[str, ...], set[object]](set)
    for record in everything:
        for name, meaning in _claims(record):
            meanings[name].add(meaning)
    kept, rejected = [], []
    for record in everything:
        doubtful = [" ".join(name[:2]) for name, _ in _claims(record) if len(meanings[name]) > 1]
        if doubtful:
            rejected.append(Rejected(_place(record), f"CONFLICT: records contradict each other on {doubtful[0]}"))
        else:
            kept.append(record)
    return kept, rejected


def _claims(record: Record) -> list[tuple[tuple[str, ...], object]]:
    """What a record says of things that others speak of too."""
    protocol = dataclasses.replace(record.protocol, title="", note="")
    found: list[tuple[tuple[str, ...], object]] = [
        (("protocol", protocol.name, protocol.hash), protocol),
        (("feature file", record.data_fingerprint[:16]), (record.synthetic, protocol.corpus)),
    ]
    return found + [(("features of", f.modality, record.data_fingerprint), f) for f in record.features]


def _place(record: Record) -> str:
    return f"{record.protocol.name}/{record.method.slug}/{record.run_key[:16]} (record {record.record_id[:16]})"


def used_features(record: Record) -> tuple[Feature, ...]:
    """The features that a run used, sorted."""
    used = [feature for feature in record.features if feature.modality in record.modalities]
    return tuple(sorted(used, key=lambda feature: feature.modality))
