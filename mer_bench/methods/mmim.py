"""MMIM: MultiModal InfoMax (Han et al., EMNLP 2021, arXiv:2109.00412), on features from a file."""

from __future__ import annotations

import torch
from torch import nn

from mer_bench.contracts import FusionMethod
from mer_bench.nn.encoders import ModalityEncoder
from mer_bench.nn.heads import Heads, level_of
from mer_bench.types import Batch, Features, Outputs, Tasks


class MMIM(FusionMethod):
    """Concatenation whose embeddings are to tell of each other, and whose result is to tell of the embeddings.

    Sources: section 3 and the authors' code, github.com/declare-lab/Multimodal-Infomax: dropout, two tanh layers on the
    concatenated embeddings, a linear answer; one linear predictor of each embedding from the result, scored by
    contrast within the batch (`ContrastivePrediction`, the paper's CPC).

    Departures (feature-level joint form):
    - The encoders are those of `Concat` (ours) in place of fine-tuned BERT and LSTMs.
    - The bound between modalities. The paper trains Gaussian predictors of one embedding from the other in a stage and
      with an optimiser of their own, adds an entropy from a history of embeddings by the sign of the label, and then
      maximises the sum. Here `InfoNCE` between linear projections of the embeddings stands in its place: a lower
      bound of the same quantity that needs no stage, history or sign. It covers all pairs (the paper: those with text).
      It takes the weight of that bound; its temperature is learned (ours).
    - Both bounds are maximised together with the task, in one step.
    - Weights start as torch starts them; the code draws all of them anew by Xavier's normal rule.
    - An absent modality is a zero vector (ours).

    Args:
        features: two or more modalities.
        tasks: any, of one level.
        dim: width of the embeddings (ours; 768 for text, 16 for the rest in the code).
        layers: transformer layers of each encoder, before the average (ours).
        hidden: width of the fused vector (128 in the code).
        projection_dim: of the projections that `InfoNCE` compares (ours).
        dropout: in encoders and before fusion (ours; 0.1 in the code).
    """

    def __init__(
        self,
        features: Features,
        tasks: Tasks,
        *,
        dim: int = 128,
        layers: int = 0,
        hidden: int = 128,
        projection_dim: int = 64,
        dropout: float = 0.3,
    ) -> None:
        super().__init__(features, tasks)
        level = level_of(tasks)
        self.encoders = nn.ModuleDict(
            {m: ModalityEncoder(spec, dim, level=level, layers=layers, dropout=dropout) for m, spec in features.items()}
        )
        self.fuse = nn.Sequential(
            nn.Dropout(dropout),
            nn.Linear(len(features) * dim, hidden),
            nn.Tanh(),
            nn.Linear(hidden, hidden),
            nn.Tanh(),
        )
        self.align = nn.ModuleDict({m: nn.Linear(dim, projection_dim) for m in features})
        self.predict = nn.ModuleDict({m: nn.Linear(hidden, dim) for m in features})
        self.heads = Heads(hidden, tasks)

    @classmethod
    def supports(cls, features: Features, tasks: Tasks) -> str | None:
        """None, or the reason why this method cannot be built for such input."""
        return None if len(features) > 1 else "measures what modalities tell of each other, so it needs two or more"

    def forward(self, batch: Batch) -> Outputs:
        """Logits by task; hidden: ``<m>`` (also as ``input/<m>``), ``aligned/<m>``, ``decoded/<m>``, ``fused``."""
        embedded = {m: encoder(batch.inputs[m]).values for m, encoder in self.encoders.items()}
        fused = self.fuse(torch.cat(list(embedded.values()), dim=-1))
        hidden = {**embedded, "fused": fused}
        for m, x in embedded.items():
            hidden |= {f"input/{m}": x, f"aligned/{m}": self.align[m](x), f"decoded/{m}": self.predict[m](fused)}
        return Outputs(self.heads(fused), hidden)
