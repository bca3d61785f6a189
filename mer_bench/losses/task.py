"""Task losses: what the labels say. Sum over what is observed, divided by how much that is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mer_bench.errors import UserError
from mer_bench.nn.masking import at_least_single
from mer_bench.types import Masked, TaskSpec

RegressionLoss = Literal["mse", "l1", "huber", "ccc"]


def task_loss(spec: TaskSpec, *, regression: RegressionLoss = "mse") -> nn.Module:
    """The loss of one task: a module from logits and a `Masked` target to a scalar.

    Args:
        spec: multiclass: cross-entropy. multilabel: binary cross-entropy. Both with class weights from ``spec.prior``
            where ``spec.weighting`` asks for them.
        regression: which loss for a regression: mean squared, mean absolute or Huber error, or 1 - CCC.

    Raises:
        UserError: class weights without a training prior, or for a regression.
    """
    balanced = spec.weighting == "inverse-frequency"
    if balanced and spec.kind == "regression":
        raise UserError(f"task loss: a regression ({', '.join(spec.names)}) has no class weights; use weighting 'none'")
    if balanced and spec.prior is None:
        raise UserError(
            f"task loss: inverse-frequency weights of {', '.join(spec.names)} need the training prior (TaskSpec.prior)"
        )
    prior = torch.tensor(spec.prior, dtype=torch.get_default_dtype()) if balanced else None
    losses: dict[str, Callable[[], nn.Module]] = {
        "multiclass": lambda: CrossEntropy(prior),
        "multilabel": lambda: BinaryCrossEntropy(prior),
        "regression": lambda: _REGRESSION[regression](),
    }
    return losses[spec.kind]()


class CrossEntropy(nn.Module):
    """Cross-entropy over classes; the weights of class k are 1 / (K p_k), so their mean over the training part is 1.

    Args:
        prior: (K,) class frequencies p of the training part, or None for no weights. Classes that training never saw
            get weight 0 and do not count in K.
    """

    weight: Tensor | None

    def __init__(self, prior: Tensor | None = None) -> None:
        super().__init__()
        self.register_buffer("weight", None if prior is None else _inverse(prior), persistent=False)

    def forward(self, logits: Tensor, target: Masked) -> Tensor:
        """Logits (..., K), target values (...) of class indices with mask (...), to a scalar."""
        index = torch.where(target.mask, target.values, 0)
        losses = -at_least_single(logits).log_softmax(-1).gather(-1, index.unsqueeze(-1)).squeeze(-1)
        weighted = losses if self.weight is None else losses * self.weight[index]
        return _mean(weighted, target.mask)


class BinaryCrossEntropy(nn.Module):
    """Binary cross-entropy from logits, over all observed (item, label) pairs.

    With a prior, positives of a label weigh 1 / (2 p), negatives 1 / (2 (1 - p)): mean 1 over the training part.

    Args:
        prior: (K,) share of positives p of the training part, or None for no weights.
    """

    positive: Tensor | None
    negative: Tensor | None

    def __init__(self, prior: Tensor | None = None) -> None:
        super().__init__()
        both = None if prior is None else _inverse(torch.stack((1 - prior, prior), dim=-1))
        self.register_buffer("negative", None if both is None else both[..., 0], persistent=False)
        self.register_buffer("positive", None if both is None else both[..., 1], persistent=False)

    def forward(self, logits: Tensor, target: Masked) -> Tensor:
        """Logits (..., K), target values (..., K) of 0 and 1 with mask (..., K), to a scalar."""
        truth = torch.where(target.mask, target.values, 0.0)
        losses = F.binary_cross_entropy_with_logits(at_least_single(logits), truth, reduction="none")
        if self.positive is not None and self.negative is not None:
            losses = losses * (truth * self.positive + (1 - truth) * self.negative)
        return _mean(losses, target.mask)


class PointwiseError(nn.Module):
    """Mean over observed values of a function of prediction and target."""

    def __init__(self, error: type[nn.MSELoss] | type[nn.L1Loss] | type[nn.HuberLoss]) -> None:
        super().__init__()
        self.error = error(reduction="none")

    def forward(self, logits: Tensor, target: Masked) -> Tensor:
        """Raw outputs (..., K), target values (..., K) with mask (..., K), to a scalar."""
        truth = torch.where(target.mask, target.values, 0.0)
        return _mean(self.error(at_least_single(logits), truth), target.mask)


class ConcordanceLoss(nn.Module):
    """1 - CCC (Lin, 1989) of all observed values of the batch, items and frames pooled; mean over dimensions.

    CCC = 2 cov / (var_prediction + var_target + (mean_prediction - mean_target)²), all moments over n. Dimensions with
    fewer than two observed values do not count.
    """

    def forward(self, logits: Tensor, target: Masked) -> Tensor:
        """Raw outputs (..., K), target values (..., K) with mask (..., K), to a scalar."""
        keep = target.mask.flatten(0, -2)  # (n, K)
        prediction = torch.where(keep, at_least_single(logits).flatten(0, -2), 0.0)
        truth = torch.where(keep, target.values.flatten(0, -2), 0.0)
        n = keep.sum(0).clamp(min=1)
        mean_p, mean_t = prediction.sum(0) / n, truth.sum(0) / n
        p, t = torch.where(keep, prediction - mean_p, 0.0), torch.where(keep, truth - mean_t, 0.0)
        spread = (p.square().sum(0) + t.square().sum(0)) / n + (mean_p - mean_t).square()
        ccc = 2 * (p * t).sum(0) / n / spread.clamp(min=torch.finfo(spread.dtype).eps)
        return _mean(1 - ccc, keep.sum(0) > 1)


_REGRESSION: dict[RegressionLoss, Callable[[], nn.Module]] = {
    "mse": lambda: PointwiseError(nn.MSELoss),
    "l1": lambda: PointwiseError(nn.L1Loss),
    "huber": lambda: PointwiseError(nn.HuberLoss),
    "ccc": ConcordanceLoss,
}


def _mean(losses: Tensor, mask: Tensor) -> Tensor:
    return torch.where(mask, losses, 0.0).sum() / mask.sum().clamp(min=1)


def _inverse(frequency: Tensor) -> Tensor:
    """Weights 1 / (K p_k) over the last axis, zero where p_k is zero, K counting the others."""
    seen = frequency > 0
    return torch.where(seen, 1 / (torch.where(seen, frequency, 1.0) * seen.sum(-1, keepdim=True)), 0.0)
