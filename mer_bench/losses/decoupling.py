"""Losses of DMD: parts that hold apart and together what they should, and modalities that teach each other by graphs.

Li et al., CVPR 2023, arXiv:2303.13802, after the authors' code, github.com/mdswyz/DMD. Rows are items, or the frames of
frame-level tasks; only those count in which the modalities were observed.
"""

from __future__ import annotations

from itertools import permutations

import torch
import torch.nn.functional as F
from torch import Tensor

from mer_bench.contracts import AuxLoss, FusionMethod
from mer_bench.errors import UserError
from mer_bench.losses.answers import answer_losses
from mer_bench.losses.labels import label_task
from mer_bench.losses.pairs import cosine, hidden, present, present_any, whole_items
from mer_bench.losses.subspaces import rows
from mer_bench.losses.task import RegressionLoss
from mer_bench.nn.masking import at_least_single
from mer_bench.types import Batch, Features, Masked, Outputs, Tasks

KINDS = ("homogeneous", "heterogeneous")


class Decoupling(AuxLoss):
    """Private parts are found again, differ from shared ones, and shared ones lie by label, not by modality (DMD).

    With p = ``private/<m>``, s = ``shared/<m>``, c = ``aligned/<m>``, and for the last mean every item i, every j of
    the same label, every k of a different one, and modalities a and b::

        L = Σ_m MSE(again/m, p_m) + part · (Σ_m mean max(0, cos(p_m, s_m)) + mean max(0, margin - cos(c_ia, c_jb)
            + cos(c_ia, c_ka)))

    Reconstruction is a loss of its own (`Reconstruction`).

    Departures:
    - The cosine of parts is over the features of a row. In the code it runs over the axis that holds the batch.
    - Of the triples, i and j are of different modalities (j may be i itself) and k of i's; the code takes all three
      from all modalities. The margin is constant; in the code it is 0.15 times the difference of the labels. Which
      labels are the same: as in the other losses on labels; frames are averaged to items first (ours).

    Args:
        weight: factor applied by the module; 0.1 in the code.
        part: of the last two terms; 0.1 in the code.
        margin: 0.15 in the code, per unit of the label.
    """

    def __init__(self, weight: float = 0.1, *, part: float = 0.1, margin: float = 0.15) -> None:
        super().__init__(weight)
        self.part, self.margin = part, margin

    def bind(self, features: Features, tasks: Tasks) -> None:
        """Find the task whose labels say what is alike."""
        self.modalities = list(features)
        self.task, self.relate = label_task(tasks, loss="Decoupling")

    def forward(self, outputs: Outputs, batch: Batch, method: FusionMethod) -> Tensor:
        """The loss of one batch."""
        again, apart = [], []
        for m in self.modalities:
            (found, mask), (private, _), (shared, _) = (
                rows(f"{kind}/<m>", m, outputs, batch, loss="Decoupling") for kind in ("again", "private", "shared")
            )
            again.append(_mean((found - private).square().mean(-1), mask))
            apart.append(_mean(F.cosine_similarity(private, shared, dim=-1).clamp(min=0), mask))
        return torch.stack(again).sum() + self.part * (torch.stack(apart).sum() + self._triples(outputs, batch))

    def _triples(self, outputs: Outputs, batch: Batch) -> Tensor:
        relation = self.relate(batch.targets[self.task])
        known = relation.known.unsqueeze(1) & relation.known.unsqueeze(0)
        vectors, there = {}, {}
        for m in self.modalities:
            x = hidden(outputs, f"aligned/{m}", loss="Decoupling")
            vectors[m] = whole_items(x, present(batch, m, x))
            there[m] = batch.inputs[m].mask.any(1)
        total, count = outputs.logits[self.task].new_zeros(()), outputs.logits[self.task].new_zeros(())
        for a, b in permutations(self.modalities, 2):
            near = torch.where(known & there[a].unsqueeze(1) & there[b], relation.same, 0)
            far = known & there[a].unsqueeze(1) & there[a] & relation.other
            across, within = cosine(vectors[a], vectors[b]), cosine(vectors[a], vectors[a])
            excess = self.margin - across.unsqueeze(2) + within.unsqueeze(1)
            share = near.unsqueeze(2) * far.unsqueeze(1)
            total = total + (share * excess.clamp(min=0)).sum()
            count = count + share.sum()
        return total / count.clamp(min=1)


class GraphDistillation(AuxLoss):
    """The answers of modalities follow each other, by weights that a graph gives each pair (DMD).

    For both kinds of answers, with edges e from ``edges/<kind>`` (pairs a, b in the order of `permutations`) and the
    prior 1 / pairs::

        L = Σ_ab mean (e_ab + prior) · |answer_a - sg answer_b| + regular · Σ_ab (mean e_ab - prior)²

    Departures: the prior is even; in the code language teaches. Distances are means over the outputs of a task, summed
    over tasks. A second term of the code is left out: for heterogeneous embeddings it adds a cosine to what is
    minimised, so it drives pupil and teacher apart.

    Args:
        weight: factor applied by the module; 0.05 in the code.
        regular: 10 in the code.
    """

    def __init__(self, weight: float = 0.05, *, regular: float = 10.0) -> None:
        super().__init__(weight)
        self.regular = regular

    def bind(self, features: Features, tasks: Tasks) -> None:
        """List the pairs.

        Raises:
            UserError: one modality, which nobody can teach.
        """
        if len(features) < 2:
            raise UserError(
                f"GraphDistillation: needs two or more modalities; got {', '.join(features)}. Remove this loss from "
                f"model.auxiliary"
            )
        self.pairs, self.tasks = list(permutations(features, 2)), list(tasks)

    def forward(self, outputs: Outputs, batch: Batch, method: FusionMethod) -> Tensor:
        """The loss of one batch."""
        return torch.stack([self._graph(kind, outputs, batch) for kind in KINDS]).sum()

    def _graph(self, kind: str, outputs: Outputs, batch: Batch) -> Tensor:
        edges = at_least_single(hidden(outputs, f"edges/{kind}", loss="GraphDistillation"))
        prior, losses = 1 / len(self.pairs), []
        for k, (a, b) in enumerate(self.pairs):
            both = present(batch, a, edges) & present(batch, b, edges)
            losses.append(torch.where(both.any(), self.regular * (_mean(edges[..., k], both) - prior).square(), 0.0))
            for task in self.tasks:
                pupil, teacher = (
                    at_least_single(hidden(outputs, f"{kind}/{m}/{task}", loss="GraphDistillation")) for m in (a, b)
                )
                losses.append(_mean((edges[..., k] + prior) * (pupil - teacher.detach()).abs().mean(-1), both))
        return torch.stack(losses).sum()


class PartsTask(AuxLoss):
    """Every answer beside the fused one learns from the labels: of both kinds by modality, and of shared parts (DMD).

    Summed over answers and tasks, with the loss that the fused answer has, as in the code (trains/singleTask/DMD.py at
    e4f6de3). Only items, or frames, that have the modality count.

    Args:
        weight: factor applied by the module; 1 in the code.
        regression: loss of all regressions; give the one of model.regression_loss where that is given. By default the
            one that the shipped protocols use for the task, see `answer_losses`.
    """

    def __init__(self, weight: float = 1.0, *, regression: RegressionLoss | None = None) -> None:
        super().__init__(weight)
        self.regression = regression

    def bind(self, features: Features, tasks: Tasks) -> None:
        """Make the loss of each task."""
        self.modalities = list(features)
        self.losses = answer_losses(tasks, self.regression)

    def forward(self, outputs: Outputs, batch: Batch, method: FusionMethod) -> Tensor:
        """The loss of one batch."""
        losses = []
        for task, loss in self.losses.items():
            common = hidden(outputs, f"common/{task}", loss="PartsTask")
            said = [(common, present_any(batch, common))]
            for key, m in ((f"{kind}/{m}/{task}", m) for kind in KINDS for m in self.modalities):
                own = hidden(outputs, key, loss="PartsTask")
                said.append((own, present(batch, m, own)))
            target = batch.targets[task]
            for logits, mask in said:
                counted = target.mask & mask.reshape(mask.shape + (1,) * (target.mask.dim() - mask.dim()))
                losses.append(loss(logits, Masked(target.values, counted)))
        return torch.stack(losses).sum()


def _mean(x: Tensor, mask: Tensor) -> Tensor:
    return torch.where(mask, x, 0.0).sum() / mask.sum().clamp(min=1)
