"""MMIN: missing modality imagination network (Zhao et al., ACL 2021), on features from a file."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from mer_bench.contracts import FusionMethod
from mer_bench.nn.encoders import ModalityEncoder
from mer_bench.nn.heads import MLPHeads, level_of
from mer_bench.types import Batch, Features, Outputs, Tasks


class MMIN(FusionMethod):
    """A cascade of autoencoders imagines the modality that is missing; its bottlenecks together are the joint vector.

    Source: the authors' code, github.com/AIM3-RUC/MMIN. Embeddings side by side, zeros where a modality is missing (in
    the code its input is zero), pass a cascade of residual autoencoders: each encodes its input plus what the one
    before it gave, and a network of two layers makes the imagined embeddings of the last. A second cascade goes back
    from there. The classifier, two hidden layers, reads the bottlenecks of the first cascade. Widths and the number of
    blocks are those of the authors' script for IEMOCAP. `Imagination` is its loss (4, and 2 for the way back).

    To be imagined, each modality is left out once of what is there, all of them in one pass of the cascades. In the way
    back modality m is found from what was imagined of the others, and of that m knew nothing itself.

    Departures (feature-level form):
    - Encoders are those of `Concat` (ours) in place of LSTMs and a text CNN, which the authors train before on all
      modalities; the targets come from the same encoders without gradient.
    - The code trains the classifier on input with one or two of three modalities missing, never on all. Here the subset
      schedule of the config decides: all, and each alone.
    - Imagination is asked of what is missing alone, and the way back starts from that (ours). The code asks the whole
      vector: what is missing, and beside it what the trained encoders make of silence for what is there; the way back
      takes all of it to the embeddings of what is there.
    - Frame-level tasks: the cascades work on the modalities of one frame (ours).

    Args:
        features: two or more modalities.
        tasks: any, of one level.
        dim: width of the embeddings.
        layers: transformer layers of each encoder, before the average (ours).
        widths: of the layers of each autoencoder down to its bottleneck.
        blocks: autoencoders in the cascade.
        hidden: width of the two layers of the classifier.
        dropout: in encoders (ours) and classifier.
    """

    others: Tensor

    def __init__(
        self,
        features: Features,
        tasks: Tasks,
        *,
        dim: int = 128,
        layers: int = 0,
        widths: Sequence[int] = (256, 128, 64),
        blocks: int = 5,
        hidden: int = 128,
        dropout: float = 0.5,
    ) -> None:
        super().__init__(features, tasks)
        level = level_of(tasks)
        self.encoders = nn.ModuleDict(
            {m: ModalityEncoder(spec, dim, level=level, layers=layers, dropout=dropout) for m, spec in features.items()}
        )
        joint = len(features) * dim
        self.imagine = _Cascade(joint, widths, blocks)
        self.back = _Cascade(joint, widths, blocks)
        self.heads = MLPHeads(blocks * widths[-1], tasks, [hidden, hidden], activation=nn.ReLU, dropout=dropout)
        self.register_buffer("others", ~torch.eye(len(features), dtype=torch.bool), persistent=False)

    @classmethod
    def supports(cls, features: Features, tasks: Tasks) -> str | None:
        """None, or the reason why this method cannot be built for such input."""
        return None if len(features) > 1 else "imagines a modality from the others, so it needs two or more"

    def forward(self, batch: Batch) -> Outputs:
        """Logits by task; hidden: ``<m>``, ``imagined/<m>``, ``cycled/<m>``, ``fused`` (the bottlenecks)."""
        encoded = [encoder(batch.inputs[m]).values for m, encoder in self.encoders.items()]
        whole = torch.stack(encoded, dim=-2)  # (..., modalities, dim)
        parts = torch.where(self._without(whole), whole.unsqueeze(0), 0.0)  # (left out, ..., modalities, dim)
        found, bottlenecks = self.imagine(torch.cat([whole.unsqueeze(0), parts]).flatten(-2))
        imagined = _own(found[1:].view(parts.shape))
        guesses = torch.where(self._without(whole), imagined.movedim(0, -2).unsqueeze(0), 0.0)
        cycled = _own(self.back(guesses.flatten(-2))[0].view(parts.shape))
        hidden: dict[str, Tensor] = {}
        for k, m in enumerate(self.encoders):
            hidden |= {m: encoded[k], f"imagined/{m}": imagined[k], f"cycled/{m}": cycled[k]}
        hidden["fused"] = bottlenecks[0]
        return Outputs(self.heads(hidden["fused"]), hidden)

    def _without(self, like: Tensor) -> Tensor:
        """(left out, 1, ..., modalities, 1): all but the one that is left out."""
        n = like.shape[-2]
        return self.others.view(n, *[1] * (like.dim() - 2), n, 1)


def _own(x: Tensor) -> Tensor:
    """Of each pass (left out, ..., modalities, dim) what it says of the modality left out: (modalities, ..., dim)."""
    return x.diagonal(dim1=0, dim2=-2).movedim(-1, 0)


class _Cascade(nn.Module):
    """Residual autoencoders one after the other.

    Args:
        dim: width of input and result.
        widths: of the layers down to the bottleneck.
        blocks: how many autoencoders.
    """

    def __init__(self, dim: int, widths: Sequence[int], blocks: int) -> None:
        super().__init__()
        down, up = [dim, *widths], [*reversed(widths), dim]
        self.encoders = nn.ModuleList(_layers(down, nn.LeakyReLU) for _ in range(blocks))
        self.decoders = nn.ModuleList(_layers(up, nn.ReLU) for _ in range(blocks))
        self.transition = _layers([dim] * 3, nn.ReLU)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(..., dim) to (..., dim), and the bottlenecks of all blocks side by side."""
        bottlenecks = []
        for encode, decode in zip(self.encoders, self.decoders, strict=True):
            bottlenecks.append(encode(x))
            x = x + decode(bottlenecks[-1])
        return self.transition(x), torch.cat(bottlenecks, dim=-1)


def _layers(widths: Sequence[int], activation: type[nn.Module]) -> nn.Sequential:
    """Linear layers with an activation between them."""
    first, *rest = pairwise(widths)
    steps: list[nn.Module] = [nn.Linear(*first)]
    for a, b in rest:
        steps += [activation(), nn.Linear(a, b)]
    return nn.Sequential(*steps)
