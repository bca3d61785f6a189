"""Copy the records of a folder of runs to where they are committed, with public cluster statistics; nothing else.

Predictions, settings, logs and checkpoints stay: they hold ids of licensed corpora, values of single items, or paths.
"""

from __future__ import annotations

from pathlib import Path

from mer_bench.errors import UserError
from mer_bench.results import atomic
from mer_bench.results.cluster_files import Keys, name_keys, publish_clusters
from mer_bench.results.record import NAME, read_record, read_records, run_folder
from mer_bench.results.schema import Record
from mer_bench.results.sums import NAME as CLUSTERS
from mer_bench.results.sums import PUBLIC


def publish(runs: Path, target: Path, features: Path | None = None) -> tuple[int, int]:
    """Copy what is not there yet.

    Args:
        runs: folder of runs.
        target: folder of published records.
        features: folder with their feature files; needed for what is published with statistics by cluster.

    Returns:
        How many records were copied, and how many were there already.

    Raises:
        UserError: a record cannot be used, or another result of the same run has been published.
    """
    records, rejected = read_records(runs)
    if rejected:
        raise UserError(
            f"{runs}: {len(rejected)} unusable records, the first is {rejected[0].path}: {rejected[0].reason}"
        )
    if not records:
        raise UserError(f"no record.json below {runs}; `mer-bench fit` leaves one for each finished run")
    keys = name_keys(features) if features is not None else Keys({})
    places = [(record, *_places(record, runs, target)) for record in records]
    hidden = [place for place in places if _needs_names(*place)]
    for record, _, _ in hidden:  # before anything is written
        keys.of(record)
    copied = 0
    for record, source, place in places:
        path = place / NAME
        if path.is_file():
            if read_record(path).numbers() != record.numbers():
                raise UserError(
                    f"CONFLICT: {path} has been published with another result than {source / NAME}; nothing was changed"
                )
        else:
            atomic.make_folder(place)
            atomic.create(path, (source / NAME).read_bytes())
            copied += 1
    for record, source, place in hidden:
        publish_clusters(source / CLUSTERS, place, record, keys.of(record))
    return copied, len(records) - copied


def _places(record: Record, runs: Path, target: Path) -> tuple[Path, Path]:
    """Where the run is, and where it is published."""
    where = record.protocol.name, record.method.slug, record.run_key
    return run_folder(runs, *where), run_folder(target, *where)


def _needs_names(record: Record, source: Path, place: Path) -> bool:
    """Statistics by cluster are published where intervals need them, once."""
    there = (source / CLUSTERS).is_file() and not (place / PUBLIC).is_file()
    return there and record.protocol.statistics == "A"
