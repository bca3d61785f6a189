"""Contrast of single pairs: is this the same emotion in both modalities, yes or no?"""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mer_bench.contracts import AuxLoss, FusionMethod
from mer_bench.losses.contrastive import embeddings
from mer_bench.losses.labels import label_task
from mer_bench.losses.pairs import Pair, cosine, pairs_between
from mer_bench.types import Batch, Features, Outputs, Tasks


class PairwiseSigmoid(AuxLoss):
    """Sigmoid contrast over pairs (SigLIP: Zhai et al., ICCV 2023, arXiv:2303.15343), positives by label (ours).

    With z the L2-normalised embeddings and s[i, j] from 0 to 1 how much i and j are alike by their labels::

        L = -(1/B) Σ_i Σ_j s[i, j] log σ(x[i, j]) + (1 - s[i, j]) log σ(-x[i, j]),    x = exp(t) z_a z_bᵀ + b

    B counts the items that have both modalities and a label; mean over pairs of modalities (ours). In the paper s is 1
    for i = j and 0 elsewhere. Here: classes alike or not; several labels by `labels`; a regression by the kernel of
    `AVEL`. No softmax couples the candidates, so shares need no normalisation, which suits several labels per item.
    Frame level (ours): averages over the window, as in `AVEL`. The factor exp(t) starts at 10 as in the paper; b starts
    at 0, where the paper has -10 for one positive among thousands.

    Args:
        weight: factor applied by the module; 1 is ours.
        between: pairs of modalities; all that are offered by default.
        labels: several labels per item. jaccard: s is the share of the labels of either that both have; any: s is 1
            where they share one.
        read: which hidden tensors, ``<m>`` standing for the modality.
        factor: first value of exp(t).
        offset: first value of b.
        bandwidth: of the kernel of a regression, in standard deviations (ours).
    """

    def __init__(
        self,
        weight: float = 1.0,
        *,
        between: list[Pair] | None = None,
        labels: Literal["jaccard", "any"] = "jaccard",
        read: str = "aligned/<m>",
        factor: float = 10.0,
        offset: float = 0.0,
        bandwidth: float = 0.5,
    ) -> None:
        super().__init__(weight)
        self.between, self.labels, self.read, self.bandwidth = between, labels, read, bandwidth
        self.log_factor = nn.Parameter(torch.tensor(math.log(factor)))
        self.offset = nn.Parameter(torch.tensor(float(offset)))

    def bind(self, features: Features, tasks: Tasks) -> None:
        """Resolve `between` and the task whose labels count."""
        self.pairs = pairs_between(self.between, features, loss="PairwiseSigmoid")
        self.task, self.relate = label_task(
            tasks, loss="PairwiseSigmoid", label_sets=self.labels, bandwidth=self.bandwidth
        )

    def forward(self, outputs: Outputs, batch: Batch, method: FusionMethod) -> Tensor:
        """The loss of one batch."""
        relation = self.relate(batch.targets[self.task])
        losses = []
        for a, b, both in embeddings(self.pairs, self.read, outputs, batch, loss="PairwiseSigmoid"):
            logits, valid = cosine(a, b) * self.log_factor.exp() + self.offset, both & relation.known
            share = relation.same.to(logits.dtype)
            terms = -share * F.logsigmoid(logits) - (1 - share) * F.logsigmoid(-logits)
            counted = valid & valid.unsqueeze(1)
            losses.append(torch.where(counted, terms, 0.0).sum() / valid.sum().clamp(min=1))
        return torch.stack(losses).mean()
