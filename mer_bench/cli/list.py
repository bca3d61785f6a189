"""`mer-bench list`: what there is. No torch."""

from __future__ import annotations

import argparse
import ast
import json
import sys
from pathlib import Path

from mer_bench import recipes
from mer_bench.data.corpora import corpora, protocols, register

KINDS = ("methods", "datasets", "protocols", "losses", "configs", "commands")


def methods() -> list[dict]:
    """Cards of all methods."""
    keys = ("title", "year", "paper", "status", "modalities", "tasks", "levels", "represents", "stackable")
    return [{"name": slug, **{k: card.get(k) for k in keys}} for slug, card in sorted(recipes.cards().items())]


def datasets() -> list[dict]:
    """All corpora."""
    return [
        {"name": c.slug, "title": c.title, "protocols": [p.name for p in c.protocols], "about": c.about}
        for c in corpora().values()
    ]


def list_protocols() -> list[dict]:
    """All protocols."""
    return [
        {
            "name": p.name,
            "corpus": p.corpus,
            "primary": p.primary,
            "folds": p.folds,
            "seeds": len(p.seeds),
            "statistics": p.statistics,
            "legacy": p.legacy,
            "hash": p.hash,
            "note": p.note,
        }
        for p in protocols().values()
    ]


def losses() -> list[dict]:
    """All auxiliary losses: classes of the losses room that derive from AuxLoss, with their first docstring line."""
    rows = []
    for name, path in sorted(recipes.catalogue("losses").items()):
        source = recipes.PACKAGE.parent / Path(*path.split(".")[:-1]).with_suffix(".py")
        for node in ast.parse(source.read_text(encoding="utf-8")).body:
            if (
                isinstance(node, ast.ClassDef)
                and node.name == name
                and "AuxLoss" in [ast.unparse(b) for b in node.bases]
            ):
                rows.append({"name": name, "about": (ast.get_docstring(node) or "").split("\n")[0]})
    return rows


def configs() -> list[dict]:
    """Config names that `fit` takes: files, and every pair of a data set and a method."""
    own = {name: str(path) for name, path in recipes.shipped().items() if "_" in name}
    pairs = {f"{d}_{m}": "composed" for d in recipes.shipped("data") for m in recipes.shipped("method")}
    return [{"name": name, "from": where} for name, where in sorted({**pairs, **own}.items())]


def commands() -> list[dict]:
    """All commands."""
    from mer_bench.cli import COMMANDS

    return [{"name": name, "about": about} for name, (_, about) in sorted(COMMANDS.items())]


TABLES = {
    "methods": methods,
    "datasets": datasets,
    "protocols": list_protocols,
    "losses": losses,
    "configs": configs,
    "commands": commands,
}


def main(argv: list[str]) -> int:
    """List one kind of thing, or all."""
    parser = argparse.ArgumentParser(prog="mer-bench list", description="What there is to run.")
    parser.add_argument("kind", nargs="?", choices=KINDS, help="one kind; all of them when left out")
    parser.add_argument("--json", action="store_true", help="machine-readable")
    parser.add_argument("--trust", action="append", default=[], metavar="PACKAGE", help="list its corpus too")
    options = parser.parse_args(argv)
    register(options.trust)
    found = {kind: TABLES[kind]() for kind in ([options.kind] if options.kind else KINDS)}
    if options.json:
        json.dump(found[options.kind] if options.kind else found, sys.stdout, indent=2)
        print()
        return 0
    for kind, rows in found.items():
        if not options.kind:
            print(f"{kind}:")
        _print(rows if options.kind else [{"name": r["name"], **_summary(kind, r)} for r in rows])
        if not options.kind:
            print()
    return 0


def _summary(kind: str, row: dict) -> dict:
    keep = {"methods": ("title", "year", "status"), "datasets": ("title",), "protocols": ("primary", "folds", "note")}
    return {k: row[k] for k in keep.get(kind, tuple(k for k in row if k != "name"))}


def _print(rows: list[dict]) -> None:
    if not rows:
        print("  (none)")
        return
    cells = [[_cell(value) for value in row.values()] for row in rows]
    widths = [max(len(line[i]) for line in cells) for i in range(len(cells[0]) - 1)]
    print("  " + "  ".join(f"{key:<{w}}" for key, w in zip(rows[0], [*widths, 0], strict=True)))
    for line in cells:
        print("  " + "  ".join(f"{text:<{w}}" for text, w in zip(line, [*widths, 0], strict=True)))


def _cell(value: object) -> str:
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value))
    return "" if value is None else str(value)
