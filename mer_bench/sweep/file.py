"""What a sweep file says.

Nothing but protocols and methods is needed:

    protocols: [iemocap4]                 # names; the corpus follows from the protocol
    methods: [controls, foal]             # slugs, `all`, or a group: controls, seeds
    modalities: {iemocap4: [audio, text]} # per protocol; what a feature file offers where not given
    features:                             # the same with a feature file, or several feature sets of one protocol
      iemocap4: [{modalities: [audio, text], file: features/large.h5}, {modalities: [audio]}]
    variants: [default]                   # `paper`: the settings of a paper, for pairs that have them
    folds: [0, 1]                         # all of the protocol's where not given
    seeds: [0]                            # all of the protocol's where not given
    set: {model.optimizer.lr: [1.0e-3, 1.0e-4], trainer.max_epochs: 5}   # dotted settings; lists make a grid
    search: {draws: 20}                   # settings for every fold from a search of its own; see `space`
    files: {iemocap: other.h5}            # feature file by corpus; `root` is the folder of the others
    skip_absent: true                     # leave out protocols whose feature file is not there, and say so
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mer_bench import recipes
from mer_bench.data.corpora import corpora, find_protocol
from mer_bench.errors import UserError, did_you_mean
from mer_bench.sweep import space
from mer_bench.sweep.space import Search

#: names for several methods at once
SEEDS = ("foal", "iccl", "mmtransmt", "jmt")
KEYS = (
    *("protocols", "methods", "modalities", "features", "variants", "folds", "seeds", "set", "search"),
    *("files", "root", "skip_absent"),
)
VARIANTS = ("default", "paper")


@dataclass(frozen=True)
class FeatureSet:
    """Input of the runs of one protocol.

    Attributes:
        modalities: None means what the file offers.
        file: empty means `<root>/<corpus>.h5`.
    """

    modalities: tuple[str, ...] | None = None
    file: str = ""

    def pairs(self) -> dict[str, Any]:
        """As dotted settings."""
        found: dict[str, Any] = {} if self.modalities is None else {"data.modalities": list(self.modalities)}
        return found | ({"data.file": self.file} if self.file else {})


@dataclass(frozen=True)
class Sweep:
    """What a sweep file says.

    Attributes:
        name: stem of the file.
        protocols: names.
        methods: slugs, groups spelt out.
        features: sets by protocol; one with everything where a protocol is not named.
        variants: of the settings.
        folds: None means all.
        seeds: None means the protocol's.
        grid: lists of values by dotted setting.
        search: of settings; None without.
        files: feature file by corpus, for protocols whose features name none.
        root: folder of feature files.
        skip_absent: leave out protocols without a feature file.
    """

    name: str
    protocols: tuple[str, ...]
    methods: tuple[str, ...]
    features: Mapping[str, tuple[FeatureSet, ...]] = field(default_factory=dict)
    variants: tuple[str, ...] = ("default",)
    folds: tuple[int, ...] | None = None
    seeds: tuple[int, ...] | None = None
    grid: Mapping[str, list[Any]] = field(default_factory=dict)
    search: Search | None = None
    files: Mapping[str, str] = field(default_factory=dict)
    root: str = ""
    skip_absent: bool = False


def read(name: str) -> Sweep:
    """The sweep that a file or a name (`controls`) means.

    Raises:
        UserError: not found, an unknown key, or a wrong type.
    """
    given = Path(name)  # a file that is named lies before one of that name that is shipped
    path = given if given.is_file() else recipes.find(name, "sweep") or recipes.find(name)
    if path is None:
        raise UserError(f"no sweep named {name!r}; {did_you_mean(name, recipes.shipped('sweep'))}")
    content = recipes.merge_files(recipes.chain(path))
    for key in content:
        if key not in KEYS:
            raise UserError(f"{path}: unknown key {key!r}; {did_you_mean(key, KEYS)}")
    grid = {k: v if isinstance(v, list) else [v] for k, v in _mapping(content, "set", path).items()}
    search = space.read(content["search"], path) if "search" in content else None
    varied = [key for key, values in grid.items() if len(values) != 1]
    if search is not None and varied:
        raise UserError(f"{path}: set.{varied[0]} is a grid; with a search, give one value, or put it into the space")
    _refuse_unknown(content, path)
    return Sweep(
        name=path.stem,
        protocols=tuple(_texts(content, "protocols", path)),
        methods=tuple(methods(_texts(content, "methods", path), path)),
        features=_features(content, path),
        variants=_variants(content, path),
        folds=_numbers(content, "folds", path),
        seeds=_numbers(content, "seeds", path),
        grid=grid,
        search=search,
        files=_mapping(content, "files", path),
        root=str(content.get("root", "")),
        skip_absent=bool(content.get("skip_absent", False)),
    )


def methods(names: Iterable[str], where: Path) -> list[str]:
    """Slugs from slugs, groups and `all`, each once.

    Raises:
        UserError: a name that is neither.
    """
    cards = recipes.cards()
    groups = {
        "all": [slug for slug, card in cards.items() if not card.get("variant")],
        "controls": [slug for slug, card in cards.items() if card.get("status") == "control"],
        "seeds": [slug for slug in SEEDS if slug in cards],
    }
    found: dict[str, None] = {}
    for name in names:
        if name not in groups and name not in cards:
            raise UserError(f"{where}: no method or group named {name!r}; {did_you_mean(name, (*cards, *groups))}")
        found |= dict.fromkeys(groups.get(name, [name]))
    return list(found)


def _refuse_unknown(content: Mapping[str, Any], path: Path) -> None:
    """Stop where something is said of a protocol or corpus that is none, and would not be heeded."""
    said = {"protocols": _texts(content, "protocols", path)}
    said |= {key: list(_mapping(content, key, path)) for key in ("modalities", "features")}
    for place, names in said.items():
        for name in names:
            try:
                find_protocol(str(name))
            except UserError as error:
                raise UserError(f"{path}: {place}: {error}") from None
    for corpus in _mapping(content, "files", path):
        if corpus not in corpora():
            raise UserError(f"{path}: files: no corpus named {corpus!r}; {did_you_mean(str(corpus), corpora())}")


def _features(content: Mapping[str, Any], path: Path) -> dict[str, tuple[FeatureSet, ...]]:
    found: dict[str, tuple[FeatureSet, ...]] = {
        protocol: (FeatureSet(_modalities(names, f"{path}: modalities.{protocol}")),)
        for protocol, names in _mapping(content, "modalities", path).items()
    }
    for protocol, sets in _mapping(content, "features", path).items():
        where = f"{path}: features.{protocol}"
        if protocol in found:
            raise UserError(f"{where}: `modalities` names the protocol too; say it once")
        sets = [sets] if isinstance(sets, dict) else sets
        if not isinstance(sets, list) or not sets:
            raise UserError(f"{where} is {sets!r}; expected a mapping of modalities and file, or a list of such")
        found[protocol] = tuple(_feature_set(one, where) for one in sets)
    return found


def _feature_set(given: Any, where: str) -> FeatureSet:
    if not isinstance(given, dict) or not given or not given.keys() <= {"modalities", "file"}:
        raise UserError(f"{where}: {given!r}; expected a mapping of modalities and file")
    names = given.get("modalities")
    return FeatureSet(None if names is None else _modalities(names, where), str(given.get("file", "")))


def _modalities(names: Any, where: str) -> tuple[str, ...]:
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise UserError(f"{where}: expected a list of modalities, got {names!r}")
    return tuple(names)


def _variants(content: Mapping[str, Any], path: Path) -> tuple[str, ...]:
    names = _texts(content, "variants", path) if "variants" in content else ["default"]
    for name in names:
        if name not in VARIANTS:
            raise UserError(f"{path}: variants: {name!r}; {did_you_mean(name, VARIANTS)}")
    return tuple(dict.fromkeys(names))


def _texts(content: Mapping[str, Any], key: str, path: Path) -> list[str]:
    value = content.get(key)
    value = [value] if isinstance(value, str) else value
    if not isinstance(value, list) or not value or not all(isinstance(v, str) for v in value):
        raise UserError(f"{path}: {key} must be a list of names, got {value!r}")
    return value


def _numbers(content: Mapping[str, Any], key: str, path: Path) -> tuple[int, ...] | None:
    value = content.get(key)
    if value is None or value == "all":
        return None
    value = value if isinstance(value, list) else [value]
    if not all(isinstance(v, int) and not isinstance(v, bool) and v >= 0 for v in value):
        raise UserError(f"{path}: {key} must be a list of whole numbers, got {value!r}")
    return tuple(value)


def _mapping(content: Mapping[str, Any], key: str, path: Path) -> dict[str, Any]:
    value = content.get(key) or {}
    if not isinstance(value, dict):
        raise UserError(f"{path}: {key} must be a mapping, got {value!r}")
    return value
