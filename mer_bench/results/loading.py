"""What pages are made from: usable records, their cluster statistics, and what had to be left out, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from mer_bench.data.corpora import protocols
from mer_bench.errors import UserError
from mer_bench.results.cluster_files import checked_sums
from mer_bench.results.consolidate import consolidate
from mer_bench.results.record import NAME, Rejected, read_runs
from mer_bench.results.same_numbers import Same, is_current, read_same
from mer_bench.results.schema import Record
from mer_bench.results.sound import faults

if TYPE_CHECKING:
    from mer_bench.metrics.clusters import ClusterStatistics


@dataclass(frozen=True)
class Loaded:
    """Records that may enter tables.

    Attributes:
        records: each run once.
        statistics: by run key and condition.
        stale: run keys of records that other code, or another form of their protocol, left.
        left_out: what is not used, and why.
        same: older code that gives the same numbers as newer one.
    """

    records: Sequence[Record]
    statistics: Mapping[str, Mapping[str, ClusterStatistics]] = field(default_factory=dict)
    stale: frozenset[str] = frozenset()
    left_out: Sequence[Rejected] = ()
    same: Sequence[Same] = ()


def load(folder: Path) -> Loaded:
    """Read a folder of runs or of published records.

    Raises:
        UserError: there is no such folder.
    """
    found, rejected = read_runs(folder)
    places, sound = dict[str, Path](), []
    for place, record in found:
        reason = next(faults(record), "")
        if reason:
            rejected.append(Rejected(f"{place.relative_to(folder).as_posix()}/{NAME}", reason))
        else:
            sound.append(record)
            places.setdefault(record.record_id, place)
    kept, unusable = consolidate(sound)
    records, statistics = [], {}
    for record in kept:
        place = places[record.record_id]
        if record.protocol.statistics == "A" and record.status == "ok":
            try:
                statistics[record.run_key] = checked_sums(place, record)
            except UserError as error:
                rejected.append(Rejected(f"{place.relative_to(folder).as_posix()}/{NAME}", str(error)))
                continue
        records.append(record)
    same = read_same(folder)
    stale = frozenset(record.run_key for record in records if _outdated(record, same))
    return Loaded(records, statistics, stale, sorted({*rejected, *unusable}), same)


def _outdated(record: Record, same: Sequence[Same]) -> bool:
    """Other code, or another definition of its protocol, than the present ones; protocols of others are not judged."""
    known = protocols().get(record.protocol.name)
    return not is_current(record.code, same) or (known is not None and known.hash != record.protocol.hash)
