"""JCA: joint cross-attention (Praveen et al., CVPR workshop ABAW 2022, arXiv:2203.14779)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mer_bench.contracts import FusionMethod
from mer_bench.nn.heads import MLPHeads, level_of
from mer_bench.nn.masking import zeroed
from mer_bench.nn.stacks import StackedLinear
from mer_bench.nn.streams import Streams
from mer_bench.types import Batch, Features, Masked, Outputs, Tasks


class JCA(FusionMethod):
    """Features of each modality are correlated with those of all over a short sequence, and change accordingly.

    Sources: the paper's equations (from accounts of it; the text itself was not read) and the authors' code,
    `models/cam.py` of github.com/praveena2j/Joint-Cross-Attention-for-Audio-Visual-Fusion. An earlier form of that file
    in JointCrossAttentional-AV-Fusion has the same equations with L = 8 and one target.
    With X_m (dim x L) a modality's tokens, J all of them (d x L), d = dim · modalities:
    C_m = tanh(X_m W_jm Jᵀ / √d), W_jm (L x L); H_m = ReLU(X_m W_m + C_m W_cm) with `hidden` columns; H_m W_hm + X_m.
    The result of every modality side by side, then two linear layers for each target. Widths and L are the code's.

    Departures:
    - Every modality's result is read, as in the paper; the code puts the visual one beside the visual input and drops
      audio. (The last version of the earlier file reads both, but its next layer still expects the other width.)
      `orig_cam.py`, which the authors' later main script runs, is another method.
    - The weights W act along time, so sequences have a fixed length. Item-level tasks: L stretches of each modality's
      own time, answers averaged. Frame-level tasks: frames `every` apart, cut into sequences of L from the start, the
      last filled with masked steps (ours; the code has L clips of a window).
    - More than two modalities (ours, an extension): J holds all.
    - What is not observed counts as zero and gives nothing (ours).

    Args:
        features: two or more modalities.
        tasks: any, of one level.
        dim: width of a modality's tokens.
        hidden: width of the attention maps.
        tokens: L.
        every: frame-level tasks: frames from one token to the next (32 in the code, where features are of clips).
        head_hidden: widths between fusion and answer; there is no activation, as in the code.
        head_dropout: after them.
    """

    def __init__(
        self,
        features: Features,
        tasks: Tasks,
        *,
        dim: int = 128,
        hidden: int = 32,
        tokens: int = 16,
        every: int = 1,
        head_hidden: Sequence[int] = (128,),
        head_dropout: float = 0.6,
    ) -> None:
        super().__init__(features, tasks)
        n, self.tokens = len(features), tokens
        self.streams = Streams(
            features, dim, level=level_of(tasks), tokens=tokens, every=every, pool="mean", normalise=False
        )
        self.over_time = StackedLinear(n, tokens, tokens, bias=False)
        self.own = StackedLinear(n, tokens, hidden, bias=False)
        self.correlated = StackedLinear(n, n * dim, hidden, bias=False)
        self.back = StackedLinear(n, hidden, tokens, bias=False)
        self.heads = MLPHeads(
            n * dim, tasks, head_hidden, activation=nn.Identity, dropout=head_dropout, per_dimension=True
        )

    @classmethod
    def supports(cls, features: Features, tasks: Tasks) -> str | None:
        """None, or the reason why this method cannot be built for such input."""
        return None if len(features) > 1 else "correlates modalities, so it needs two or more; use unimodal for one"

    def forward(self, batch: Batch) -> Outputs:
        """Logits by task; hidden: ``<m>`` (its tokens, read like the answer), ``fused``."""
        streams = self.streams(batch.inputs)
        mask = torch.stack([x.mask for x in streams.values()])
        time = mask.shape[-1]
        changed = self.attend(self._cut(torch.stack([x.values for x in streams.values()])))
        seen = zeroed(Masked(changed.unflatten(1, (mask.shape[1], -1)).flatten(2, 3)[:, :, :time], mask))
        hidden = {m: self.streams.answer(x, batch.inputs) for m, x in streams.items()}
        joined = Masked(seen.movedim(0, -2).flatten(-2), mask.any(0))
        hidden["fused"] = self.streams.answer(joined, batch.inputs)
        return Outputs(self.heads(hidden["fused"]), hidden)

    def attend(self, x: Tensor) -> Tensor:
        """The method's equations: (modalities, sequences, L, dim) to the same shape."""
        turned = x.transpose(-1, -2)  # (modalities, sequences, dim, L)
        joint = x.movedim(0, -2).flatten(-2)  # (sequences, L, d)
        correlation = torch.tanh(self.over_time(turned) @ joint / joint.shape[-1] ** 0.5)
        attention = torch.relu(self.own(turned) + self.correlated(correlation))
        return self.back(attention).transpose(-1, -2) + x

    def _cut(self, x: Tensor) -> Tensor:
        """(modalities, streams, time, dim) to sequences of L, (modalities, streams · cuts, L, dim)."""
        more = -x.shape[2] % self.tokens
        return F.pad(x, (0, 0, 0, more)).unflatten(2, (-1, self.tokens)).flatten(1, 2)
