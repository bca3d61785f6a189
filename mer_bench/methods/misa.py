"""MISA: modality-invariant and modality-specific representations (Hazarika et al., ACM MM 2020, arXiv:2005.03545)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mer_bench.contracts import FusionMethod
from mer_bench.nn.attention import PostNormLayer
from mer_bench.nn.encoders import ModalityEncoder
from mer_bench.nn.heads import MLPHeads, level_of
from mer_bench.nn.masking import zeroed
from mer_bench.types import Batch, Features, Masked, Outputs, Tasks


class MISA(FusionMethod):
    """Each modality in two parts, one by a network that all share and one by its own; all parts look at each other.

    Sources: section 3 and the authors' code, github.com/declare-lab/MISA: projection (linear, ReLU, LayerNorm) to a
    common width; shared and private parts by a linear layer and a sigmoid each; a linear decoder on their sum; one
    transformer layer of 2 heads and width 2,048 over the parts as tokens; half as many features, dropout, ReLU, the
    answer. The losses are `CMD` (1.0), `Orthogonality` (0.3) and `Reconstruction` (1.0) of the code.

    Departures (feature-level form):
    - The encoders are those of `Concat` (ours) in place of fine-tuned BERT and two-layer LSTMs.
    - The discriminator of parts that the code builds and never trains is left out.
    - Keys and values have no bias; dropout in the transformer layer is on what is added, not inside attention and the
      feed-forward network as well.
    - An absent modality has no tokens; its parts are zero after the layer (ours).
    - Frame-level tasks: the layer looks at the parts of one frame (ours).

    Args:
        features: two or more modalities.
        tasks: any, of one level.
        dim: width of encoders and parts (128 in the code).
        layers: transformer layers of each encoder, before the average (ours).
        heads: of the layer over the parts; divides `dim` (2 in the code).
        hidden: width of its feed-forward network (2,048 in the code, the default of torch).
        dropout: in encoders and after fusion (0.5 in the code, after fusion).
        layer_dropout: in the layer over the parts (0.1 in the code, the default of torch).
    """

    def __init__(
        self,
        features: Features,
        tasks: Tasks,
        *,
        dim: int = 128,
        layers: int = 0,
        heads: int = 2,
        hidden: int = 2048,
        dropout: float = 0.5,
        layer_dropout: float = 0.1,
    ) -> None:
        super().__init__(features, tasks)
        level = level_of(tasks)
        self.encoders = nn.ModuleDict(
            {m: ModalityEncoder(spec, dim, level=level, layers=layers, dropout=dropout) for m, spec in features.items()}
        )
        self.project = nn.ModuleDict(
            {m: nn.Sequential(nn.Linear(dim, dim), nn.ReLU(), nn.LayerNorm(dim)) for m in features}
        )
        self.shared = nn.Linear(dim, dim)
        self.private = nn.ModuleDict({m: nn.Linear(dim, dim) for m in features})
        self.decode = nn.ModuleDict({m: nn.Linear(dim, dim) for m in features})
        self.parts = PostNormLayer(dim, heads, hidden=hidden, dropout=layer_dropout)
        width = 2 * len(features) * dim
        self.heads = MLPHeads(width, tasks, [width // 2], activation=nn.ReLU, dropout=dropout)

    @classmethod
    def supports(cls, features: Features, tasks: Tasks) -> str | None:
        """None, or the reason why this method cannot be built for such input."""
        return None if len(features) > 1 else "separates what modalities share, so it needs two or more"

    def forward(self, batch: Batch) -> Outputs:
        """Logits by task; hidden: ``input/<m>``, ``shared/<m>``, ``private/<m>``, ``decoded/<m>``, ``fused``."""
        encoded = {m: encoder(batch.inputs[m]) for m, encoder in self.encoders.items()}
        hidden: dict[str, Tensor] = {}
        for m, x in encoded.items():
            own = self.project[m](x.values)
            shared, private = self.shared(own).sigmoid(), self.private[m](own).sigmoid()
            hidden |= {f"input/{m}": own, f"shared/{m}": shared, f"private/{m}": private}
            hidden[f"decoded/{m}"] = self.decode[m](shared + private)
        tokens = [hidden[f"{part}/{m}"] for part in ("private", "shared") for m in encoded]
        present = torch.stack([x.mask for _ in range(2) for x in encoded.values()], dim=-1)  # (..., tokens)
        hidden["fused"] = self._look(zeroed(Masked(torch.stack(tokens, dim=-2), present)), present).flatten(-2)
        return Outputs(self.heads(hidden["fused"]), hidden)

    def _look(self, tokens: Tensor, present: Tensor) -> Tensor:
        """(..., tokens, dim) through the layer, whatever the leading axes; zero where masked."""
        seen = self.parts(tokens.flatten(0, -3), present.flatten(0, -2)).view(tokens.shape)
        return zeroed(Masked(seen, present))
