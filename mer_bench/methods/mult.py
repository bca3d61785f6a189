"""MulT: multimodal transformer for unaligned sequences (Tsai et al., ACL 2019, arXiv:1906.00295)."""

from __future__ import annotations

import torch
from torch import nn

from mer_bench.contracts import FusionMethod
from mer_bench.nn.crossmodal import Crossmodal
from mer_bench.nn.heads import Heads, level_of
from mer_bench.nn.masking import zeroed
from mer_bench.nn.stacks import padded_stack
from mer_bench.types import Batch, Features, Masked, Outputs, Tasks


class MulT(FusionMethod):
    """Every modality looks at every other one in a transformer of its own; what it saw passes self-attention.

    Sources: sections 3.1 to 3.3 and the authors' code, github.com/yaohungt/Multimodal-Transformer: convolution of
    width 1 without bias to a common width, input of every transformer scaled by √width, with sinusoidal positions
    and dropout; crossmodal layers in pre-LN form whose source is the input of the other modality in all of them; the
    views of a modality concatenated; as many layers of self-attention, at least three; the last step of each; a
    residual network of two layers (no dropout in it). Widths, heads, layers and dropouts are the defaults of the code.

    All crossmodal transformers are one stack, as all memory transformers are (`nn.crossmodal`).

    Departures:
    - The last step is the last observed one; in the code it is padding where sequences are shorter than the longest.
    - No mask hides the future, as in the paper; the code has one, on by default.
    - No dropout on the weights of attention, only on its result (the code has 0.1 on those that look at text and in the
      memories, beside that on the result); keys and values have no bias; no extra dropout on the raw text.
    - Sines and cosines of a position take turns and positions count from zero; in the code all sines come first,
      positions count from one, and a step whose first feature is zero has none.
    - Two, or more than three modalities (ours): all ordered pairs. For three it is the paper's network.
    - An absent modality has no views, others see nothing in it; frame-level tasks read every step (ours).

    Args:
        features: two or more modalities.
        tasks: any, of one level.
        dim: common width.
        heads: of all attention; divides `dim`.
        layers: crossmodal layers; the memory has as many, at least three.
        dropout: in the layers.
        embed_dropout: on the input of every transformer.
    """

    def __init__(
        self,
        features: Features,
        tasks: Tasks,
        *,
        dim: int = 30,
        heads: int = 5,
        layers: int = 5,
        dropout: float = 0.1,
        embed_dropout: float = 0.2,
    ) -> None:
        super().__init__(features, tasks)
        self.frames = level_of(tasks) == "frame"
        self.project = nn.ModuleDict({m: nn.Linear(spec.dim, dim, bias=False) for m, spec in features.items()})
        n, wide = len(features), (len(features) - 1) * dim
        self.look = Crossmodal(
            n,
            dim,
            heads,
            layers=layers,
            memory=max(layers, 3),
            dropout=dropout,
            embed_dropout=embed_dropout,
            frames=self.frames,
        )
        self.after = nn.Sequential(nn.Linear(n * wide, n * wide), nn.ReLU(), nn.Linear(n * wide, n * wide))
        self.heads = Heads(n * wide, tasks)

    @classmethod
    def supports(cls, features: Features, tasks: Tasks) -> str | None:
        """None, or the reason why this method cannot be built for such input."""
        return None if len(features) > 1 else "looks from one modality at another, so it needs two or more"

    def forward(self, batch: Batch) -> Outputs:
        """Logits by task; hidden: ``<m>`` (what a modality saw, as it is read), ``fused``."""
        x = padded_stack([self._projected(m, batch.inputs[m]) for m in self.project])
        seen, order = self.look(x), list(self.project)
        time = max(batch.inputs[m].mask.shape[1] for m in order)
        hidden = {m: read[:, :time] if self.frames else read for m, read in zip(order, seen.unbind(0), strict=True)}
        joined = torch.cat(list(hidden.values()), dim=-1)
        hidden["fused"] = joined + self.after(joined)
        return Outputs(self.heads(hidden["fused"]), hidden)

    def _projected(self, m: str, x: Masked) -> Masked:
        return Masked(self.project[m](zeroed(x)), x.mask)
