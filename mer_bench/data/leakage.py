"""What the parts of a fold share: groups, items that are the same, items that are nearly the same, texts. No torch.

Features are read item by item in pieces of bounded size; only a digest and the mean of each item are kept.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from mer_bench.data.splits import Split
from mer_bench.merh5 import FeatureFile

PART_NAMES = ("train", "validation", "test")
GROUPS = ("speaker", "session", "dialogue")
PIECE_BYTES = 1 << 26
#: two items are nearly the same when their means, each feature in units of its spread over the items, lie no further
#: apart than this, as a root mean square over features (ours: rounding to half precision stays below it)
NEAR = 2e-3
#: dimensions of the random projection that finds candidates; projecting never increases a distance
PROJECTED = 8
#: pairs of near items beyond which they are counted no further: the modality then takes few values
MAX_PAIRS = 2_000_000
#: a text counts when it has so many words (ours): "yes" and "okay" recur in any corpus
MIN_WORDS = 4


@dataclass(frozen=True)
class Twins:
    """Items of one modality that are the same or nearly so.

    Attributes:
        same: (items,) number of the group of identical items, -1 for items that lack the modality or hold only zeros.
        near: (pairs, 2) rows of nearly identical items that are not identical; of identical ones the first stands for
            all.
        too_many: there were more pairs than are kept.
    """

    same: NDArray[np.int64]
    near: NDArray[np.int64]
    too_many: bool = False


@dataclass
class Shared:
    """What two parts of one fold share.

    Attributes:
        parts: their names.
        groups: names in both, by key.
        same: items of the later part that have an identical one in the earlier part, by modality.
        near: likewise, nearly identical.
        twins: rows of the later part whose features are identical in all their modalities (two or more) to one item.
        texts: rows of the later part whose text stands in the earlier part; None without stored texts.
    """

    parts: tuple[str, str]
    groups: dict[str, list[str]] = field(default_factory=dict)
    same: dict[str, int] = field(default_factory=dict)
    near: dict[str, int] = field(default_factory=dict)
    twins: list[int] = field(default_factory=list)
    texts: list[int] | None = None


def twins(file: FeatureFile, modality: str) -> Twins:
    """Identical and nearly identical items of a modality, over the whole file."""
    digests: dict[bytes, int] = {}
    same = np.full(file.n, -1, np.int64)
    means = np.zeros((file.n, file.modalities[modality].dim))
    for item, rows in _items(file, modality):
        if not rows.any():
            continue
        digest = hashlib.blake2b(rows.tobytes(), digest_size=16).digest()
        same[item] = digests.setdefault(digest + len(rows).to_bytes(8, "little"), len(digests))
        means[item] = rows.mean(axis=0, dtype=np.float64)
    first = np.unique(same, return_index=True)[1]
    first = np.sort(first[same[first] >= 0])  # one item of each group
    if len(first) < 2:
        return Twins(same, np.zeros((0, 2), np.int64))
    pairs, too_many = _near(means[first])
    return Twins(same, first[pairs], too_many)


def _items(file: FeatureFile, modality: str) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """(item, its valid rows) of all items that have the modality, read in pieces."""
    info = file.modalities[modality]
    step = max(1, PIECE_BYTES // (4 * info.dim))
    item = 0
    while item < file.n:
        stop = max(item + 1, int(np.searchsorted(info.offsets, info.offsets[item] + step, side="right")) - 1)
        stop = min(stop, file.n)
        start, end = int(info.offsets[item]), int(info.offsets[stop])
        values, valid = file.values(modality, start, end), file.valid(modality, start, end)
        for k in range(item, stop):
            here = slice(int(info.offsets[k]) - start, int(info.offsets[k + 1]) - start)
            if valid[here].any():
                yield k, values[here][valid[here]]
        item = stop


def _near(means: NDArray[np.float64]) -> tuple[NDArray[np.int64], bool]:
    """Pairs of rows nearer than `NEAR`; candidates from a tree over a projection, then checked in full."""
    from scipy.spatial import cKDTree

    spread = means.std(axis=0)
    live = spread > 0
    if not live.any():
        return np.zeros((0, 2), np.int64), True
    scaled = (means[:, live] - means[:, live].mean(axis=0)) / spread[live]
    radius = NEAR * np.sqrt(scaled.shape[1])
    if scaled.shape[1] > PROJECTED:
        random = np.random.default_rng(0).normal(size=(scaled.shape[1], PROJECTED))
        tree = cKDTree(scaled @ np.linalg.qr(random)[0])
    else:
        tree = cKDTree(scaled)
    if (tree.count_neighbors(tree, radius) - len(scaled)) // 2 > MAX_PAIRS:
        return np.zeros((0, 2), np.int64), True
    found = [np.zeros((0, 2), np.int64)]
    pairs = tree.query_pairs(radius, output_type="ndarray").astype(np.int64)
    step = max(1, PIECE_BYTES // (8 * scaled.shape[1]))
    for start in range(0, len(pairs), step):
        part = pairs[start : start + step]
        far = np.linalg.norm(scaled[part[:, 0]] - scaled[part[:, 1]], axis=1)
        found.append(part[far <= radius])
    return np.concatenate(found), False


def plain_texts(file: FeatureFile) -> list[str] | None:
    """Texts in small letters without punctuation; empty where they are too short to count. None without texts."""
    texts = file.text()
    if texts is None:
        return None
    words = [re.findall(r"\w+", text.casefold()) for text in texts]
    return [" ".join(part) if len(part) >= MIN_WORDS else "" for part in words]


def shared(file: FeatureFile, split: Split, found: Mapping[str, Twins], texts: Sequence[str] | None) -> list[Shared]:
    """What each pair of parts of a fold shares."""
    rows = dict(zip(PART_NAMES, (split.train, split.val, split.test), strict=True))
    told = []
    for early, late in combinations(PART_NAMES, 2):
        one = Shared((early, late))
        for key in GROUPS:
            if key in file.columns:
                names = file.group(key)
                one.groups[key] = sorted(set(names[rows[early]].tolist()) & set(names[rows[late]].tolist()))
        for modality, twin in found.items():
            known = set(twin.same[rows[early]].tolist()) - {-1}
            one.same[modality] = sum(number in known for number in twin.same[rows[late]].tolist())
            one.near[modality] = _across(twin.near, rows[early], rows[late], file.n)
        one.twins = _whole(found, rows[early], rows[late])
        if texts is not None:
            said = {texts[row] for row in rows[early]} - {""}
            one.texts = [int(row) for row in rows[late] if texts[row] in said]
        told.append(one)
    return told


def _across(pairs: NDArray[np.int64], early: NDArray[np.int64], late: NDArray[np.int64], n: int) -> int:
    """How many rows of the later part have a partner in the earlier one."""
    side = np.zeros(n, np.int8)
    side[early], side[late] = 1, 2
    turned = np.concatenate([pairs, pairs[:, ::-1]])
    crossing = (side[turned[:, 0]] == 1) & (side[turned[:, 1]] == 2)
    return len(np.unique(turned[crossing, 1]))


def _whole(found: Mapping[str, Twins], early: NDArray[np.int64], late: NDArray[np.int64]) -> list[int]:
    """Rows of the later part that equal one item of the earlier part in everything, in two modalities at least."""
    table = np.stack([twin.same for twin in found.values()], axis=1)
    known = {tuple(row) for row in table[early].tolist() if sum(number >= 0 for number in row) > 1}
    return [int(row) for row in late if tuple(table[row].tolist()) in known]
