"""What one run is, before torch is loaded: its protocol, data, key and folder."""

from __future__ import annotations

import copy
import dataclasses
import functools
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from mer_bench import recipes
from mer_bench.data.corpora import corpora, find_protocol
from mer_bench.data.files import find_features, open_features
from mer_bench.errors import UserError, did_you_mean
from mer_bench.merh5 import FeatureFile
from mer_bench.protocol import Protocol
from mer_bench.recipes import Recipe, Settings
from mer_bench.results.record import run_key, settings_hash

#: settings that cannot change a number
SILENT = {
    "trainer": ("accelerator", "devices", "enable_progress_bar", "enable_model_summary", "profiler", "benchmark"),
    "data": ("root", "file", "fold", "seed", "eval_batch_size"),
}


@dataclass(frozen=True)
class Run:
    """One run: method x protocol x fold x seed, with everything that decides its numbers.

    Attributes:
        recipe: its settings, modalities spelt out.
        protocol: what is compared.
        file: the feature file.
        fold: test fold.
        seed: of everything random.
        key: content-derived name.
        folder: `<runs>/<protocol>/<method>/<key>`.
        result: the file in it that says that the run is done.
    """

    recipe: Recipe
    protocol: Protocol
    file: FeatureFile
    fold: int
    seed: int
    key: str
    folder: Path
    result: str = "record.json"

    @property
    def modalities(self) -> list[str]:
        """The modalities of the run."""
        return self.recipe.settings["data"]["init_args"]["modalities"]

    @property
    def label(self) -> str:
        """How the run is called in messages."""
        data = f"{self.protocol.name} ({', '.join(self.modalities)})"
        return f"{self.recipe.method} on {data} fold {self.fold} seed {self.seed}"


def plan(recipe: Recipe, runs: str) -> list[Run]:
    """The runs that a recipe means: one, or one per modality for a method that takes a single one.

    Raises:
        UserError: unknown protocol, no feature file or another one than settings were searched on, a value of the
            wrong type.
    """
    data = recipe.settings.get("data", {}).get("init_args", {})
    if recipe.dataset not in corpora():
        raise UserError(
            f"config {recipe.name!r} builds on no data set; let it extend data/<dataset>.yaml; "
            f"{did_you_mean(recipe.dataset or recipe.name.partition('_')[0], corpora())}"
        )
    protocol = find_protocol(data.get("protocol", ""), recipe.dataset)
    file = open_features(find_features(recipe.dataset, data.get("root", ""), data.get("file", "")))
    plain = [m for m in file.modalities if "_" not in m]
    return [_run(one, protocol, file, plain, runs) for one in recipes.per_modality(recipe, plain)]


def check_files(runs: Iterable[Run]) -> None:
    """Hold the feature files of these runs against their own content hash, which run keys and records name.

    It reads each file once a process, 55 MB in 0.3 s. Whoever starts runs does it, and not every run again.

    Raises:
        UserError: a file holds other values than it says, or values that it may not hold.
    """
    for path in dict.fromkeys(run.file.path for run in runs):
        found = path.stat()
        _verify(path, (found.st_ino, found.st_size, found.st_mtime_ns))


@functools.lru_cache(64)
def _verify(path: Path, version: tuple[int, ...]) -> None:
    """A search starts runs many times; a file that was changed in between is read again."""
    del version
    FeatureFile(path).verify()


def _run(recipe: Recipe, protocol: Protocol, file: FeatureFile, plain: list[str], runs: str) -> Run:
    settings = copy.deepcopy(recipe.settings)
    data = settings["data"].setdefault("init_args", {})
    data["modalities"] = list(data.get("modalities") or plain)
    data["protocol"] = protocol.name
    fold, seed = _whole(data.get("fold", 0), "data.fold"), _whole(settings.get("seed_everything", 0), "seed_everything")
    spelt = dataclasses.replace(recipe, settings=settings)
    if spelt.tuned is not None and spelt.tuned.data != file.content_sha256:
        raise UserError(
            f"{file.path}: config {recipe.name!r} was searched on other features "
            f"({spelt.tuned.data[:8]}, these are {file.content_sha256[:8]}); search anew on this file"
        )
    searched = {} if spelt.tuned is None else {"tuned": spelt.tuned.search}
    key = run_key({**numeric(settings), **searched}, protocol.hash, file.content_sha256, fold, seed)
    return Run(spelt, protocol, file, fold, seed, key, Path(runs) / protocol.name / recipe.method / key[:16])


def _whole(value: object, name: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise UserError(f"--{name} must be a whole number from 0, got {value!r}")
    return value


def numeric(settings: Settings) -> Settings:
    """The settings that decide numbers, without fold and seed."""
    kept = copy.deepcopy(settings)
    kept.pop("seed_everything", None)
    for name in SILENT["trainer"]:
        kept.get("trainer", {}).pop(name, None)
    for name in SILENT["data"]:
        kept.get("data", {}).get("init_args", {}).pop(name, None)
    return kept


def row_hash(recipe: Recipe) -> str:
    """What rows of a table are told apart by: the settings, or those that were searched and the search itself.

    The folds of a searched row differ in what was chosen, and are one row all the same.
    """
    kept = numeric(recipe.settings)
    if recipe.tuned is not None:
        for key in recipe.tuned.settings:
            recipes.set_dotted(kept, key, "searched")
        kept["tuned"] = recipe.tuned.search
    return settings_hash(kept)
