"""From a sweep to the runs that it means; `file` says how a sweep is written.

A pair that a method's card rules out is left out with the reason. A run is named by its content, so extending a file
runs only what is new.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mer_bench import recipes
from mer_bench.data.corpora import find_protocol
from mer_bench.data.files import find_features
from mer_bench.errors import UserError
from mer_bench.protocol import Protocol
from mer_bench.runs import Run, plan
from mer_bench.sweep.file import FeatureSet, Sweep, read

__all__ = ["Pair", "Plan", "Sweep", "base", "each_pair", "make_plan", "read", "texts"]

Pairs = Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Plan:
    """The runs of a sweep, in the order in which they are started, and the pairs that were left out.

    Attributes:
        runs: by key; each once.
        left_out: (protocol, method) and why.
    """

    runs: Mapping[str, Run]
    left_out: Mapping[tuple[str, str], str]


@dataclass(frozen=True)
class Pair:
    """A method on a protocol with one feature set.

    Attributes:
        protocol: what is compared.
        method: slug.
        features: the input.
        settings: dotted ones, common to all runs of the pair.
        reason: why the pair is left out; empty if it is not.
    """

    protocol: Protocol
    method: str
    features: FeatureSet
    settings: dict[str, Any]
    reason: str

    @property
    def plain(self) -> list[str]:
        """The configs that together give the method's own settings, whatever a paper did with the pair."""
        return [f"data/{self.protocol.corpus}.yaml", f"method/{self.method}.yaml"]


def each_pair(sweep: Sweep, overrides: Iterable[tuple[str, str]] = ()) -> Iterator[Pair]:
    """Every protocol x method x feature set, those left out included.

    Args:
        sweep: what the file says.
        overrides: of the command line; they may say where feature files are.
    """
    given, cards = dict(overrides), recipes.cards()
    for name in sweep.protocols:
        protocol = find_protocol(name)
        for features, method in itertools.product(sweep.features.get(name, (FeatureSet(),)), sweep.methods):
            settings = {"data.protocol": protocol.name, **features.pairs()}
            if protocol.corpus in sweep.files:
                settings.setdefault("data.file", sweep.files[protocol.corpus])
            if sweep.root:
                settings["data.root"] = sweep.root
            modalities = None if features.modalities is None else list(features.modalities)
            reason = recipes.unsupported(cards[method], protocol, modalities)
            if sweep.skip_absent and not reason:
                reason = _absent(protocol.corpus, {**settings, **given})
            yield Pair(protocol, method, features, settings, reason)


def make_plan(
    sweep: Sweep,
    runs: str,
    overrides: Iterable[tuple[str, str]] = (),
    tuned: Mapping[tuple[str, str, FeatureSet], Sequence[str]] | None = None,
) -> Plan:
    """Every run of a sweep.

    Args:
        sweep: what the file says.
        runs: folder of the runs.
        overrides: dotted settings from the command line, on top of everything.
        tuned: with a search: configs by protocol, method and feature set; a pair that is not there is left out.

    Raises:
        UserError: as `fit` would say it.
    """
    found: dict[str, Run] = {}
    left_out: dict[tuple[str, str], str] = {}
    given = list(overrides)
    for pair in each_pair(sweep, given):
        place = pair.protocol.name, pair.method
        if pair.reason:
            left_out[place] = pair.reason
            continue
        if tuned is None:
            configs = _variants(pair, sweep.variants)
        else:  # its modalities stand in a config that was searched
            configs = [[config] for config in tuned.get((*place, pair.features), ())]
            pair.settings.pop("data.modalities", None)
        for values, names in itertools.product(_settings(sweep, pair), configs):
            found |= {run.key: run for run in plan(recipes.resolve(names, [*values, *given]), runs)}
    return Plan(found, left_out)


def _absent(corpus: str, settings: Mapping[str, Any]) -> str:
    """Why there is no feature file; empty when there is one."""
    try:
        find_features(corpus, str(settings.get("data.root", "")), str(settings.get("data.file", "")))
    except UserError as error:
        return str(error).partition(". Make them")[0]
    return ""


def _variants(pair: Pair, wanted: Sequence[str]) -> list[list[str]]:
    """Configs of a pair by variant: its own file, and those of data and method where its own one is a paper's."""
    own = [f"{pair.protocol.corpus}_{pair.method}"]
    kind = recipes.resolve(own).card.get("variant") or "default"
    found = {kind: own} if kind == "default" else {kind: own, "default": pair.plain}
    return [found[name] for name in wanted if name in found]


def _settings(sweep: Sweep, pair: Pair) -> Iterator[list[tuple[str, str]]]:
    """Dotted settings of each run of a pair: seeds outermost, so that a first full table stands early."""
    folds = range(pair.protocol.folds) if sweep.folds is None else sweep.folds
    seeds = pair.protocol.seeds if sweep.seeds is None else sweep.seeds
    for seed, fold, *values in itertools.product(seeds, folds, *sweep.grid.values()):
        chosen = {**pair.settings, "seed_everything": seed, "data.fold": fold}
        chosen |= dict(zip(sweep.grid, values, strict=True))
        yield texts(chosen)


def texts(settings: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Dotted settings as a command line would give them."""
    return [(key, recipes.to_text(value)) for key, value in settings.items()]


def base(pair: Pair) -> list[str]:
    """The configs from which a search starts: the settings common to all."""
    return _variants(pair, ["default"])[0]
