"""Cards: what the YAML file of a method says of it, and what it rules out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mer_bench.protocol import Protocol
from mer_bench.recipes.files import chain, merge_files, shipped
from mer_bench.recipes.settings import Settings


def cards() -> dict[str, Settings]:
    """The card of every method on the search path, by slug."""
    found = {}
    for slug, path in shipped("method").items():
        settings = merge_files(chain(path))
        if "card" in settings:
            found[slug] = settings["card"]
    return found


def unsupported(card: Mapping[str, Any], protocol: Protocol, modalities: Sequence[str] | None) -> str:
    """Why a method's card rules a protocol out; empty when it does not."""
    for name, spec in protocol.tasks.items():
        if spec.kind not in card.get("tasks", (spec.kind,)):
            return f"task {name} is {spec.kind}; the method takes {', '.join(card['tasks'])}"
        if spec.level not in card.get("levels", (spec.level,)):
            return f"task {name} is asked per {spec.level}; the method answers per {', '.join(card['levels'])}"
    asked = str(card.get("modalities", "1+"))
    n = len(modalities) if modalities else None
    if n is not None and not card.get("per_modality") and asked.endswith("+") and n < int(asked[:-1]):
        return f"{n} modality is offered; the method needs {asked[:-1]} or more"
    if n is not None and not card.get("per_modality") and asked.isdigit() and n != int(asked):
        return f"{n} modalities are offered; the method takes {asked}"
    return ""
