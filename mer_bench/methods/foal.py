"""Foal-Net: fusion after alignment (Li et al., Interspeech 2024, doi 10.21437/Interspeech.2024-1462)."""

from __future__ import annotations

from itertools import permutations

import torch
from torch import Tensor, nn

from mer_bench.contracts import TwoStage
from mer_bench.nn.attention import CrossAttentionStack
from mer_bench.nn.encoders import SequenceEncoder, at_level
from mer_bench.nn.heads import Heads, level_of
from mer_bench.nn.masking import zeroed
from mer_bench.nn.pooling import masked_mean
from mer_bench.types import Batch, Features, FeatureSpec, Masked, Outputs, Tasks


class FoalNet(TwoStage):
    """Cross-attention between modalities whose encoders are trained to agree on the emotion.

    Sources: arXiv:2408.09438 and the authors' code, github.com/ASolitaryMan/Foal-Net (commit 781849f). From there:
    projection blocks with 512 features and dropout 0.5; two cross-attention layers per branch with 4 heads, dropout
    0.1, no feed-forward network, no positions, keys and values the same unchanged frames in both layers, normalised
    after the sum; masked means over time; one linear emotion head on the concatenated branches; one linear matching
    head per branch. The losses are `AVEL` and `LabelMatching`; the projections serve only them.

    Departures:
    - The authors fine-tune the audio encoder, so alignment reaches the classifier through it. On features from a file
      a trainable encoder per modality before the fork takes that part (ours): linear layer to `dim` and `layers`
      pre-LN transformer layers. ``adapt=False`` leaves it out (widths and frames as in the paper); alignment then
      trains nothing that the classifier uses, which is good for diagnosis only.
    - Keys and values have no bias (it could not change what the network can compute).
    - More than two modalities (ours): one stack per ordered pair; a branch is the mean over its partners that are
      present. For two modalities that is the paper's network.
    - Absence (ours): without its partner a branch keeps its residual path only; the branch of an absent modality is
      zero.
    - Frame-level tasks (ours): branches are not averaged over time.

    Args:
        features: two or more modalities.
        tasks: any, of one level.
        adapt: put a trainable encoder before the fork.
        dim: width of the encoders (ours); without encoders each branch has the width of its features.
        layers: transformer layers of the encoders (ours).
        encoder_dropout: in the encoders (ours).
        fusion_layers: cross-attention layers per branch.
        heads: of attention, in encoders and fusion.
        dropout: on the output of cross-attention.
        projection_dim: of the projections for alignment.
        projection_dropout: in the projections.
    """

    def __init__(
        self,
        features: Features,
        tasks: Tasks,
        *,
        adapt: bool = True,
        dim: int = 256,
        layers: int = 1,
        encoder_dropout: float = 0.1,
        fusion_layers: int = 2,
        heads: int = 4,
        dropout: float = 0.1,
        projection_dim: int = 512,
        projection_dropout: float = 0.5,
    ) -> None:
        super().__init__(features, tasks)
        self.level = level_of(tasks)
        width = {m: dim if adapt else spec.dim for m, spec in features.items()}
        self.partners = {a: [b for b in features if b != a] for a in features}

        def encoder(spec: FeatureSpec) -> nn.Module:
            return SequenceEncoder(spec, dim, layers=layers, heads=heads, dropout=encoder_dropout)

        self.encoders = nn.ModuleDict({m: encoder(spec) if adapt else _AsIs() for m, spec in features.items()})
        self.projections = nn.ModuleDict(
            {m: _Projection(width[m], projection_dim, dropout=projection_dropout) for m in features}
        )
        self.stacks = nn.ModuleDict()
        self.match = nn.ModuleDict()
        for a, b in permutations(features, 2):
            self.stacks[f"{a}/{b}"] = CrossAttentionStack(
                width[a], width[b], layers=fusion_layers, heads=heads, dropout=dropout
            )
            self.match[f"{a}/{b}"] = nn.Linear(width[a], 2)
        self.heads = Heads(sum(width.values()), tasks)

    @classmethod
    def supports(cls, features: Features, tasks: Tasks) -> str | None:
        """None, or the reason why this method cannot be built for such input."""
        return None if len(features) > 1 else "fuses pairs of modalities, so it needs two or more; use unimodal for one"

    def encode(self, batch: Batch) -> dict[str, Masked]:
        """Encoded sequence by modality, (batch, time, dim) with mask (batch, time)."""
        return {m: encoder(batch.inputs[m]) for m, encoder in self.encoders.items()}

    def fuse(self, encoded: dict[str, Masked]) -> Outputs:
        """Logits by task; hidden: ``<m>``, ``encoded/<m>``, ``aligned/<m>``, ``match/<a>/<b>``, ``fused``."""
        hidden: dict[str, Tensor] = {}
        for m, x in encoded.items():
            hidden[f"encoded/{m}"] = x.values
            hidden[m] = at_level(x, self.level).values
            hidden[f"aligned/{m}"] = self.projections[m](hidden[m])
        branches = []
        for a, x in encoded.items():
            views = {b: self._attend(a, b, x, encoded[b]) for b in self.partners[a]}  # each (..., dim)
            hidden.update({f"match/{a}/{b}": self.match[f"{a}/{b}"](view) for b, view in views.items()})
            branches.append(_mean_of_present(views, encoded))
        hidden["fused"] = torch.cat(branches, dim=-1)
        return Outputs(self.heads(hidden["fused"]), hidden)

    def _attend(self, a: str, b: str, x: Masked, source: Masked) -> Tensor:
        """Branch of `a` looking at `b`; zero where `a` is absent."""
        seen = self.stacks[f"{a}/{b}"](x.values, source.values, source.mask)
        return at_level(Masked(seen, x.mask), self.level).values


class _Projection(nn.Module):
    """The authors' projection block: e = W₁x; LayerNorm(e + Dropout(W₂ GELU(e))), both layers without bias.

    Args:
        in_dim: width of the input.
        dim: width of the result.
        dropout: on the second layer.
    """

    def __init__(self, in_dim: int, dim: int, *, dropout: float) -> None:
        super().__init__()
        self.first = nn.Linear(in_dim, dim, bias=False)
        self.second = nn.Sequential(nn.GELU(), nn.Linear(dim, dim, bias=False), nn.Dropout(dropout))
        self.norm = nn.LayerNorm(dim)

    def forward(self, x: Tensor) -> Tensor:
        """(..., in_dim) to (..., dim), not L2-normalised."""
        e = self.first(x)
        return self.norm(e + self.second(e))


class _AsIs(nn.Module):
    """No encoder: the frames themselves."""

    def forward(self, x: Masked) -> Masked:
        return Masked(zeroed(x), x.mask)


def _mean_of_present(views: dict[str, Tensor], encoded: dict[str, Masked]) -> Tensor:
    """Mean of a branch's views over the partners that an item has; over all of them where it has none."""
    if len(views) == 1:
        return next(iter(views.values()))
    present = torch.stack([encoded[b].mask.any(1) for b in views], dim=-1)  # (batch, partners)
    chosen = present | ~present.any(-1, keepdim=True)
    stacked = torch.stack(list(views.values()), dim=-2)  # (batch, [time,] partners, dim)
    chosen = chosen.unsqueeze(1) if stacked.dim() == 4 else chosen
    return masked_mean(Masked(stacked, chosen.expand(stacked.shape[:-1])))
