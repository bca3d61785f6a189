"""Copy the records of a folder of runs to where they are committed, with public cluster statistics; nothing else.

Predictions, settings, logs and checkpoints stay: they hold ids of licensed corpora, values of single items, or paths.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from mer_bench.errors import UserError
from mer_bench.results import atomic
from mer_bench.results.cluster_files import Keys, name_keys, public_names, publish_clusters
from mer_bench.results.record import NAME, read_record, read_runs, run_folder
from mer_bench.results.schema import Record
from mer_bench.results.sums import NAME as CLUSTERS
from mer_bench.results.sums import PUBLIC, read_names, read_sums


def publish(runs: Path, target: Path, features: Path | None = None) -> tuple[int, int]:
    """Copy what is not there yet.

    Args:
        runs: folder of runs.
        target: folder of published records.
        features: folder with their feature files; needed for what is published with statistics by cluster.

    Returns:
        How many records were copied, and how many were there already.

    Raises:
        UserError: a record cannot be used, another result of the same run has been published, or the clusters of its
            protocol have been published under names that are not those of the feature file.
    """
    found, rejected = read_runs(runs)
    if rejected:
        raise UserError(
            f"{runs}: {len(rejected)} unusable records, the first is {rejected[0].path}: {rejected[0].reason}"
        )
    if not found:
        raise UserError(f"no record.json below {runs}; `mer-bench fit` leaves one for each finished run")
    keys = name_keys(features) if features is not None else Keys({})
    places = _places(found, target)
    hidden = [place for place in places if _needs_names(*place)]
    fresh = [place for place in places if not _published(*place)]
    for record, source in {(r.protocol.name, r.data_fingerprint): (r, source) for r, source, _ in hidden}.values():
        _refuse_strangers(record, source, target, keys.of(record))
    for _, source, place in fresh:  # nothing was written before
        atomic.make_folder(place)
        atomic.create(place / NAME, (source / NAME).read_bytes())
    for record, source, place in hidden:
        publish_clusters(source / CLUSTERS, place, record, keys.of(record))
    return len(fresh), len(places) - len(fresh)


def _places(found: Iterable[tuple[Path, Record]], target: Path) -> list[tuple[Record, Path, Path]]:
    """Each run once, where it is, and where it is published."""
    places: dict[Path, tuple[Record, Path, Path]] = {}
    for source, record in found:
        place = run_folder(target, record.protocol.name, record.method.slug, record.run_key)
        first, there, _ = places.setdefault(place, (record, source, place))
        if first.numbers() != record.numbers():
            raise UserError(
                f"CONFLICT: {there / NAME} and {source / NAME} are the same run with different results; nothing was "
                "changed"
            )
    return list(places.values())


def _published(record: Record, source: Path, place: Path) -> bool:
    """Whether it has been, with the same result."""
    path = place / NAME
    if not path.is_file():
        return False
    if read_record(path).numbers() != record.numbers():
        raise UserError(
            f"CONFLICT: {path} has been published with another result than {source / NAME}; nothing was changed"
        )
    return True


def _refuse_strangers(record: Record, source: Path, target: Path, key: bytes) -> None:
    """Look at the names of clusters that are public already: new ones must pair with them.

    Raises:
        UserError: they share nothing.
    """
    folder, there = target / record.protocol.name, set[str]()
    for place, other in read_runs(folder)[0] if folder.is_dir() else []:
        if other.data_fingerprint == record.data_fingerprint and (place / PUBLIC).is_file():
            there |= read_names(place / PUBLIC)
    names = next(iter(read_sums(source / CLUSTERS, record).values())).clusters
    if there and there.isdisjoint(public_names(names, key)):
        raise UserError(
            f"{folder}: its {record.protocol.cluster}s were published under names that the feature file does not give "
            f"(another key), so these runs would pair with none of them; nothing was changed. Remove {folder} and "
            "publish all runs of this protocol again"
        )


def _needs_names(record: Record, source: Path, place: Path) -> bool:
    """Statistics by cluster are published where intervals need them, once."""
    there = (source / CLUSTERS).is_file() and not (place / PUBLIC).is_file()
    return there and record.protocol.statistics == "A"
