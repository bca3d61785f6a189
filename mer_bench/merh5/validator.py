"""Is this feature file sound? The cheap part runs at every opening, the whole in `mer-bench data check`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import h5py

from mer_bench.errors import UserError
from mer_bench.merh5.hashing import content_sha256
from mer_bench.merh5.layout import Tree
from mer_bench.merh5.opening import Unreadable, open_tree, opened
from mer_bench.merh5.report import decoded, show, unreadable
from mer_bench.merh5.rules import SHA256, Scope, item_rules, root_rules, split_rules
from mer_bench.merh5.schema import Fault
from mer_bench.merh5.value_rules import label_rules, modality_rules

SHOWN = 3


def check(path: str | Path) -> list[Fault]:
    """Everything that is wrong with a feature file; empty when it is sound.

    Reads the whole file in pieces of a few MiB and compares it with its content hash, so a single changed bit is found.
    Never raises for a bad file: one that cannot be opened gives one fault. Of one kind of fault, twenty are listed
    and the others counted. Values of a modality or label table whose structure is broken are not looked at.
    """
    try:
        with opened(Path(path)) as file:
            faults = examine(file, deep=True)[1]
    except Unreadable as exc:
        faults = [Fault("", "", exc.reason)]
    return faults


def examine(file: h5py.File, *, deep: bool) -> tuple[Tree, list[Fault]]:
    """The trusted parts of an opened file and its faults; `deep` passes over all values and the hash."""
    tree, stored = open_tree(file)
    digest = tree.attrs[""].get("content_sha256", "")
    if not SHA256.fullmatch(digest):
        stored.append(Fault("@content_sha256", show(digest), "not a content hash (expected 64 hex digits)"))
    faults = [*stored, *judge(tree, deep=deep, skip={section(fault.place) for fault in stored})]
    if deep and not stored:
        faults.extend(_guarded("", partial(_hash_rule, tree)))
    return tree, faults


def judge(tree: Tree, *, deep: bool, skip: set[str] | None = None) -> list[Fault]:
    """Faults of a tree by the rules of the schema.

    Args:
        tree: an opened file, or what is about to be written.
        deep: pass over all values.
        skip: sections (``items``, ``modalities/audio``) whose structure is known to be broken.
    """
    if "items/id" not in tree.data:
        return []  # without ids nothing else can be told
    skip = skip or set()
    ids, faults = decoded("items/id", tree.data["items/id"])
    for place, rule in _rules(Scope(tree, ids, deep)):
        if place not in skip:
            faults.extend(_guarded(place, rule))
    return faults


def section(place: str) -> str:
    """The part of the file that a fault makes unfit for further rules: root, items, or one modality, table or split."""
    parts = place.partition("@")[0].split("/")
    if parts[0] == "vocab":
        return "items"
    return "/".join(parts[:2]) if parts[0] in ("modalities", "labels", "splits") else parts[0]


def refusal(path: str | Path, faults: list[Fault], doing: str = "not a sound feature file") -> UserError:
    """One message for a list of faults: the first three, how many there are, and how to see them all."""
    listed = "; ".join(str(fault) for fault in faults[:SHOWN])
    more = f"; and {len(faults) - SHOWN} more" if len(faults) > SHOWN else ""
    return UserError(f"{path}: {doing}: {listed}{more}")


def _guarded(place: str, rule: Callable[[], Iterator[Fault]]) -> Iterator[Fault]:
    try:
        yield from rule()
    except (OSError, RuntimeError) as exc:  # what h5py raises for damaged bytes
        yield Fault(place, "", unreadable(exc))


def _rules(scope: Scope) -> Iterator[tuple[str, Callable[[], Iterator[Fault]]]]:
    yield "", partial(root_rules, scope)
    yield "items", partial(item_rules, scope)
    for group, rule in (("modalities", modality_rules), ("labels", label_rules), ("splits", split_rules)):
        for name in scope.tree.names(group):
            yield f"{group}/{name}", partial(rule, scope, f"{group}/{name}")


def _hash_rule(tree: Tree) -> Iterator[Fault]:
    stored, found = tree.attrs[""]["content_sha256"], content_sha256(tree)
    if stored != found:
        message = f"the content hashes to {found} (expected {show(stored)}); bytes were changed: copy or make it again"
        yield Fault("@content_sha256", "", message)
