"""Contrast by rank: what is closer in the target is to be closer in the embedding."""

from __future__ import annotations

import torch
from torch import Tensor

from mer_bench.contracts import AuxLoss, FusionMethod
from mer_bench.errors import UserError, did_you_mean
from mer_bench.losses.labels import mean_over_time
from mer_bench.losses.pairs import hidden, present, present_any, whole_items
from mer_bench.types import Batch, Features, Masked, Outputs, Tasks


class RankNContrast(AuxLoss):
    """Rank-N-Contrast (Zha et al., NeurIPS 2023, arXiv:2210.01189; authors' code, commit 6239bdf).

    For an anchor i, each other item j has to win against all items at least as far from i in the target::

        L = -mean_{i ≠ j} log( exp(-|z_i - z_j| / tau) / Σ_{k ≠ i: d(i, k) ≥ d(i, j)} exp(-|z_i - z_k| / tau) )

    |·| is the Euclidean length, d the sum of absolute differences over the dimensions of the target, as in the authors'
    code. Departures: one embedding per item where the authors have two augmented views; items that lack the target or
    every modality that is read take no part. Classes in order (ours): d is the difference of their indices. Frame level
    (ours): embeddings and targets are averaged over the window. Takes batch³ numbers of memory.

    Args:
        weight: factor applied by the module; 1 is ours.
        task: whose distances count; the first regression by default. A task with classes must be named; its classes
            then count as ordered and one step apart (pain intensity).
        tau: temperature; 2 in the authors' code.
        read: the hidden tensor, or with ``<m>`` those of each modality; then the mean over modalities.
    """

    def __init__(self, weight: float = 1.0, *, task: str | None = None, tau: float = 2.0, read: str = "fused") -> None:
        super().__init__(weight)
        self.given, self.tau, self.read = task, tau, read

    def bind(self, features: Features, tasks: Tasks) -> None:
        """Resolve `task`.

        Raises:
            UserError: no such task, or none with distances.
        """
        self.task = self.given or next((name for name, spec in tasks.items() if spec.kind == "regression"), "")
        if self.given and self.given not in tasks:
            raise UserError(
                f"RankNContrast: no task {self.given!r}; {did_you_mean(self.given, tasks)}. Correct `task`, or remove "
                f"this loss from model.auxiliary"
            )
        if not self.task or tasks[self.task].kind == "multilabel":
            found = ", ".join(f"{name} ({spec.kind})" for name, spec in tasks.items())
            raise UserError(
                f"RankNContrast: needs a regression, or a task with ordered classes named in `task`; found {found}. "
                f"Remove this loss from model.auxiliary"
            )
        self.classes, self.frames = tasks[self.task].kind == "multiclass", tasks[self.task].level == "frame"
        self.modalities = list(features) if "<m>" in self.read else []

    def forward(self, outputs: Outputs, batch: Batch, method: FusionMethod) -> Tensor:
        """The loss of one batch."""
        losses = []
        for m in self.modalities or [""]:
            x = hidden(outputs, self.read.replace("<m>", m), loss="RankNContrast")
            mask = present(batch, m, x) if m else present_any(batch, x)
            z = whole_items(x, mask)
            target = self._target(batch.targets[self.task], z)
            there = mask.any(1) if mask.dim() > 1 else mask
            losses.append(rank_contrast(z / self.tau, target.values, there & target.mask.all(-1)))
        return torch.stack(losses).mean()

    def _target(self, target: Masked, like: Tensor) -> Masked:
        """(batch, dimensions), of the type of the embeddings."""
        if self.classes:
            target = Masked(target.values.unsqueeze(-1), target.mask.unsqueeze(-1))
        target = Masked(torch.where(target.mask, target.values, 0).to(like.dtype), target.mask)
        return mean_over_time(target) if self.frames else target


def rank_contrast(z: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    """Mean over ordered pairs of valid items of the loss of `RankNContrast`.

    Args:
        z: (batch, dim), divided by the temperature.
        target: (batch, dimensions), finite.
        valid: (batch,) True for items that take part.

    Returns:
        A scalar; zero with fewer than two valid items.
    """
    squared = (z.unsqueeze(1) - z.unsqueeze(0)).square().sum(-1)
    # the root has no finite slope at zero, where every item meets itself
    scores = -squared.clamp(min=torch.finfo(z.dtype).tiny).sqrt()
    distance = (target.unsqueeze(1) - target.unsqueeze(0)).abs().sum(-1)
    itself = torch.eye(len(valid), dtype=torch.bool, device=valid.device)
    pair = valid & valid.unsqueeze(1) & ~itself
    rivals = pair.unsqueeze(1) & (distance.unsqueeze(1) >= distance.unsqueeze(2))  # anchor, positive, rival
    filled = torch.where(rivals, scores.unsqueeze(1), torch.finfo(z.dtype).min)
    losses = torch.where(pair, filled.logsumexp(-1) - scores, 0.0)
    return losses.sum() / pair.sum().clamp(min=1)
