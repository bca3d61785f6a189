"""Which runs of a sweep can train as one stack (`training.population`). No torch here: cards and settings say it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import fields

from mer_bench.data.memory import Memory
from mer_bench.runs import Run, numeric

#: optimisers with a flat form, as a config names them
_FLAT = ("torch.optim.AdamW", "torch.optim.Adam", "torch.optim.SGD")
#: settings of the optimiser that members of one stack may differ in
_OWN = ("lr", "weight_decay")


def kind(run: Run) -> str:
    """What runs must have in common to train as one; empty for runs that train alone.

    Fold, seed, learning rate and weight decay are each run's own. Regressions also share the fold, since losses measure
    distances in standard deviations of its training part.
    """
    card, settings = run.recipe.card, numeric(run.recipe.settings)
    model = settings.get("model", {})
    optimizer = model.get("optimizer", {})
    if not card.get("stackable") or not card.get("trainable", True) or model.get("gradient_hook"):
        return ""
    if optimizer.get("class_path") not in _FLAT:
        return ""
    data = settings["data"]["init_args"]
    memory = Memory(**{field.name: data[field.name] for field in fields(Memory) if field.name in data})
    if memory.streams(run.file, run.modalities):  # a stack gathers from one store
        return ""
    for name in _OWN:
        optimizer.get("init_args", {}).pop(name, None)
    regression = any(task.kind == "regression" for task in run.protocol.tasks.values())
    shared = [settings, run.protocol.hash, run.file.content_sha256, run.fold if regression else None]
    return hashlib.sha256(json.dumps(shared, sort_keys=True, default=str).encode()).hexdigest()
