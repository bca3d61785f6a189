"""Runs on a small file in float64 and without dropout, alone and as members of a population."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import torch

from mer_bench import recipes
from mer_bench.cli.lightning import Command, instantiate, quiet
from mer_bench.data.joined import join
from mer_bench.data.store import Ragged, Store
from mer_bench.training.branches import Branches
from mer_bench.training.member import Member
from mer_bench.training.population import Maker, Population
from mer_bench.training.seeds import EpochSeeds
from mer_bench.training.stack import Stack

EPOCHS = 2
SETTINGS = {
    "data.modalities": "[audio, text]",
    "data.steps_per_block": "3",
    "trainer.max_epochs": str(EPOCHS),
    "trainer.accelerator": "cpu",
}
#: fold, seed and learning rate
CASES = [(0, 0, 1e-3), (1, 0, 3e-3), (0, 7, 1e-4)]


def command(root: Path, method: str, case, *, double: bool = True, **more: str) -> Command:
    """A run; by default in float64 and without dropout."""
    (fold, seed, rate), card = case, recipes.cards()[method]
    chosen = SETTINGS | {"data.root": str(root), "data.fold": str(fold), "seed_everything": str(seed)}
    chosen |= {"model.optimizer.lr": str(rate)} | ({"data.modalities": "[audio]"} if card.get("per_modality") else {})
    with quiet():
        built = instantiate(
            recipes.resolve([f"iemocap_{method}"], (chosen | more).items()), callbacks=[EpochSeeds(seed)]
        )
    built.datamodule.setup()
    if double:
        built.datamodule.share(in_double(built.datamodule.store))
        for module in built.model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
        built.model.double()
    return built


def in_double(store: Store) -> Store:
    inputs = {m: Ragged(x.values.double(), x.observed, x.starts, x.lengths, x.rows) for m, x in store.inputs.items()}
    return Store(inputs, store.targets)


def member(built: Command, name: str, place: int, seed: int = 0, *, validated: bool = False) -> Member:
    """The run as a member; by default it keeps its last epoch, as under a protocol without a validation part."""
    model, data = built.model, built.datamodule
    val = data.eval_blocks("val")
    if not validated:
        val.items = val.items[:0]
    return Member(
        name=name,
        objective=model.objective,
        optimizer=model.configure_optimizers(),
        schedule=model.schedule,
        train=data.train_dataloader(),
        val=val,
        judge=model,
        epochs=built.trainer.max_epochs,
        patience=8,
        store=place,
        seed=seed,
        hook=model.gradient_hook,
    )


def maker(kind: str, built: list[Command]) -> Maker:
    clip = built[0].model.clip
    if kind == "branches":
        return partial(Branches, clip=clip)
    return partial(Stack, joined=join([b.datamodule.store for b in built]), clip=clip)


def population(kind: str, built: list[Command], width: int, *, seeds=(), validated: bool = False, **more) -> Population:
    """A population that is yet to run; every member is named after its place in the list."""
    own = seeds or [0] * len(built)
    members = [member(b, str(k), k, own[k], validated=validated) for k, b in enumerate(built)]
    return Population(members, maker(kind, built), width=width, **{"ended": lambda member: None, **more})


def together(root: Path, method: str, cases, width: int, kind: str = "stack", *, validated: bool = False, **more):
    """Members that have trained, in the order of the cases."""
    built = [command(root, method, case, **more) for case in cases]
    ended: list[Member] = []
    seeds = [seed for _, seed, _ in cases]
    made = population(kind, built, width, seeds=seeds, validated=validated, ended=ended.append)
    members = [*made.queue]
    made.run()
    assert {m.name for m in ended} == {m.name for m in members}
    return members


def alone(root: Path, method: str, case, **more):
    """The module of a run that `fit` would train."""
    built = command(root, method, case, **more)
    with quiet():
        built.trainer.fit(built.model, built.datamodule)
    return built.model


def close(one, other, limit: float = 1e-10) -> None:
    for (name, x), y in zip(one.named_parameters(), other.parameters(), strict=True):
        assert (x - y).norm() <= limit * y.norm(), name


def equal(one, other) -> bool:
    first, second = one.state_dict(), other.state_dict()
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)
