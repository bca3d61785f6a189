"""Copy the records of a folder of runs to where they are committed, with public cluster statistics; nothing else.

Predictions, settings, logs and checkpoints stay: they hold ids of licensed corpora, values of single items, or paths.
"""

from __future__ import annotations

from pathlib import Path

from mer_bench.errors import UserError
from mer_bench.results import atomic
from mer_bench.results.cluster_files import name_key, publish_clusters
from mer_bench.results.record import NAME, read_record, read_records, run_folder


def publish(runs: Path, target: Path) -> tuple[int, int]:
    """Copy what is not there yet.

    Args:
        runs: folder of runs.
        target: folder of published records.

    Returns:
        How many records were copied, and how many were there already.

    Raises:
        UserError: a record cannot be used, or another result of the same run has been published.
    """
    from mer_bench.results.sums import NAME as CLUSTERS
    from mer_bench.results.sums import PUBLIC

    records, rejected = read_records(runs)
    if rejected:
        raise UserError(
            f"{runs}: {len(rejected)} unusable records, the first is {rejected[0].path}: {rejected[0].reason}"
        )
    if not records:
        raise UserError(f"no record.json below {runs}; `mer-bench fit` leaves one for each finished run")
    copied = 0
    for record in records:
        source, place = (
            run_folder(root, record.protocol.name, record.method.slug, record.run_key) for root in (runs, target)
        )
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
        if record.protocol.statistics == "A" and (source / CLUSTERS).is_file() and not (place / PUBLIC).is_file():
            publish_clusters(source / CLUSTERS, place, record, name_key(runs))
    return copied, len(records) - copied
