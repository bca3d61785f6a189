"""Settings are plain mappings: laid over each other, changed by dotted keys, read from the text of a command line."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import yaml

from mer_bench.recipes.classes import full_name

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

Settings = dict[str, Any]


def from_yaml(text: str) -> Any:
    """Read YAML; it makes nothing but plain values."""
    return yaml.load(text, Loader=_LOADER)


def merge(base: Settings, top: Mapping[str, Any]) -> Settings:
    """A new mapping: `top` on `base`, key by key; a changed ``class_path`` drops the old class's settings."""
    if "class_path" in top and "class_path" in base and full_name(top["class_path"]) != full_name(base["class_path"]):
        base = {}
    merged = dict(base)
    for key, value in top.items():
        if value is None and key in merged and isinstance(merged[key], dict):
            del merged[key]
        elif isinstance(value, Mapping):
            old = merged.get(key)
            merged[key] = merge(old if isinstance(old, dict) else {}, value)
        else:
            merged[key] = value
    return merged


def set_dotted(settings: Settings, key: str, value: Any) -> None:
    """Set ``model.method.dim`` in place; inside a class, a plain name means one of its ``init_args``."""
    node, parts = settings, key.split(".")
    for i, part in enumerate(parts):
        if "class_path" in node and part not in ("class_path", "init_args"):
            node = node.setdefault("init_args", {})
        if i == len(parts) - 1:
            break
        below = node.get(part)
        node[part] = below = below if isinstance(below, dict) else {}
        node = below
    last = parts[-1]
    old = node.get(last)
    if isinstance(old, dict) and "class_path" in old and isinstance(value, str):
        value = {"class_path": value}  # `--model.method TFN` names another class
    if last == "class_path" and full_name(node.get(last, value)) != full_name(value):
        node.pop("init_args", None)
    node[last] = merge(old, value) if isinstance(old, dict) and isinstance(value, dict) else value


def parse_value(text: str) -> Any:
    """A command-line value, read as YAML; ``[audio, text]`` is a list, ``1e-3`` a number."""
    try:
        value = from_yaml(text)
    except yaml.YAMLError:
        return text
    if isinstance(value, str):
        try:
            return float(value)  # YAML 1.1 reads 1e-3 as text
        except ValueError:
            return value
    return value


def to_text(value: Any) -> str:
    """The reverse of `parse_value`, for settings given in Python."""
    return value if isinstance(value, str) else json.dumps(value)
