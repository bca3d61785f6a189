"""Balance of modalities in training: the one that answers better by itself learns more slowly."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from mer_bench.contracts import FusionMethod, GradientHook
from mer_bench.errors import UserError
from mer_bench.training.subsets import restrict
from mer_bench.types import Batch, Kind, Masked, Outputs, TaskSpec


class OGMGE(GradientHook):
    """On-the-fly gradient modulation (Peng et al., CVPR 2022, arXiv:2203.15332; authors' code, commit 0f64793).

    With s_m the mean probability that modality m alone gives to the true class, in each step of the epochs `first` to
    `last`::

        ρ_m = s_m / mean of s over the other modalities,    k_m = 1 - tanh(alpha ρ_m) if ρ_m > 1, else 1
        gradient of the encoder of m  <-  k_m · gradient + noise of the gradient's own standard deviation

    The encoder of m: every parameter with two axes or more whose dotted name has ``m`` as one of its parts, as in
    ``encoders.audio.project.weight``; the authors take convolutions, so biases and norms are left alone there as well.

    Departures: the authors split the weights of the one linear layer after concatenation to answer from one modality;
    for methods of any form `alone` says where the answer comes from. Only items that have both a label and m count.
    More than two modalities (ours): the mean of the others. Several labels: the mean probability of the right answers.
    Regression: the mean of exp(-d² / 2), d the error in standard deviations of the training part (both ours). Tasks are
    averaged.

    Args:
        alpha: strength; the authors' script demands one and has no default, 0.1 is ours.
        first: epoch in which it begins; 0 in the authors' code.
        last: epoch in which it ends, included; 50 in the authors' code.
        noise: the "GE" part; without it, OGM.
        alone: passes: the method sees each modality alone, without gradient, one more pass each per step. heads: it
            provides ``logits/<m>/<task>``.
    """

    def __init__(
        self,
        alpha: float = 0.1,
        *,
        first: int = 0,
        last: int = 50,
        noise: bool = True,
        alone: Literal["passes", "heads"] = "passes",
    ) -> None:
        self.alpha, self.first, self.last, self.noise = alpha, first, last, noise
        self.alone = _ALONE[alone]

    def bind(self, method: FusionMethod) -> None:
        """Find the parameters of each modality.

        Raises:
            UserError: one modality, or one without parameters of its own.
        """
        named = [(name.split("."), p) for name, p in method.named_parameters() if p.dim() > 1]
        self.encoders = {m: [p for parts, p in named if m in parts] for m in method.features}
        for task, spec in method.tasks.items():
            if spec.kind == "regression" and spec.spread is None:
                raise UserError(f"OGMGE: needs the standard deviation of {task} in the training part (TaskSpec.spread)")
        bare = [m for m, found in self.encoders.items() if not found]
        if bare or len(self.encoders) < 2:
            problem = f"no weights of {', '.join(bare)} alone" if bare else "one modality"
            raise UserError(
                f"OGMGE: balances the encoders of several modalities, but {type(method).__name__} has {problem}; "
                f"remove model.gradient_hook"
            )

    @torch.no_grad()
    def __call__(self, method: FusionMethod, outputs: Outputs, batch: Batch, epoch: int) -> None:
        """Scale the gradients of the encoders, and add noise."""
        if not self.first <= epoch <= self.last:
            return
        scores = {m: _score(self.alone(method, outputs, batch, m), method, batch, m) for m in self.encoders}
        for m, factor in factors(scores, self.alpha).items():
            for p in self.encoders[m]:
                if p.grad is not None:
                    spread = p.grad.std() + 1e-8 if self.noise else 0.0  # 1e-8 as in the authors' code
                    p.grad.copy_(p.grad * factor + torch.randn_like(p.grad) * spread)


def factors(scores: dict[str, Tensor], alpha: float) -> dict[str, Tensor]:
    """What the gradient of each modality is multiplied with, from how well each answers alone."""
    total = torch.stack(list(scores.values())).sum()
    found = {}
    for m, score in scores.items():
        others = (total - score) / (len(scores) - 1)
        # without any item that has the others there is nothing to compare with
        ratio = torch.where(others > 0, score / others.clamp(min=torch.finfo(others.dtype).tiny), 1.0)
        found[m] = torch.where(ratio > 1, 1 - torch.tanh(alpha * ratio), 1.0)
    return found


def _passes(method: FusionMethod, outputs: Outputs, batch: Batch, modality: str) -> dict[str, Tensor]:
    """Logits by task of a pass that sees one modality."""
    return method(restrict(batch, f"only_{modality}")).logits


def _heads(method: FusionMethod, outputs: Outputs, batch: Batch, modality: str) -> dict[str, Tensor]:
    """Logits by task of the modality's own heads."""
    keys = {task: f"logits/{modality}/{task}" for task in method.tasks}
    missing = [key for key in keys.values() if key not in outputs.hidden]
    if missing:
        raise UserError(
            f"OGMGE: {type(method).__name__} does not provide {missing[0]!r}; set model.gradient_hook.init_args.alone "
            f"to passes"
        )
    return {task: outputs.hidden[key] for task, key in keys.items()}


def _score(logits: dict[str, Tensor], method: FusionMethod, batch: Batch, modality: str) -> Tensor:
    """Mean probability of the truth over items, or frames, that have the modality; mean over tasks."""
    values = []
    for task, spec in method.tasks.items():
        target, frames = batch.targets[task], batch.inputs[modality].mask
        here = frames if spec.level == "frame" else frames.any(1)
        mask = target.mask & here.reshape(here.shape + (1,) * (target.mask.dim() - here.dim()))
        likely = _LIKELIHOOD[spec.kind](logits[task], Masked(torch.where(mask, target.values, 0), mask), spec)
        values.append(torch.where(mask, likely, 0.0).sum() / mask.sum().clamp(min=1))
    return torch.stack(values).mean()


def _of_class(logits: Tensor, target: Masked, spec: TaskSpec) -> Tensor:
    return logits.softmax(-1).gather(-1, target.values.unsqueeze(-1)).squeeze(-1)


def _of_labels(logits: Tensor, target: Masked, spec: TaskSpec) -> Tensor:
    return torch.sigmoid(torch.where(target.values > 0.5, logits, -logits))


def _of_values(logits: Tensor, target: Masked, spec: TaskSpec) -> Tensor:
    # a dimension that never varies is either hit or missed
    spread = logits.new_tensor(spec.spread).clamp(min=1e-6)
    return torch.exp(-((logits - target.values) / spread).square() / 2)


_ALONE: dict[str, Callable[[FusionMethod, Outputs, Batch, str], dict[str, Tensor]]] = {
    "passes": _passes,
    "heads": _heads,
}
_LIKELIHOOD: dict[Kind, Callable[[Tensor, Masked, TaskSpec], Tensor]] = {
    "multiclass": _of_class,
    "multilabel": _of_labels,
    "regression": _of_values,
}
