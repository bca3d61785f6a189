"""Which runs of a sweep can train together, and how (`training.executors`). No torch: cards and settings say it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import fields

from mer_bench.data.memory import Memory
from mer_bench.runs import Run, numeric
from mer_bench.sweep.interrupted import state_of

#: what `--executor` takes: how runs are computed, or that card, device and size decide
EXECUTORS = ("auto", "eager", "stack", "branches")
#: optimisers with a flat form, as a config names them
_FLAT = ("torch.optim.AdamW", "torch.optim.Adam", "torch.optim.SGD")
#: settings of the optimiser that runs which train together may differ in
_OWN = ("lr", "weight_decay")


def executor(run: Run, asked: str = "auto") -> str:
    """How a run can train with others: ``stack``, ``branches``, or ``eager`` for one that trains alone.

    Args:
        run: whose card, settings and features count.
        asked: one of `EXECUTORS`. Stacks where they were asked for, and the run cannot be in one: it trains alone.
    """
    card, settings = run.recipe.card, run.recipe.settings
    data = settings["data"]["init_args"]
    memory = Memory(**{field.name: data[field.name] for field in fields(Memory) if field.name in data})
    # those that train together hold their features in memory
    if asked == "eager" or not card.get("trainable", True) or memory.streams(run.file, run.modalities):
        return "eager"
    model = settings.get("model", {})
    flat = model.get("optimizer", {}).get("class_path") in _FLAT
    if asked != "branches" and card.get("stackable") and flat and not model.get("gradient_hook"):
        return "stack"
    return "eager" if asked == "stack" else "branches"


def kind(run: Run, asked: str = "auto") -> str:
    """What runs must have in common to train together; empty for runs that train alone.

    Fold, seed, learning rate and weight decay are each run's own. Regressions in a stack also share the fold, since
    losses measure distances in standard deviations of its training part. Runs that were interrupted together go on
    together, for only so do they repeat what an undisturbed training would have given.
    """
    way = executor(run, asked)
    if way == "eager":
        return ""
    settings = numeric(run.recipe.settings)
    for name in _OWN:
        settings.get("model", {}).get("optimizer", {}).get("init_args", {}).pop(name, None)
    regression = any(task.kind == "regression" for task in run.protocol.tasks.values())
    fold = run.fold if regression and way == "stack" else None
    state = state_of(run)
    shared = [way, settings, run.protocol.hash, run.file.content_sha256, fold, state.name if state else ""]
    return hashlib.sha256(json.dumps(shared, sort_keys=True, default=str).encode()).hexdigest()
