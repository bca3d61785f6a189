"""Self-MM: unimodal answers with labels of their own (Yu et al., AAAI 2021, arXiv:2102.04830), on features."""

from __future__ import annotations

import torch
from torch import nn

from mer_bench.contracts import FusionMethod
from mer_bench.nn.encoders import ModalityEncoder
from mer_bench.nn.heads import MLPHeads, level_of
from mer_bench.types import Batch, Features, Outputs, Tasks


class SelfMM(FusionMethod):
    """Concatenation with an answer from each modality beside it, trained on labels made for that modality.

    Sources: section 3 and the authors' code, github.com/thuiar/Self-MM: dropout and a ReLU layer on the concatenation
    and on each modality; another ReLU layer and the answer on each of those. The labels are made by the loss
    `GeneratedLabels`, from the features after the first layer.

    Departures (feature-level form):
    - The encoders are those of `Concat` (ours) in place of fine-tuned BERT and LSTMs.
    - Labels are made from the batch, not from the features of the whole training part kept over epochs; see the loss.
    - An absent modality is a zero vector (ours).

    Args:
        features: two or more modalities.
        tasks: any, of one level.
        dim: width of the embeddings (ours).
        layers: transformer layers of each encoder, before the average (ours).
        hidden: width of the layers after it (128 after fusion in the code, 16 to 64 for one modality).
        dropout: in encoders and before the first layers (ours; 0 or 0.1 in the code).
    """

    def __init__(
        self,
        features: Features,
        tasks: Tasks,
        *,
        dim: int = 128,
        layers: int = 0,
        hidden: int = 128,
        dropout: float = 0.3,
    ) -> None:
        super().__init__(features, tasks)
        level = level_of(tasks)
        self.encoders = nn.ModuleDict(
            {m: ModalityEncoder(spec, dim, level=level, layers=layers, dropout=dropout) for m, spec in features.items()}
        )

        def first(in_dim: int) -> nn.Sequential:
            return nn.Sequential(nn.Dropout(dropout), nn.Linear(in_dim, hidden), nn.ReLU())

        self.fuse = first(len(features) * dim)
        self.alone = nn.ModuleDict({m: first(dim) for m in features})
        self.heads = MLPHeads(hidden, tasks, [hidden], activation=nn.ReLU)
        self.heads_alone = nn.ModuleDict({m: MLPHeads(hidden, tasks, [hidden], activation=nn.ReLU) for m in features})

    @classmethod
    def supports(cls, features: Features, tasks: Tasks) -> str | None:
        """None, or the reason why this method cannot be built for such input."""
        return None if len(features) > 1 else "compares each modality with their fusion, so it needs two or more"

    def forward(self, batch: Batch) -> Outputs:
        """Logits by task; hidden: ``<m>`` (after its first layer), ``fused``, ``logits/<m>/<task>``."""
        embedded = {m: encoder(batch.inputs[m]).values for m, encoder in self.encoders.items()}
        hidden = {m: self.alone[m](x) for m, x in embedded.items()}
        answers = {f"logits/{m}/{task}": y for m in embedded for task, y in self.heads_alone[m](hidden[m]).items()}
        fused = self.fuse(torch.cat(list(embedded.values()), dim=-1))
        return Outputs(self.heads(fused), {**hidden, **answers, "fused": fused})
