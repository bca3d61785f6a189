"""From a name or a file to the full settings of a run. No torch here.

A recipe is a plain dictionary: what LightningCLI will read (`model`, `data`, `trainer`, `seed_everything`, ...), made
from a chain of YAML files (`extends`), composed pairs (``<dataset>_<method>``) and overrides of the command line.
A later layer changes single keys; where it names another class, the settings of the old class go; ``null`` in a
mapping of a YAML file removes the key.
"""

from mer_bench.recipes.cards import cards, unsupported
from mer_bench.recipes.classes import (
    ALLOWED,
    PACKAGE,
    ROOMS,
    catalogue,
    class_paths,
    expand_names,
    full_name,
    refuse_foreign_classes,
)
from mer_bench.recipes.files import (
    chain,
    find,
    load_yaml,
    merge_files,
    packaged_configs,
    search_path,
    shipped,
    unique,
)
from mer_bench.recipes.recipe import Recipe, per_modality, resolve
from mer_bench.recipes.settings import Settings, merge, parse_value, set_dotted, to_text

__all__ = [
    "ALLOWED",
    "PACKAGE",
    "ROOMS",
    "Recipe",
    "Settings",
    "cards",
    "catalogue",
    "chain",
    "class_paths",
    "expand_names",
    "find",
    "full_name",
    "load_yaml",
    "merge",
    "merge_files",
    "packaged_configs",
    "parse_value",
    "per_modality",
    "refuse_foreign_classes",
    "resolve",
    "search_path",
    "set_dotted",
    "shipped",
    "to_text",
    "unique",
    "unsupported",
]
