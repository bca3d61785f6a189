"""AuxFormer: cross-modal transformers with auxiliary networks (Goncalves & Busso, ICASSP 2022)."""

from __future__ import annotations

from itertools import permutations

import torch
from torch import Tensor, nn

from mer_bench.contracts import FusionMethod
from mer_bench.nn.attention import sinusoidal_positions
from mer_bench.nn.heads import Heads, level_of
from mer_bench.nn.masking import zeroed
from mer_bench.nn.pooling import last_observed
from mer_bench.nn.scaled import StackedScaledLayer
from mer_bench.nn.stacks import StackedCrossLayer, StackedNorm, padded_stack
from mer_bench.types import Batch, Features, Masked, Outputs, Tasks


class AuxFormer(FusionMethod):
    """A main network fuses; beside it each modality answers alone, by an auxiliary network.

    Source: the authors' code, github.com/ilucasgoncalves/AuxFormer, net/avmodel_AF.py at 2f62fb3 and
    modules/transformer.py at 35a7434 (of the paper only the abstract was read): convolution of width 1 without bias to
    a common width; crossmodal transformers with positions, as in `MulT`; over what a modality saw a self-attention
    transformer whose layers are scaled (`StackedScaledLayer`); over the modality alone another one, plain, run three
    times for its auxiliary answer; neither has positions; the last step; residual networks of two layers (main) and
    three (auxiliary, the same for all modalities), each with a linear answer. The same share of the loss for each
    answer (`UnimodalAnswers`); predictions are the mean of all answers, at evaluation only. Training switches
    modalities off (`ModalityDropout`, in the YAML).

    Transformers of one shape are one stack (`nn.stacks`).

    Departures:
    - The last step is the last observed one; no mask hides the future (the code has one).
    - No dropout on the weights of attention (0.1 in self-attention in the code, beside that on its result); keys and
      values have no bias.
    - Every modality is projected, to the width of the later code (net/, 50); there audio is, and action units are taken
      as they are. The code of the paper (src/) projects video to the 130 features of audio.
    - More than two modalities (ours): what a modality saw is the mean over the others.
    - An absent modality sees nothing, is zero in the main network and has no part in the mean of the answers (ours).

    Args:
        features: two or more modalities.
        tasks: any, of one level.
        dim: common width.
        heads: of all attention; divides `dim`.
        layers: of each transformer.
        auxiliary_hidden: widths of the auxiliary network.
        dropout: in the layers.
        embed_dropout: on the input of every transformer.
        out_dropout: in the networks before the answers.
    """

    def __init__(
        self,
        features: Features,
        tasks: Tasks,
        *,
        dim: int = 50,
        heads: int = 10,
        layers: int = 5,
        auxiliary_hidden: tuple[int, int] = (512, 256),
        dropout: float = 0.1,
        embed_dropout: float = 0.25,
        out_dropout: float = 0.2,
    ) -> None:
        super().__init__(features, tasks)
        self.frames = level_of(tasks) == "frame"
        self.encoders = nn.ModuleDict({m: nn.Linear(spec.dim, dim, bias=False) for m, spec in features.items()})
        self.pairs = list(permutations(range(len(features)), 2))
        n, wide = len(features), len(features) * dim

        def transformer(k: int) -> nn.ModuleList:
            return nn.ModuleList(
                StackedCrossLayer(k, dim, heads, hidden=4 * dim, dropout=dropout) for _ in range(layers)
            )

        self.cross, self.norm_cross = transformer(len(self.pairs)), StackedNorm(len(self.pairs), dim)
        self.memory_main = nn.ModuleList(
            StackedScaledLayer(n, dim, heads, hidden=4 * dim, dropout=dropout) for _ in range(layers)
        )
        self.norm_main = StackedNorm(n, dim)
        self.memory, self.norm_memory = transformer(n), StackedNorm(n, dim)
        self.embed_dropout = nn.Dropout(embed_dropout)
        self.main = _residual(wide, wide, dropout=out_dropout)
        self.auxiliary = _residual(dim, *auxiliary_hidden, dropout=out_dropout)
        self.heads, self.auxiliary_heads = Heads(wide, tasks), Heads(dim, tasks)

    @classmethod
    def supports(cls, features: Features, tasks: Tasks) -> str | None:
        """None, or the reason why this method cannot be built for such input."""
        return None if len(features) > 1 else "looks from one modality at another, so it needs two or more"

    def forward(self, batch: Batch) -> Outputs:
        """Logits by task; hidden: ``<m>`` (its auxiliary network), ``fused``, ``logits/<m>/<task>``."""
        x = padded_stack(
            [Masked(encoder(zeroed(batch.inputs[m])), batch.inputs[m].mask) for m, encoder in self.encoders.items()]
        )
        seen, alone = self._remember_fused(self._look(x), x.mask), x.values
        for _ in range(3):
            alone = self._remember(alone, x.mask)
        joined = torch.cat(self._read(seen, x.mask).unbind(0), dim=-1)
        read = self._read(alone, x.mask)
        hidden = dict(zip(self.encoders, (read + self.auxiliary(read)).unbind(0), strict=True))
        answers = {m: self.auxiliary_heads(h) for m, h in hidden.items()}
        hidden |= {f"logits/{m}/{task}": y for m in self.encoders for task, y in answers[m].items()}
        hidden["fused"] = joined + self.main(joined)
        logits = self.heads(hidden["fused"])
        if not self.training:
            there = (x.mask if self.frames else x.mask.any(-1)).unsqueeze(-1)  # (modalities, batch[, time], 1)
            alone_by_task = {t: torch.stack([answers[m][t] for m in self.encoders]) for t in logits}
            logits = {t: (y + (alone_by_task[t] * there).sum(0)) / (1 + there.sum(0)) for t, y in logits.items()}
        return Outputs(logits, hidden)

    def _look(self, x: Masked) -> Tensor:
        """What each modality saw in the others: (modalities, batch, time, dim)."""
        placed = x.values * x.values.shape[-1] ** 0.5 + sinusoidal_positions(x.values.shape[-2], like=x.values)
        query, source = (self.embed_dropout(torch.stack([placed[p[k]] for p in self.pairs])) for k in (0, 1))
        source_mask = torch.stack([x.mask[b] for _, b in self.pairs])
        for layer in self.cross:
            query = layer(query, source, source_mask)
        return self.norm_cross(query).unflatten(0, (len(self.encoders), -1)).mean(1)  # pairs: sorted by who looks

    def _remember_fused(self, x: Tensor, mask: Tensor) -> Tensor:
        """The scaled transformer over what each modality saw, (modalities, batch, time, dim) to the same shape."""
        x = self.embed_dropout(x * x.shape[-1] ** 0.5)
        for layer in self.memory_main:
            x = layer(x, mask)
        return self.norm_main(x)

    def _remember(self, x: Tensor, mask: Tensor) -> Tensor:
        """The transformer of each modality alone, (modalities, batch, time, dim) to the same shape."""
        x = self.embed_dropout(x * x.shape[-1] ** 0.5)
        for layer in self.memory:
            x = layer(x, x, mask)
        return self.norm_memory(x)

    def _read(self, x: Tensor, mask: Tensor) -> Tensor:
        """The last observed step, or every step for frame-level tasks; zero where there is none."""
        return zeroed(Masked(x, mask)) if self.frames else last_observed(Masked(x, mask))


def _residual(dim: int, *hidden: int, dropout: float) -> nn.Sequential:
    """Layers from `dim` over the hidden widths back to `dim`, with ReLU and dropout between them."""
    steps: list[nn.Module] = []
    for a, b in zip((dim, *hidden), hidden, strict=False):
        steps += [nn.Linear(a, b), nn.ReLU(), nn.Dropout(dropout)]
    return nn.Sequential(*steps, nn.Linear(hidden[-1], dim))
