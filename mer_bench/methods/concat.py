"""The control that every fusion method must beat: late concatenation."""

from __future__ import annotations

from bisect import bisect_left

import torch
from torch import nn

from mer_bench.contracts import FusionMethod
from mer_bench.nn.encoders import ModalityEncoder
from mer_bench.nn.heads import MLP, Heads, level_of
from mer_bench.types import Batch, Features, Outputs, Tasks


class Concat(FusionMethod):
    """Average each modality over time, encode, concatenate, one hidden layer, one head per task.

    A modality that is absent is a zero vector. There is no availability bit: an encoded modality is never exactly zero,
    so the hidden layer can tell the two apart, and no weight is left untrained where training data are complete.

    Args:
        features: any number of modalities.
        tasks: any, of one level.
        dim: width of encoders and hidden layer (ours).
        layers: transformer layers of each encoder, before the average (ours).
        dropout: in encoders and hidden layer (ours).
        match_parameters: take the width with which the method has about as many parameters as this, in place of `dim`.
    """

    def __init__(
        self,
        features: Features,
        tasks: Tasks,
        *,
        dim: int = 128,
        layers: int = 0,
        dropout: float = 0.3,
        match_parameters: int | None = None,
    ) -> None:
        super().__init__(features, tasks)
        if match_parameters is not None:
            dim = _width(features, tasks, layers, match_parameters)
        level = level_of(tasks)
        self.encoders = nn.ModuleDict(
            {m: ModalityEncoder(spec, dim, level=level, layers=layers, dropout=dropout) for m, spec in features.items()}
        )
        self.mix = MLP(dim * len(features), dim, dropout=dropout)
        self.heads = Heads(dim, tasks)

    def forward(self, batch: Batch) -> Outputs:
        """Logits by task; hidden: ``<m>``, ``fused``."""
        hidden = {m: encoder(batch.inputs[m]).values for m, encoder in self.encoders.items()}
        hidden["fused"] = self.mix(torch.cat(list(hidden.values()), dim=-1))
        return Outputs(self.heads(hidden["fused"]), hidden)


def _width(features: Features, tasks: Tasks, layers: int, wanted: int) -> int:
    """The width whose number of parameters is nearest to `wanted`."""

    def parameters(k: int) -> int:
        with torch.device("meta"):  # nothing is allocated or drawn
            method = Concat(features, tasks, dim=k * step, layers=layers)
        return sum(p.numel() for p in method.parameters())

    step = 4 if layers else 1  # the heads of the transformer layers divide it
    k = bisect_left(range(2**14), wanted, lo=1, key=parameters)
    return step * min((k, max(k - 1, 1)), key=lambda i: abs(parameters(i) - wanted))
