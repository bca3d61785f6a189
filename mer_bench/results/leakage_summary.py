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


def summarise(features: Path, records: Iterable[Record]) -> str:
    """Counts for every protocol and feature file of the records; no id, no name.

    Args:
        features: folder with the feature files.
        records: real ones; files that are not in the folder are left out, and named by the caller.

    Returns:
        The content of `leakage.json`.

    Raises:
        UserError: the folder is not there.
    """
    wanted = {(r.data_fingerprint, r.protocol.name) for r in records if not r.synthetic}
    files = by_content(features)
    found = [_protocol(files[data], name) for data, name in sorted(wanted) if data in files and name in protocols()]
    return json.dumps(found, indent=1, sort_keys=True) + "\n"


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
    try:
        rows = [
            (text(one["protocol"]), code(one["data"][:16]), text(parts), text(what), _range(low, high))
            for one in json.loads(path.read_text(encoding="utf-8"))
            for parts, counts in sorted(one["shared"].items())
            for what, (low, high) in sorted(counts.items())
            if high
        ]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: not a summary of leakage ({error!r}); make it again with --publish") from None
    words = (
        "## What the parts share\n\nItems of the later part, smallest and largest number over the folds; what is not "
        "listed is zero. Identical texts are sentences that people say again; identical in every modality, or a "
        "cluster in two parts, would be a leak. `mer-bench data leakage FILE` says more.\n\n"
    )
    header = ("protocol", "feature file", "parts", "what", "items")
    return words + (table(header, rows, left=4) if rows else "Nothing.\n")


def _range(low: int, high: int) -> str:
    return count(low) if low == high else f"{count(low)} to {count(high)}"
