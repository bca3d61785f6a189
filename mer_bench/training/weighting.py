"""How the losses of several tasks become one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from mer_bench.types import Tasks


class TaskWeighting(nn.Module, ABC):
    """From the losses of all tasks, each already times its factor of `model.task_weights`, to one scalar."""

    def bind(self, tasks: Tasks) -> None:
        """Called once at set-up, before the optimiser is made."""

    @abstractmethod
    def forward(self, losses: Mapping[str, Tensor]) -> Tensor:
        """Loss by task to the loss of a pass."""


class FixedWeighting(TaskWeighting):
    """The sum."""

    def forward(self, losses: Mapping[str, Tensor]) -> Tensor:
        """Loss by task to the loss of a pass."""
        first, *others = losses.values()
        return torch.stack((first, *others)).sum() if others else first


class UncertaintyWeighting(TaskWeighting):
    """Learned weights: exp(-s) per task, s the log of its noise variance (Kendall et al., CVPR 2018, arXiv:1705.07115).

    The loss of a pass is Σ_t c_t exp(-s_t) L_t + s_t / 2 with c = 1 for classes and labels, 1/2 for a regression, and
    s from 0 on. For a squared error that is the Gaussian likelihood of the paper; for other regression losses (absolute
    error, 1 - CCC) the same form is used without that meaning (ours). The total may become negative.
    """

    def bind(self, tasks: Tasks) -> None:
        """One parameter per task."""
        self.factors = {name: 0.5 if spec.kind == "regression" else 1.0 for name, spec in tasks.items()}
        self.log_variance = nn.ParameterDict({name: nn.Parameter(torch.zeros(())) for name in tasks})

    def forward(self, losses: Mapping[str, Tensor]) -> Tensor:
        """Loss by task to the loss of a pass."""
        terms = []
        for name, loss in losses.items():
            s = self.log_variance[name]
            terms.append(self.factors[name] * torch.exp(-s) * loss + s / 2)
        return torch.stack(terms).sum()
