"""Training on labels that have nothing to do with the items: the control that shows what leaks."""

from __future__ import annotations

import torch
from torch import Tensor

from mer_bench.contracts import SubsetSchedule
from mer_bench.errors import UserError
from mer_bench.training.subsets import View, hashed
from mer_bench.types import Batch, Features, Masked, Tasks, TaskSpec

#: normal quantiles are cut here, so that no label is infinite
_EDGE = 1e-6


class RandomLabels(SubsetSchedule):
    """Every item gets one random label, the same in every epoch, drawn from the distribution of the training part.

    The randomisation test of Zhang et al., ICLR 2017 (arXiv:1611.03530): a network may memorise such labels, but what
    it says of other items is on average worth no more than a constant. A score above that says that the test part has
    leaked. Labels are a hash of the item's row and of a number drawn at set-up, so that another seed gives others:
    classes and labels by their frequencies, dimensions from a normal distribution with their mean and spread. Which
    labels are there at all stays as it is. Validation labels are the true ones, so no epoch may be chosen by them:
    train a single one.
    """

    salt: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("salt", torch.randint(2**31, ()))

    def bind(self, features: Features, tasks: Tasks) -> None:
        """Learn the distribution of each task's labels.

        Raises:
            UserError: a task without the statistics of its training part.
        """
        for name, spec in tasks.items():
            if spec.prior is None or (spec.kind == "regression" and spec.spread is None):
                raise UserError(f"RandomLabels: task {name!r} has no training statistics to draw labels from")
        self.tasks = dict(tasks)

    def views(self, batch: Batch, step: int) -> list[View]:
        """One view with everything that is there, and other targets."""
        targets = {}
        for place, (name, spec) in enumerate(self.tasks.items()):
            true = batch.targets[name]
            first, rows = 1 + 1000 * place, (batch.rows + self.salt) % 2**32
            uniform = hashed(rows.double() / 2**32, first, first + spec.size - 1)  # (batch, size)
            drawn = _DRAW[spec.kind](uniform, spec).to(true.values.dtype)
            for _ in range(true.values.dim() - drawn.dim()):
                drawn = drawn.unsqueeze(1)  # one label for all frames of a window
            targets[name] = Masked(torch.where(true.mask, drawn.expand_as(true.values), 0), true.mask)
        return [("full", 1.0, batch._replace(targets=targets))]


def _classes(uniform: Tensor, spec: TaskSpec) -> Tensor:
    assert spec.prior is not None
    limits = torch.tensor(spec.prior, dtype=uniform.dtype, device=uniform.device).cumsum(0)[:-1]
    return (uniform[:, :1] >= limits).sum(dim=1)


def _labels(uniform: Tensor, spec: TaskSpec) -> Tensor:
    return (uniform < torch.tensor(spec.prior, dtype=uniform.dtype, device=uniform.device)).double()


def _values(uniform: Tensor, spec: TaskSpec) -> Tensor:
    mean, spread = (torch.tensor(x, dtype=uniform.dtype, device=uniform.device) for x in (spec.prior, spec.spread))
    drawn = mean + spread * torch.special.ndtri(uniform.clamp(_EDGE, 1 - _EDGE))
    return drawn if spec.range is None else drawn.clamp(*spec.range)


_DRAW = {"multiclass": _classes, "multilabel": _labels, "regression": _values}
