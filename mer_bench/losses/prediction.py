"""The fused vector is to tell of every modality: contrastive predictive coding within a batch."""

from __future__ import annotations

import torch
from torch import Tensor

from mer_bench.contracts import AuxLoss, FusionMethod
from mer_bench.losses.pairs import cosine, hidden, present, whole_items
from mer_bench.nn.masking import masked_softmax
from mer_bench.types import Batch, Features, Outputs, Tasks


class ContrastivePrediction(AuxLoss):
    """Each modality's ``input/<m>`` is to be more like its own ``decoded/<m>`` than like those of other items.

    The bound between fusion and inputs of MMIM (Han et al., EMNLP 2021, arXiv:2109.00412, section 3.4, after CPC, van
    den Oord et al., 2018), with cosines as scores and no temperature, as in the authors' code::

        L = Σ_m mean_i ( -cos(x_i, p_i) + log Σ_j exp cos(x_i, p_j) )

    Items with fewer than two modalities do not count, neither as i nor as j (ours): what one modality tells of itself
    is not fusion. Frames are averaged to items first (ours).

    Args:
        weight: factor applied by the module; 0.1 in MMIM.
    """

    def __init__(self, weight: float = 0.1) -> None:
        super().__init__(weight)

    def bind(self, features: Features, tasks: Tasks) -> None:
        """Remember the modalities."""
        self.modalities = list(features)

    def forward(self, outputs: Outputs, batch: Batch, method: FusionMethod) -> Tensor:
        """The loss of one batch."""
        several = torch.stack([batch.inputs[m].mask.any(1) for m in self.modalities]).sum(0) > 1
        return torch.stack([self._one(m, several, outputs, batch) for m in self.modalities]).sum()

    def _one(self, m: str, several: Tensor, outputs: Outputs, batch: Batch) -> Tensor:
        truth, told = (hidden(outputs, f"{kind}/{m}", loss="ContrastivePrediction") for kind in ("input", "decoded"))
        mask = present(batch, m, truth)
        counted = several & batch.inputs[m].mask.any(1)
        scores = cosine(whole_items(truth, mask), whole_items(told, mask))
        # a cosine is at most 1, so the softmax over the counted items is never small enough to vanish
        share = masked_softmax(scores, counted.unsqueeze(0)).diagonal()
        found = torch.where(counted, share, 1.0).log()
        return -found.sum() / counted.sum().clamp(min=1)
