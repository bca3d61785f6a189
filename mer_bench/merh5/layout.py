"""The layout of merh5 1.0: which groups, attributes and datasets a file has, of which type.

Strings have a fixed length everywhere: a file has no variable-length data, so nothing points anywhere and every byte
of a value lies where its dataset says. Masks are stored as uint8.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Literal

from mer_bench.merh5.schema import GROUP_KEYS

AttrType = Literal["text", "float", "int", "flag", "json"]

ID = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,127}")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
MAX_ATTR_BYTES = 16 << 20
CORPUS = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")


@dataclass(frozen=True)
class AttrRule:
    """One attribute of a group. Only those that change what the data mean count in the content hash.

    One that is not required stands for nothing when it is missing, and is left out when it is empty.
    """

    type: AttrType
    counts: bool = True
    required: bool = True


@dataclass(frozen=True)
class DataRule:
    """One dataset.

    Attributes:
        dtypes: numpy type strings, little-endian; ``S`` is a UTF-8 string of fixed length.
        shape: by axis, a number or a name; the same name means the same size within one group, ``N`` in the file.
        required: whether its group is incomplete without it.
    """

    dtypes: tuple[str, ...]
    shape: tuple[int | str, ...]
    required: bool = False


TEXT, FLAG, REAL, JSON = AttrRule("text"), AttrRule("flag"), AttrRule("float"), AttrRule("json")
NOTE = AttrRule("text", counts=False)

GROUPS: dict[str, dict[str, AttrRule]] = {
    "": {
        "schema": TEXT,
        "schema_version": TEXT,
        "corpus": TEXT,
        "corpus_version": TEXT,
        "corpus_part": TEXT,
        "synthetic": FLAG,
        "truth": JSON,
        "licence": NOTE,
        "redistributable": AttrRule("flag", counts=False),
        "created_utc": NOTE,
        "creator": NOTE,
        "content_sha256": NOTE,
        "sources": AttrRule("json", counts=False),
        "repairs": AttrRule("json", counts=False),
        "notes": NOTE,
    },
    "items": {"n": AttrRule("int")},
    "items/attr": {},
    "vocab": {},
    "modalities": {},
    "modalities/*": {
        "kind": TEXT,
        "dim": AttrRule("int"),
        "rate_hz": REAL,
        "t0_s": REAL,
        "extractor": TEXT,
        "extractor_version": TEXT,
        "weights_sha256": TEXT,
        "unit": TEXT,
        "aligned_to": TEXT,
        "normalised": TEXT,
        "note": NOTE,
        "fitted_on": AttrRule("text", required=False),
    },
    "labels": {},
    "labels/*": {
        "kind": TEXT,
        "level": TEXT,
        "names": JSON,
        "range": JSON,
        "rate_hz": REAL,
        "native_missing": TEXT,
        "definition": TEXT,
    },
    "splits": {},
    "splits/*": {"disjoint_by": JSON, "source": NOTE, "note": NOTE},
}
REQUIRED_GROUPS = ("items", "items/attr", "vocab", "modalities", "labels", "splits")

DATA: dict[str, DataRule] = {
    "items/id": DataRule(("S",), ("N",), required=True),
    **{f"items/{key}": DataRule(("<i4",), ("N",)) for key in GROUP_KEYS},
    **{f"vocab/{key}": DataRule(("S",), (f"{key}s",)) for key in GROUP_KEYS},
    "items/order": DataRule(("<i4",), ("N",)),
    "items/start_s": DataRule(("<f8",), ("N",)),
    "items/end_s": DataRule(("<f8",), ("N",)),
    "items/text": DataRule(("S",), ("N",)),
    "items/attr/*": DataRule(("S", "<f8"), ("N",)),
    "modalities/*/values": DataRule(("<f4", "<f2"), ("T", "D"), required=True),
    "modalities/*/offsets": DataRule(("<i8",), ("N+1",), required=True),
    "modalities/*/present": DataRule(("|u1",), ("N",), required=True),
    "modalities/*/valid": DataRule(("|u1",), ("T",)),
    "modalities/*/times": DataRule(("<f8",), ("T", 2)),
    "modalities/*/names": DataRule(("S",), ("D",)),
    "labels/*/values": DataRule(("<i8", "<f4"), (), required=True),  # the shape depends on kind and level
    "labels/*/mask": DataRule(("|u1",), (), required=True),
    "labels/*/offsets": DataRule(("<i8",), ("N+1",)),
    "labels/*/times": DataRule(("<f8",), ("L", 2)),
    "splits/*/table": DataRule(("|u1",), ("F", "N"), required=True),
}


@dataclass
class Tree:
    """A feature file as plain parts: what the writer is about to store, or what an opened file offers.

    Attributes:
        attrs: by group path, then by name; decoded (JSON becomes objects).
        data: by dataset path; numpy arrays or h5py datasets, both of which are read by slices.
    """

    attrs: dict[str, dict[str, Any]] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)

    def names(self, group: str) -> list[str]:
        """Names of the sub-groups of a group, sorted."""
        start = f"{group}/"
        return sorted({path[len(start) :].split("/")[0] for path in self.attrs if path.startswith(start)})


def pattern(path: str) -> tuple[str, str]:
    """The key of a path in `GROUPS` or `DATA`, and the free name in it (empty when it has none)."""
    parts = path.split("/")
    free = {"modalities": 1, "labels": 1, "splits": 1}.get(parts[0])
    if parts[:2] == ["items", "attr"]:
        free = 2
    if free is None or len(parts) <= free:
        return path, ""
    name = parts[free]
    return "/".join([*parts[:free], "*", *parts[free + 1 :]]), name
