"""What a claim lacks to be tested, and the commands that would supply it. Pure; no torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from mer_bench import recipes
from mer_bench.data.corpora import protocols
from mer_bench.results.claims import Claim, Side
from mer_bench.results.grids import given
from mer_bench.results.measured import Group

#: shipped sweeps that were written for claims
SWEEPS = "claims_"


def lacking(claim: Claim, protocol: str, found: Sequence[Group]) -> tuple[str, tuple[str, ...]]:
    """What runs are missing under a protocol, in words, and commands that make them; nothing where all are there.

    Args:
        claim: whose rows are wanted.
        protocol: its name.
        found: what was run under it.
    """
    planned = _planned(protocol)
    parts, absent = [], []
    for side in dict.fromkeys(Side(s.method, s.modalities) for s in (claim.left, claim.right) if s is not None):
        done = _done(side, found)
        if planned is None or done < planned:
            inputs = f" on {' + '.join(side.modalities)}" if side.modalities else ""
            parts.append(f"{side.method}{inputs} has {done} of {planned or 'its'} runs")
            absent.append(side)
    if not absent:
        return "", ()
    return f"under {protocol} {', '.join(parts)}", commands(protocol, absent, found)


def _planned(protocol: str) -> int | None:
    known = protocols().get(protocol)
    return None if known is None else known.folds * len(known.seeds)


def _done(side: Side, found: Iterable[Group]) -> int:
    """The most runs that one row of a side has."""
    rows = [
        len(group.plan.planned) - len(group.lacking(key))
        for group in found
        for key in group.grids
        if key[0] == side.method and tuple(sorted(side.modalities)) in ((), key[1])
    ]
    return max(rows, default=0)


def _offered(found: Iterable[Group]) -> tuple[str, ...]:
    """Modalities of the widest row that was run: what a feature file offers."""
    sets = [key[1] for group in found for key in group.grids]
    return max(sets, key=lambda names: (len(names), names), default=())


def commands(protocol: str, sides: Sequence[Side], found: Sequence[Group]) -> tuple[str, ...]:
    """A shipped sweep that has all of them, else one run of each, its inputs in the order of those there are."""
    for name, content in sweeps().items():
        if protocol in content.get("protocols", ()) and {side.method for side in sides} <= set(content["methods"]):
            return (f"mer-bench sweep {name}",)
    known = protocols().get(protocol)
    if known is None:
        return ()
    offered = _offered(found)
    records = [entry.record for group in found for grid in group.grids.values() for entry in grid.values()]
    return tuple(
        f"mer-bench fit {known.corpus}_{side.method} --data.protocol {protocol}"
        f"{_inputs(given(records, side.modalities or _all(side.method, offered)))} --data.fold FOLD --seed SEED"
        for side in sides
    )


def _all(method: str, offered: tuple[str, ...]) -> tuple[str, ...]:
    """What a method would be run on where a claim does not say; one for single modalities takes each by itself."""
    path = recipes.find(method, "method")
    card = {} if path is None else recipes.merge_files(recipes.chain(path)).get("card", {})
    return () if card.get("per_modality") else offered


def _inputs(modalities: Sequence[str]) -> str:
    return f" --data.modalities '[{', '.join(modalities)}]'" if modalities else ""


def sweeps() -> Mapping[str, Mapping[str, list[str]]]:
    """What the shipped sweeps for claims run."""
    every = recipes.shipped("sweep").items()
    return {name: recipes.load_yaml(path) for name, path in every if name.startswith(SWEEPS)}
