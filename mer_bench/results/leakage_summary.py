"""What the parts of published protocols share, in numbers only: `leakage.json`, and the table made of it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from mer_bench.data.corpora import protocols
from mer_bench.errors import UserError
from mer_bench.results.feature_files import by_content
from mer_bench.results.markdown import code, count, table, text
from mer_bench.results.schema import Record

NAME = "leakage.json"


def summarise(features: Path, records: Iterable[Record], there: Path) -> tuple[str, list[str]]:
    """Counts for every protocol and feature file of the records; no id, no name.

    Args:
        features: folder with the feature files.
        records: synthetic ones are passed over.
        there: what was found earlier; an entry whose file is not in the folder is kept, if a record has its protocol,
            with the same hash, and its data.

    Returns:
        The content of `leakage.json`, and what was not looked at now, one sentence each.

    Raises:
        UserError: the folder is not there, or the earlier file is not what this function writes.
    """
    files = by_content(features)
    wanted = {(r.data_fingerprint, r.protocol.name, r.protocol.hash) for r in records if not r.synthetic}
    kept = {place: one for one in _read(there) if (place := (one["data"], one["protocol"], one["hash"])) in wanted}
    known, missed, found = protocols(), list[str](), dict[tuple[str, str, str], dict[str, Any]]()
    for place in sorted(wanted):
        data, name, _ = place
        if data in files and name in known:
            found[data, name, known[name].hash] = _protocol(files[data], name)
            continue
        state = "what was found earlier is kept" if place in kept else "nothing is known of it"
        missed.append(f"{name} with feature file {data[:16]}: {state}")
        found |= {place: kept[place]} if place in kept else {}
    return json.dumps([found[place] for place in sorted(found)], indent=1, sort_keys=True) + "\n", missed


def _read(path: Path) -> list[dict[str, Any]]:
    """Entries of the file; none without it.

    Raises:
        UserError: it is not what `summarise` writes.
    """
    if not path.is_file():
        return []
    try:
        entries: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
        for one in entries:
            _rows(one)
            if not all(isinstance(one[key], str) for key in ("protocol", "data", "hash")):
                raise TypeError("no name")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{path}: not a summary of leakage ({error!r}); move it away and make it with --features"
        ) from None
    return entries


def _rows(one: dict[str, Any]) -> list[tuple[str, ...]]:
    return [
        (text(one["protocol"]), code(one["data"][:16]), text(parts), text(what), _range(low, high))
        for parts, counts in sorted(one["shared"].items())
        for what, (low, high) in sorted(counts.items())
        if high
    ]


def _protocol(file: Any, name: str) -> dict[str, Any]:
    """Smallest and largest count over the folds, by pair of parts."""
    from mer_bench.data.leakage import plain_texts, shared, twins
    from mer_bench.data.splits import deal

    protocol = protocols()[name]
    by_modality = {m: twins(file, m) for m in file.modalities}
    texts = plain_texts(file)
    pairs: dict[str, dict[str, list[int]]] = {}
    for fold in range(protocol.folds):
        for pair in shared(file, deal(protocol, file, fold), by_modality, texts):
            counts = {f"{key} in both": len(names) for key, names in pair.groups.items()}
            counts |= {f"identical in {m}": n for m, n in pair.same.items()}
            counts |= {f"nearly identical in {m}": n for m, n in pair.near.items()}
            counts["identical in every modality"] = len(pair.twins)
            counts |= {} if pair.texts is None else {"repeated text": len(pair.texts)}
            for what, number in counts.items():
                pairs.setdefault(" and ".join(pair.parts), {}).setdefault(what, []).append(number)
    ends = {parts: {w: [min(n), max(n)] for w, n in counts.items()} for parts, counts in pairs.items()}
    return {
        "protocol": name,
        "hash": protocol.hash,
        "data": file.content_sha256,
        "folds": protocol.folds,
        "shared": ends,
    }


def section(path: Path) -> str:
    """The part of `datasets.md` that says it; empty without the file.

    Raises:
        UserError: the file is not what `summarise` writes.
    """
    if not path.is_file():
        return ""
    rows = [row for one in _read(path) for row in _rows(one)]
    words = (
        "## What the parts share\n\nItems of the later part, smallest and largest number over the folds; what is not "
        "listed is zero. Identical texts are sentences that people say again; identical in every modality, or a "
        "cluster in two parts, would be a leak. `mer-bench data leakage FILE` says more.\n\n"
    )
    header = ("protocol", "feature file", "parts", "what", "items")
    return words + (table(header, rows, left=4) if rows else "Nothing.\n")


def _range(low: int, high: int) -> str:
    return count(low) if low == high else f"{count(low)} to {count(high)}"
