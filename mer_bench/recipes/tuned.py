"""The part `tuned` of a config: settings that a search chose, one set for each test fold. No torch here.

    tuned:
      protocol: iemocap4
      search: 1f3a...            # names the search: its space, draws, code and data
      data: 9c41...              # sha256 of the feature file's content; the settings serve no other file
      set: {data.protocol: iemocap4, data.modalities: [audio, text]}
      folds:
        0: {ledger: 5e0d..., score: 0.61, settings: {model.optimizer.lr: 0.001, model.method.dim: 64}}

A fold's settings were chosen without its test part, so they may not serve another fold, and a fold that is not there
has none.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from mer_bench.errors import UserError


@dataclass(frozen=True)
class Tuned:
    """What a search says of one fold.

    Attributes:
        search: name of the search.
        ledger: sha256 of the trials that the settings were chosen from.
        settings: chosen values by dotted setting.
        data: sha256 of the content of the feature file.
    """

    search: str
    ledger: str
    settings: Mapping[str, Any]
    data: str


def read(part: Any) -> dict[str, Any]:
    """The part, checked.

    Raises:
        UserError: it has another form.
    """
    wanted = {"protocol": str, "search": str, "data": str, "set": dict, "folds": dict}
    if not isinstance(part, dict) or part.keys() != wanted.keys():
        raise UserError(f"tuned: expected a mapping of {', '.join(wanted)}; let `mer-bench sweep` write it")
    for key, kind in wanted.items():
        if not isinstance(part[key], kind):
            raise UserError(f"tuned.{key} is {part[key]!r}; expected {kind.__name__}")
    for fold, found in part["folds"].items():
        if not isinstance(fold, int) or not isinstance(found, dict) or not {"settings", "ledger"} <= found.keys():
            raise UserError(f"tuned.folds.{fold}: expected a fold's number with settings and ledger, got {found!r}")
        if not isinstance(found["settings"], dict):
            raise UserError(f"tuned.folds.{fold}.settings is {found['settings']!r}; expected values by dotted setting")
    return part


def choose(part: Mapping[str, Any], fold: object, protocol: str, given: Iterable[str]) -> Tuned:
    """The settings of one fold.

    Args:
        part: what `read` gave.
        fold: the run's test fold.
        protocol: the run's.
        given: dotted settings of the command line.

    Raises:
        UserError: no settings for this fold or protocol, or the command line changes what was chosen.
    """
    folds = part["folds"]
    if protocol != part["protocol"]:
        raise UserError(f"the settings were searched under {part['protocol']}, the run is of {protocol or 'another'}")
    if fold not in folds:
        known = ", ".join(map(str, sorted(folds))) or "none"
        raise UserError(
            f"--data.fold {fold}: the config has settings for fold {known} only; those of another fold were chosen on "
            f"people of this one's test part. Search fold {fold} too"
        )
    found = Tuned(part["search"], str(folds[fold]["ledger"]), folds[fold]["settings"], part["data"])
    for key in given:
        if key in found.settings:
            raise UserError(f"--{key}: the search chose it; a run with another value is not tuned. Use another config")
    return found
