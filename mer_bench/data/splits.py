"""From a protocol and a feature file to the rows of each part of a fold. numpy only."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mer_bench.data.views import frame_offsets
from mer_bench.errors import UserError
from mer_bench.merh5 import FeatureFile
from mer_bench.protocol import GroupKFold, ItemKFold, LeaveOneGroupOut, OfficialTable, Protocol, searched
from mer_bench.types import TaskSpec

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Split:
    """Row numbers of one fold, each part sorted; an item is in one part at most.

    Where a legacy protocol selects on the test part, `val` is the test part.
    """

    train: Rows
    val: Rows
    test: Rows


def targets(file: FeatureFile, name: str, spec: TaskSpec) -> tuple[np.ndarray, np.ndarray]:
    """Values and mask of a task as the protocol wants them, in the order of `spec.names`.

    Multiclass: values (n,) index into `spec.names`, items of another class masked. Others: the named columns.

    Raises:
        UserError: the file has no such label table, or the table lacks a class or column.
    """
    table = spec.labels or name
    if table not in file.labels:
        raise UserError(
            f"{file.path}: no labels {table!r} for task {name!r}; the file has "
            f"{', '.join(sorted(file.labels)) or 'none'}"
        )
    info = file.labels[table]
    values, mask = file.label(table)
    wanted = spec.columns or spec.names
    absent = [n for n in wanted if n not in info.names]
    if absent:
        raise UserError(f"{file.path}: labels {table!r} have no {absent[0]!r}; they name {', '.join(info.names)}")
    columns = np.array([info.names.index(n) for n in wanted])
    if spec.kind != "multiclass":
        return values[:, columns], mask[:, columns]
    to_index = np.full(len(info.names), -1, dtype=np.int64)
    to_index[columns] = np.arange(len(columns))
    index = to_index[values]
    known = mask & (index >= 0)
    return np.where(known, index, 0), known


def labelled(file: FeatureFile, name: str, spec: TaskSpec) -> NDArray[np.bool_]:
    """Which items carry at least one usable target of the task."""
    _, mask = targets(file, name, spec)
    if spec.level == "item":
        return np.asarray(mask.reshape(file.n, -1).any(axis=1))
    offsets = frame_offsets(file, spec.labels or name)
    counts = np.concatenate([[0], np.cumsum(mask.reshape(len(mask), -1).any(axis=1))])
    return np.asarray(counts[offsets[1:]] > counts[offsets[:-1]])


def make_split(protocol: Protocol, file: FeatureFile, fold: int) -> Split:
    """The rows of one fold, checked.

    Raises:
        UserError: as `deal`; an empty part, or a cluster (speaker, subject, video) that would be in two parts.
    """
    split = deal(protocol, file, fold)
    _check(protocol, file, fold, split)
    return split


def deal(protocol: Protocol, file: FeatureFile, fold: int) -> Split:
    """The rows of one fold, whoever is in them.

    Training and validation keep items with a target of any task, the test part items with a target of the primary task.

    Raises:
        UserError: fold out of range, or groups that do not match the protocol.
    """
    if not 0 <= fold < protocol.folds:
        raise UserError(f"--data.fold {fold} is out of range: {protocol.name} has folds 0 to {protocol.folds - 1}")
    usable = np.zeros(file.n, dtype=bool)
    for name, spec in protocol.tasks.items():
        usable |= labelled(file, name, spec)
    for key, kept in protocol.where.items():
        usable &= np.isin(file.group(key), kept)
    part = _assign(protocol, file, fold, usable)
    primary = protocol.primary.partition("/")[0]
    part[(part == 3) & ~labelled(file, primary, protocol.tasks[primary])] = 0
    train, val, test = (np.flatnonzero(part == k) for k in (1, 2, 3))
    return Split(train, test if protocol.selection == "test" else val, test)


def search_fold(protocol: Protocol, file: FeatureFile, fold: int) -> int:
    """The fold of the search that chooses the settings of a fold: the one whose locked part holds its people.

    Raises:
        UserError: as `make_split`; people of the fold's test part that the search would see.
    """
    search = searched(protocol)
    if search is protocol:
        return fold
    groups = file.group(protocol.cluster)
    mine = set(groups[make_split(protocol, file, fold).test])
    for block in range(search.folds):
        part = make_split(search, file, block)
        if mine <= set(groups[part.test]) and not mine & set(groups[np.concatenate([part.train, part.val])]):
            return block
    raise UserError(f"{file.path}: no block of {search.name} holds out the test part of fold {fold}")


def _assign(protocol: Protocol, file: FeatureFile, fold: int, usable: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Part of each item: 0 unused, 1 train, 2 validation, 3 test."""
    part = np.zeros(file.n, dtype=np.uint8)
    rule = protocol.split
    if isinstance(rule, OfficialTable):
        part[:] = file.split_table(rule.scheme)[fold]
        if rule.validation_key:
            groups = file.group(rule.validation_key)
            names = _by_hash(set(groups[(part == 1) & usable]), protocol.name)
            held = names[: max(1, round(rule.validation_share * len(names)))]
            part[(part == 1) & np.isin(groups, held)] = 2
        part[~usable] = 0
        return part
    if isinstance(rule, ItemKFold):
        dealt = np.array(_by_hash((file.ids[row] for row in np.flatnonzero(usable)), protocol.name))
        part[usable] = 1
        part[usable & np.isin(file.ids, dealt[(fold + 1) % rule.k :: rule.k])] = 2
        part[usable & np.isin(file.ids, dealt[fold :: rule.k])] = 3
        return part
    groups = file.group(rule.key)
    test, val = _groups(rule, protocol, file, sorted(set(groups[usable])), fold)
    part[usable] = 1
    part[usable & np.isin(groups, val)] = 2
    part[usable & np.isin(groups, test)] = 3
    return part


def _groups(
    rule: LeaveOneGroupOut | GroupKFold, protocol: Protocol, file: FeatureFile, names: list[str], fold: int
) -> tuple[list[str], list[str]]:
    """Names of the test and validation groups of one fold."""
    if isinstance(rule, GroupKFold):
        dealt = _by_hash(names, protocol.name)
        if len(dealt) < rule.k + 1:
            raise UserError(
                f"{file.path}: {protocol.name} needs more than {rule.k} groups of {rule.key}, got {len(dealt)}"
            )
        return dealt[fold :: rule.k], dealt[(fold + 1) % rule.k :: rule.k]
    if len(names) != protocol.folds:
        raise UserError(
            f"{file.path}: {protocol.name} leaves one {rule.key} out and expects {protocol.folds} of them, "
            f"the file has {len(names)} with usable labels"
        )
    test = names[fold]
    others = _by_hash((n for n in names if n != test), protocol.name)
    chosen = {"next": [names[(fold + 1) % len(names)]], "hashed": others[: rule.count], "none": []}
    return [test], chosen[rule.validation]


def _by_hash(names: Iterable[str], salt: str) -> list[str]:
    return sorted(names, key=lambda name: hashlib.sha256(f"{salt}/{name}".encode()).digest())


def _check(protocol: Protocol, file: FeatureFile, fold: int, split: Split) -> None:
    parts = {"training": split.train, "validation": split.val, "test": split.test}
    for name, rows in parts.items():
        if not len(rows) and not (name == "validation" and protocol.selection == "fixed"):
            raise UserError(f"{file.path}: the {name} part of fold {fold} of {protocol.name} is empty")
    if protocol.selection == "test":
        if not protocol.legacy:
            raise UserError(f"{protocol.name}: chooses the epoch on the test part; only legacy protocols may")
        del parts["validation"]
    if isinstance(protocol.split, ItemKFold):
        if not protocol.legacy:
            raise UserError(
                f"{protocol.name}: folds of single items put people in two parts; only legacy protocols may"
            )
        return
    groups = file.group(protocol.cluster)
    owners: dict[str, str] = {}
    for name, rows in parts.items():
        for group in set(groups[rows]):
            if group in owners:
                raise UserError(
                    f"{file.path}: {protocol.cluster} {str(group)!r} is in the {owners[group]} and the {name} part of "
                    f"fold {fold} of {protocol.name}; people and recordings must not cross parts"
                )
            owners[group] = name
