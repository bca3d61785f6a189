"""From damaged input to what the whole input would have given (LNLN)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from mer_bench.contracts import AuxLoss, FusionMethod
from mer_bench.losses.answers import answer_losses
from mer_bench.losses.pairs import hidden, present, present_any
from mer_bench.losses.task import RegressionLoss
from mer_bench.nn.draws import hashed
from mer_bench.nn.masking import at_least_single, zeroed
from mer_bench.types import Batch, Features, Masked, Outputs, Tasks


class Completion(AuxLoss):
    """A second pass over the batch with frames lost, compared with the first one, which has them (LNLN).

    Of LNLN (Zhang et al., NeurIPS 2024, arXiv:2409.20012), after the authors' code, github.com/Haoyu-ha/LNLN. In half
    of the cases an item loses frames of a modality, each with the same probability, drawn between 0 and 1::

        L = task · L_tasks(damaged) + completeness · mean_m (w_m - share of m that is left)²
            + adversarial · (BCE(judged whole, 1) + BCE(judged corrected, 0)) / 2
            + reconstruction · mean_m MSE(decoded/m of the damaged input, input/m of the whole)

    with ``completeness/<m>`` for w_m, ``judged/whole`` of the whole and ``judged/corrected`` of the damaged input. The
    method turns the gradient of what is judged around, where it is to deceive.

    Departures:
    - The first pass, on the whole input, trains its task too (the module's own loss); the code trains on damaged input
      only.
    - Completeness is learned for every modality, by the one network (text in the code). Its target is the share that is
      left and not the probability that was drawn.
    - The judge has one output and not two.
    - Lost frames are masked. In the code they stay, as zeros or as a token for unknown words, so that what is lost can
      be seen; here a short item that is whole and a long one that lost much can look alike to the completeness network.

    Args:
        weight: factor applied by the module.
        task: of the task losses of the damaged input; 1 in the code.
        completeness: 0.9 in the code for MOSI.
        adversarial: 0.8 there.
        reconstruction: 0.1 there.
        regression: loss of all regressions; give the one of model.regression_loss where that is given. By default the
            one that the shipped protocols use for the task, see `answer_losses`.
    """

    def __init__(
        self,
        weight: float = 1.0,
        *,
        task: float = 1.0,
        completeness: float = 0.9,
        adversarial: float = 0.8,
        reconstruction: float = 0.1,
        regression: RegressionLoss | None = None,
    ) -> None:
        super().__init__(weight)
        self.task, self.completeness = task, completeness
        self.adversarial, self.reconstruction = adversarial, reconstruction
        self.regression = regression

    def bind(self, features: Features, tasks: Tasks) -> None:
        """Two random numbers per modality: how much is lost, and which frames."""
        self.modalities, self.n_draws = list(features), 2 * len(features)
        self.frames = any(spec.level == "frame" for spec in tasks.values())
        self.losses = answer_losses(tasks, self.regression)

    def forward(self, outputs: Outputs, batch: Batch, method: FusionMethod) -> Tensor:
        """The loss of one batch, whose outputs are those of the whole input."""
        damaged = self._damaged(batch)
        found = method(damaged)
        tasks = [loss(found.logits[task], damaged.targets[task]) for task, loss in self.losses.items()]
        there = [
            self._completeness(m, found, batch, damaged) + self._reconstruction(m, found, outputs, batch)
            for m in self.modalities
        ]
        adversarial = self.adversarial * self._adversarial(found, outputs, batch)
        return self.task * torch.stack(tasks).sum() + torch.stack(there).mean() + adversarial

    def _damaged(self, batch: Batch) -> Batch:
        """The batch with frames lost; targets with nothing left to tell them from are masked."""
        how_much, which = batch.draws.unbind(1)[::2], batch.draws.unbind(1)[1::2]
        inputs = dict(batch.inputs)
        for m, rate, start in zip(self.modalities, how_much, which, strict=True):
            x = batch.inputs[m]
            stays = hashed(start, 1, x.mask.shape[1]) >= (2 * rate - 1).clamp(min=0).unsqueeze(1)
            inputs[m] = Masked(zeroed(Masked(x.values, x.mask & stays)), x.mask & stays)
        left = torch.stack([x.mask if self.frames else x.mask.any(1) for x in inputs.values()]).any(0)
        targets = {
            task: Masked(t.values, t.mask & left.reshape(*left.shape, *[1] * (t.mask.dim() - left.dim())))
            for task, t in batch.targets.items()
        }
        return batch._replace(inputs=inputs, targets=targets)

    def _completeness(self, m: str, found: Outputs, batch: Batch, damaged: Batch) -> Tensor:
        said = at_least_single(hidden(found, f"completeness/{m}", loss="Completion")).squeeze(-1)
        whole, left = batch.inputs[m].mask, damaged.inputs[m].mask
        share = left.to(said.dtype) if said.dim() > 1 else left.sum(1) / whole.sum(1).clamp(min=1)
        return self.completeness * _mean((said - share).square(), present(batch, m, said.unsqueeze(-1)))

    def _reconstruction(self, m: str, found: Outputs, outputs: Outputs, batch: Batch) -> Tensor:
        said = at_least_single(hidden(found, f"decoded/{m}", loss="Completion"))
        truth = at_least_single(hidden(outputs, f"input/{m}", loss="Completion"))
        return self.reconstruction * _mean((said - truth).square().mean(-1), present(batch, m, said))

    def _adversarial(self, found: Outputs, outputs: Outputs, batch: Batch) -> Tensor:
        real = at_least_single(hidden(outputs, "judged/whole", loss="Completion"))
        made = at_least_single(hidden(found, "judged/corrected", loss="Completion"))
        value = (F.softplus(-real) + F.softplus(made)).mean(-1) / 2
        return _mean(value, present_any(batch, real))


def _mean(x: Tensor, mask: Tensor) -> Tensor:
    return torch.where(mask, x, 0.0).sum() / mask.sum().clamp(min=1)
