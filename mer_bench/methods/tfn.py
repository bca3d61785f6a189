"""TFN: tensor fusion network (Zadeh et al., EMNLP 2017, arXiv:1707.07250)."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mer_bench.contracts import FusionMethod
from mer_bench.errors import UserError
from mer_bench.nn.encoders import ModalityEncoder
from mer_bench.nn.heads import Heads, level_of
from mer_bench.types import Batch, Features, Outputs, Tasks


class TFN(FusionMethod):
    """A linear layer on the outer product of all embeddings, each with a 1 appended.

    Sources: the paper's sections 4.2 (the product of ``[h_m; 1]`` over the modalities) and 4.3 (two ReLU layers of 128,
    then the answer), from accounts of them (the text itself was not read), and the authors' Theano script `tf_mosi.py`,
    from a fork of their repository. The product holds every monomial that takes at most one feature from each modality,
    so the embeddings themselves and all pairs are in it too.

    Departures:
    - The encoders are those of `Concat` (ours); the script has an LSTM of 128 with a linear layer of 64 for text, and
      batch normalisation, dropout and three ReLU layers of 32 for the averages of the rest.
    - The outer product of the last modality with the others is never formed: W (a ⊗ v ⊗ t) = (W (a ⊗ v)) t, the same
      function of the same weights. Dropout lies on the embeddings and between the layers after fusion; in the script on
      the product alone (0.2).
    - The layers after fusion have the 128 of the paper; the script has 160 by default.
    - The answer is not squashed to the range of the label (the script: a sigmoid, times 8, less 4).
    - Weights start as torch starts a linear layer, the bias of the product at zero (ours).
    - An absent modality is a zero vector; what the others say together stays, by the 1 (ours).
    - Any number of modalities from two on, while the weights fit (the paper: three).

    Args:
        features: two or more modalities.
        tasks: any, of one level.
        dim: width of the embeddings, one for all modalities (ours).
        layers: transformer layers of each encoder, before the average (ours).
        hidden: width of the layers after fusion (128 in the paper).
        dropout: on embeddings and between the layers after fusion (ours).

    Raises:
        UserError: the weights of the product would be more than 2^28.
    """

    def __init__(
        self,
        features: Features,
        tasks: Tasks,
        *,
        dim: int = 32,
        layers: int = 0,
        hidden: int = 128,
        dropout: float = 0.15,
    ) -> None:
        super().__init__(features, tasks)
        level = level_of(tasks)
        self.encoders = nn.ModuleDict(
            {m: ModalityEncoder(spec, dim, level=level, layers=layers, dropout=dropout) for m, spec in features.items()}
        )
        self.product = TensorLayer([dim] * len(features), hidden)
        self.after = nn.Sequential(
            nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden, hidden), nn.ReLU(), nn.Dropout(dropout)
        )
        self.heads = Heads(hidden, tasks)

    @classmethod
    def supports(cls, features: Features, tasks: Tasks) -> str | None:
        """None, or the reason why this method cannot be built for such input."""
        return None if len(features) > 1 else "multiplies modalities, so it needs two or more; use unimodal for one"

    def forward(self, batch: Batch) -> Outputs:
        """Logits by task; hidden: ``<m>``, ``fused``."""
        hidden = {m: encoder(batch.inputs[m]).values for m, encoder in self.encoders.items()}
        hidden["fused"] = self.after(self.product(list(hidden.values())))
        return Outputs(self.heads(hidden["fused"]), hidden)


class TensorLayer(nn.Module):
    """A linear layer on the outer product of several vectors, each with a 1 in front.

    Args:
        dims: widths of the vectors.
        out: width of the result.

    Raises:
        UserError: more than 2^28 weights.
    """

    MOST = 2**28  # ours: 1 GiB of weights in single precision, three more for gradient and Adam

    def __init__(self, dims: list[int], out: int) -> None:
        super().__init__()
        *rest, last = (d + 1 for d in dims)
        size = math.prod(rest) * last
        if size * out > self.MOST:
            raise UserError(
                f"TFN: the outer product of {len(dims)} modalities needs {size * out:,} weights; use a smaller "
                f"--model.method.init_args.dim, fewer modalities, or lmf"
            )
        # as one layer on the whole product: weights (out, rest, last), read as (out · last, rest)
        self.weight = nn.Parameter(torch.empty(out * last, math.prod(rest)).uniform_(-(size**-0.5), size**-0.5))
        self.bias = nn.Parameter(torch.zeros(out))
        self.last = last

    def forward(self, vectors: list[Tensor]) -> Tensor:
        """Vectors (..., dim) in the order of `dims` to (..., out)."""
        *rest, last = (F.pad(v, (1, 0), value=1.0) for v in vectors)
        product = rest[0]
        for v in rest[1:]:
            product = (product.unsqueeze(-1) * v.unsqueeze(-2)).flatten(-2)
        by_last = F.linear(product, self.weight).unflatten(-1, (-1, self.last))  # (..., out, last)
        return (by_last @ last.unsqueeze(-1)).squeeze(-1) + self.bias
