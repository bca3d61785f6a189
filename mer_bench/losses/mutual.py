"""What all modalities say teaches what some of them say."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from mer_bench.contracts import AuxLoss, FusionMethod
from mer_bench.errors import UserError
from mer_bench.losses.pairs import hidden
from mer_bench.nn.masking import at_least_single
from mer_bench.types import Batch, Features, Kind, Outputs, Tasks


class MutualKL(AuxLoss):
    """KL divergence from the answer of the first view of a step to that of each further one, summed over both.

    After deep mutual learning (Zhang et al., CVPR 2018, arXiv:1706.00384), across the modality subsets of one network.
    The first view (all modalities, under `JointSubsets`) teaches and gets no gradient, unless `both`. Multiclass:
    between the class distributions; multilabel: between the Bernoulli distributions, mean over labels; regression
    (ours): between normal distributions of variance 1, which is half the squared difference, mean over dimensions.
    Means are over items, or frames, of which the further view still sees something. Tasks are summed, views too.

    Args:
        weight: factor applied by the module; 1 is ours.
        both: teach in both directions (the paper), each side's teacher without gradient.
    """

    def __init__(self, weight: float = 1.0, *, both: bool = False) -> None:
        super().__init__(weight)
        self.both = both

    def bind(self, features: Features, tasks: Tasks) -> None:
        """Remember what kind of answer each task has.

        Raises:
            UserError: one modality, of which there are no subsets.
        """
        if len(features) < 2:
            raise UserError(
                f"MutualKL: needs two or more modalities to compare subsets of; got {', '.join(features)}. "
                f"Remove this loss from model.auxiliary"
            )
        self.kinds = {name: spec.kind for name, spec in tasks.items()}
        self.frames = any(spec.level == "frame" for spec in tasks.values())

    def forward(self, outputs: Outputs, batch: Batch, method: FusionMethod) -> Tensor:
        """The loss of one step, from ``view/<v>/<task>`` and ``view/<v>/seen``."""
        views = [key.split("/")[1] for key in outputs.hidden if key.startswith("view/") and key.endswith("/seen")]
        if not views:
            raise UserError(
                "MutualKL: compares the views of a step, and this schedule makes a single one; use model.subsets "
                "JointSubsets, or remove this loss from model.auxiliary"
            )
        losses = []
        for view in views:
            mask = self._counted(hidden(outputs, f"view/{view}/seen", loss="MutualKL"), batch)
            for task, kind in self.kinds.items():
                taught = hidden(outputs, f"view/{view}/{task}", loss="MutualKL")
                losses.append(self._one(DIVERGENCES[kind], outputs.logits[task], taught, mask))
        return torch.stack(losses).sum()

    def _counted(self, seen: Tensor, batch: Batch) -> Tensor:
        """(batch,), or (batch, time) for frames: those with an input that the view did not lose altogether."""
        if not self.frames:
            return seen
        return torch.stack([x.mask for x in batch.inputs.values()]).any(0) & seen.unsqueeze(1)

    def _one(self, divergence: Divergence, full: Tensor, part: Tensor, mask: Tensor) -> Tensor:
        full, part = at_least_single(full), at_least_single(part)
        value = divergence(full.detach(), part)
        if self.both:
            value = value + divergence(part.detach(), full)
        return torch.where(mask, value, 0.0).sum() / mask.sum().clamp(min=1)


Divergence = Callable[[Tensor, Tensor], Tensor]


def _classes(teacher: Tensor, pupil: Tensor) -> Tensor:
    """Logits (..., K) of both to KL (...)."""
    p, q = teacher.log_softmax(-1), pupil.log_softmax(-1)
    return (p.exp() * (p - q)).sum(-1)


def _labels(teacher: Tensor, pupil: Tensor) -> Tensor:
    """Logits (..., K) of both to the mean Bernoulli KL (...)."""
    yes = teacher.sigmoid() * (F.logsigmoid(teacher) - F.logsigmoid(pupil))
    no = (-teacher).sigmoid() * (F.logsigmoid(-teacher) - F.logsigmoid(-pupil))
    return (yes + no).mean(-1)


def _values(teacher: Tensor, pupil: Tensor) -> Tensor:
    """Values (..., K) of both to half the mean squared difference (...)."""
    return (teacher - pupil).square().mean(-1) / 2


DIVERGENCES: dict[Kind, Divergence] = {"multiclass": _classes, "multilabel": _labels, "regression": _values}
