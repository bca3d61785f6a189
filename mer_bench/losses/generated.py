"""Labels made for each modality from how its features lie beside those of the fusion (Self-MM)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mer_bench.contracts import AuxLoss, FusionMethod
from mer_bench.errors import UserError
from mer_bench.losses.pairs import hidden, present, present_any
from mer_bench.nn.masking import at_least_single
from mer_bench.nn.pooling import masked_mean
from mer_bench.types import Batch, Features, Kind, Masked, Outputs, Tasks, TaskSpec


class GeneratedLabels(AuxLoss):
    """The answer of each modality, ``logits/<m>/<task>``, against a label made for that modality.

    After Self-MM (Yu et al., AAAI 2021, arXiv:2102.04830, section 3.3) and the authors' code. For one label y, with the
    centres of the features of items with y ≥ 0 and y < 0 and distances to them, all without gradient::

        δ = (distance to the negative centre - distance to the positive) / distance to the positive
        y_m = (δ_m / δ_fused · y + y + δ_m - δ_fused) / 2, clamped to the range of y

    The loss of item and modality is weighted by tanh |y_m - y|: where the two agree nothing is taught.

    Departures:
    - Centres are those of the batch, by y; the authors keep the features of all training items, take the centres of a
      modality by the labels made for it, and average each label over the epochs, from the second on. What is kept here
      would have to outlive the step.
    - y is counted from the middle of the task's range (0 in the paper); without a range from its training mean, and
      clamped to three standard deviations from there (ours).
    - Classes and several labels (ours): each is a label of its own, 1 or -1; the made ones, back between 0 and 1 (and
      for classes scaled to sum 1), are soft targets of the cross-entropy.
    - Only items with the label, the modality and another one count; a label of which the batch has one sign is taken
      as it is. Losses: absolute error as in the paper.

    The losses of the modalities are added up, as in the code (github.com/thuiar/Self-MM, trains/SELF_MM.py at e694b8c),
    and so are those of several tasks (ours).

    Args:
        weight: factor applied by the module; 1 in the code.
    """

    def bind(self, features: Features, tasks: Tasks) -> None:
        """Learn where the middle of each label is.

        Raises:
            UserError: a regression without range and without statistics of its training part, or a single modality.
        """
        if len(features) < 2:
            raise UserError("GeneratedLabels: needs two or more modalities; remove this loss from model.auxiliary")
        self.modalities = list(features)
        self.labels = nn.ModuleDict({name: _LABELS[spec.kind](name, spec) for name, spec in tasks.items()})

    def forward(self, outputs: Outputs, batch: Batch, method: FusionMethod) -> Tensor:
        """The loss of one batch."""
        fused = hidden(outputs, "fused", loss="GeneratedLabels")
        there = {m: present(batch, m, fused) for m in self.modalities}
        several = torch.stack(list(there.values())).sum(0) > 1
        losses = []
        for task, label in cast("Iterable[tuple[str, _Label]]", self.labels.items()):
            y = label.signed(batch.targets[task])
            whole = _lean(fused, present_any(batch, fused), y)
            for m, mask in there.items():
                own = _lean(hidden(outputs, m, loss="GeneratedLabels"), mask, y)
                made = _made(y, own, whole, label.bound)
                logits = at_least_single(hidden(outputs, f"logits/{m}/{task}", loss="GeneratedLabels"))
                taught = masked_mean(Masked((made - y.values).abs().unsqueeze(-1), y.mask)).squeeze(-1).tanh()
                counted = several & mask & y.mask.any(-1)
                value = taught * label.error(logits, Masked(made, y.mask))
                losses.append(torch.where(counted, value, 0.0).sum() / counted.sum().clamp(min=1))
        return torch.stack(losses).sum()


class _Label(nn.Module, ABC):
    """A task's labels around 0, and the error of logits against made ones.

    Args:
        bound: (size,) largest size of a made label.
    """

    bound: Tensor

    def __init__(self, bound: Sequence[float]) -> None:
        super().__init__()
        self.register_buffer("bound", torch.tensor(bound, dtype=torch.get_default_dtype()), persistent=False)

    @abstractmethod
    def signed(self, target: Masked) -> Masked:
        """The labels around 0, values and mask (..., size)."""

    @abstractmethod
    def error(self, logits: Tensor, made: Masked) -> Tensor:
        """Logits (..., size) against made labels (..., size); (...)."""


class _Value(_Label):
    """A regression, counted from the middle of its range."""

    middle: Tensor

    def __init__(self, name: str, spec: TaskSpec) -> None:
        if spec.range is None and (spec.prior is None or spec.spread is None):
            raise UserError(f"GeneratedLabels: {name} has no range and no statistics of its training part")
        low, high = spec.range or (0.0, 0.0)
        super().__init__([3 * s for s in spec.spread or ()] if spec.range is None else [(high - low) / 2] * spec.size)
        middle = spec.prior if spec.range is None else [(low + high) / 2] * spec.size
        self.register_buffer("middle", torch.tensor(middle, dtype=torch.get_default_dtype()), persistent=False)

    def signed(self, target: Masked) -> Masked:
        return Masked(torch.where(target.mask, target.values - self.middle, 0.0), target.mask)

    def error(self, logits: Tensor, made: Masked) -> Tensor:
        away = (logits - self.middle - made.values).abs()
        return masked_mean(Masked(away.unsqueeze(-1), made.mask)).squeeze(-1)


class _Several(_Label):
    """Several labels, each 1 or -1."""

    def __init__(self, name: str, spec: TaskSpec) -> None:
        super().__init__([1.0] * spec.size)

    def signed(self, target: Masked) -> Masked:
        return Masked(torch.where(target.mask, 2 * target.values - 1, 0.0), target.mask)

    def error(self, logits: Tensor, made: Masked) -> Tensor:
        losses = F.binary_cross_entropy_with_logits(logits, (made.values + 1) / 2, reduction="none")
        return masked_mean(Masked(losses.unsqueeze(-1), made.mask)).squeeze(-1)


class _Class(_Label):
    """One class: 1 for it, -1 for the others."""

    def __init__(self, name: str, spec: TaskSpec) -> None:
        super().__init__([1.0] * spec.size)

    def signed(self, target: Masked) -> Masked:
        classes = torch.arange(len(self.bound), device=target.values.device)
        mask = target.mask.unsqueeze(-1).expand(*target.mask.shape, len(self.bound))
        one = torch.where(target.values.unsqueeze(-1) == classes, 1.0, -1.0)
        return Masked(torch.where(mask, one, 0.0), mask)

    def error(self, logits: Tensor, made: Masked) -> Tensor:
        share = (made.values + 1) / 2
        wanted = share / share.sum(-1, keepdim=True).clamp(min=1e-6)  # ours: no class at all teaches nothing
        return -(wanted * logits.log_softmax(-1)).sum(-1)


_LABELS: dict[Kind, Callable[[str, TaskSpec], _Label]] = {
    "regression": _Value,
    "multilabel": _Several,
    "multiclass": _Class,
}


def _lean(x: Tensor, there: Tensor, y: Masked) -> Masked:
    """How much nearer each row is to the positive centre of each label than to the negative: δ, without gradient.

    Args:
        x: features (..., dim).
        there: (...), where they stand for something observed.
        y: signed labels, values and mask (..., size).

    Returns:
        δ (..., size), masked (all rows of a label alike) where the batch has one sign of it only.
    """
    rows = at_least_single(x.detach()).flatten(0, -2)
    counted = (y.mask & there.unsqueeze(-1)).flatten(0, -2)
    signs = counted & (y.values >= 0).flatten(0, -2), counted & (y.values < 0).flatten(0, -2)
    near, far = (_distance(rows, sign) for sign in signs)
    both = (signs[0].any(0) & signs[1].any(0)).expand(counted.shape)
    delta = (far - near) / near.clamp(min=1e-6)  # ours: 1e-8 in the code, which single precision does not hold
    return Masked(delta.view(y.values.shape), both.reshape(y.values.shape))


def _distance(rows: Tensor, chosen: Tensor) -> Tensor:
    """Distance of every row (n, dim) to the mean of the chosen ones (n, size); (n, size)."""
    share = chosen / chosen.sum(0).clamp(min=1)
    centres = share.T.to(rows.dtype) @ rows
    return torch.linalg.vector_norm(rows.unsqueeze(1) - centres, dim=-1)


def _made(y: Masked, own: Masked, whole: Masked, bound: Tensor) -> Tensor:
    """The labels of a modality, (..., size), zero where there is no label."""
    tiny = torch.where(whole.values < 0, -1e-6, 1e-6)
    alpha = own.values / (whole.values + tiny)
    new = (alpha * y.values + y.values + own.values - whole.values) / 2
    new = torch.where(own.mask & whole.mask, torch.clamp(new, -bound, bound), y.values.to(new.dtype))
    return torch.where(y.mask, new, 0.0)
