"""Recipes: layers, names, overrides, and refusals, all without torch."""

from __future__ import annotations

import pytest

from mer_bench import recipes
from mer_bench.errors import UserError
from mer_bench.recipes import Recipe, merge, parse_value, per_modality, resolve, set_dotted


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "configs").mkdir()
    return tmp_path


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_later_layers_change_single_keys():
    base = {"model": {"method": {"class_path": "Concat", "init_args": {"dim": 8, "layers": 1}}}}
    merged = merge(base, {"model": {"method": {"init_args": {"dim": 16}}}})
    assert merged["model"]["method"] == {"class_path": "Concat", "init_args": {"dim": 16, "layers": 1}}
    assert base["model"]["method"]["init_args"]["dim"] == 8


def test_another_class_drops_the_old_settings():
    base = {"class_path": "Concat", "init_args": {"dim": 8}}
    assert merge(base, {"class_path": "Gated"}) == {"class_path": "Gated"}
    same = {"class_path": "mer_bench.methods.concat.Concat"}
    assert merge(base, same)["init_args"] == {"dim": 8}


def test_null_removes_a_mapping():
    base = {"auxiliary": {"a": {"class_path": "AVEL"}, "b": {"class_path": "SupCon"}}}
    assert merge(base, {"auxiliary": {"a": None}}) == {"auxiliary": {"b": {"class_path": "SupCon"}}}
    assert merge({"clip": 1.0}, {"clip": None}) == {"clip": None}


def test_pair_without_a_file_is_composed_general_first():
    recipe = resolve(["iemocap_concat.yaml"])
    assert (recipe.dataset, recipe.method) == ("iemocap", "concat")
    assert [f.name for f in recipe.files] == ["base.yaml", "iemocap.yaml", "concat.yaml"]
    assert recipe.settings["data"]["class_path"] == "mer_bench.data.datamodules.IEMOCAP"
    assert recipe.settings["model"]["method"]["class_path"] == "mer_bench.methods.concat.Concat"
    assert "card" not in recipe.settings and recipe.card["title"] == "Concat"


def test_a_file_of_ones_own_extends_by_name(folder):
    write(
        folder / "mine.yaml", "extends: [data/iemocap.yaml, method/concat.yaml]\ndata: {init_args: {batch_size: 5}}\n"
    )
    recipe = resolve(["mine.yaml"])
    assert recipe.settings["data"]["init_args"]["batch_size"] == 5
    assert (recipe.dataset, recipe.method, recipe.name) == ("iemocap", "concat", "mine")


def test_extends_in_a_circle_is_refused(folder):
    write(folder / "a.yaml", "extends: b.yaml\n")
    write(folder / "b.yaml", "extends: a.yaml\n")
    with pytest.raises(UserError, match="goes round in a circle"):
        resolve(["a.yaml"])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("iemocap_foul", "no method named 'foul'; did you mean foal"),
        ("imeocap_foal", "no data set named 'imeocap'; did you mean iemocap"),
        ("nothing", "config 'nothing' not found in the working folder, configs"),
    ],
)
def test_wrong_names_get_the_nearest(name, message):
    with pytest.raises(UserError) as error:
        resolve([name])
    assert message in str(error.value)


def test_wrong_class_name_gets_the_nearest(folder):
    write(folder / "x.yaml", "extends: [data/iemocap.yaml]\nmodel: {method: {class_path: FoulNet}}\n")
    with pytest.raises(UserError, match=r"model.method.class_path: no class named 'FoulNet'; did you mean FoalNet"):
        resolve(["x.yaml"])


def test_broken_yaml_names_line_and_column(folder):
    write(folder / "x.yaml", "a: 1\nb: [1, 2\nc: 3\n")
    with pytest.raises(UserError, match=r"x.yaml: not valid YAML at line 3"):
        resolve(["x.yaml"])


@pytest.mark.parametrize(
    ("text", "value"),
    [("1e-3", 0.001), ("3", 3), ("[audio, text]", ["audio", "text"]), ("null", None), ("a b", "a b"), ("true", True)],
)
def test_values(text, value):
    assert parse_value(text) == value


def test_dotted_keys_reach_into_classes():
    settings = {"model": {"method": {"class_path": "Concat", "init_args": {"dim": 8}}}}
    set_dotted(settings, "model.method.dim", 3)
    set_dotted(settings, "model.method.init_args.layers", 2)
    set_dotted(settings, "trainer.max_epochs", 4)
    assert settings == {
        "model": {"method": {"class_path": "Concat", "init_args": {"dim": 3, "layers": 2}}},
        "trainer": {"max_epochs": 4},
    }
    set_dotted(settings, "model.method", "Gated")
    assert settings["model"]["method"] == {"class_path": "Gated"}


def test_foreign_classes_are_refused_before_import(tmp_path):
    settings = {"trainer": {"callbacks": [{"class_path": "evil.module.Thing"}]}}
    with pytest.raises(UserError, match=r"trainer.callbacks\[0\].class_path: class 'evil.module.Thing' is outside"):
        recipes.refuse_foreign_classes(settings)
    recipes.refuse_foreign_classes(settings, ["evil"])
    with pytest.raises(UserError):  # a prefix is a package, not the start of a name
        recipes.refuse_foreign_classes({"class_path": "evilness.X"}, ["evil"])


def test_one_run_per_modality():
    card = {"per_modality": True}
    settings = {"data": {"init_args": {"modalities": ["a", "b"]}}}
    runs = per_modality(Recipe("n", "d", "m", card, settings), ["a", "b", "c"])
    assert [r.settings["data"]["init_args"]["modalities"] for r in runs] == [["a"], ["b"]]
    assert len(per_modality(Recipe("n", "d", "m", card, {"data": {}}), ["a", "b", "c"])) == 3
    assert per_modality(Recipe("n", "d", "m", {}, settings), ["a"])[0].settings is settings


def test_every_short_name_is_unique():
    names = [name for room in recipes.ROOMS for name in recipes.catalogue(room)]
    assert len(names) == len(set(names))
