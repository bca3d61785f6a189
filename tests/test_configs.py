"""Everything in configs/ can be read, names what exists, and says what a reader needs."""

from __future__ import annotations

import importlib
import inspect
from pathlib import Path

import pytest

from mer_bench import recipes
from mer_bench.data.corpora import corpora
from tests.source import ROOT

CONFIGS = sorted((ROOT / "configs").rglob("*.yaml"))
METHODS = sorted((ROOT / "configs" / "method").glob("*.yaml"))


def name(path: Path) -> str:
    """How a config is called in the test report."""
    return str(path.relative_to(ROOT / "configs"))


@pytest.mark.parametrize("path", CONFIGS, ids=name)
def test_every_class_exists_and_takes_its_settings(path: Path):
    merged = recipes.merge_files(recipes.chain(path))
    merged.pop("card", None)
    settings = recipes.expand_names(merged)
    recipes.refuse_foreign_classes(settings)
    for place, class_path in recipes.class_paths(settings):
        module, _, attribute = class_path.rpartition(".")
        known = inspect.signature(getattr(importlib.import_module(module), attribute)).parameters
        node = settings
        for part in place.split(".")[:-1]:
            node = node[part]
        unknown = set(node.get("init_args") or {}) - set(known)
        assert not unknown, f"{place}: {attribute} takes no {unknown}"


@pytest.mark.parametrize("path", METHODS, ids=name)
def test_a_method_says_where_it_comes_from(path: Path):
    assert path.read_text(encoding="utf-8").startswith("# "), "the first line of the file names the source"


def test_every_corpus_has_a_config():
    assert set(corpora()) == {path.stem for path in (ROOT / "configs" / "data").glob("*.yaml")}


def test_every_pair_composes():
    for corpus in corpora():
        for path in METHODS:
            recipe = recipes.resolve([f"{corpus}_{path.stem}"])
            assert (recipe.dataset, recipe.method) == (corpus, path.stem)
            assert recipe.settings["data"]["class_path"].startswith("mer_bench.")
            assert recipe.settings["model"]["method"]["class_path"].startswith("mer_bench.methods.")
