"""GMU: gated multimodal units (Arevalo et al., ICLR workshop 2017, arXiv:1702.01992)."""

from __future__ import annotations

import torch
from torch import nn

from mer_bench.contracts import FusionMethod
from mer_bench.nn.encoders import ModalityEncoder
from mer_bench.nn.heads import Heads, level_of
from mer_bench.nn.masking import masked_softmax
from mer_bench.types import Batch, Features, Outputs, Tasks


class Gated(FusionMethod):
    """A gate per feature decides how much each modality contributes to the fused vector.

    Per modality ``h_m = tanh(W_m x_m)``, gates from all modalities together, ``fused = Σ_m z_m ⊙ h_m``. The paper ties
    the two gates of the bimodal unit as z and 1 - z and leaves those of the unit for more modalities independent. Here
    the gates are a softmax over the modalities that are present: the same function for two, a departure (ours) for
    more, and an absent modality hands its share to the others. The paper's unit reads one vector per modality; the
    encoders before it are ours.

    Args:
        features: two or more modalities.
        tasks: any, of one level.
        dim: width of encoders and unit (ours).
        layers: transformer layers of each encoder, before the average (ours).
        dropout: in encoders and on the fused vector (ours).
    """

    def __init__(
        self, features: Features, tasks: Tasks, *, dim: int = 128, layers: int = 0, dropout: float = 0.3
    ) -> None:
        super().__init__(features, tasks)
        level = level_of(tasks)
        self.encoders = nn.ModuleDict(
            {m: ModalityEncoder(spec, dim, level=level, layers=layers, dropout=dropout) for m, spec in features.items()}
        )
        self.squash = nn.ModuleDict({m: nn.Linear(dim, dim, bias=False) for m in features})  # no bias, as the paper
        self.gate = nn.Linear(dim * len(features), dim * len(features), bias=False)
        self.dropout = nn.Dropout(dropout)
        self.heads = Heads(dim, tasks)

    @classmethod
    def supports(cls, features: Features, tasks: Tasks) -> str | None:
        """None, or the reason why this method cannot be built for such input."""
        return None if len(features) > 1 else "gates between modalities, so it needs two or more; use unimodal for one"

    def forward(self, batch: Batch) -> Outputs:
        """Logits by task; hidden: ``<m>``, ``fused``."""
        encoded = {m: encoder(batch.inputs[m]) for m, encoder in self.encoders.items()}
        hidden = {m: x.values for m, x in encoded.items()}
        present = torch.stack([x.mask for x in encoded.values()], dim=-1).unsqueeze(-1)  # (..., modalities, 1)
        squashed = torch.stack([self.squash[m](x).tanh() for m, x in hidden.items()], dim=-2)
        scores = self.gate(torch.cat(list(hidden.values()), dim=-1)).unflatten(-1, squashed.shape[-2:])
        fused = (masked_softmax(scores, present, dim=-2) * squashed).sum(-2)
        hidden["fused"] = self.dropout(fused)
        return Outputs(self.heads(hidden["fused"]), hidden)
