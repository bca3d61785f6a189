"""Small inputs for contract tests, and the discovery of what is to be tested."""

from __future__ import annotations

import functools
import importlib
import inspect
import pkgutil
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import torch

import mer_bench.losses
import mer_bench.methods
from mer_bench.contracts import AuxLoss, FusionMethod
from mer_bench.recipes import chain, merge_files
from mer_bench.types import Batch, Features, FeatureSpec, Masked, Tasks, TaskSpec

METHODS = Path(__file__).parent.parent / "configs" / "method"
# names that no method can know, unequal widths
FEATURES = {"alpha": FeatureSpec(6, max_length=7), "beta": FeatureSpec(5, max_length=5), "gamma": FeatureSpec(3)}
LENGTHS = {"alpha": 7, "beta": 5, "gamma": 4}
FRAMES = 6
TASKS = {
    "mood": TaskSpec("multiclass", ("a", "b", "c"), weighting="inverse-frequency", prior=(0.5, 0.3, 0.2)),
    "tags": TaskSpec("multilabel", ("x", "y", "z", "w"), prior=(0.5, 0.3, 0.2, 0.4)),
    "degree": TaskSpec("regression", ("v", "w"), range=(-1, 1), prior=(0.1, -0.2), spread=(0.5, 0.4)),
}
#: settings that keep networks tiny, for constructors that take them
TINY = {"dim": 8, "heads": 2, "projection_dim": 8, "hidden": 8}
#: the most that is left of a shipped number: a second layer reaches all that a fifth one does
MOST = {"layers": 2, "fusion_layer": 1, "blocks": 2, "mix_dim": 32, "memory": 16, "match_parameters": 20_000}
#: the same for lists of widths
WIDTHS = {"auxiliary_hidden": [16, 8], "edges": [16, 8], "widths": [16, 16, 8]}


@functools.cache
def modules_of(package) -> list:
    """Every module of a room."""
    return [
        importlib.import_module(f"{package.__name__}.{info.name}") for info in pkgutil.iter_modules(package.__path__)
    ]


@functools.cache
def classes_of(package, base: type) -> dict[str, type]:
    """Concrete public subclasses of `base` defined in a room, by name."""
    return {
        name: item
        for module in modules_of(package)
        for name, item in vars(module).items()
        if inspect.isclass(item) and issubclass(item, base) and item.__module__ == module.__name__
    }


@functools.cache
def recipes() -> dict[str, dict]:
    """What each `configs/method/*.yaml` means with everything it extends, by slug."""
    return {path.stem: merge_files(chain(path)) for path in sorted(METHODS.glob("*.yaml"))}


@functools.cache
def slugs() -> list[str]:
    """One slug for every method with other class or settings than those before it; presets change losses only."""
    first: dict[str, str] = {}
    for slug, recipe in recipes().items():
        first.setdefault(repr(recipe["model"]["method"]), slug)
    return list(first.values())


def method_class(slug: str) -> type[FusionMethod]:
    return classes_of(mer_bench.methods, FusionMethod)[recipes()[slug]["model"]["method"]["class_path"].split(".")[-1]]


def loss_classes() -> dict[str, type[AuxLoss]]:
    return classes_of(mer_bench.losses, AuxLoss)


def settings_of(slug: str, **changes) -> dict:
    """The shipped settings of a method, made tiny."""
    taken = inspect.signature(method_class(slug)).parameters
    shipped = recipes()[slug]["model"]["method"].get("init_args", {})
    small = {k: min(v, MOST[k]) if k in MOST else WIDTHS.get(k, v) for k, v in shipped.items()}
    return {k: v for k, v in {**small, **TINY, **changes}.items() if k in taken}


def build(slug: str, features: Features, tasks: Tasks, *, seed: int = 0, **changes) -> FusionMethod:
    torch.manual_seed(seed)
    return method_class(slug)(features, tasks, **settings_of(slug, **changes))


def features_of(n: int) -> dict[str, FeatureSpec]:
    return dict(list(FEATURES.items())[:n])


def tasks_of(level: str, kinds: Iterable[str] = ("multiclass", "multilabel", "regression")) -> dict[str, TaskSpec]:
    return {name: replace(spec, level=level) for name, spec in TASKS.items() if spec.kind in kinds}


def supported(slug: str, level: str, n: int) -> bool:
    return method_class(slug).supports(features_of(n), tasks_of(level, recipes()[slug]["card"]["tasks"])) is None


def make_batch(
    features: Features,
    tasks: Tasks,
    *,
    n: int = 6,
    seed: int = 0,
    gaps: bool = True,
    draws: int = 0,
    dtype: torch.dtype = torch.float64,
) -> Batch:
    """Random items; with `gaps`, frames, whole modalities and labels are missing here and there."""
    g = torch.Generator().manual_seed(seed)
    frame = any(spec.level == "frame" for spec in tasks.values())
    inputs = {}
    for k, (m, spec) in enumerate(features.items()):
        time = FRAMES if frame else LENGTHS.get(m, 4)
        mask = torch.ones(n, time, dtype=torch.bool)
        if gaps:
            mask = torch.rand(n, time, generator=g) > 0.3
            mask[:, -1] &= torch.arange(n) % 2 == 0
            mask[k + 1 :: 5] = False
        values = torch.randn(n, time, spec.dim, generator=g, dtype=dtype)
        inputs[m] = Masked(torch.where(mask.unsqueeze(-1), values, 0.0), mask)
    leading = (n, FRAMES) if frame else (n,)
    targets = {name: _target(spec, leading, g, gaps, dtype) for name, spec in tasks.items()}
    uniform = torch.rand(n, draws, generator=g, dtype=dtype)
    return Batch(inputs, targets, torch.arange(n), uniform)


def _target(spec: TaskSpec, leading: tuple, g: torch.Generator, gaps: bool, dtype: torch.dtype) -> Masked:
    shape = leading if spec.kind == "multiclass" else (*leading, spec.size)
    values = {
        "multiclass": lambda: torch.randint(0, spec.size, shape, generator=g),
        "multilabel": lambda: torch.randint(0, 2, shape, generator=g).to(dtype),
        "regression": lambda: torch.rand(shape, generator=g, dtype=dtype) * 2 - 1,
    }[spec.kind]()
    mask = torch.rand(shape, generator=g) > 0.25 if gaps else torch.ones(shape, dtype=torch.bool)
    return Masked(torch.where(mask, values, 0), mask)


def without(batch: Batch, *names: str) -> Batch:
    """The batch with whole modalities masked, their content left as it is."""
    off = {m: Masked(batch.inputs[m].values, torch.zeros_like(batch.inputs[m].mask)) for m in names}
    return batch._replace(inputs={**batch.inputs, **off})


def polluted(batch: Batch, seed: int = 1) -> Batch:
    """The batch with NaN, infinities and noise wherever inputs and targets are masked."""
    g = torch.Generator().manual_seed(seed)
    rubbish = torch.tensor([float("nan"), float("inf"), -float("inf"), 1e6, -3.0])

    def spoil(x: Masked) -> Masked:
        noise = rubbish[torch.randint(0, 5, x.values.shape, generator=g)].to(x.values.dtype)
        mask = x.mask.unsqueeze(-1) if x.mask.dim() < x.values.dim() else x.mask
        return Masked(torch.where(mask, x.values, noise), x.mask)

    def spoil_class(x: Masked) -> Masked:
        return Masked(torch.where(x.mask, x.values, -100), x.mask)

    targets = {t: spoil(x) if x.values.is_floating_point() else spoil_class(x) for t, x in batch.targets.items()}
    return batch._replace(inputs={m: spoil(x) for m, x in batch.inputs.items()}, targets=targets)


def padded(batch: Batch, extra: int) -> Batch:
    """The batch with `extra` masked frames at the end of every input."""
    inputs = {
        m: Masked(
            torch.nn.functional.pad(x.values, (0, 0, 0, extra)),
            torch.nn.functional.pad(x.mask, (0, extra), value=False),
        )
        for m, x in batch.inputs.items()
    }
    return batch._replace(inputs=inputs)


def take(batch: Batch, index: torch.Tensor) -> Batch:
    """Some items of a batch, in the order given."""
    return Batch(
        {m: Masked(x.values[index], x.mask[index]) for m, x in batch.inputs.items()},
        {t: Masked(x.values[index], x.mask[index]) for t, x in batch.targets.items()},
        batch.rows[index],
        batch.draws[index],
    )


def provided(card: dict, features: Features, tasks: Tasks) -> set[str]:
    """The hidden names that a card promises for given modalities and tasks."""
    names: set[str] = set()
    for pattern in card["provides"]:
        for a in features:
            for b in features:
                if a != b or "<b>" not in pattern:
                    name = pattern.replace("<m>", a).replace("<a>", a).replace("<b>", b)
                    names |= {name.replace("<task>", task) for task in tasks}
    return names
