"""ICCL: interactive co-learning with a cross-modal transformer (Takashima et al., Interspeech 2022)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

from mer_bench.contracts import TwoStage
from mer_bench.nn.attention import TransformerStack
from mer_bench.nn.encoders import SequenceEncoder, at_level
from mer_bench.nn.heads import Heads, level_of
from mer_bench.nn.pooling import AttentionPool, masked_mean
from mer_bench.types import Batch, Features, Masked, Outputs, Tasks


class ICCL(TwoStage):
    """One transformer over the tokens of whatever modalities are present; trained on all of them and on each alone.

    Source: doi 10.21437/Interspeech.2022-11307, of which only the abstract could be read. It states: audio-visual
    recognition of several emotions at once; training on pairs only makes a model fail on one modality; one model, a
    cross-modal transformer, is to work with both or either; interactive co-learning lets it learn from both and from
    either. Everything else here is a reconstruction (ours): features, widths, depths, pooling, head, and what
    "interactive" means. The schedule over the subsets is no part of the network: see `JointSubsets`,
    `StochasticSubsets`, `AlternatingSubsets` and `MutualKL`. "Cross-modal transformer" is read as in the group's
    earlier work (Tanaka et al., arXiv:2107.01569): joint self-attention over the tokens of both.

    An absent modality has no tokens; it is not a row of zeros. The code of a modality is the bias of its own encoder.
    Frame-level tasks: pooling is over the modalities of each frame.

    Args:
        features: any number of modalities.
        tasks: any, of one level.
        fusion: who sees whom in the cross-modal layers. joint: every token all tokens. xattn: every token those of the
            other modalities, or those of its own where there is no other.
        head: one head shared by all inputs, or separate ones for all modalities and for each alone.
        dim: width of the tokens (ours).
        layers: transformer layers of each modality by itself (ours).
        fusion_layers: cross-modal layers (ours).
        heads: of attention and pooling (4 in the group's later code, github.com/ando-hub/MSA_Pretrain).
        dropout: in the layers (ours).
    """

    def __init__(
        self,
        features: Features,
        tasks: Tasks,
        *,
        fusion: Literal["joint", "xattn"] = "joint",
        head: Literal["shared", "separate"] = "shared",
        dim: int = 256,
        layers: int = 2,
        fusion_layers: int = 2,
        heads: int = 4,
        dropout: float = 0.1,
    ) -> None:
        super().__init__(features, tasks)
        self.level = level_of(tasks)
        self.encoders = nn.ModuleDict(
            {m: SequenceEncoder(spec, dim, layers=layers, heads=heads, dropout=dropout) for m, spec in features.items()}
        )
        self.seen = _SEEN[fusion]
        self.stack = TransformerStack(dim, fusion_layers, heads=heads, dropout=dropout)
        # a frame of a single modality is one token: there is nothing to weigh
        several = self.level == "item" or len(features) > 1
        self.pool = AttentionPool(dim, heads=heads) if several else masked_mean
        self.heads = Heads(dim, tasks)
        separate = {"shared": [], "separate": list(features)}[head] if len(features) > 1 else []
        self.alone = nn.ModuleDict({m: Heads(dim, tasks) for m in separate})

    def encode(self, batch: Batch) -> dict[str, Masked]:
        """Encoded sequence by modality, (batch, time, dim) with mask (batch, time)."""
        return {m: encoder(batch.inputs[m]) for m, encoder in self.encoders.items()}

    def fuse(self, encoded: dict[str, Masked]) -> Outputs:
        """Logits by task; hidden: ``<m>``, ``encoded/<m>``, ``fused``."""
        hidden = {m: at_level(x, self.level).values for m, x in encoded.items()}
        hidden.update({f"encoded/{m}": x.values for m, x in encoded.items()})
        masks = [x.mask for x in encoded.values()]
        tokens = self.stack(torch.cat([x.values for x in encoded.values()], dim=1), self.seen(masks))
        hidden["fused"] = self.pool(_READ[self.level](tokens, masks))
        return Outputs(self._answers(hidden["fused"], encoded), hidden)

    def _answers(self, fused: Tensor, encoded: dict[str, Masked]) -> dict[str, Tensor]:
        """Logits by task, of an item with a single modality by that modality's own head if it has one."""
        logits = self.heads(fused)
        present = {m: x.mask.any(1) for m, x in encoded.items()}
        number = torch.stack(list(present.values())).sum(0)
        for m, own in self.alone.items():
            only = (present[m] & (number == 1)).reshape(-1, *[1] * (fused.dim() - 1))
            logits = {task: torch.where(only, x, logits[task]) for task, x in own(fused).items()}
        return logits


def _everyone(masks: list[Tensor]) -> Tensor:
    """Every token sees all tokens: (batch, tokens)."""
    return torch.cat(masks, dim=1)


def _the_others(masks: list[Tensor]) -> Tensor:
    """Every token sees those of other modalities, its own modality's if there are none: (batch, tokens, tokens)."""
    rows = []
    for a, mask in enumerate(masks):
        others = torch.cat([x & (a != b) for b, x in enumerate(masks)], dim=1)
        own = torch.cat([x & (a == b) for b, x in enumerate(masks)], dim=1)
        sees = torch.where(others.any(1, keepdim=True), others, own)
        rows.append(sees.unsqueeze(1).expand(-1, mask.shape[1], -1))
    return torch.cat(rows, dim=1)


def _all_tokens(tokens: Tensor, masks: list[Tensor]) -> Masked:
    """What one item is pooled from: all its tokens."""
    return Masked(tokens, torch.cat(masks, dim=1))


def _by_frame(tokens: Tensor, masks: list[Tensor]) -> Masked:
    """What one frame is pooled from: its tokens, one per modality."""
    parts = tokens.split([x.shape[1] for x in masks], dim=1)
    return Masked(torch.stack(parts, dim=-2), torch.stack(masks, dim=-1))


_SEEN: dict[str, Callable[[list[Tensor]], Tensor]] = {"joint": _everyone, "xattn": _the_others}
_READ: dict[str, Callable[[Tensor, list[Tensor]], Masked]] = {"item": _all_tokens, "frame": _by_frame}
