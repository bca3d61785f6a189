"""The far end of the Ray engine: an actor that runs one run at a time in a fresh process of its own fork server."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

from mer_bench import recipes
from mer_bench.errors import UserError
from mer_bench.merh5 import FeatureFile
from mer_bench.recipes import Recipe
from mer_bench.results import atomic
from mer_bench.sweep.child import Child, Forks
from mer_bench.sweep.parcel import Parcel, pack, unpack
from mer_bench.sweep.worker import Ended, Job

#: the machine has not the features; they are asked for
LACKING = Ended("lacking")


@dataclass(frozen=True)
class Order:
    """What an actor is told of a run.

    Attributes:
        recipe: its settings.
        folder: of the run, below the folder of all runs.
        features: where the feature file is on the driver's machine, and perhaps here.
        sha256: its content hash.
        parcel: what is in the run's folder already, such as a checkpoint.
    """

    recipe: Recipe
    folder: Path
    features: Path
    sha256: str
    parcel: Parcel


class Worker:
    """Runs orders. Its runs see the GPU that Ray gave to the actor.

    Args:
        target: ``module:function`` that a child calls.
        options: for the target; `runs` is replaced by a folder of the actor.
        preload: modules that the fork server imports once.
        gpu: whether runs may use one.
    """

    def __init__(self, target: str, options: Mapping[str, Any], preload: Sequence[str], gpu: bool) -> None:
        self.target, self.options, self.gpu = target, dict(options), gpu
        self.forks = Forks(preload)
        self.child: Child | None = None
        self.stopping = False

    def run(self, order: Order, content: Any = None) -> tuple[Ended, Parcel]:
        """Execute an order; `content` are the bytes of the feature file, where this machine lacks it."""
        features = self._features(order, content)
        if features is None:
            return LACKING, {}
        base = Path(tempfile.mkdtemp(prefix="mer-bench-run-"))
        try:
            folder = base / order.folder
            unpack(folder, order.parcel)
            ended = self._execute(order, features, base, folder)
            return ended, pack(folder)
        finally:
            shutil.rmtree(base, ignore_errors=True)

    def stop(self) -> None:
        """Ask the run for its checkpoint, and take no other."""
        self.stopping = True
        if self.child is not None:
            self.child.stop()

    def _execute(self, order: Order, features: Path, base: Path, folder: Path) -> Ended:
        settings = recipes.merge(order.recipe.settings, {"data": {"init_args": {"file": str(features)}}})
        devices = os.environ.get("CUDA_VISIBLE_DEVICES", "") if self.gpu else ""
        one = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": devices}
        options = {**self.options, "runs": str(base)}
        job = Job(self.target, replace(order.recipe, settings=settings), options, folder / "log.txt", one, 1)
        if self.stopping:
            return Ended("stopped")
        self.child = child = self.forks.launch(job)
        while (ended := child.ended()) is None:
            wait([child.sentinel], timeout=5.0)
        self.child = None
        return ended

    def _features(self, order: Order, content: Any) -> Path | None:
        """The feature file on this machine: where the driver has it, or from an earlier order, or as it comes."""
        kept = cache() / f"{order.sha256}.h5"
        for path in (order.features, kept):
            with contextlib.suppress(UserError, OSError):
                if path.is_file() and FeatureFile(path).content_sha256 == order.sha256:
                    return path
        if content is None:
            return None
        atomic.make_folder(kept.parent)
        atomic.write(kept, bytes(content))
        return kept


def cache() -> Path:
    """Where features from the driver are kept on a machine, for the user alone."""
    return Path(tempfile.gettempdir()) / f"mer-bench-features-{os.getuid()}"
