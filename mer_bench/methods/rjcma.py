"""RJCMA: recursive joint cross-modal attention (Praveen & Alam, CVPR workshop ABAW 2024, arXiv:2403.13659)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mer_bench.contracts import FusionMethod
from mer_bench.nn.heads import MLPHeads, level_of
from mer_bench.nn.masking import zeroed
from mer_bench.nn.stacks import StackedLinear
from mer_bench.nn.temporal import TemporalStreams
from mer_bench.types import Batch, Features, Masked, Outputs, Tasks


class RJCMA(FusionMethod):
    """Each modality is correlated with the joint stream and adds what it finds, several times over.

    Sources: the paper's equations (from accounts of it; the text itself was not read) and the authors' code,
    github.com/praveena2j/RJCMA. With the steps of a modality as columns of X_m, J = FC([X_1; ...; X_M]):
    C_m = tanh(X_mᵀ W_jm J / √d), H_m = ReLU(W_cm X_m C_m), X_m + W_hm H_m, and again from there with weights of its
    own, three times. Before it, a temporal convolutional network per modality, normalised (`LFAN`); after it, the
    modalities side by side and one hidden layer with LeakyReLU.

    Departures:
    - Any length. The paper's W_cm, and in the code the weights of C_m too, act along a time of fixed length (300);
      here all act on features, C_m relates steps to steps as the equation says, and the sum over the steps of X_m is a
      mean, so that the length of a sequence changes nothing in its scale (ours).
    - The code maps features to features, has no FC in use and recurs twice; the text has three recursions. It also
      squashes by tanh before the ReLU of H_m, has a ReLU after W_hm and dropout on C_m.
    - Width, normalisation, clock of item-level tasks and no tanh on the answer as in `LFAN`; no batch normalisation in
      the hidden layer.
    - What is not observed is no step, and adds nothing (ours).

    Args:
        features: two or more modalities.
        tasks: any, of one level.
        dim: width of a modality.
        levels: of the temporal networks, fewer for short sequences.
        kernel: of their convolutions.
        recursions: how often attention is applied (3 in the paper).
        tokens: item-level tasks: steps of the clock, at most as many as the longest item has frames (ours).
        dropout: in the temporal networks (0.1 in the code).
        attention_dropout: on what attention adds (0.6 in the code, there on C_m as well).
        head_hidden: widths between fusion and answer (256 in the code).
    """

    def __init__(
        self,
        features: Features,
        tasks: Tasks,
        *,
        dim: int = 128,
        levels: int = 4,
        kernel: int = 5,
        recursions: int = 3,
        tokens: int = 16,
        dropout: float = 0.1,
        attention_dropout: float = 0.6,
        head_hidden: Sequence[int] = (256,),
    ) -> None:
        super().__init__(features, tasks)
        n = len(features)
        self.streams = TemporalStreams(
            features, dim, level=level_of(tasks), tokens=tokens, levels=levels, kernel=kernel, dropout=dropout
        )
        self.recursions = nn.ModuleList(_JointAttention(n, dim, dropout=attention_dropout) for _ in range(recursions))
        self.heads = MLPHeads(n * dim, tasks, head_hidden, activation=nn.LeakyReLU)

    @classmethod
    def supports(cls, features: Features, tasks: Tasks) -> str | None:
        """None, or the reason why this method cannot be built for such input."""
        return None if len(features) > 1 else "correlates modalities, so it needs two or more; use unimodal for one"

    def forward(self, batch: Batch) -> Outputs:
        """Logits by task; hidden: ``<m>`` (before attention, read like the answer), ``fused``."""
        encoded = self.streams(batch.inputs)
        hidden = self.streams.answers(encoded, batch.inputs)
        values, mask = encoded
        for recursion in self.recursions:
            values = recursion(values, mask)
        hidden["fused"] = self.streams.answer(values.movedim(0, -2).flatten(-2), mask, batch.inputs)
        return Outputs(self.heads(hidden["fused"]), hidden)


class _JointAttention(nn.Module):
    """One recursion.

    Args:
        n: how many modalities.
        dim: width of each.
        dropout: on what is added.
    """

    def __init__(self, n: int, dim: int, *, dropout: float) -> None:
        super().__init__()
        self.joint = nn.Linear(n * dim, n * dim)
        self.correlate = StackedLinear(n, dim, n * dim, bias=False)
        self.value, self.back = StackedLinear(n, dim, dim, bias=False), StackedLinear(n, dim, dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Values (modalities, streams, time, dim), zero where masked, and mask without dim, to the same shape."""
        joint = self.joint(x.movedim(0, -2).flatten(-2))  # (streams, time, d)
        correlation = torch.tanh(self.correlate(x) @ joint.transpose(-1, -2) / joint.shape[-1] ** 0.5)
        steps = mask.sum(-1).clamp(min=1)[..., None, None]
        # rows of values that are masked are zero, so they add nothing to the mean
        found = torch.relu(correlation.transpose(-1, -2) @ self.value(x) / steps)
        return zeroed(Masked(x + self.dropout(self.back(found)), mask))
