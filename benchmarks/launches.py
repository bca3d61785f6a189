"""Operations that one training step launches, by method: what decides the speed of small models on a GPU.

    python benchmarks/launches.py            # the table, and where it differs from launches.json
    python benchmarks/launches.py --write    # makes the counts of this machine the budget

A count needs no GPU and is the same on every machine with this version of torch. Counted are operations that compute
something (views are free): forward, losses, backward and a fused AdamW step on one batch of two modalities. The same
step of 16 runs as one stack is counted beside it. A test fails when a method needs more than its budget; a method
without an entry may launch `CEILING`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
from torch import Tensor
from torch.func import functional_call, stack_module_state, vmap
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from mer_bench import recipes
from mer_bench.cli.lightning import instantiate, quiet
from mer_bench.training.flat import FlatParameters, flat_optimizer

BUDGET = Path(__file__).with_name("launches.json")
#: operations that a method without an entry of its own may launch; more than any that is shipped
CEILING = 3000
MEMBERS = 16


class Counter(TorchDispatchMode):
    """Counts operations that are no views."""

    def __init__(self) -> None:
        super().__init__()
        self.n = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        schema = func._schema
        self.n += not any(r.alias_info is not None and not r.alias_info.is_write for r in schema.returns)
        return func(*args, **(kwargs or {}))


def built(method: str, root: str):
    """The run of a method on features in a folder, and a batch of it."""
    chosen = {"data.root": root, "data.modalities": "[audio, text]", "trainer.accelerator": "cpu"}
    if recipes.cards()[method].get("per_modality"):
        chosen["data.modalities"] = "[audio]"
    with quiet():
        command = instantiate(recipes.resolve([f"iemocap_{method}"], chosen.items()))
    block = next(iter(command.datamodule.train_dataloader()))
    return command.model, block.batch(0, command.model.objective.n_draws)


def alone(method: str, root: str) -> int:
    """Launches of one step of one run."""
    model, batch = built(method, root)
    optimizer = torch.optim.AdamW(model.objective.parameters(), 1e-3, fused=True)
    for counter in (Counter(), Counter()):  # the first step also makes the optimiser's state
        optimizer.zero_grad()
        with counter:
            total, _ = model.objective(batch, 0)
            total.backward()
            optimizer.step()
    return counter.n


def stacked(method: str, root: str, members: int = MEMBERS) -> float:
    """Launches of one step of a stack, per member."""
    model, batch = built(method, root)
    objectives = [model.objective] * members
    flat = FlatParameters(objectives)
    optimizer = flat_optimizer([torch.optim.AdamW(o.parameters(), 1e-3) for o in objectives], flat)
    buffers = stack_module_state(objectives)[1]
    skeleton = model.objective.to("meta")
    batches = pytree.tree_map(lambda x: x.expand(members, *x.shape), batch)
    rate, active = torch.full((members, 1), 1e-3), torch.ones(members, 1, dtype=torch.bool)

    def one(parameters: dict[str, Tensor], own: dict[str, Tensor], part) -> Tensor:
        return functional_call(skeleton, (parameters, own), (part, 0))[0]

    with Counter() as counter:
        vmap(one, randomness="different")(flat.stacked(), buffers, batches).sum().backward()
        optimizer.step(flat, rate, active, 1.0)
    return counter.n / members


def methods() -> list[str]:
    """Those that train with AdamW, presets included."""
    return [slug for slug, card in recipes.cards().items() if card.get("trainable", True)]


def main() -> None:
    """Print the table; write the budget when asked to."""
    import tempfile
    import warnings

    from tests.files import iemocap

    warnings.simplefilter("ignore")
    root = str(iemocap(Path(tempfile.mkdtemp()) / "iemocap.h5", n=150).parent)
    budget = json.loads(BUDGET.read_text()) if BUDGET.is_file() else {}
    counts = {}
    print(f"{'method':<22}{'alone':>8}{f'stack of {MEMBERS}, each':>24}{'budget':>10}")
    for slug in methods():
        counts[slug] = alone(slug, root)
        each = f"{stacked(slug, root):.1f}" if recipes.cards()[slug]["stackable"] else "-"
        note = "" if counts[slug] == budget.get(slug) else "  differs"
        print(f"{slug:<22}{counts[slug]:>8}{each:>24}{budget.get(slug, '-'):>10}{note}", flush=True)
    if "--write" in sys.argv[1:]:
        BUDGET.write_text(json.dumps(counts, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
