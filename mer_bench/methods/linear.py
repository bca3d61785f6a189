"""The control without any hidden layer: a linear model on averaged features."""

from __future__ import annotations

import torch

from mer_bench.contracts import FusionMethod
from mer_bench.nn.encoders import at_level
from mer_bench.nn.heads import Heads, level_of
from mer_bench.types import Batch, Features, Outputs, Tasks


class Linear(FusionMethod):
    """The average over time of every modality, side by side, and one linear layer per task.

    With cross-entropy that is multinomial logistic regression, with squared error linear regression, fitted by the
    optimiser of every other method. No paper and no settings. An absent modality is a zero vector, which on normalised
    features is the mean of the training part. Frame-level tasks: every frame for itself.

    Args:
        features: any number of modalities.
        tasks: any, of one level.
    """

    def __init__(self, features: Features, tasks: Tasks) -> None:
        super().__init__(features, tasks)
        self.level = level_of(tasks)
        self.heads = Heads(sum(spec.dim for spec in features.values()), tasks)

    def forward(self, batch: Batch) -> Outputs:
        """Logits by task; hidden: ``fused`` (the features themselves)."""
        fused = torch.cat([at_level(batch.inputs[m], self.level).values for m in self.features], dim=-1)
        return Outputs(self.heads(fused), {"fused": fused})
