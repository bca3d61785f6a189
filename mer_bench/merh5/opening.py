"""Open an HDF5 file from strangers: nothing is followed, and nothing is read before its size is known to fit.

The walk visits only the groups and datasets that the layout names. What it does not trust becomes a fault and stays
out of the tree.
"""

from __future__ import annotations

import json
from typing import Any

import h5py
import numpy as np

from mer_bench.merh5.layout import GROUPS, Tree, pattern
from mer_bench.merh5.schema import Fault


def open_tree(file: h5py.File) -> tuple[Tree, list[Fault]]:
    """The parts of an opened file and what is wrong with the way they are stored."""
    tree = Tree()
    faults: list[Fault] = []
    _walk(file, "", tree, faults)
    return tree, faults


def _walk(group: h5py.Group, path: str, tree: Tree, faults: list[Fault]) -> None:
    tree.attrs[path] = {name: _decode(rule.type, group.attrs[name]) for name, rule in GROUPS[pattern(path)[0]].items()}
    for name in group:
        child = group[name]
        child_path = f"{path}/{name}" if path else name
        if isinstance(child, h5py.Group):
            _walk(child, child_path, tree, faults)
        else:
            tree.data[child_path] = child


def _decode(kind: str, value: Any) -> Any:
    match kind:
        case "float":
            return float(value)
        case "int":
            return int(value)
        case "flag":
            return bool(value)
        case "text":
            return np.bytes_(value).decode()
        case _:
            return json.loads(np.bytes_(value).decode())
