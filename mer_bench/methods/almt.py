"""ALMT: adaptive language-guided multimodal transformer (Zhang et al., EMNLP 2023), on features from a file."""

from __future__ import annotations

import torch

from mer_bench.contracts import FusionMethod
from mer_bench.nn.heads import Heads, level_of
from mer_bench.nn.masking import zeroed
from mer_bench.nn.tokens import HyperFusion, TokenEncoder, leader
from mer_bench.types import Batch, Features, Masked, Outputs, Tasks


class ALMT(FusionMethod):
    """One modality guides: at three depths it picks from the others what goes into a hyper-modality, then reads that.

    Source: the authors' code, github.com/Haoyu-ha/ALMT: 8 learned tokens of each modality in a transformer layer over
    its frames; the guiding tokens in further layers; at every depth they query the tokens of each other modality, with
    keys and values of their own, and what they find is added to hyper tokens, which start at one; two layers in which
    the guiding tokens query the hyper tokens. Widths, heads and depths are those of the code.

    Departures (feature-level form):
    - The guide is fine-tuned BERT in the paper; here it is any features from a file.
    - The answer is read from the mean of the guiding tokens, as in the authors' later LNLN. The code of ALMT reads an
      extra token beside them; as queries do not look at each other there, nothing that the guide says itself could
      reach it, only what it picked from the others.
    - What is found is added to the hyper tokens as they are; the code normalises them before each addition.
    - Queries and source share a normalisation, queries of the transformers have a bias; heads are dim / heads wide
      everywhere (64 in the transformers of the code); frames have sinusoidal positions (in the code learned ones, for a
      fixed length), tokens start at random instead of at zero; there is no extra token in the last layers.
    - Any number of other modalities (two in the paper); one that is absent adds nothing, and a guide that is absent
      asks the same of every item (ours).

    Args:
        features: two or more modalities.
        tasks: any, at item level.
        guide: the first of these that is offered guides, or else the first that is offered; text in the paper.
        dim: width of the tokens.
        tokens: of each modality.
        layers: of the encoder of each modality.
        depth: how often the guide picks from the others.
        fusion_layers: in which it reads what was picked.
        heads: of all attention; divides `dim`.
        hidden: width of the feed-forward networks.
        dropout: in all layers (none in the code).
    """

    def __init__(
        self,
        features: Features,
        tasks: Tasks,
        *,
        guide: list[str] | None = None,
        dim: int = 128,
        tokens: int = 8,
        layers: int = 1,
        depth: int = 3,
        fusion_layers: int = 2,
        heads: int = 8,
        hidden: int = 128,
        dropout: float = 0.0,
    ) -> None:
        super().__init__(features, tasks)
        self.guide = leader(guide, features)
        ordered = {self.guide: features[self.guide], **features}
        self.encode = TokenEncoder(
            ordered, dim, tokens=tokens, layers=layers, heads=heads, hidden=hidden, dropout=dropout
        )
        self.fuse = HyperFusion(
            len(features) - 1,
            dim,
            tokens=tokens,
            layers=depth,
            fusion_layers=fusion_layers,
            heads=heads,
            hidden=hidden,
            dropout=dropout,
        )
        self.heads = Heads(dim, tasks)

    @classmethod
    def supports(cls, features: Features, tasks: Tasks) -> str | None:
        """None, or the reason why this method cannot be built for such input."""
        if len(features) < 2:
            return "one modality guides the others, so it needs two or more"
        return None if level_of(tasks) == "item" else "makes a few tokens of a whole sequence; it has no frames"

    def forward(self, batch: Batch) -> Outputs:
        """Logits by task; hidden: ``<m>`` (mean of its tokens), ``fused``."""
        found = self.encode(batch.inputs)
        pooled = zeroed(Masked(found.values.mean(-2), found.mask))
        hidden: dict[str, torch.Tensor] = dict(zip(self.encode.encoders, pooled.unbind(0), strict=True))
        hidden["fused"] = self.fuse(found.values[0], Masked(found.values[1:], found.mask[1:]))
        return Outputs(self.heads(hidden["fused"]), hidden)
