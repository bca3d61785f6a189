"""The control that fuses answers: the unimodal logits of every modality, averaged."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mer_bench.contracts import FusionMethod
from mer_bench.nn.encoders import ModalityEncoder
from mer_bench.nn.heads import MLP, Heads, level_of
from mer_bench.nn.masking import masked_softmax
from mer_bench.types import Batch, Features, Outputs, Tasks


class Late(FusionMethod):
    """One network per modality, up to the logits; the answer is their mean over the modalities that are present.

    No paper; everything is ours. Each network is that of `Unimodal`. The mean is plain or weighted by one learned
    scalar per modality and task (a softmax over the modalities that are present). All networks are trained together
    through the mean; add the loss `UnimodalTask` to train each for itself too. Where nothing is present, the networks'
    answers to nothing are averaged.

    Args:
        features: two or more modalities.
        tasks: any, of one level.
        learned: one weight per modality and task; False: all modalities alike.
        dim: width of encoders and hidden layers (ours).
        layers: transformer layers of each encoder, before the average over time (ours).
        dropout: in encoders and hidden layers (ours).
    """

    def __init__(
        self,
        features: Features,
        tasks: Tasks,
        *,
        learned: bool = True,
        dim: int = 128,
        layers: int = 0,
        dropout: float = 0.3,
    ) -> None:
        super().__init__(features, tasks)
        level = level_of(tasks)
        self.encoders = nn.ModuleDict(
            {m: ModalityEncoder(spec, dim, level=level, layers=layers, dropout=dropout) for m, spec in features.items()}
        )
        self.mixes = nn.ModuleDict({m: MLP(dim, dim, dropout=dropout) for m in features})
        self.heads = nn.ModuleDict({m: Heads(dim, tasks) for m in features})
        weighted = tasks if learned else ()
        self.scores = nn.ParameterDict({name: nn.Parameter(torch.zeros(len(features))) for name in weighted})

    @classmethod
    def supports(cls, features: Features, tasks: Tasks) -> str | None:
        """None, or the reason why this method cannot be built for such input."""
        return None if len(features) > 1 else "averages modalities, so it needs two or more; use unimodal for one"

    def forward(self, batch: Batch) -> Outputs:
        """Logits by task; hidden: ``<m>``, ``logits/<m>/<task>``."""
        encoded = {m: encoder(batch.inputs[m]) for m, encoder in self.encoders.items()}
        hidden = {m: x.values for m, x in encoded.items()}
        answers = {m: self.heads[m](self.mixes[m](x)) for m, x in hidden.items()}
        hidden |= {f"logits/{m}/{task}": x for m, by_task in answers.items() for task, x in by_task.items()}
        present = torch.stack([x.mask for x in encoded.values()], dim=-1)  # (..., modalities)
        counted = present | ~present.any(-1, keepdim=True)
        stacked = {task: torch.stack([answers[m][task] for m in answers], dim=-2) for task in self.tasks}
        return Outputs({task: self._mean(task, x, counted) for task, x in stacked.items()}, hidden)

    def _mean(self, task: str, logits: Tensor, counted: Tensor) -> Tensor:
        """Logits (..., modalities, size) to (..., size)."""
        scores = self.scores[task] if task in self.scores else torch.zeros_like(logits[..., 0])
        return (masked_softmax(scores, counted).unsqueeze(-1) * logits).sum(-2)
