"""DMD: decoupled multimodal distillation (Li et al., CVPR 2023, arXiv:2303.13802), on features from a file."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import permutations

import torch
from torch import Tensor, nn

from mer_bench.contracts import FusionMethod
from mer_bench.nn.crossmodal import Crossmodal, SelfStack
from mer_bench.nn.encoders import at_level
from mer_bench.nn.heads import Heads, level_of
from mer_bench.nn.masking import masked_softmax, zeroed
from mer_bench.nn.stacks import StackedLinear, padded_stack
from mer_bench.types import Batch, Features, Masked, Outputs, Tasks


class DMD(FusionMethod):
    """Each modality in a shared and a private part; inside each kind of parts the modalities teach each other.

    Source: the authors' code, github.com/mdswyz/DMD. A linear map that all share and one of its own split the projected
    frames; a linear decoder joins them again. The shared parts pass self-attention, the private ones the crossmodal
    transformers of MulT; gates, the concatenation and a residual network of two layers answer. Beside that every
    modality answers by itself, from its shared part (homogeneous) and from what its private part saw of the others
    (heterogeneous), and so do the shared parts together. Two graphs over the modalities weigh by item who teaches whom:
    edge = softmax over the pairs of W [z_a; z_b] / 8, z from answer and embedding. Widths, heads, layers,
    `embed_dropout` and `output_dropout` are those of the code for MOSI. The losses are `Decoupling`,
    `GraphDistillation` and `Reconstruction`.

    Departures (feature-level form):
    - Text is fine-tuned BERT in the paper; here any features. Projections have width 1 (5 in the code for MOSI), no
      dropout on raw text. Attention as in `MulT`: no mask of the future, the last observed step.
    - No dropout on the weights of attention. The code for MOSI (config/config.json at 88c574d) has it there, 0.3 of
      those that look at text and in the memories, 0.2 at audio, and none on what the layers add, as here.
    - The shared parts' own answers are read from their mean over frames; the code flattens 50 frames, which fixes the
      length.
    - Each graph sees the embedding after the residual network (the homogeneous one of the code: its hidden layer), by
      linear maps without bias: none could change an edge.
    - Frame-level tasks, absent modalities (no views, zero vectors) and other numbers of modalities than three are ours.

    Args:
        features: two or more modalities.
        tasks: any, of one level.
        dim: common width.
        heads: of all attention; divides `dim`.
        layers: of crossmodal and self-attention; the memory has three or as many.
        edges: widths of z for the homogeneous and the heterogeneous graph, of answer and embedding each.
        dropout: on what the layers of the transformers add, and inside them (none in the code).
        embed_dropout: on their input.
        output_dropout: in the residual networks.
    """

    def __init__(
        self,
        features: Features,
        tasks: Tasks,
        *,
        dim: int = 50,
        heads: int = 10,
        layers: int = 4,
        edges: tuple[int, int] = (64, 32),
        dropout: float = 0.0,
        embed_dropout: float = 0.2,
        output_dropout: float = 0.5,
    ) -> None:
        super().__init__(features, tasks)
        self.level, n, wide = level_of(tasks), len(features), (len(features) - 1) * dim
        frames = self.level == "frame"
        self.encoders = nn.ModuleDict({m: nn.Linear(spec.dim, dim, bias=False) for m, spec in features.items()})
        self.private = StackedLinear(n, dim, dim, bias=False)
        self.shared = nn.Linear(dim, dim, bias=False)
        self.decode = StackedLinear(n, 2 * dim, dim, bias=False)
        self.align = StackedLinear(n, dim, dim)
        self.together = SelfStack(
            n, dim, heads, layers=layers, dropout=dropout, embed_dropout=embed_dropout, frames=frames
        )
        self.look = Crossmodal(
            n,
            dim,
            heads,
            layers=layers,
            memory=max(layers, 3),
            dropout=dropout,
            embed_dropout=embed_dropout,
            frames=frames,
        )
        self.homogeneous = _Answers(n, dim, tasks, edges[0], output_dropout)
        self.heterogeneous = _Answers(n, wide, tasks, edges[1], output_dropout)
        self.common = _Residual(n * dim, output_dropout)
        self.heads_common = Heads(n * dim, tasks)
        self.gate, self.gate_common = StackedLinear(n, wide, wide), nn.Linear(n * dim, n * dim)
        self.mix = _Residual(n * (wide + dim), output_dropout)
        self.heads = Heads(n * (wide + dim), tasks)

    @classmethod
    def supports(cls, features: Features, tasks: Tasks) -> str | None:
        """None, or the reason why this method cannot be built for such input."""
        return None if len(features) > 1 else "lets modalities teach each other, so it needs two or more"

    def forward(self, batch: Batch) -> Outputs:
        """Logits by task; hidden: parts and answers of each modality, ``edges/...``, ``common/<task>``, ``fused``."""
        frames = {m: Masked(project(zeroed(batch.inputs[m])), batch.inputs[m].mask) for m, project in self._maps()}
        x = padded_stack(list(frames.values()))
        pooled = [at_level(y, self.level) for y in frames.values()]
        own = Masked(torch.stack([y.values for y in pooled]), torch.stack([y.mask for y in pooled]))
        seen = self.look(Masked(self.private(x.values), x.mask))
        alike = _joined(self.together(Masked(self.shared(x.values), x.mask)))
        hidden = self._parts(own.values)
        hidden |= self.homogeneous("homogeneous", list(frames), Masked(self.shared(own.values), own.mask))
        hidden |= self.heterogeneous("heterogeneous", list(frames), Masked(seen, own.mask))
        hidden |= {f"common/{task}": y for task, y in self.heads_common(self.common(alike)).items()}
        gated = torch.cat([_joined(self.gate(seen)), self.gate_common(alike)], dim=-1).sigmoid()
        hidden["fused"] = self.mix(gated)
        return Outputs(self.heads(hidden["fused"]), hidden)

    def _maps(self) -> Iterable[tuple[str, nn.Module]]:
        return self.encoders.items()

    def _parts(self, own: Tensor) -> dict[str, Tensor]:
        """Parts, reconstruction, and the private part found again in it; all maps are linear, so of the means too."""
        private, shared = self.private(own), self.shared(own)
        decoded = self.decode(torch.cat([private, shared], dim=-1))
        parts = {
            "input": own,
            "private": private,
            "shared": shared,
            "decoded": decoded,
            "again": self.private(decoded),
            "aligned": self.align(shared),
        }
        return {f"{part}/{m}": x[k] for part, x in parts.items() for k, m in enumerate(self.encoders)}


class _Residual(nn.Module):
    """x + W ReLU-dropout(V x)."""

    def __init__(self, dim: int, dropout: float) -> None:
        super().__init__()
        self.network = nn.Sequential(nn.Linear(dim, dim), nn.ReLU(), nn.Dropout(dropout), nn.Linear(dim, dim))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.network(x)


class _Answers(nn.Module):
    """An answer of each modality, and how much each pair of them should teach.

    Args:
        n: modalities.
        dim: of what they answer from.
        tasks: by name.
        edge: width of what the edges see of an answer and of an embedding.
        dropout: in the residual networks.
    """

    def __init__(self, n: int, dim: int, tasks: Tasks, edge: int, dropout: float) -> None:
        super().__init__()
        self.pairs = list(permutations(range(n), 2))
        self.network = nn.Sequential(
            StackedLinear(n, dim, dim), nn.ReLU(), nn.Dropout(dropout), StackedLinear(n, dim, dim)
        )
        self.heads = nn.ModuleDict({name: StackedLinear(n, dim, spec.size) for name, spec in tasks.items()})
        # without biases: a constant added to all edges changes nothing
        self.of_answer = nn.Linear(sum(spec.size for spec in tasks.values()), edge, bias=False)
        self.of_embedding = nn.Linear(dim, edge, bias=False)
        self.edge = nn.Linear(4 * edge, 1, bias=False)

    def forward(self, kind: str, order: list[str], x: Masked) -> dict[str, Tensor]:
        """Values (modalities, ..., dim) with mask (modalities, ...) to hidden tensors by name."""
        found = x.values + self.network(x.values)
        answers = {name: head(found) for name, head in self.heads.items()}
        z = torch.cat([self.of_answer(torch.cat(list(answers.values()), dim=-1)), self.of_embedding(found)], dim=-1)
        scores = torch.cat([self.edge(torch.cat([z[a], z[b]], dim=-1)) for a, b in self.pairs], dim=-1)
        both = torch.stack([x.mask[a] & x.mask[b] for a, b in self.pairs], dim=-1)
        hidden = {f"edges/{kind}": masked_softmax(scores / 8, both)}
        for k, m in enumerate(order):
            hidden |= {f"{kind}/{m}/{name}": y[k] for name, y in answers.items()}
        return hidden


def _joined(x: Tensor) -> Tensor:
    """(modalities, ..., dim) to (..., modalities · dim)."""
    return x.movedim(0, -2).flatten(-2)
