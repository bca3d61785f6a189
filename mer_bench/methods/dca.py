"""DCA: dynamic cross-attention (Praveen & Alam, ICME 2024, arXiv:2403.19554)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import torch
from torch import Tensor, nn

from mer_bench.contracts import FusionMethod
from mer_bench.nn.attention import attend
from mer_bench.nn.heads import MLPHeads, level_of
from mer_bench.nn.masking import zeroed
from mer_bench.nn.pooling import masked_mean
from mer_bench.nn.stacks import StackedLinear
from mer_bench.nn.temporal import TemporalStreams
from mer_bench.types import Batch, Features, Masked, Outputs, Tasks


class DCA(FusionMethod):
    """At each step a gate chooses between a modality as it is and as cross-attention has changed it.

    Sources: the paper's equations (from accounts of it; the text itself was not read) and, for the gate, the authors'
    code, github.com/praveena2j/Dynamic-CrossAttention. With the steps of a modality as columns: Z = X_aᵀ W X_b;
    X̂_a = X_a softmax(Z), each column of Z summing to one, so that step j of b picks from the steps of a; attended
    X'_a = tanh(X_a + X̂_a); likewise b with Zᵀ. Gate g = softmax(W_g X' / 0.1), ReLU(g_0 X + g_1 X'); the modalities
    side by side, one hidden layer of 128 with ReLU and dropout 0.6.

    Departures:
    - Attention is the paper's; the code has two blocks of a dense co-attention whose weights act along a fixed time,
      and an audio-guided attention before them.
    - Temporal convolutional networks (`LFAN`), normalised, in place of the LSTMs of the code, before attention only, so
      that runs can be stacked (ours). The code scales its input to length 1 before them.
    - Z is divided by √dim (ours).
    - More than two modalities (ours, an extension): one W per pair, X̂_a averaged over the partners that are there.
      Without any the modality stays as it is.
    - Item-level tasks: each modality on a clock of `tokens` stretches of its own time, steps averaged (ours).

    Args:
        features: two or more modalities.
        tasks: any, of one level.
        dim: width of a modality (ours; 512 in the code).
        levels: of the temporal networks, fewer for short sequences (ours).
        kernel: of their convolutions (ours).
        temperature: of the gate.
        tokens: item-level tasks: steps of the clock, at most as many as the longest item has frames (16 in the code).
        dropout: in the temporal networks (ours).
        head_hidden: widths between fusion and answer.
        head_dropout: after them.
    """

    def __init__(
        self,
        features: Features,
        tasks: Tasks,
        *,
        dim: int = 128,
        levels: int = 4,
        kernel: int = 5,
        temperature: float = 0.1,
        tokens: int = 16,
        dropout: float = 0.1,
        head_hidden: Sequence[int] = (128,),
        head_dropout: float = 0.6,
    ) -> None:
        super().__init__(features, tasks)
        n, self.temperature = len(features), temperature
        self.streams = TemporalStreams(
            features, dim, level=level_of(tasks), tokens=tokens, levels=levels, kernel=kernel, dropout=dropout
        )
        self.attention = _CrossCorrelation(n, dim)
        self.gate = StackedLinear(n, dim, 2)
        self.heads = MLPHeads(n * dim, tasks, head_hidden, activation=nn.ReLU, dropout=head_dropout, per_dimension=True)

    @classmethod
    def supports(cls, features: Features, tasks: Tasks) -> str | None:
        """None, or the reason why this method cannot be built for such input."""
        return None if len(features) > 1 else "correlates modalities, so it needs two or more; use unimodal for one"

    def forward(self, batch: Batch) -> Outputs:
        """Logits by task; hidden: ``<m>`` (before attention, read like the answer), ``fused``."""
        encoded = self.streams(batch.inputs)
        hidden = self.streams.answers(encoded, batch.inputs)
        chosen = zeroed(Masked(self._choose(encoded.values, self.attention(encoded)), encoded.mask))
        hidden["fused"] = self.streams.answer(chosen.movedim(0, -2).flatten(-2), encoded.mask, batch.inputs)
        return Outputs(self.heads(hidden["fused"]), hidden)

    def _choose(self, x: Tensor, found: Masked) -> Tensor:
        """The gate, on (modalities, streams, time, dim)."""
        attended = torch.where(found.mask.unsqueeze(-1), torch.tanh(x + found.values), x)
        keep, change = (self.gate(attended) / self.temperature).softmax(-1).split(1, dim=-1)
        return torch.relu(keep * x + change * attended)


class _CrossCorrelation(nn.Module):
    """For each modality the steps of its own that the steps of the others pick, averaged over the others.

    Args:
        n: how many modalities.
        dim: width of each.
    """

    def __init__(self, n: int, dim: int) -> None:
        super().__init__()
        pairs = list(combinations(range(n), 2))
        self.ordered = pairs + [(b, a) for a, b in pairs]
        self.weight = nn.Parameter(StackedLinear(len(pairs), dim, dim).weight.detach())
        self.partners = [[k for k, (a, _) in enumerate(self.ordered) if a == m] for m in range(n)]

    def forward(self, x: Masked) -> Masked:
        """Values (modalities, streams, time, dim), zero where masked, to the same shape, masked without a partner."""
        weights = torch.cat((self.weight.transpose(-1, -2), self.weight))
        picks = torch.stack([x.values[b] for _, b in self.ordered])
        query = torch.bmm(picks.flatten(1, 2), weights).unflatten(1, picks.shape[1:3])
        own = torch.stack([x.values[a] for a, _ in self.ordered]).flatten(0, 1)
        own_mask = torch.stack([x.mask[a] for a, _ in self.ordered]).flatten(0, 1)
        found, some = attend(query.flatten(0, 1), own, own, own_mask, heads=1)
        found = found.unflatten(0, picks.shape[:2])
        picking = torch.stack([x.mask[b] for _, b in self.ordered]) & some.squeeze(-1).unflatten(0, picks.shape[:2])
        values = torch.stack([torch.stack([found[k] for k in own_pairs], dim=-2) for own_pairs in self.partners])
        mask = torch.stack([torch.stack([picking[k] for k in own_pairs], dim=-1) for own_pairs in self.partners])
        return Masked(masked_mean(Masked(values, mask)), mask.any(-1))
