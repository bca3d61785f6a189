"""The control that sees no input: the task's training prior."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mer_bench.contracts import FusionMethod
from mer_bench.types import Batch, Features, Outputs, Tasks, TaskSpec


class Majority(FusionMethod):
    """Answers with the prior of the training part, whatever it is shown. It has no parameters.

    Multiclass: log of the class frequencies, so the most frequent class is predicted. Multilabel: log odds of the
    share of positives. Regression: the mean.
    """

    def __init__(self, features: Features, tasks: Tasks) -> None:
        super().__init__(features, tasks)
        self.answers = nn.ModuleDict({name: _Constant(_answer(spec)) for name, spec in tasks.items()})

    @classmethod
    def supports(cls, features: Features, tasks: Tasks) -> str | None:
        """None, or the reason why this method cannot be built for such input."""
        without = [name for name, spec in tasks.items() if spec.prior is None]
        return f"needs the training prior, which is missing for {', '.join(without)}" if without else None

    def forward(self, batch: Batch) -> Outputs:
        """The same answer for every item and frame."""
        mask = next(iter(batch.inputs.values())).mask  # (batch, time)
        return Outputs({name: self.answers[name](_leading(spec, mask)) for name, spec in self.tasks.items()}, {})


class _Constant(nn.Module):
    """A vector repeated over leading axes. A buffer, so that it moves with the module."""

    value: Tensor

    def __init__(self, value: Tensor) -> None:
        super().__init__()
        self.register_buffer("value", value)

    def forward(self, leading: torch.Size) -> Tensor:
        return self.value.expand(*leading, -1)


def _leading(spec: TaskSpec, mask: Tensor) -> torch.Size:
    return mask.shape if spec.level == "frame" else mask.shape[:1]


def _answer(spec: TaskSpec) -> Tensor:
    prior = torch.tensor(spec.prior, dtype=torch.float64)
    tiny = 1e-6  # ours: a class that training never saw gets a finite logit
    answers = {
        "multiclass": lambda: prior.clamp(min=tiny).log(),
        "multilabel": lambda: prior.clamp(tiny, 1 - tiny).logit(),
        "regression": lambda: prior,
    }
    return answers[spec.kind]().to(torch.get_default_dtype())
