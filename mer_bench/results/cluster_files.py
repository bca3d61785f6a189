"""Statistics by cluster as they may be published.

A run writes ``clusters.npz`` with the names of speakers, videos or subjects. In public the names are replaced by keyed
hashes in the order of the hashes (``clusters-public.npz``), and small clusters stand together, so that no sum is over a
few items (`cluster_counts`). The key is made of the content of the feature file: whoever has that file can match the
names, nobody else, and records that are published years apart, or by two labs with the same features, still pair.
"""

from __future__ import annotations

import dataclasses
import hashlib
import hmac
import io
from collections.abc import Iterable, Iterator, Mapping
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
    from mer_bench.results.sums import PUBLIC, additive, beside, read_sums

    path = beside(folder)
    if path is None or additive(record) is None:
        return {}
    try:
        found = read_sums(path, record)
        value = float(found["full"].pooled())
    except UserError as error:
        raise UserError(str(error).replace(f"{folder}/", "")) from None
    except KeyError:
        raise UserError(f"{path.name} has no statistics of {record.protocol.primary} under full") from None
    if not abs(value - record.metrics["full"][record.protocol.primary]) <= _TOLERANCE:  # NaN differs too
        raise UserError(f"{path.name} gives another {record.protocol.primary} than the record")
    for field, said, again in groups_again(found["full"], record, public=path.name == PUBLIC):
        if not abs(said - again) <= _TOLERANCE:
            raise UserError(f"{path.name} gives another {field} than the record ({again:.12g}, not {said:.12g})")
    return found


def groups_again(sums: ClusterStatistics, record: Record, *, public: bool) -> Iterator[tuple[str, float, float]]:
    """Summary over clusters of the primary metric: field, what the record says, what the sums give.

    Nothing else ties public sums to the record but their total, and rule A's intervals come from their spread. Where
    small clusters were merged and the record's summary leaves small ones out, the two are of different clusters:
    nothing is compared.

    Args:
        sums: under ``full``.
        record: it.
        public: small clusters may have been merged.
    """
    from mer_bench.results.cluster_counts import merged, summary

    said = record.groups.get(record.protocol.primary)
    if said is None or (public and said.groups < len(sums.clusters) and merged(sums)):
        return
    again = summary(sums) or {}
    for field in ("groups", "mean", "sd", "worst", "worst_decile"):
        yield f"groups.{record.protocol.primary}.{field}", getattr(said, field), again.get(field, float("nan"))


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

    from mer_bench.results.sums import PUBLIC, read_sums

    found = read_sums(source, record)
    public = public_names(next(iter(found.values())).clusters, key)
    order = np.argsort(public)
    shuffled = {
        condition: dataclasses.replace(one, clusters=tuple(sorted(public)), values=one.values[order])
        for condition, one in found.items()
    }
    atomic.write(target / PUBLIC, public_bytes(shuffled))


def public_bytes(sums: Mapping[str, ClusterStatistics]) -> bytes:
    """The public file of statistics whose names are hidden and in order.

    Raises:
        UserError: there are too few items to publish anything of them.
    """
    import numpy as np

    from mer_bench.results.cluster_counts import publishable
    from mer_bench.results.sums import NAMES

    names = next(iter(sums.values())).clusters
    arrays: Mapping[str, Any] = {NAMES: np.array(names, dtype="S16"), **dict(sorted(publishable(sums).items()))}
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # zip entries carry a fixed date
    return buffer.getvalue()


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
