"""LFAN: leader-follower attention (Zhang et al., CVPR workshop ABAW 2022, arXiv:2203.13031)."""

from __future__ import annotations

import torch
from torch import nn

from mer_bench.contracts import FusionMethod
from mer_bench.errors import UserError, did_you_mean
from mer_bench.nn.attention import attend, divides
from mer_bench.nn.heads import Heads, level_of
from mer_bench.nn.masking import zeroed
from mer_bench.nn.stacks import StackedLinear
from mer_bench.nn.temporal import TemporalStreams
from mer_bench.types import Batch, Features, Masked, Outputs, Tasks


class LFAN(FusionMethod):
    """At every step the modalities look at each other; what they saw is put beside one of them, the leader.

    Source: the authors' code, github.com/sucv/ABAW3 (of the paper and its forerunner, arXiv:2107.01175, only the
    abstracts were read): a temporal convolutional network per modality (four levels, kernel 5, dropout 0.1);
    attention among the modalities of one step with two heads and width 32, its values added; a linear layer on all of
    them, dropout, normalisation; a linear answer on the leader and the followers side by side.

    All networks have one shape, so they are one stack (`nn.stacks`).

    Departures:
    - A linear layer brings each modality to the width of the networks, the same on all levels and for all modalities;
      in the code widths differ and fall (512 to 128 for video). No weight normalisation; convolutions start by Xavier's
      rule for the layer as one matrix (in the code √2 times that for convolutions).
    - Layer in place of batch normalisation, so that batch mates never matter.
    - No tanh on the answer, which is for valence and arousal alone.
    - Item-level tasks: each modality on a clock of `tokens` stretches of its own time, steps averaged (ours).
    - A modality that is not observed at a step is neither looked at nor a follower (ours).

    Args:
        features: two or more modalities.
        tasks: any, of one level.
        leader: the modality beside which the followers stand (video in the paper); None: the first.
        dim: width of the temporal networks (128 is where those for video end in the code).
        levels: of the temporal networks, fewer for short sequences.
        kernel: of their convolutions.
        modal_dim: width of a modality in attention.
        heads: of attention; divides `modal_dim`.
        tokens: item-level tasks: steps of the clock, at most as many as the longest item has frames (ours).
        dropout: in the temporal networks and after attention.

    Raises:
        UserError: a leader that is not offered.
    """

    def __init__(
        self,
        features: Features,
        tasks: Tasks,
        *,
        leader: str | None = None,
        dim: int = 128,
        levels: int = 4,
        kernel: int = 5,
        modal_dim: int = 32,
        heads: int = 2,
        tokens: int = 16,
        dropout: float = 0.1,
    ) -> None:
        super().__init__(features, tasks)
        if leader is not None and leader not in features:
            raise UserError(f"model.method.leader: no modality {leader!r}; {did_you_mean(leader, features)}")
        n, wide = len(features), len(features) * modal_dim
        self.leader = list(features).index(leader) if leader is not None else 0
        self.attention_heads = divides(heads, modal_dim)
        self.streams = TemporalStreams(
            features, dim, level=level_of(tasks), tokens=tokens, levels=levels, kernel=kernel, dropout=dropout
        )
        self.query_key_value = StackedLinear(n, dim, 3 * modal_dim)
        self.out = nn.Linear(wide, wide)
        self.norm_out = nn.LayerNorm(wide)
        self.dropout = nn.Dropout(dropout)
        self.heads = Heads(dim + wide, tasks)

    @classmethod
    def supports(cls, features: Features, tasks: Tasks) -> str | None:
        """None, or the reason why this method cannot be built for such input."""
        return None if len(features) > 1 else "lets modalities look at each other, so it needs two or more"

    def forward(self, batch: Batch) -> Outputs:
        """Logits by task; hidden: ``<m>`` (its temporal network, read like the answer), ``fused``."""
        encoded = self.streams(batch.inputs)
        hidden = self.streams.answers(encoded, batch.inputs)
        joined = torch.cat((encoded.values[self.leader], self._follow(encoded)), dim=-1)
        hidden["fused"] = self.streams.answer(joined, encoded.mask, batch.inputs)
        return Outputs(self.heads(hidden["fused"]), hidden)

    def _follow(self, x: Masked) -> torch.Tensor:
        """Attention among the modalities of each step: (modalities, streams, time, dim) to (streams, time, wide)."""
        seen = x.mask.permute(1, 2, 0).flatten(0, 1)  # (steps, modalities)
        projected = self.query_key_value(x.values).permute(1, 2, 0, 3).flatten(0, 1)
        query, key, value = projected.chunk(3, dim=-1)
        found, _ = attend(query, key, value, seen, heads=self.attention_heads)
        followers = zeroed(Masked(found + value, seen)).flatten(-2)
        return self.norm_out(self.dropout(self.out(followers))).unflatten(0, x.mask.shape[1:])
