"""Contrastive alignment of modalities: AVEL, SupCon, InfoNCE. Every item against every item of the other modality."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

from mer_bench.contracts import AuxLoss, FusionMethod
from mer_bench.losses.labels import label_task
from mer_bench.losses.pairs import Pair, cosine, have_both, hidden, pairs_between, present, whole_items
from mer_bench.types import Batch, Features, Outputs, Tasks

TemperatureMode = Literal["code", "clip", "fixed"]


def contrast(scores: Tensor, positive: Tensor, valid: Tensor, *, average: bool) -> Tensor:
    """Mean over anchors of -Σ over their positives of log softmax(scores), softmax over all valid candidates.

    Args:
        scores: (batch, batch), anchors by candidates.
        positive: (batch, batch) True where a candidate belongs to an anchor, or how much it does, from 0 to 1; the
            diagonal is 1.
        valid: (batch,) True for items that take part, as anchors and as candidates.
        average: divide the sum over positives by their number, or by the sum of their shares.

    Returns:
        A scalar; zero when no item is valid.
    """
    log_p = torch.where(valid, scores, torch.finfo(scores.dtype).min).log_softmax(-1)
    chosen = torch.where(valid, positive, False).to(scores.dtype)
    anchors = -(chosen * torch.where(valid, log_p, 0.0)).sum(-1)
    if average:
        anchors = anchors / chosen.sum(-1).clamp(min=1)
    return torch.where(valid, anchors, 0.0).sum() / valid.sum().clamp(min=1)


class AVEL(AuxLoss):
    """Alignment by emotion label of Foal-Net (Li et al., Interspeech 2024; authors' code, commit 781849f).

    With z the L2-normalised projections, S = z_a z_bᵀ / T and M[i, j] = 1 where the labels of i and j agree::

        L_ab = -(1/B) Σ_i Σ_j M[i, j] log softmax_j(S[i, :])[j],    L = (L_ab + L_ba) / 2

    B counts the items that have both modalities and a label. The authors sum over positives (SupCon averages) and
    learn T as a divisor from ln(1 / 0.07) = 2.659 on. Several pairs of modalities (ours): the mean over pairs.
    Several labels per item (ours): M[i, j] = 1 where i and j share half of their labels or more (Jaccard index).
    Regression (ours): soft targets, M[i, j] = exp(-d² / (2 bandwidth²)) with d the distance of the two targets in
    standard deviations of the training part, and each row of M divided by its sum, whatever `positives` says. Frame
    level (ours): projections are averaged over the window, the target is the mean, or commonest class, of its frames.

    Args:
        weight: factor applied by the module; the authors' code has 1.
        between: pairs of modalities; all that are offered by default.
        temperature: code: as the authors. clip: a learned factor exp(s), s from ln(1 / 0.07), at most 100, as in CLIP.
            fixed: divide by `tau`.
        tau: for `fixed`; 0.07 from Khosla et al. (2020).
        positives: sum (the authors) or mean over an anchor's positives.
        read: which hidden tensors, ``<m>`` standing for the modality.
        bandwidth: of the kernel of a regression, in standard deviations (ours).
    """

    def __init__(
        self,
        weight: float = 1.0,
        *,
        between: list[Pair] | None = None,
        temperature: TemperatureMode = "code",
        tau: float = 0.07,
        positives: Literal["sum", "mean"] = "sum",
        read: str = "aligned/<m>",
        bandwidth: float = 0.5,
    ) -> None:
        super().__init__(weight)
        self.between, self.read, self.positives, self.bandwidth = between, read, positives, bandwidth
        self.temperature = _TEMPERATURES[temperature](tau)
        self.pairs: list[Pair] = []

    def bind(self, features: Features, tasks: Tasks) -> None:
        """Resolve `between` and the task whose labels count."""
        self.pairs = pairs_between(self.between, features, loss="AVEL")
        self.task, self.relate = label_task(tasks, loss="AVEL", bandwidth=self.bandwidth)
        self.average = self.positives == "mean" or tasks[self.task].kind == "regression"

    def forward(self, outputs: Outputs, batch: Batch, method: FusionMethod) -> Tensor:
        """The loss of one batch."""
        relation = self.relate(batch.targets[self.task])
        pairs = embeddings(self.pairs, self.read, outputs, batch, loss="AVEL")
        return _mean_over(pairs, self.temperature, relation.same, relation.known, average=self.average)


class SupCon(AuxLoss):
    """Supervised contrastive loss across modalities (Khosla et al., NeurIPS 2020, arXiv:2004.11362).

    `AVEL` with the mean over positives and a fixed temperature; items of the same modality are not compared. Several
    labels, regression and frame level as there.

    Args:
        weight: factor applied by the module.
        between: pairs of modalities; all that are offered by default.
        tau: temperature; 0.07 in the reference code.
        read: which hidden tensors, ``<m>`` standing for the modality.
        bandwidth: of the kernel of a regression, in standard deviations (ours).
    """

    def __init__(
        self,
        weight: float = 1.0,
        *,
        between: list[Pair] | None = None,
        tau: float = 0.07,
        read: str = "aligned/<m>",
        bandwidth: float = 0.5,
    ) -> None:
        super().__init__(weight)
        self.between, self.read, self.temperature, self.bandwidth = between, read, _Fixed(tau), bandwidth
        self.pairs: list[Pair] = []

    def bind(self, features: Features, tasks: Tasks) -> None:
        """Resolve `between` and the task whose labels count."""
        self.pairs = pairs_between(self.between, features, loss="SupCon")
        self.task, self.relate = label_task(tasks, loss="SupCon", bandwidth=self.bandwidth)

    def forward(self, outputs: Outputs, batch: Batch, method: FusionMethod) -> Tensor:
        """The loss of one batch."""
        relation = self.relate(batch.targets[self.task])
        pairs = embeddings(self.pairs, self.read, outputs, batch, loss="SupCon")
        return _mean_over(pairs, self.temperature, relation.same, relation.known, average=True)


class InfoNCE(AuxLoss):
    """Contrast of items: the two modalities of one item belong together (CLIP: Radford et al., 2021, arXiv:2103.00020).

    Needs no labels, so it goes with every task. For frame-level tasks the items are windows, averaged over time (ours).

    Args:
        weight: factor applied by the module.
        between: pairs of modalities; all that are offered by default.
        temperature: clip: a learned factor exp(s), s from ln(1 / 0.07), at most 100. fixed: divide by `tau`. code: as
            in `AVEL`.
        tau: for `fixed`.
        read: which hidden tensors, ``<m>`` standing for the modality.
    """

    def __init__(
        self,
        weight: float = 1.0,
        *,
        between: list[Pair] | None = None,
        temperature: TemperatureMode = "clip",
        tau: float = 0.07,
        read: str = "aligned/<m>",
    ) -> None:
        super().__init__(weight)
        self.between, self.read = between, read
        self.temperature = _TEMPERATURES[temperature](tau)
        self.pairs: list[Pair] = []

    def bind(self, features: Features, tasks: Tasks) -> None:
        """Resolve `between`."""
        self.pairs = pairs_between(self.between, features, loss="InfoNCE")

    def forward(self, outputs: Outputs, batch: Batch, method: FusionMethod) -> Tensor:
        """The loss of one batch."""
        own = torch.eye(batch.rows.shape[0], dtype=torch.bool, device=batch.rows.device)
        pairs = embeddings(self.pairs, self.read, outputs, batch, loss="InfoNCE")
        return _mean_over(pairs, self.temperature, own, torch.ones_like(batch.rows, dtype=torch.bool), average=True)


class _Divisor(nn.Module):
    """Foal-Net's code: CLIP's initial logit scale ln(1 / 0.07), used as a learned divisor."""

    def __init__(self) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.tensor(math.log(1 / 0.07)))

    def forward(self, cosines: Tensor) -> Tensor:
        # the floor is ours, against large learning rates; the authors' rate moves the value by about 1 in a whole run
        return cosines / self.value.clamp(min=0.01)


class _Factor(nn.Module):
    """CLIP: a learned factor exp(s), at most 100."""

    def __init__(self) -> None:
        super().__init__()
        self.log = nn.Parameter(torch.tensor(math.log(1 / 0.07)))

    def forward(self, cosines: Tensor) -> Tensor:
        return cosines * self.log.exp().clamp(max=100.0)


class _Fixed(nn.Module):
    """A constant divisor."""

    def __init__(self, tau: float) -> None:
        super().__init__()
        self.tau = tau

    def forward(self, cosines: Tensor) -> Tensor:
        return cosines / self.tau


_TEMPERATURES: dict[TemperatureMode, Callable[[float], nn.Module]] = {
    "code": lambda tau: _Divisor(),
    "clip": lambda tau: _Factor(),
    "fixed": _Fixed,
}


def embeddings(
    pairs: list[Pair], read: str, outputs: Outputs, batch: Batch, *, loss: str
) -> list[tuple[Tensor, Tensor, Tensor]]:
    """For each pair of modalities the two embeddings (batch, dim) and where an item has both (batch,)."""
    found = {}
    for m in {m: None for pair in pairs for m in pair}:
        x = hidden(outputs, read.replace("<m>", m), loss=loss)
        found[m] = whole_items(x, present(batch, m, x))
    return [(found[a], found[b], have_both(batch, a, b)) for a, b in pairs]


def _mean_over(
    pairs: list[tuple[Tensor, Tensor, Tensor]],
    temperature: nn.Module,
    positive: Tensor,
    known: Tensor,
    *,
    average: bool,
) -> Tensor:
    """Both directions of `contrast`, averaged, then the mean over pairs; `positive` is symmetric."""
    losses = []
    for a, b, both in pairs:
        scores, valid = temperature(cosine(a, b)), both & known
        losses += [contrast(s, positive, valid, average=average) for s in (scores, scores.T)]
    return torch.stack(losses).mean()
