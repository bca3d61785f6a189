"""Everything that a sweep with a search means: its studies, and the configs that they end in.

`<runs>/tuned/<sweep>/<protocol>/<dataset>_<method>-<modalities>.yaml` maps folds to settings; `fit --config` takes it.
Where two feature files of a sweep have the same modalities, the first eight digits of the file's hash follow. Beside it
lies `....trials.json`, the ledger of every trial by fold of the search.
"""

from __future__ import annotations

import dataclasses
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from mer_bench import recipes
from mer_bench.data.splits import search_fold
from mer_bench.errors import UserError
from mer_bench.protocol import ItemKFold, searched
from mer_bench.recipes import Recipe
from mer_bench.results import atomic
from mer_bench.runs import plan
from mer_bench.sweep.file import FeatureSet, Sweep
from mer_bench.sweep.plan import Pair, base, each_pair, texts
from mer_bench.sweep.search import Study, Winner, has_axes
from mer_bench.sweep.space import Search, targets
from mer_bench.sweep.trials import clear, root

Key = tuple[str, str, FeatureSet]


@dataclass(frozen=True)
class Family:
    """One method on one feature set of a protocol: a config with settings for every fold.

    Attributes:
        pair: of the sweep.
        recipe: what its studies start from.
        fixed: dotted settings that are the same in every fold.
        studies: by fold of the search.
        folds: fold of the search by test fold.
        content: sha256 of the feature file.
        alone: no other file of the sweep has these modalities.
    """

    pair: Pair
    recipe: Recipe
    fixed: Mapping[str, Any]
    studies: Mapping[int, Study]
    folds: Mapping[int, int]
    content: str
    alone: bool = True

    @property
    def key(self) -> Key:
        """Protocol, method and feature set, as a plan names them."""
        return self.pair.protocol.name, self.pair.method, self.pair.features

    @property
    def modalities(self) -> tuple[str, ...]:
        """Of its runs."""
        return tuple(self.recipe.settings["data"]["init_args"]["modalities"])

    def path(self, runs: str, sweep: str) -> Path:
        """Where its config goes."""
        data = "-".join(self.modalities) + ("" if self.alone else f"-{self.content[:8]}")
        name = f"{self.pair.protocol.corpus}_{self.pair.method}-{data}.yaml"
        return Path(runs) / "tuned" / sweep / self.pair.protocol.name / name

    def written(self, runs: str, sweep: str) -> bool:
        """Whether its config is there and came from this very search, not from one of other data, space or code."""
        path = self.path(runs, sweep)
        if not path.is_file():
            return False
        part = recipes.merge_files([path]).get("tuned", {})
        return isinstance(part, dict) and part.get("search") == next(iter(self.studies.values())).name


def families(
    sweep: Sweep, runs: str, overrides: Iterable[tuple[str, str]] = ()
) -> tuple[list[Family], dict[tuple[str, str], str]]:
    """What a sweep has to search, and the pairs that are left out with the reason.

    Raises:
        UserError: a protocol that cannot be searched.
    """
    assert sweep.search is not None
    found, left_out = [], {}
    blocks: dict[tuple[str, str], dict[int, int]] = {}
    given = list(overrides)
    for pair in each_pair(sweep, given):
        reason = pair.reason
        if not reason and not has_axes(sweep.search, recipes.resolve(base(pair))):
            reason = "the method has no settings to search"
        if reason:
            left_out[pair.protocol.name, pair.method] = reason
            continue
        refuse_unsearchable(pair)
        fixed = {**pair.settings, **{key: value for key, (value,) in sweep.grid.items()}}
        recipe = recipes.resolve(base(pair), [*texts(fixed), *given])
        fixed |= {key: recipes.parse_value(text) for key, text in given}
        _refuse_drawn(sweep.search, recipe, fixed)
        for run in plan(recipe, root(runs)):
            where = pair.protocol.name, run.file.content_sha256
            if where not in blocks:  # the same for every method
                wanted = range(pair.protocol.folds) if sweep.folds is None else sweep.folds
                blocks[where] = {fold: search_fold(pair.protocol, run.file, fold) for fold in wanted}
            content = run.file.content_sha256
            found.append(_family(sweep.search, pair, run.recipe, fixed, runs, blocks[where], content))
    return _told_apart(found), left_out


def _told_apart(found: Sequence[Family]) -> list[Family]:
    """The families, those that differ in nothing but the feature file marked."""
    files = defaultdict[tuple[Any, ...], set[str]](set)
    for one in found:
        files[one.pair.protocol.name, one.pair.method, one.modalities].add(one.content)
    return [
        dataclasses.replace(one, alone=len(files[one.pair.protocol.name, one.pair.method, one.modalities]) == 1)
        for one in found
    ]


def refuse_unsearchable(pair: Pair) -> None:
    """Stop a search that would have nothing to choose by, or would choose on the people it is tested on.

    Raises:
        UserError: no validation part, a selection on the test part, or people in all parts.
    """
    protocol = pair.protocol
    if protocol.selection != "validation":
        why = {
            "fixed": "has no validation part, so nothing can be searched",
            "test": "chooses the epoch on its test part; a search would choose settings there too",
        }[protocol.selection]
        raise UserError(f"{protocol.name} {why}; leave it out of the sweep")
    if isinstance(protocol.split, ItemKFold):
        raise UserError(
            f"{protocol.name} has the same people in all parts, so a search would choose on those it is tested on; "
            "leave it out of the sweep"
        )


def _refuse_drawn(search: Search, recipe: Recipe, fixed: Mapping[str, Any]) -> None:
    """Stop before anything is trained where a setting is both given and searched.

    Raises:
        UserError: naming setting and axis.
    """
    drawn = {_plain(name): axis.name for axis in search.axes for name in targets(axis.name, recipe)}
    for key in fixed:
        if axis := drawn.get(_plain(key)):
            raise UserError(
                f"{key} is given (`set` or the command line), and search.space.{axis} draws it for {recipe.method}; "
                f"leave it out, or give search.space without {axis}"
            )


def _plain(key: str) -> str:
    """A dotted setting in one spelling: `init_args` may be left out."""
    return key.replace(".init_args.", ".")


def _family(
    search: Search,
    pair: Pair,
    recipe: Recipe,
    fixed: Mapping[str, Any],
    runs: str,
    folds: Mapping[int, int],
    content: str,
) -> Family:
    place = searched(pair.protocol)
    studies = {fold: Study(search, recipe, pair.protocol, place, fold, runs) for fold in sorted(set(folds.values()))}
    return Family(pair, recipe, fixed, studies, folds, content)


def write(family: Family, winners: Mapping[int, Winner], runs: str, sweep: str) -> Path:
    """Write a family's config and the ledger of its trials.

    Args:
        family: all of whose studies have a winner.
        winners: by fold of the search.
        runs: folder of the runs.
        sweep: its name.

    Returns:
        Path of the config.
    """
    path = family.path(runs, sweep)
    one = next(iter(family.studies.values()))
    loose = {"data.fold", "seed_everything", "data.root", "data.file"}  # a run's own, or no number depends on them
    kept = {key: value for key, value in family.fixed.items() if key not in loose}
    content = {
        "extends": base(family.pair) if len(base(family.pair)) > 1 else _parts(family.pair),
        "card": {"variant": f"tuned-{one.search.draws}"},
        "tuned": {
            "protocol": family.pair.protocol.name,
            "search": one.name,
            "data": family.content,
            "set": {**kept, "data.modalities": list(family.modalities)},
            "folds": {fold: _entry(winners[block]) for fold, block in sorted(family.folds.items())},
        },
    }
    head = (
        f"# Settings of {family.pair.method} for the folds of {family.pair.protocol.name}:\n"
        f"# {one.search.draws} draws ({one.search.sampler}) on the inner validation part of each fold.\n"
        f"# Written by mer-bench sweep {sweep}.\n"
        f"# All trials: {path.stem}.trials.json\n"
    )
    atomic.make_folder(path.parent)
    trials = {str(block): {"sha256": w.ledger, "trials": w.trials} for block, w in sorted(winners.items())}
    ledger = {"search": one.name, "space": one.search.plain(), "protocol": one.place.name, "folds": trials}
    atomic.write(path.with_name(f"{path.stem}.trials.json"), (json.dumps(ledger, indent=1) + "\n").encode())
    for best in winners.values():
        for trial, _ in best.finished:
            clear(trial.run)
    atomic.write(path, (head + yaml.safe_dump(content, sort_keys=False)).encode())
    return path


def _parts(pair: Pair) -> list[str]:
    """The files that make a pair: its own one, or those of data and method."""
    name = f"{pair.protocol.corpus}_{pair.method}"
    return [f"{name}.yaml"] if recipes.find(name) else pair.plain


def _entry(winner: Winner) -> dict[str, Any]:
    return {
        "settings": dict(winner.trial.settings),
        "draw": winner.trial.number,
        "score": winner.outcome.score,
        "ledger": winner.ledger,
    }


def by_key(paths: Sequence[tuple[Family, Path]]) -> dict[Key, list[str]]:
    """The configs as a plan takes them."""
    found: dict[Key, list[str]] = defaultdict(list)
    for family, path in paths:
        found[family.key].append(str(path))
    return dict(found)
