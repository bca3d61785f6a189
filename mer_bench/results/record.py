"""Writing and reading records: ``<runs>/<protocol>/<method>/<run key>/record.json``, predictions and config beside it.

A run first writes its predictions, then its record; a folder without a record is a run that did not finish.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from mer_bench.errors import Conflict, UserError
from mer_bench.results import atomic
from mer_bench.results.canonical import canonical, digest, plain
from mer_bench.results.facts import Code, Cost, Feature, GroupScores, MethodFacts, ProtocolFacts, Selection
from mer_bench.results.predictions import Predictions, read_predictions, write_predictions
from mer_bench.results.provenance import code, environment
from mer_bench.results.schema import Record, Status

__all__ = [
    "Code",
    "Cost",
    "Feature",
    "GroupScores",
    "MethodFacts",
    "Predictions",
    "ProtocolFacts",
    "Record",
    "Rejected",
    "Selection",
    "Status",
    "code",
    "environment",
    "place_for",
    "read_predictions",
    "read_record",
    "read_records",
    "read_runs",
    "run_folder",
    "run_key",
    "settings_hash",
    "write_predictions",
    "write_record",
]

NAME = "record.json"
_FILE = re.compile(r"record\.json|conflict-[0-9a-f]{16}\.json")
_LARGEST = 4 << 20


class Rejected(NamedTuple):
    """A record that cannot be used.

    Attributes:
        path: below the folder that was read, with forward slashes.
        reason: what is wrong with it.
    """

    path: str
    reason: str


def settings_hash(settings: Mapping[str, Any]) -> str:
    """Sha256 of settings; tuples equal lists, 1.0 equals 1, the order of keys does not count."""
    return digest(plain(settings))


def run_key(settings: Mapping[str, Any], protocol_hash: str, data_fp: str, fold: int, seed: int) -> str:
    """The name of a run, from what decides its numbers.

    Args:
        settings: resolved ones that touch numbers, without fold and seed.
        protocol_hash: of the protocol.
        data_fp: content hash of the feature file.
        fold: test fold.
        seed: of everything random.

    Returns:
        64 hex digits; folders carry the first 16.
    """
    return key_of(settings_hash(settings), protocol_hash, data_fp, fold, seed)


def key_of(settings_sha: str, protocol_hash: str, data_fp: str, fold: int, seed: int) -> str:
    """As `run_key`, from the hash of the settings."""
    identity = {
        "data": data_fp,
        "fold": fold,
        "protocol": protocol_hash,
        "seed": seed,
        "settings": settings_sha,
    }
    return digest(identity)


def run_folder(root: Path, protocol: str, method: str, key: str) -> Path:
    """Where a run lives."""
    return root / protocol / method / key[:16]


def write_record(folder: Path, record: Record) -> Literal["written", "kept"]:
    """Publish a record: whole or not at all, never over another one.

    Args:
        folder: of the run; see `run_folder`.
        record: of the finished run.

    Returns:
        ``kept`` if a record with the same numbers was there already; it stays as it is.

    Raises:
        Conflict: the folder holds another result for the same run. The new one is kept beside it as
            ``conflict-<id>.json`` and nothing else is changed.
        UserError: the record there cannot be read, or was changed.
    """
    atomic.make_folder(folder)
    path = folder / NAME
    if atomic.create(path, _encode(record)):
        return "written"
    try:
        there = _read(path)
    except UserError as error:
        raise UserError(f"{path} exists but is unusable ({error}); move it away and run again") from None
    if there.run_key == record.run_key and there.numbers() == record.numbers():
        return "kept"
    other = folder / f"conflict-{record.record_id[:16]}.json"
    atomic.create(other, _encode(record))
    differing = [name for name, value in record.numbers().items() if there.numbers()[name] != value]
    raise Conflict(
        f"CONFLICT: {path} and the new {other} are the same run with different results "
        f"({', '.join(differing) or 'run_key'}); the first one stays. Something is not deterministic: compare code, "
        "environment and data of the two"
    )


@contextlib.contextmanager
def place_for(folder: Path) -> Iterator[Path]:
    """Where the files of a finished run go before its record: the run's folder, or aside if it has been recorded.

    Whoever comes second must not touch the files that the record beside them vouches for.
    """
    if not (folder / NAME).exists():
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix=".again-", dir=folder) as aside:
        yield Path(aside)


def read_record(path: Path) -> Record:
    """Read and check one record.

    Raises:
        UserError: it cannot be read, does not fit the schema, or was changed after it was written.
    """
    try:
        return _read(path)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def _read(path: Path) -> Record:
    """As `read_record`; messages leave out the path."""
    if path.is_symlink() or not path.is_file():
        raise UserError("not a plain file")
    if path.stat().st_size > _LARGEST:
        raise UserError(f"larger than {_LARGEST >> 20} MiB")
    try:
        data = json.loads(path.read_bytes(), object_pairs_hook=_unique, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise UserError(f"not valid JSON ({error})") from None
    except OSError as error:
        raise UserError(f"cannot be read ({error.strerror})") from None
    if not isinstance(data, dict) or "record_id" not in data:
        raise UserError("no record: record_id is missing")
    stated = data.pop("record_id")
    record = Record.from_plain(data)
    if digest(data) != stated:
        raise UserError("its content does not match its record_id: it was changed after it was written")
    record.__dict__["record_id"] = stated  # fills the cached property: computing it again would double the time
    return record


def read_records(folder: Path) -> tuple[list[Record], list[Rejected]]:
    """As `read_runs`, without the folders."""
    runs, rejected = read_runs(folder)
    return [record for _, record in runs], rejected


def read_runs(folder: Path) -> tuple[list[tuple[Path, Record]], list[Rejected]]:
    """Every record below a folder, sorted by path.

    Returns:
        Usable records, each with the folder of its run; and those that are not, with the reason; so are results that
        contradicted a record (see `write_record`).

    Raises:
        UserError: there is no such folder.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; `mer-bench fit` writes records below ./runs")
    records, rejected = [], []
    for path in _paths(folder):
        try:
            found = _read(path)
        except UserError as error:
            rejected.append(Rejected(path.relative_to(folder).as_posix(), str(error)))
            continue
        if path.name == NAME:
            records.append((path.parent, found))
        else:
            reason = "CONFLICT: the same run with another result; the record beside it counts"
            rejected.append(Rejected(path.relative_to(folder).as_posix(), reason))
    return records, rejected


def _paths(folder: Path) -> Sequence[Path]:
    found = [Path(root, name) for root, _, names in os.walk(folder) for name in names if _FILE.fullmatch(name)]
    return sorted(found, key=lambda path: path.as_posix())


def _encode(record: Record) -> bytes:
    """The file: sorted keys, one a line, so that differences can be read."""
    data = {**record.plain(), "record_id": record.record_id}
    canonical(data)  # refuses what JSON cannot hold before anything is written
    return (json.dumps(data, sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) != len(pairs):
        raise ValueError("a key occurs twice")
    return content


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a number")
