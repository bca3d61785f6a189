"""Statistics by cluster as they may be published.

A run writes ``clusters.npz`` with the names of speakers, videos or subjects. In public the names are replaced by keyed
hashes in the order of the hashes (``clusters-public.npz``). The key is made of the content of the feature file: whoever
has that file can match the names, nobody else, and records that are published years apart, or by two labs with the
same features, still pair.
"""

from __future__ import annotations

import hashlib
import hmac
import io
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mer_bench.errors import UserError
from mer_bench.results import atomic
from mer_bench.results.feature_files import by_content
from mer_bench.results.schema import Record

if TYPE_CHECKING:
    from mer_bench.metrics.clusters import ClusterStatistics

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
        key: of `name_keys`.

    Raises:
        UserError: the file cannot be used.
    """
    import numpy as np

    from mer_bench.results.sums import NAMES, PUBLIC, read_sums

    sums = read_sums(source, record)
    names = next(iter(sums.values())).clusters
    public = public_names(names, key)
    order = np.argsort(public)
    shuffled: Mapping[str, Any] = {condition: sums[condition].values[order] for condition in sorted(sums)}
    buffer = io.BytesIO()
    np.savez(buffer, **{NAMES: np.array(sorted(public), dtype="S16"), **shuffled})  # zip entries carry a fixed date
    atomic.write(target / PUBLIC, buffer.getvalue())


def public_names(names: Iterable[str], key: bytes) -> list[str]:
    """What clusters are called in public, in the same order."""
    return [hmac.new(key, name.encode(), hashlib.sha256).hexdigest()[:16] for name in names]


def name_keys(features: Path) -> Keys:
    """The keys of the feature files of a folder, each made when it is asked for.

    Raises:
        UserError: there is no such folder.
    """
    return Keys({content: file.path for content, file in by_content(features).items()})


class Keys:
    """Keys by content hash.

    Args:
        files: where the file of a content hash is.
    """

    def __init__(self, files: Mapping[str, Path]) -> None:
        self.files = files
        self._made: dict[str, bytes] = {}

    def of(self, record: Record) -> bytes:
        """The key of a record's feature file.

        Raises:
            UserError: the file is not here.
        """
        from mer_bench.merh5.hashing import content_key

        wanted = record.data_fingerprint
        if wanted not in self.files:
            raise UserError(
                f"{record.protocol.name}: the names of its clusters are hidden with a key made of its feature file, "
                f"that with content {wanted[:12]}, which was not found; `--features DIR` names the folder that has it"
            )
        if wanted not in self._made:
            self._made[wanted] = content_key(self.files[wanted], "names of clusters")
        return self._made[wanted]
