"""Statistics by cluster as they may be published.

A run writes ``clusters.npz`` with the names of speakers, videos or subjects. In public the names are replaced by keyed
hashes in the order of the hashes (``clusters-public.npz``): who holds the key can match them, nobody else. The key
stays with the runs, so that records published later still pair with earlier ones.
"""

from __future__ import annotations

import hashlib
import hmac
import io
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mer_bench.errors import UserError
from mer_bench.results import atomic
from mer_bench.results.schema import Record

if TYPE_CHECKING:
    from mer_bench.metrics.clusters import ClusterStatistics

KEY = "cluster-names.key"
_TOLERANCE = 1e-9


def checked_sums(folder: Path, record: Record) -> dict[str, ClusterStatistics]:
    """Statistics of the primary metric by condition; empty where the run left none, or they are no sums.

    Raises:
        UserError: the file is damaged, not the one of the record, or says another score than the record.
    """
    from mer_bench.results.sums import additive, beside, read_sums

    path = beside(folder)
    if path is None or additive(record) is None:
        return {}
    try:
        found = read_sums(path, record)
        value = float(found["full"].pooled())
    except UserError as error:
        raise UserError(str(error).replace(f"{folder}/", "")) from None
    except (KeyError, IndexError, ValueError):
        raise UserError(f"{path.name} has another form than statistics of {record.protocol.primary}") from None
    if abs(value - record.metrics["full"][record.protocol.primary]) > _TOLERANCE:
        raise UserError(f"{path.name} gives another {record.protocol.primary} than the record")
    return found


def publish_clusters(source: Path, target: Path, record: Record, key: bytes) -> None:
    """Write the public form of a run's statistics.

    Args:
        source: the run's own file.
        target: folder of the published record.
        record: of the run.
        key: of `name_key`.

    Raises:
        UserError: the file cannot be used.
    """
    import numpy as np

    from mer_bench.results.sums import NAMES, PUBLIC, read_sums

    sums = read_sums(source, record)
    names = next(iter(sums.values())).clusters
    public = [hmac.new(key, name.encode(), hashlib.sha256).hexdigest()[:16] for name in names]
    order = np.argsort(public)
    shuffled: Mapping[str, Any] = {condition: sums[condition].values[order] for condition in sorted(sums)}
    buffer = io.BytesIO()
    np.savez(buffer, **{NAMES: np.array(sorted(public), dtype="S16"), **shuffled})  # zip entries carry a fixed date
    atomic.write(target / PUBLIC, buffer.getvalue())


def name_key(runs: Path) -> bytes:
    """The secret key of a folder of runs, made when it is first needed."""
    path = runs / KEY
    if not path.exists():
        atomic.create(path, secrets.token_hex(32).encode())
    return path.read_bytes()
