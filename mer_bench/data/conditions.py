"""What is missing at test: from a condition to the availability of every modality of every item. numpy only.

Rate η is the share of present (item, modality) pairs that are removed, each item keeping at least one; items
that natively lack a modality keep that. What goes first is drawn from the item's id, the modality and the
number of the mask, so what is gone at one rate is gone at every higher one; how far the removal goes depends
on the other items of the test part and on the modalities that were asked for. With both the same, masks are
the same for every method and machine.

However many conditions there are, an item can only be left with one of the 2^M subsets of its modalities, and what a
method says of an item depends on nothing else. So a method is asked once for each subset, and every condition is put
together from the answers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mer_bench.protocol import Condition

#: stored masks per rate
MASKS = 10
FULL = "full"
Available = dict[str, NDArray[np.bool_]]


def condition_names(conditions: Sequence[Condition], modalities: Sequence[str]) -> list[str]:
    """`full`, `only_<m>`, `no_<m>`, `missing_<rate>_<mask>`; with one modality only `full` is left.

    For two modalities `no_<a>` is `only_<b>`: both names are kept, so that tables read the same for any number.
    Rates above (M-1)/M cannot be reached when each item keeps one, and are left out.
    """
    names = [FULL]
    if len(modalities) < 2:
        return names
    for condition in conditions:
        if condition.kind in ("only", "no"):
            names += [f"{condition.kind}_{m}" for m in modalities]
        for rate in condition.rates:
            if rate <= (len(modalities) - 1) / len(modalities) + 1e-9:
                names += [f"missing_{rate:g}_{k}" for k in range(MASKS)]
    return names


def available(name: str, ids: Sequence[str], present: Available) -> Available:
    """Which items still have which modality under a condition.

    Args:
        name: one of `condition_names`.
        ids: the items' ids, in the order of the masks.
        present: native presence by modality, (items,) each.
    """
    kind, _, rest = name.partition("_")
    if kind == "only":
        return {m: has & (m == rest) for m, has in present.items()}
    if kind == "no":
        return {m: has & (m != rest) for m, has in present.items()}
    if kind == "missing":
        rate, mask = rest.split("_")
        return _remove(float(rate), int(mask), ids, present)
    return dict(present)


def _remove(rate: float, mask: int, ids: Sequence[str], present: Available) -> Available:
    """Remove round(rate x pairs) present pairs, in the order of a hash, never an item's last one.

    One pair per item, the one whose draw is highest, is protected; the others go in the order of their draws.
    """
    modalities = list(present)
    native = np.stack([present[m] for m in modalities], axis=1)
    draws = np.stack([_uniform(ids, f"{m}/{mask}") for m in modalities], axis=1)
    draws = np.where(native, draws, -1.0)
    protected = draws.argmax(axis=1)[:, None] == np.arange(len(modalities))
    candidates = np.flatnonzero((native & ~protected).ravel())
    order = candidates[np.argsort(draws.ravel()[candidates], kind="stable")]
    flat = native.ravel().copy()
    flat[order[: round(rate * native.sum())]] = False
    kept = flat.reshape(native.shape)
    return {m: kept[:, k] for k, m in enumerate(modalities)}


def _uniform(ids: Sequence[str], salt: str) -> NDArray[np.float64]:
    """One uniform number in [0, 1) per id, independent between salts."""
    digests = b"".join(hashlib.blake2b(f"{salt}/{i}".encode(), digest_size=8).digest() for i in ids)
    return np.frombuffer(digests, dtype="<u8").astype(np.float64) / 2.0**64


def subsets_left(names: Sequence[str], ids: Sequence[str], present: Available) -> dict[str, NDArray[np.int64]]:
    """Which modalities each item is left with, by condition: (items,) numbers whose bit k says that it has the k-th.

    An item that loses nothing counts as having all, so that one answer stands for whatever it has.

    Args:
        names: of the conditions.
        ids: the items' ids.
        present: native presence by modality, (items,) each; its order is that of the bits.
    """
    everything = (1 << len(present)) - 1
    native = _bits(present)
    found = {}
    for name in names:
        kept = _bits(available(name, ids, present))
        found[name] = np.where(kept == native, everything, kept)
    return found


def _bits(present: Available) -> NDArray[np.int64]:
    columns = [has.astype(np.int64) << k for k, has in enumerate(present.values())]
    return np.sum(columns, axis=0, dtype=np.int64)


def subset_name(subset: int, modalities: Sequence[str]) -> str:
    """What a subset is called: as the condition that leaves it, where there is one."""
    kept = [m for k, m in enumerate(modalities) if subset >> k & 1]
    lost = [m for m in modalities if m not in kept]
    if not lost:
        return FULL
    if len(kept) == 1:
        return f"only_{kept[0]}"
    if len(lost) == 1:
        return f"no_{lost[0]}"
    return "-".join(kept) or "none"


def assemble(
    answers: Mapping[str, NDArray[Any]], subsets: NDArray[np.int64], modalities: Sequence[str]
) -> NDArray[Any]:
    """What a method says under one condition.

    Args:
        answers: outputs (rows, size) by the name of the subset that every row was cut to.
        subsets: (rows,) what each row is left with, as from `subsets_left`.
        modalities: in the order of the bits.
    """
    found = np.empty_like(answers[FULL])
    for subset in np.unique(subsets).tolist():
        rows = subsets == subset
        found[rows] = answers[subset_name(subset, modalities)][rows]
    return found


def smoothed(conditions: Sequence[Condition]) -> dict[str, int]:
    """Frames of each smoothing, by the name of its column, `smoothed_<frames>`."""
    return {f"smoothed_{c.frames}": c.frames for c in conditions if c.kind == "smoothed"}


def smooth(values: NDArray[Any], lengths: NDArray[np.int64], frames: int) -> NDArray[np.float64]:
    """The mean over `frames` frames around each one, inside its recording; fewer at the ends, as many on both sides.

    Args:
        values: (rows, size), recordings end to end.
        lengths: (recordings,) rows of each.
        frames: an odd number.
    """
    stop = np.repeat(np.cumsum(lengths), lengths)
    start = stop - np.repeat(lengths, lengths)
    row = np.arange(len(values))
    reach = np.minimum(np.minimum(row - start, stop - 1 - row), frames // 2)
    sums = np.concatenate([np.zeros((1, values.shape[1])), np.cumsum(values, axis=0, dtype=np.float64)])
    return (sums[row + reach + 1] - sums[row - reach]) / (2 * reach + 1)[:, None]
