"""MAG: multimodal adaptation gate (Rahman et al., ACL 2020, arXiv:1908.05787), on features from a file."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mer_bench.contracts import FusionMethod
from mer_bench.errors import UserError, did_you_mean
from mer_bench.nn.attention import TransformerStack, sinusoidal_positions
from mer_bench.nn.encoders import at_level
from mer_bench.nn.heads import Heads, level_of
from mer_bench.nn.masking import zeroed
from mer_bench.nn.pooling import masked_mean
from mer_bench.nn.streams import Streams
from mer_bench.types import Batch, Features, Masked, Outputs, Tasks


class MAG(FusionMethod):
    """The tokens of one modality are shifted by what the others say at the same time.

    Sources: section 3 and the authors' code, github.com/WasifurRahman/BERT_multimodal_transformer. For a token z of
    the anchor and x_b of the others: g_b = ReLU(W_gb [x_b; z]); H = Σ_b g_b ⊙ (W_b x_b);
    LayerNorm(z + min(β |z| / |H|, 1) H), then dropout. β is the default of the authors' driver; the examples of their
    README pass 0.001. The code adds 1e-6 to |H|.

    Departures (feature-level form):
    - The gate sits on the embeddings of a fine-tuned BERT, whose class token is read in the end, or within XLNet. Here
      it sits on projected features, and one pre-LN transformer layer takes the part of the language model above it; its
      tokens are averaged (ours).
    - The anchor is text in the paper. Here every modality is the anchor in turn, each with its own gate, and what comes
      out is averaged over the anchors that are present (ours): no modality is named and none may be missing. With
      `anchor` there is one, as in the paper; an item that lacks it is answered without input.
    - Item-level tasks get a clock of `tokens` stretches of each modality's own time; the paper's data are aligned to
      words.
    - A modality that is not observed at a token adds nothing (ours).

    Args:
        features: two or more modalities.
        tasks: any, of one level.
        anchor: the modality whose tokens are shifted; None: each in turn.
        dim: width of the tokens (ours).
        beta: largest share of the token's length by which it is shifted (1.0 in the authors' driver).
        layers: transformer layers above the gate (ours).
        heads: of these; divides `dim` (ours).
        tokens: item-level tasks: steps of the clock (ours).
        dropout: after the gate (0.5 in the code) and, at most 0.1, in the layers (ours).

    Raises:
        UserError: an anchor that is not offered.
    """

    def __init__(
        self,
        features: Features,
        tasks: Tasks,
        *,
        anchor: str | None = None,
        dim: int = 128,
        beta: float = 1.0,
        layers: int = 1,
        heads: int = 4,
        tokens: int = 16,
        dropout: float = 0.5,
    ) -> None:
        super().__init__(features, tasks)
        if anchor is not None and anchor not in features:
            raise UserError(f"model.method.anchor: no modality {anchor!r}; {did_you_mean(anchor, features)}")
        self.level = level_of(tasks)
        self.streams = Streams(features, dim, level=self.level, tokens=tokens, normalise=False)
        anchors = list(features) if anchor is None else [anchor]
        self.gates = nn.ModuleDict(
            {a: _Gate([b for b in features if b != a], dim, beta=beta, dropout=dropout) for a in anchors}
        )
        self.stack = TransformerStack(dim, layers, heads=heads, dropout=min(dropout, 0.1))
        self.heads = Heads(dim, tasks)

    @classmethod
    def supports(cls, features: Features, tasks: Tasks) -> str | None:
        """None, or the reason why this method cannot be built for such input."""
        return None if len(features) > 1 else "shifts one modality by others, so it needs two or more"

    def forward(self, batch: Batch) -> Outputs:
        """Logits by task; hidden: ``<m>`` (projected tokens, averaged), ``fused``."""
        streams = self.streams(batch.inputs)
        hidden = {m: at_level(x, self.level).values for m, x in streams.items()}
        shifted = torch.cat([gate(streams[a], streams) for a, gate in self.gates.items()])
        mask = torch.cat([streams[a].mask for a in self.gates])
        above = self.stack(shifted + sinusoidal_positions(shifted.shape[1], like=shifted), mask)
        read = at_level(Masked(above, mask), self.level)
        values, there = (x.unflatten(0, (len(self.gates), -1)) for x in read)  # (anchors, batch, ...)
        hidden["fused"] = masked_mean(Masked(values.movedim(0, -2), there.movedim(0, -1)))
        return Outputs(self.heads(hidden["fused"]), hidden)


class _Gate(nn.Module):
    """The gate of one anchor.

    Args:
        others: the modalities that shift it.
        dim: width of all tokens.
        beta: largest share of the token's length by which it is shifted.
        dropout: on the result.
    """

    def __init__(self, others: list[str], dim: int, *, beta: float, dropout: float) -> None:
        super().__init__()
        self.beta = beta
        self.weigh = nn.ModuleDict({b: nn.Linear(2 * dim, dim) for b in others})
        self.shift = nn.ModuleDict({b: nn.Linear(dim, dim) for b in others})
        self.norm, self.dropout = nn.LayerNorm(dim), nn.Dropout(dropout)

    def forward(self, anchor: Masked, streams: dict[str, Masked]) -> Tensor:
        """Tokens of the anchor, shifted; (batch, time, dim), zero where masked."""
        z, shift = anchor.values, torch.zeros_like(anchor.values)
        for b, weigh in self.weigh.items():
            x, mask = streams[b]
            gate = weigh(torch.cat((x, z), dim=-1)).relu()
            shift = shift + zeroed(Masked(gate * self.shift[b](x), mask))
        length = torch.linalg.vector_norm(shift, dim=-1, keepdim=True)
        nothing = length == 0
        allowed = self.beta * torch.linalg.vector_norm(z, dim=-1, keepdim=True) / torch.where(nothing, 1.0, length)
        moved = self.norm(z + allowed.clamp(max=1) * shift)
        return zeroed(Masked(self.dropout(moved), anchor.mask))
