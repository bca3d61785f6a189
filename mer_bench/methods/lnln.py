"""LNLN: language-dominated noise-resistant learning network (Zhang et al., NeurIPS 2024), on features from a file."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mer_bench.contracts import FusionMethod
from mer_bench.nn.attention import TransformerStack
from mer_bench.nn.heads import Heads, level_of
from mer_bench.nn.stacks import StackedCrossLayer
from mer_bench.nn.tokens import HyperFusion, TokenEncoder, leader
from mer_bench.types import Batch, Features, Masked, Outputs, Tasks


class LNLN(FusionMethod):
    """ALMT whose guide is mended first: as far as it seems incomplete, a proxy made from the others takes its place.

    Source: the authors' code, github.com/Haoyu-ha/LNLN. Encoders and fusion as in `ALMT`. A transformer with one token
    of its own judges how complete the guide is, w; another, with 8, makes a proxy from the tokens of the other
    modalities; what guides is w · guide + (1 - w) · proxy. A judge is to tell what guides from the guide of whole
    input; reconstructors make the tokens of whole input from those of damaged input. Widths, heads, depths and weights
    are those of the code for MOSI. `Completion` is its loss, and damages the input.

    Departures (feature-level form):
    - The guide is fine-tuned BERT in the paper; here it is any features from a file.
    - The gradient is turned around between what guides and the judge, and nowhere else. In the code it is turned around
      at the proxy for every loss, so the answer's loss too makes the proxy worse.
    - Completeness is judged for each modality, by the one network; a guide that is absent counts as empty.
    - Departures of `ALMT`: shared normalisations, width of heads, positions, no extra token at the end. Transformers
      over tokens end in a normalisation. The proxy has one set of tokens of its own, drawn (two in the code, ones and
      zeros).

    Args:
        features: two or more modalities.
        tasks: any, at item level.
        guide: the first of these that is offered guides, or else the first that is offered; text in the paper.
        dim: width of the tokens.
        tokens: of each modality.
        layers: of encoders, proxy, completeness and reconstructors.
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
        layers: int = 2,
        depth: int = 3,
        fusion_layers: int = 2,
        heads: int = 8,
        hidden: int = 128,
        dropout: float = 0.0,
    ) -> None:
        super().__init__(features, tasks)
        self.guide = leader(guide, features)
        n, self.tokens = len(features), tokens
        self.encode = TokenEncoder(
            {self.guide: features[self.guide], **features},
            dim,
            tokens=tokens,
            layers=layers,
            heads=heads,
            hidden=hidden,
            dropout=dropout,
        )
        self.check_token = nn.Parameter(torch.randn(1, dim))
        self.check = TransformerStack(dim, layers, heads=heads, hidden=hidden, dropout=dropout)
        self.complete = nn.Sequential(nn.Linear(dim, dim // 2), nn.LeakyReLU(0.1), nn.Linear(dim // 2, 1), nn.Sigmoid())
        self.proxy_tokens = nn.Parameter(torch.randn(tokens, dim))
        self.proxy_positions = nn.Parameter(torch.randn(n - 1, 1, tokens, dim))
        self.proxy = TransformerStack(dim, layers, heads=heads, hidden=hidden, dropout=dropout)
        self.judge = nn.Sequential(nn.Linear(dim, dim // 2), nn.LeakyReLU(0.1), nn.Linear(dim // 2, 1))
        self.decode = nn.ModuleList(
            StackedCrossLayer(n, dim, activation=nn.GELU, heads=heads, hidden=hidden, dropout=dropout)
            for _ in range(layers)
        )
        self.fuse = HyperFusion(
            n - 1,
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
            return "mends one modality from the others, so it needs two or more"
        return None if level_of(tasks) == "item" else "makes a few tokens of a whole sequence; it has no frames"

    def forward(self, batch: Batch) -> Outputs:
        """Logits by task; hidden: ``input/<m>``, ``decoded/<m>``, ``completeness/<m>``, ``judged/...``, ``fused``."""
        found = self.encode(batch.inputs)
        share = self._completeness(found)
        others = Masked(found.values[1:], found.mask[1:])
        left = share[0].unsqueeze(-1)
        guiding = left * found.values[0] + (1 - left) * self._made(others)
        hidden = {
            "fused": self.fuse(guiding, others),
            "judged/whole": self.judge(found.values[0]).squeeze(-1),
            "judged/corrected": self.judge(_turned(guiding)).squeeze(-1),
        }
        decoded = found.values
        for layer in self.decode:
            decoded = layer(decoded, decoded, found.mask.unsqueeze(-1).expand(found.values.shape[:-1]))
        for k, m in enumerate(self.encode.encoders):
            hidden |= {f"input/{m}": found.values[k].flatten(1), f"decoded/{m}": decoded[k].flatten(1)}
            hidden[f"completeness/{m}"] = share[k]
        return Outputs(self.heads(hidden["fused"]), hidden)

    def _completeness(self, found: Masked) -> Tensor:
        """How much of each modality there seems to be: (modalities, batch, 1)."""
        token = self.check_token.expand(*found.mask.shape, -1, -1)
        x = torch.cat([token, found.values], dim=-2).flatten(0, 1)
        read = self.check(x, x.new_ones(x.shape[:2], dtype=torch.bool))[:, 0]
        return torch.where(found.mask.unsqueeze(-1), self.complete(read).unflatten(0, found.mask.shape), 0.0)

    def _made(self, others: Masked) -> Tensor:
        """A guide made from the other modalities: (batch, tokens, dim)."""
        told = (others.values + self.proxy_positions).movedim(0, 1).flatten(1, 2)
        own = self.proxy_tokens.expand(len(told), -1, -1)
        seen = others.mask.movedim(0, 1).repeat_interleave(self.tokens, dim=1)
        everything = torch.cat([seen.new_ones(own.shape[:2]), seen], dim=1)
        return self.proxy(torch.cat([own, told], dim=1), everything)[:, : self.tokens]


def _turned(x: Tensor) -> Tensor:
    """The same values with the gradient turned around."""
    return 2 * x.detach() - x
