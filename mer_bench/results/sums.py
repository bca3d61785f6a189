"""Statistics by cluster beside a record: from ``clusters.npz`` to what the rules of the statistics engine read."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from mer_bench.data.corpora import protocols
from mer_bench.errors import UserError
from mer_bench.metrics.clusters import ClusterStatistics
from mer_bench.metrics.definitions import split
from mer_bench.metrics.families import ADDITIVE, Additive
from mer_bench.results.cluster_counts import items
from mer_bench.results.predictions import file_sha256, read_arrays
from mer_bench.results.schema import Record

NAME, PUBLIC = "clusters.npz", "clusters-public.npz"  # as a run leaves it, and with hashed names
NAMES = "names"


def additive(record: Record) -> Additive | None:
    """How the primary metric of a record follows from sums; None where it does not, or its protocol is not known."""
    protocol = protocols().get(record.protocol.name)
    task, name, output = split(record.protocol.primary)
    if protocol is None or task not in protocol.tasks or output:
        return None
    return ADDITIVE.get((name, protocol.tasks[task].kind))


def read_sums(path: Path, record: Record) -> dict[str, ClusterStatistics]:
    """Statistics of the primary metric by condition.

    Args:
        path: of the file, beside the record.
        record: which names the file's hash, and the metric.

    Raises:
        UserError: the file is missing, changed, damaged, or does not hold what its record says.
    """
    family = additive(record)
    if family is None:
        raise UserError(f"{path}: {record.protocol.primary} of {record.protocol.name} is not a function of sums here")
    if path.name == NAME and file_sha256(path) != record.files.get(NAME):
        raise UserError(f"{path}: not the file of its record (another sha256)")
    found = {}
    try:
        arrays = read_arrays(path)
        names = tuple(name.decode("utf-8") for name in arrays.pop(NAMES).tolist())
        for condition, values in arrays.items():
            if values.dtype != np.float64 or values.ndim < 2 or len(values) != len(names):
                raise ValueError(f"{condition[:60]!r} is no table of {len(names)} clusters")
            if not np.isfinite(values).all():
                raise ValueError(f"{condition[:60]!r} holds values that are not finite")
            one = ClusterStatistics(record.protocol.primary, names, values, family)
            if np.ndim(one.pooled()) or items(one).ndim != 2:
                raise ValueError(f"{condition[:60]!r} has another form than statistics of {record.protocol.primary}")
            found[condition] = one
    except (ValueError, LookupError, AttributeError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(f"{path}: no readable statistics ({error}); run the method again") from None
    return found


def read_names(path: Path) -> set[str]:
    """Names of the clusters in a file; none where it is damaged."""
    try:
        return {name.decode("utf-8") for name in read_arrays(path)[NAMES].tolist()}
    except (ValueError, LookupError, AttributeError, OSError, EOFError, zipfile.BadZipFile):
        return set()


def beside(folder: Path) -> Path | None:
    """The file of statistics in the folder of a run, or of a published record; None where there is none."""
    return next((folder / name for name in (NAME, PUBLIC) if (folder / name).is_file()), None)


def sums_beside(found: Iterable[tuple[Path, Record]]) -> tuple[dict[str, dict[str, ClusterStatistics]], list[str]]:
    """Of every record that has them, by run key.

    Args:
        found: folder and record of each run.

    Returns:
        The statistics, and what is wrong with files that are there and cannot be used.
    """
    sums, problems = {}, []
    for folder, record in found:
        path = beside(folder)
        if path is None or additive(record) is None:
            continue
        try:
            sums[record.run_key] = read_sums(path, record)
        except UserError as error:
            problems.append(str(error))
    return sums, problems
