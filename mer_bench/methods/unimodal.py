"""The control with one modality: what fusion has to beat."""

from __future__ import annotations

from mer_bench.contracts import FusionMethod
from mer_bench.nn.encoders import ModalityEncoder
from mer_bench.nn.heads import MLP, Heads, level_of
from mer_bench.types import Batch, Features, Outputs, Tasks


class Unimodal(FusionMethod):
    """Average over time, encode, one hidden layer, one head per task: `Concat` with a single modality.

    Args:
        features: exactly one modality.
        tasks: any, of one level.
        dim: width of encoder and hidden layer (ours).
        layers: transformer layers of the encoder, before the average (ours).
        dropout: in encoder and hidden layer (ours).
    """

    def __init__(
        self, features: Features, tasks: Tasks, *, dim: int = 128, layers: int = 0, dropout: float = 0.3
    ) -> None:
        super().__init__(features, tasks)
        ((self.modality, spec),) = features.items()
        self.encoder = ModalityEncoder(spec, dim, level=level_of(tasks), layers=layers, dropout=dropout)
        self.mix = MLP(dim, dim, dropout=dropout)
        self.heads = Heads(dim, tasks)

    @classmethod
    def supports(cls, features: Features, tasks: Tasks) -> str | None:
        """None, or the reason why this method cannot be built for such input."""
        if len(features) == 1:
            return None
        return f"takes exactly one modality, got {len(features)} ({', '.join(features)}); run it once per modality"

    def forward(self, batch: Batch) -> Outputs:
        """Logits by task; hidden: ``<m>``, ``fused``."""
        encoded = self.encoder(batch.inputs[self.modality])
        fused = self.mix(encoded.values)
        return Outputs(self.heads(fused), {self.modality: encoded.values, "fused": fused})
