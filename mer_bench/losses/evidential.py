"""Loss on evidence: a distribution over the probabilities of classes is to lie at the label and claim nothing else."""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

import torch
from torch import Tensor, nn

from mer_bench.contracts import AuxLoss, FusionMethod
from mer_bench.errors import UserError
from mer_bench.losses.pairs import hidden, present, present_any
from mer_bench.losses.task import BinaryCrossEntropy, CrossEntropy, task_loss
from mer_bench.nn.masking import at_least_single
from mer_bench.types import Batch, Features, Masked, Outputs, Tasks


class Evidential(AuxLoss):
    """Expected cross-entropy under the Dirichlet distribution of each opinion, and what it claims against the label.

    Of TMC (Han et al., ICLR 2021, arXiv:2102.02051), after the authors' code, github.com/hanmenghan/TMC. With evidence
    e over K classes, α = e + 1, S = Σ α, the label y, and α' = α but 1 at y::

        L = ψ(S) - ψ(α_y) + kl · KL(Dirichlet(α') || Dirichlet(1, ..., 1))

    Summed over the fused evidence, ``evidence/<task>``, and that of each modality, ``evidence/<m>/<task>``; mean over
    items, or frames, that have it.

    Departures:
    - `kl` is constant; in the code it rises from 0 to 1 over the first 50 of 500 epochs. A loss here does not know how
      far training is.
    - Weights of classes as in the loss of the task itself (the protocol's).
    - Several labels (ours): each is a choice of two, its evidence against and for it; mean over labels.

    Args:
        weight: factor applied by the module; 1 in TMC.
        kl: of the second term; 1 in TMC after its first epochs.
    """

    def __init__(self, weight: float = 1.0, *, kl: float = 1.0) -> None:
        super().__init__(weight)
        self.kl = kl

    def bind(self, features: Features, tasks: Tasks) -> None:
        """Make the loss of each task but regressions, which have no classes to hold evidence for.

        Raises:
            UserError: all of them are.
        """
        self.modalities = list(features)
        kinds = {"multiclass": _Classes, "multilabel": _Labels}
        self.losses = nn.ModuleDict(
            {name: kinds[spec.kind](task_loss(spec)) for name, spec in tasks.items() if spec.kind in kinds}
        )
        if not len(self.losses):
            raise UserError(
                f"Evidential: evidence is for classes, and {', '.join(tasks)} are regressions. Remove this loss from "
                f"model.auxiliary"
            )

    def forward(self, outputs: Outputs, batch: Batch, method: FusionMethod) -> Tensor:
        """The loss of one batch."""
        losses = []
        for task, loss in cast("Iterable[tuple[str, _Classes | _Labels]]", self.losses.items()):
            fused = hidden(outputs, f"evidence/{task}", loss="Evidential")
            opinions = [(fused, present_any(batch, fused))]
            for m in self.modalities:
                own = hidden(outputs, f"evidence/{m}/{task}", loss="Evidential")
                opinions.append((own, present(batch, m, own)))
            losses += [loss(evidence, batch.targets[task], mask, self.kl) for evidence, mask in opinions]
        return torch.stack(losses).sum()


class _Classes(nn.Module):
    """One class of K."""

    def __init__(self, task: nn.Module) -> None:
        super().__init__()
        self.task = cast("CrossEntropy", task)

    def forward(self, evidence: Tensor, target: Masked, there: Tensor, kl: float) -> Tensor:
        """Evidence (..., K), target (...), the mask of the opinion (...), to a scalar."""
        index = torch.where(target.mask, target.values, 0)
        losses = expected_cross_entropy(at_least_single(evidence), index, kl)
        weighted = losses if self.task.weight is None else losses * self.task.weight[index]
        return _mean(weighted, target.mask & there)


class _Labels(nn.Module):
    """Several labels, each yes or no."""

    def __init__(self, task: nn.Module) -> None:
        super().__init__()
        self.task = cast("BinaryCrossEntropy", task)

    def forward(self, evidence: Tensor, target: Masked, there: Tensor, kl: float) -> Tensor:
        """Evidence (..., 2 K), against each label and then for it, target (..., K), mask (...), to a scalar."""
        truth = torch.where(target.mask, target.values, 0.0)
        pairs = torch.stack(at_least_single(evidence).chunk(2, dim=-1), dim=-1)  # (..., K, 2)
        losses = expected_cross_entropy(pairs, (truth > 0.5).long(), kl)
        if self.task.positive is not None and self.task.negative is not None:
            losses = losses * (truth * self.task.positive + (1 - truth) * self.task.negative)
        return _mean(losses, target.mask & there.unsqueeze(-1))


def expected_cross_entropy(evidence: Tensor, index: Tensor, kl: float) -> Tensor:
    """Both terms of `Evidential` for each row.

    Args:
        evidence: (..., K), not negative.
        index: (...), the class of each row.
        kl: factor on the second term.

    Returns:
        (...).
    """
    alpha = evidence + 1
    own = alpha.gather(-1, index.unsqueeze(-1)).squeeze(-1)
    value = torch.digamma(alpha.sum(-1)) - torch.digamma(own)
    if not kl:
        return value
    classes = torch.arange(alpha.shape[-1], device=alpha.device)
    against = torch.where(classes == index.unsqueeze(-1), 1.0, alpha)
    return value + kl * divergence_from_uniform(against)


def divergence_from_uniform(alpha: Tensor) -> Tensor:
    """KL divergence of a Dirichlet distribution from the uniform one: parameters (..., K) to (...)."""
    total = alpha.sum(-1, keepdim=True)
    norm = torch.lgamma(total).squeeze(-1) - torch.lgamma(alpha).sum(-1)
    uniform = torch.lgamma(alpha.new_tensor(float(alpha.shape[-1])))
    return norm - uniform + ((alpha - 1) * (torch.digamma(alpha) - torch.digamma(total))).sum(-1)


def _mean(losses: Tensor, mask: Tensor) -> Tensor:
    return torch.where(mask, losses, 0.0).sum() / mask.sum().clamp(min=1)
