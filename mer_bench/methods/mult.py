"""MulT: multimodal transformer for unaligned sequences (Tsai et al., ACL 2019, arXiv:1906.00295)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations

import torch
from torch import Tensor, nn

from mer_bench.contracts import FusionMethod
from mer_bench.nn.attention import sinusoidal_positions
from mer_bench.nn.heads import Heads, level_of
from mer_bench.nn.masking import zeroed
from mer_bench.nn.pooling import last_observed
from mer_bench.nn.stacks import StackedCrossLayer, StackedNorm, padded_stack
from mer_bench.types import Batch, Features, Masked, Outputs, Tasks


class MulT(FusionMethod):
    """Every modality looks at every other one in a transformer of its own; what it saw passes self-attention.

    Sources: sections 3.1 to 3.3 and the authors' code, github.com/yaohungt/Multimodal-Transformer: convolution of
    width 1 without bias to a common width, input of every transformer scaled by √width, with sinusoidal positions
    and dropout; crossmodal layers in pre-LN form whose source is the input of the other modality in all of them; the
    views of a modality concatenated; as many layers of self-attention, at least three; the last step of each; a
    residual network of two layers. Widths, heads, layers and dropouts are the defaults of the code.

    All crossmodal transformers have one shape, as all memory transformers have, so each kind is one stack
    (`nn.stacks`); the last memory layer is computed for the step that is read only. Neither changes the result.

    Departures:
    - The last step is the last observed one; in the code it is padding where sequences are shorter than the longest.
    - No mask hides the future, as in the paper; the code has one, on by default.
    - Dropout lies on the result of attention and not on its weights; keys and values have no bias; no
      extra dropout on the raw text.
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
        self.pairs = list(permutations(features, 2))
        n, wide = len(features), (len(features) - 1) * dim
        self.cross = nn.ModuleList(
            StackedCrossLayer(len(self.pairs), dim, heads, hidden=4 * dim, dropout=dropout) for _ in range(layers)
        )
        self.norm_cross = StackedNorm(len(self.pairs), dim)
        self.memory = nn.ModuleList(
            StackedCrossLayer(n, wide, heads, hidden=4 * wide, dropout=dropout) for _ in range(max(layers, 3))
        )
        self.norm_memory = StackedNorm(n, wide)
        self.embed_dropout = nn.Dropout(embed_dropout)
        self.after = nn.Sequential(nn.Linear(n * wide, n * wide), nn.ReLU(), nn.Linear(n * wide, n * wide))
        self.heads = Heads(n * wide, tasks)

    @classmethod
    def supports(cls, features: Features, tasks: Tasks) -> str | None:
        """None, or the reason why this method cannot be built for such input."""
        return None if len(features) > 1 else "looks from one modality at another, so it needs two or more"

    def forward(self, batch: Batch) -> Outputs:
        """Logits by task; hidden: ``<m>`` (what a modality saw, as it is read), ``fused``."""
        x = self._embed(batch.inputs)
        order = list(self.project)
        query, source = (
            self.embed_dropout(_pick(x.values, [order.index(pair[k]) for pair in self.pairs])) for k in (0, 1)
        )
        source_mask = _pick(x.mask, [order.index(b) for _, b in self.pairs])
        for layer in self.cross:
            query = layer(query, source, source_mask)
        views = self.norm_cross(query).unflatten(0, (len(order), -1))  # pairs are sorted by the one that looks
        seen = self._remember(Masked(views.movedim(1, -2).flatten(-2), x.mask))
        time = max(batch.inputs[m].mask.shape[1] for m in order)
        hidden = {m: read[:, :time] if self.frames else read for m, read in zip(order, seen.unbind(0), strict=True)}
        joined = torch.cat(list(hidden.values()), dim=-1)
        hidden["fused"] = joined + self.after(joined)
        return Outputs(self.heads(hidden["fused"]), hidden)

    def _embed(self, inputs: dict[str, Masked]) -> Masked:
        """All modalities, padded to one length: values (modalities, batch, time, dim), mask without dim."""
        return padded_stack(
            [Masked(_placed(project(zeroed(inputs[m]))), inputs[m].mask) for m, project in self.project.items()]
        )

    def _remember(self, x: Masked) -> Tensor:
        """Self-attention: (modalities, batch, time, wide) to what is read of it, zero where a modality is absent."""
        values = self.embed_dropout(_placed(x.values))
        *first, last = self.memory
        for layer in first:
            values = layer(values, values, x.mask)
        if self.frames:
            return zeroed(Masked(self.norm_memory(last(values, values, x.mask)), x.mask))
        query = last_observed(Masked(values, x.mask)).unsqueeze(-2)
        read = self.norm_memory(last(query, values, x.mask)).squeeze(-2)
        return zeroed(Masked(read, x.mask.any(-1)))


def _placed(x: Tensor) -> Tensor:
    """Scaled, with positions along the axis before the last."""
    return x * x.shape[-1] ** 0.5 + sinusoidal_positions(x.shape[-2], like=x)


def _pick(x: Tensor, index: Sequence[int]) -> Tensor:
    return torch.stack([x[k] for k in index])
