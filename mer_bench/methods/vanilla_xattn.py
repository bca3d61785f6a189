"""Vanilla cross-attention: the baseline of JMT, without its joint stream (Waligora et al., 2024, arXiv:2403.10488)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations

import torch
from torch import nn

from mer_bench.contracts import FusionMethod
from mer_bench.nn.attention import PostNormLayer
from mer_bench.nn.cross import CrossAttention
from mer_bench.nn.heads import MLPHeads, level_of
from mer_bench.nn.masking import zeroed
from mer_bench.nn.streams import Pool, Streams
from mer_bench.types import Batch, Features, Masked, Outputs, Tasks


class VanillaCrossAttention(FusionMethod):
    """Each modality encoded along time, each looking at the other, both views side by side.

    Source: the baseline in the two repositories named in `jmt.py`. From there: tokens scaled to length 1, one
    post-norm layer per stream (1 head, widths 512, ReLU, no dropout, no positions), one cross-attention per querying
    modality without residual, norm or feed-forward network, a linear layer of 512 on the concatenation, MLP heads with
    ReLU, one for each dimension of a regression. The BioVid code has no linear layer (``mix_dim: null``).

    Departures:
    - Self-attention runs along time; in both repositories that of this baseline runs across the batch.
    - As in `JMT`: widths, biases, the clock of item-level tasks, more than two modalities (ours, an extension: all
      ordered pairs).
    - Masks (ours; the code has none, an absent stream is zeros there). An absent modality is not looked at. It still
      looks at the others, with the same question for every item, as a stream of zeros does in the code: without that,
      nothing of two modalities would be left where one is absent.

    Args:
        features: two or more modalities.
        tasks: any, of one level.
        dim: width of the streams.
        heads: of all attention.
        hidden: width of the feed-forward networks.
        mix_dim: width of the linear layer on the concatenated views; None: there is none.
        tokens: item-level tasks: length of the streams; 16 in the Aff-Wild2 code, 4 for BioVid.
        every: frame-level tasks: frames between tokens; 32 in the Aff-Wild2 code, where features are of clips.
        pool: item-level tasks: the last step (the code) or the mean.
        normalise: scale tokens to length 1; not in the BioVid code.
        head_hidden: hidden widths of the heads; 512, 256, 64 in the BioVid code.
        head_dropout: in the heads.
    """

    def __init__(
        self,
        features: Features,
        tasks: Tasks,
        *,
        dim: int = 512,
        heads: int = 1,
        hidden: int = 512,
        mix_dim: int | None = 512,
        tokens: int = 16,
        every: int = 1,
        pool: Pool = "last",
        normalise: bool = True,
        head_hidden: Sequence[int] = (128,),
        head_dropout: float = 0.0,
    ) -> None:
        super().__init__(features, tasks)
        self.streams = Streams(
            features, dim, level=level_of(tasks), tokens=tokens, every=every, pool=pool, normalise=normalise
        )
        self.encoders = nn.ModuleDict({m: PostNormLayer(dim, heads, hidden=hidden) for m in features})
        self.attentions = nn.ModuleDict({m: CrossAttention(dim, heads) for m in features})
        self.pairs = list(permutations(features, 2))
        width = dim * len(self.pairs)
        self.mix = nn.Identity() if mix_dim is None else nn.Linear(width, mix_dim)
        self.heads = MLPHeads(
            mix_dim or width, tasks, head_hidden, activation=nn.ReLU, dropout=head_dropout, per_dimension=True
        )

    @classmethod
    def supports(cls, features: Features, tasks: Tasks) -> str | None:
        """None, or the reason why this method cannot be built for such input."""
        return None if len(features) > 1 else "fuses pairs of modalities, so it needs two or more; use unimodal for one"

    def forward(self, batch: Batch) -> Outputs:
        """Logits by task; hidden: ``<m>`` (encoded, read like the answer), ``fused``."""
        encoded = {m: self._encode(m, x) for m, x in self.streams(batch.inputs).items()}
        some = torch.stack([x.mask for x in encoded.values()]).any(0)
        views = [self.attentions[a](Masked(encoded[a].values, some), encoded[b]) for a, b in self.pairs]
        fused = Masked(self.mix(torch.cat([x.values for x in views], dim=-1)), some)
        hidden = {m: self.streams.answer(x, batch.inputs) for m, x in encoded.items()}
        hidden["fused"] = self.streams.answer(fused, batch.inputs)
        return Outputs(self.heads(hidden["fused"]), hidden)

    def _encode(self, name: str, x: Masked) -> Masked:
        return Masked(zeroed(Masked(self.encoders[name](x.values, x.mask), x.mask)), x.mask)
