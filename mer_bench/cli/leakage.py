"""`mer-bench data leakage FILE --protocol P`: what the parts of each fold share. No torch."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mer_bench.data.corpora import find_protocol, register
from mer_bench.errors import UserError
from mer_bench.merh5 import FeatureFile
from mer_bench.protocol import Protocol

ABOUT = (
    "Deal every fold of a protocol and tell what its parts share: speakers, sessions, dialogues; items with identical "
    "or nearly identical features; texts of four or more words. Exit code 2 when the protocol's own unit (its cluster) "
    "is in two parts, an item equals one of another part in all of its modalities (two or more), or the protocol "
    "selects on its test part. The rest is for you to judge: a vector can recur because a sentence does."
)


def main(argv: list[str]) -> int:
    """Print the report.

    Returns:
        0, or 2 when something leaks.

    Raises:
        UserError: unknown protocol, or a file that does not fit it.
    """
    from mer_bench.data.leakage import plain_texts, shared, twins
    from mer_bench.data.splits import deal

    options = _parser().parse_args(argv)
    register(options.trust)
    file = FeatureFile(options.file)
    protocol = find_protocol(options.protocol, file.corpus)
    if protocol.corpus != file.corpus:
        raise UserError(f"{options.file}: holds {file.corpus}; {protocol.name} is a protocol of {protocol.corpus}")
    chosen = range(protocol.folds) if options.fold is None else [options.fold]
    splits = {fold: deal(protocol, file, fold) for fold in chosen}
    found = {name: twins(file, name) for name in file.modalities}
    texts = plain_texts(file)
    folds = {fold: _real(protocol, shared(file, split, found, texts)) for fold, split in splits.items()}
    capped = [name for name, twin in found.items() if twin.too_many]
    leaks = _leaks(protocol, file, folds)
    if options.json:
        facts = {str(fold): [asdict(pair) for pair in pairs] for fold, pairs in folds.items()}
        print(json.dumps({"protocol": protocol.name, "folds": facts, "near_not_counted": capped, "leaks": leaks}))
    else:
        print("\n".join(_lines(protocol, file, folds, capped, texts is not None, leaks)))
    return 2 if leaks else 0


def _real(protocol: Protocol, pairs: list[Any]) -> list[Any]:
    """The pairs of parts that are two: where the test part also stands for the validation part, one."""
    return [pair for pair in pairs if protocol.selection != "test" or "validation" not in pair.parts]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="mer-bench data leakage", description=ABOUT, allow_abbrev=False)
    parser.add_argument("file", type=Path, help="a merh5 feature file")
    parser.add_argument("--protocol", default="", metavar="NAME", help="the corpus's first one when left out")
    parser.add_argument("--fold", type=int, metavar="N", help="one fold only")
    parser.add_argument("--trust", action="append", default=[], metavar="PACKAGE", help="as in fit")
    parser.add_argument("--json", action="store_true", help="for programs")
    return parser


def _leaks(protocol: Protocol, file: FeatureFile, folds: dict[int, list[Any]]) -> list[str]:
    """What must not be, one line each."""
    told = ["the epoch is chosen on the test part"] if protocol.selection == "test" else []
    for fold, pairs in folds.items():
        for pair in pairs:
            where = f"fold {fold}, {pair.parts[0]} and {pair.parts[1]}"
            crossing = pair.groups.get(protocol.cluster, [])
            if crossing:
                told.append(f"{where}: {len(crossing)} {protocol.cluster}s in both: {_few(crossing)}")
            if pair.twins:
                names = [file.ids[row] for row in pair.twins]
                told.append(
                    f"{where}: {len(names)} items of the {pair.parts[1]} part stand in the other: {_few(names)}"
                )
    return told


def _lines(
    protocol: Protocol,
    file: FeatureFile,
    folds: dict[int, list[Any]],
    capped: Sequence[str],
    has_texts: bool,
    leaks: Sequence[str],
) -> list[str]:
    legacy = ", legacy" if protocol.legacy else ""
    lines = [f"{file.path}: {protocol.name}, {len(folds)} folds, cluster {protocol.cluster}{legacy}"]
    for fold, pairs in folds.items():
        for pair in pairs:
            said = [f"{len(names)} {key}s" for key, names in pair.groups.items() if names]
            said += [f"{count} identical in {name}" for name, count in pair.same.items() if count]
            said += [f"{count} nearly identical in {name}" for name, count in pair.near.items() if count]
            said += [f"{len(pair.texts)} repeated texts"] if pair.texts else []
            if said:
                lines.append(f"  fold {fold}, {pair.parts[0]} and {pair.parts[1]}: {', '.join(said)}")
    if len(lines) == 1:
        lines.append("  the parts share nothing")
    lines += [f"  {name}: takes so few values that nearly identical items were not counted" for name in capped]
    if not has_texts:
        lines.append("  texts: none stored (`mer-bench prepare --text` keeps them)")
    return [*lines, *(f"LEAK {line}" for line in leaks)] if leaks else [*lines, "no leak"]


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
