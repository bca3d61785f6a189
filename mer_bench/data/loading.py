"""From a feature file and the views of a run to the data of its loaders, resident or streamed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from mer_bench.data.memory import Memory
from mer_bench.data.rows import Ints, Rows, scale_of
from mer_bench.data.shelves import Address, Buffer, Stream, bring
from mer_bench.data.splits import targets
from mer_bench.data.store import Flat, FrameTargets, Store
from mer_bench.data.views import Views, align
from mer_bench.merh5 import FeatureFile
from mer_bench.types import Tasks, TaskSpec


def load(
    file: FeatureFile,
    modalities: Sequence[str],
    tasks: Tasks,
    views: Views,
    clock: str,
    fitted: Ints | None,
    memory: Memory,
) -> Store | Stream:
    """Read everything, or make ready to read it shelf by shelf.

    Args:
        file: the features.
        modalities: which of them.
        tasks: whose targets.
        views: the examples.
        clock: label table whose frames are the views' clock; empty for item-level tasks.
        fitted: items over which features are normalised; None leaves them as they are.
        memory: how.
    """
    given = {name: _targets(file, name, spec, views) for name, spec in tasks.items()}
    rows = {m: Rows(file, m, None if fitted is None else scale_of(file, m, fitted)) for m in modalities}
    places = {m: _address(file, m, views, clock) for m in modalities}
    if memory.streams(file, modalities):
        return Stream(rows, places, given, memory.dtype, round(memory.shelf_mb * 1e6))
    everything = np.arange(len(views))
    return Store({m: bring(rows[m], places[m], everything, Buffer(rows[m].dim, memory.dtype)) for m in rows}, given)


def _targets(file: FeatureFile, name: str, spec: TaskSpec, views: Views) -> Flat | FrameTargets:
    values, mask = targets(file, name, spec)
    dtype = torch.int64 if spec.kind == "multiclass" else torch.float32
    if spec.level == "frame":  # one masked row more, where padding points
        values = np.concatenate([values, np.zeros_like(values[:1])])
        mask = np.concatenate([mask, np.zeros_like(mask[:1])])
    flat = torch.from_numpy(np.ascontiguousarray(values)).to(dtype), torch.from_numpy(np.ascontiguousarray(mask))
    if spec.level == "item":
        return Flat(*flat)
    return FrameTargets(*flat, torch.from_numpy(views.start), torch.from_numpy(views.length))


def _address(file: FeatureFile, modality: str, views: Views, clock: str) -> Address:
    if clock:
        return Address(views.start, views.length, align(file, modality, clock))
    offsets = file.modalities[modality].offsets
    return Address(offsets[:-1], np.diff(offsets))
