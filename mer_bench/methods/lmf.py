"""LMF: low-rank multimodal fusion (Liu et al., ACL 2018, arXiv:1806.00064)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mer_bench.contracts import FusionMethod
from mer_bench.nn.encoders import ModalityEncoder
from mer_bench.nn.heads import Heads, level_of
from mer_bench.types import Batch, Features, Outputs, Tasks


class LMF(FusionMethod):
    """Tensor fusion whose weights are a sum of rank-one terms: fused = Σ_r w_r Π_m (W_{m,r} [1; h_m]) + b.

    Sources: section 3.2 of the paper and the authors' code, github.com/Justin1904/Low-rank-Multimodal-Fusion: factors
    drawn from a normal distribution, a weight for each rank, bias zero.

    Departures:
    - Everything is trained. The authors' scripts (MOSI, IEMOCAP) name parameters by position and train the factors, but
      neither the ranks' weights nor the bias. (In several later implementations the optimiser never sees the factors.)
    - The encoders are those of `Concat` (ours); the code has an LSTM and a linear layer for text, and batch
      normalisation, dropout and three ReLU layers for the averages of the rest.
    - The fused vector, followed by dropout, feeds a linear layer per task, as in the paper's figure; in the code it
      is the answer, and the dropout after fusion is built but not used.
    - Factors take Xavier's rule for each rank alone. In the code it sees one tensor (rank, in, out), whose deviation is
      that of one rank over √out about: alike for the single answer it has there, much smaller for a wide vector.
    - The ranks' weights start at 1 / rank instead of at random (ours: what they draw in the code is nearly zero at
      times).
    - An absent modality is a zero vector, so its factor is the constant row (ours).

    Args:
        features: two or more modalities.
        tasks: any, of one level.
        dim: width of the embeddings (ours; searched by the authors, 4 to 16, for text 32 to 128).
        layers: transformer layers of each encoder, before the average (ours).
        rank: number of rank-one terms (ours; searched by the authors in 1, 4, 8, 16).
        hidden: width of the fused vector (ours).
        dropout: in encoders and on the fused vector (ours; searched by the authors, in encoders only).
    """

    def __init__(
        self,
        features: Features,
        tasks: Tasks,
        *,
        dim: int = 64,
        layers: int = 0,
        rank: int = 8,
        hidden: int = 64,
        dropout: float = 0.3,
    ) -> None:
        super().__init__(features, tasks)
        level = level_of(tasks)
        self.encoders = nn.ModuleDict(
            {m: ModalityEncoder(spec, dim, level=level, layers=layers, dropout=dropout) for m, spec in features.items()}
        )
        self.product = LowRankLayer([dim] * len(features), hidden, rank)
        self.dropout = nn.Dropout(dropout)
        self.heads = Heads(hidden, tasks)

    @classmethod
    def supports(cls, features: Features, tasks: Tasks) -> str | None:
        """None, or the reason why this method cannot be built for such input."""
        return None if len(features) > 1 else "multiplies modalities, so it needs two or more; use unimodal for one"

    def forward(self, batch: Batch) -> Outputs:
        """Logits by task; hidden: ``<m>``, ``fused``."""
        hidden = {m: encoder(batch.inputs[m]).values for m, encoder in self.encoders.items()}
        hidden["fused"] = self.dropout(self.product(list(hidden.values())))
        return Outputs(self.heads(hidden["fused"]), hidden)


class LowRankLayer(nn.Module):
    """A linear layer on the outer product of several vectors, its weights a sum of rank-one tensors.

    Args:
        dims: widths of the vectors.
        out: width of the result.
        rank: number of terms.
    """

    def __init__(self, dims: list[int], out: int, rank: int) -> None:
        super().__init__()
        self.rank = rank
        self.factors = nn.ParameterList(torch.empty(rank * out, d + 1) for d in dims)
        for factor, d in zip(self.factors, dims, strict=True):
            nn.init.normal_(factor, std=(2 / (d + 1 + out)) ** 0.5)  # Xavier's rule for each rank alone
        self.weight = nn.Parameter(torch.full((rank,), 1 / rank))
        self.bias = nn.Parameter(torch.zeros(out))

    def forward(self, vectors: list[Tensor]) -> Tensor:
        """Vectors (..., dim) in the order of `dims` to (..., out)."""
        pairs = zip(vectors, self.factors, strict=True)
        terms = [F.linear(F.pad(v, (1, 0), value=1.0), factor) for v, factor in pairs]
        product = terms[0]
        for term in terms[1:]:
            product = product * term
        by_rank = product.unflatten(-1, (self.rank, -1))  # (..., rank, out)
        return (self.weight.unsqueeze(-1) * by_rank).sum(-2) + self.bias
