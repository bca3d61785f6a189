"""`mer-bench data ...`: look at, check or invent a feature file. `info` and `check` import no torch."""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from pathlib import Path
from typing import Any

from mer_bench.errors import UserError, did_you_mean
from mer_bench.merh5 import FeatureFile, check
from mer_bench.merh5.report import show
from mer_bench.merh5.summary import summarise

#: sub-command -> (what it does, module); the module's `main(argv)` returns the exit code. Imported when called.
ELSEWHERE = {
    "leakage": ("what parts of a protocol's folds share: people, items, texts", "mer_bench.cli.leakage"),
    "synth": ("write a synthetic corpus with a known optimum", "mer_bench.cli.synth"),
}
HERE = {
    "info": "what a feature file holds",
    "check": "is a feature file sound? One line per fault, exit code 2",
}


def usage() -> str:
    """The short help."""
    about = {**HERE, **{name: text for name, (text, _) in ELSEWHERE.items()}}
    width = max(map(len, about))
    lines = [f"  {name:<{width}}  {text}" for name, text in about.items()]
    return "\n".join(["usage: mer-bench data COMMAND ...", "", "commands:", *lines])


def main(argv: list[str]) -> int:
    """Run one of the data commands.

    Returns:
        0; `check` returns 2 when it found a fault.

    Raises:
        UserError: no such command, or a file that cannot be read.
    """
    if not argv or argv[0] in ("-h", "--help"):
        print(usage())
        return 0
    command, rest = argv[0], argv[1:]
    if command in ELSEWHERE:
        return importlib.import_module(ELSEWHERE[command][1]).main(rest)
    if command not in HERE:
        raise UserError(f"no command 'data {command}'; {did_you_mean(command, [*HERE, *ELSEWHERE])}")
    parser = argparse.ArgumentParser(prog=f"mer-bench data {command}", description=HERE[command])
    parser.add_argument("file", type=Path, help="a merh5 feature file")
    if command == "info":
        parser.add_argument("--json", action="store_true", help="for programs")
    options = parser.parse_args(rest)
    return _info(options.file, options.json) if command == "info" else _check(options.file)


def _check(path: Path) -> int:
    faults = check(path)
    for fault in faults:
        print(fault)
    if faults:
        print(f"{path}: {len(faults)} fault{'s' if len(faults) > 1 else ''}", file=sys.stderr)
        return 2
    file = FeatureFile(path)
    print(f"{path}: OK ({file.corpus}, {file.n} items, sha256 {file.content_sha256[:16]})")
    return 0


def _info(path: Path, as_json: bool) -> int:
    summary = summarise(path)
    print(json.dumps(summary, indent=2, ensure_ascii=False) if as_json else _page(summary))
    return 0


def _page(summary: dict[str, Any]) -> str:
    kind = "SYNTHETIC" if summary["synthetic"] else "real"
    lines = [f"{summary['corpus']} ({kind}), {summary['items']} items  {summary['path']}"]
    facts = {
        "version": " ".join(filter(None, (summary["corpus_version"], summary["corpus_part"]))),
        "groups": ", ".join(f"{count} {key}s" for key, count in summary["groups"].items()),
        "columns": ", ".join(summary["columns"]),
        "transcripts": "yes" if summary["text"] else "",
        "repairs": ", ".join(f"{kind} {count}" for kind, count in summary["repairs"].items()),
        "licence": summary["licence"],
        "made": f"{summary['created_utc']} by {summary['creator']}",
        "sha256": summary["content_sha256"],
    }
    lines += [f"  {name:<12}{show(text)}" for name, text in facts.items() if text]
    for title, rows in (("modalities", _modalities), ("labels", _labels), ("splits", _splits), ("sources", _sources)):
        if summary[title]:
            lines += ["", title, *_table(rows(summary[title]))]
    return "\n".join(lines)


def _modalities(modalities: dict[str, Any]) -> list[list[str]]:
    head = ["", "kind", "dim", "rate", "rows", "longest", "present", "extractor"]
    return [
        head,
        *(
            [
                name,
                m["kind"],
                str(m["dim"]),
                f"{m['rate_hz']:g} Hz" if m["rate_hz"] else "-",
                str(m["rows"]),
                str(m["longest"]),
                f"{m['present']:.1%}",
                " ".join(filter(None, (m["extractor"], m["extractor_version"]))) or "-",
            ]
            for name, m in modalities.items()
        ),
    ]


def _labels(labels: dict[str, Any]) -> list[list[str]]:
    rows = [["", "kind", "level", "usable", "counts (positives, or lowest..highest)"]]
    for name, table in labels.items():
        shown = ", ".join(
            f"{label} {count}" if isinstance(count, int) else f"{label} {count[0]:g}..{count[1]:g}"
            for label, count in table["counts"].items()
            if count is not None
        )
        rows.append([name, table["kind"], table["level"], f"{table['usable']} of {table['total']}", shown])
    return rows


def _splits(splits: dict[str, Any]) -> list[list[str]]:
    rows = [["", "folds", "train", "validation", "test", "unused", "disjoint by"]]
    for name, split in splits.items():
        sizes = [_range([fold[part] for fold in split["sizes"]]) for part in ("train", "validation", "test", "unused")]
        rows.append([name, str(split["folds"]), *sizes, ", ".join(split["disjoint_by"]) or "-"])
    return rows


def _sources(sources: list[dict[str, Any]]) -> list[list[str]]:
    shown = [[s["name"], f"{s['bytes']} bytes", s["sha256"][:16] or "-", s["origin"]] for s in sources[:12]]
    return shown + ([[f"and {len(sources) - 12} more"]] if len(sources) > 12 else [])


def _range(sizes: list[int]) -> str:
    return str(sizes[0]) if min(sizes) == max(sizes) else f"{min(sizes)}-{max(sizes)}"


def _table(rows: list[list[str]]) -> list[str]:
    widths = [max(len(show(row[i])) for row in rows if i < len(row)) for i in range(max(map(len, rows)))]
    return [
        "  " + "  ".join(f"{cell:<{width}}" for cell, width in zip(map(show, row), widths, strict=False)).rstrip()
        for row in rows
    ]
