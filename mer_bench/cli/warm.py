"""Imported by the fork server of a sweep: everything that all its runs need, and that would be the same for each.

That is modules, the hash of our sources, the state of the checkout, and what jsonargparse learns of our signatures. No
tensor is made and no CUDA is touched: a child gets its threads and its device of its own.
"""

from __future__ import annotations

import importlib
import resource  # noqa: F401 (a run measures itself)

from mer_bench import recipes
from mer_bench.cli import fit, lightning, scoring, together  # noqa: F401
from mer_bench.data import datamodules  # noqa: F401
from mer_bench.results import sources
from mer_bench.results.provenance import code
from mer_bench.sweep.populations import EXECUTORS
from mer_bench.training import callbacks, checkpoints, seeds, stopping  # noqa: F401


def warm() -> None:
    """Fill the caches."""
    for room in ("methods", "losses", "training"):
        for path in sorted(set(recipes.catalogue(room).values())):
            importlib.import_module(path.rpartition(".")[0])
    sources.closure((*sources.ALWAYS, *_modules()))
    for executor in EXECUTORS[1:]:
        code({}, executor)
    shipped = recipes.packaged_configs()  # not what a user has put over them, which may be wrong or not trusted here
    for data, method in (("iemocap", "concat"), ("affwild2", "transformer")):  # most methods name the same classes
        files = [str(shipped / "data" / f"{data}.yaml"), str(shipped / "method" / f"{method}.yaml")]
        lightning.Rehearsal(recipes.resolve(files).settings)


def _modules() -> list[str]:
    """Every module of ours whose classes a config may name."""
    return [path.rpartition(".")[0].removeprefix("mer_bench.") for path in recipes.catalogue().values()]


warm()
