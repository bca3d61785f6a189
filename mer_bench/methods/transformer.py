"""The control that fuses early: self-attention over the frames of all modalities together."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mer_bench.contracts import FusionMethod
from mer_bench.nn.attention import TransformerStack, sinusoidal_positions
from mer_bench.nn.encoders import at_level
from mer_bench.nn.heads import Heads, level_of
from mer_bench.nn.masking import zeroed
from mer_bench.nn.pooling import masked_mean
from mer_bench.types import Batch, Features, Masked, Outputs, Tasks


class EarlyTransformer(FusionMethod):
    """Project all frames to one width, add position and modality codes, attend jointly, average.

    The transformer is that of Vaswani et al. (2017) in pre-LN form; its use here is ours. Read-out: each modality is
    averaged over its own frames, then over the modalities that are present, so that long sequences do not drown short
    ones; frame-level tasks skip the first of the two. An absent modality has no tokens.

    Args:
        features: any number of modalities.
        tasks: any, of one level.
        dim: width of the tokens (ours).
        layers: of joint self-attention (ours).
        heads: of attention; divides `dim` (ours).
        dropout: in the layers and on the tokens (ours).
    """

    def __init__(
        self, features: Features, tasks: Tasks, *, dim: int = 128, layers: int = 2, heads: int = 4, dropout: float = 0.2
    ) -> None:
        super().__init__(features, tasks)
        self.level = level_of(tasks)
        self.project = nn.ModuleDict({m: nn.Linear(spec.dim, dim) for m, spec in features.items()})
        # a modality's code is the bias of its own projection
        self.stack = TransformerStack(dim, layers, heads=heads, dropout=dropout)
        self.dropout = nn.Dropout(dropout)
        self.heads = Heads(dim, tasks)

    def forward(self, batch: Batch) -> Outputs:
        """Logits by task; hidden: ``<m>`` (projected frames, averaged), ``fused``."""
        tokens = {
            m: Masked(project(zeroed(batch.inputs[m])), batch.inputs[m].mask) for m, project in self.project.items()
        }
        hidden = {m: at_level(x, self.level).values for m, x in tokens.items()}
        mask = torch.cat([x.mask for x in tokens.values()], dim=1)
        joint = self.stack(torch.cat([self._placed(x.values) for x in tokens.values()], dim=1), mask)
        parts = joint.split([x.mask.shape[1] for x in tokens.values()], dim=1)
        read = [at_level(Masked(part, x.mask), self.level) for part, x in zip(parts, tokens.values(), strict=True)]
        hidden["fused"] = masked_mean(
            Masked(torch.stack([x.values for x in read], dim=-2), torch.stack([x.mask for x in read], dim=-1))
        )
        return Outputs(self.heads(hidden["fused"]), hidden)

    def _placed(self, frames: Tensor) -> Tensor:
        return self.dropout(frames + sinusoidal_positions(frames.shape[1], like=frames))
