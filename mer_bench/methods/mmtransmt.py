"""MMTrans-MT: transformer fusion with categorical and dimensional emotion as two tasks (Shen et al., ICACI 2021)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

from mer_bench.contracts import TwoStage
from mer_bench.nn.attention import CrossAttentionStack, TransformerStack, sinusoidal_positions
from mer_bench.nn.encoders import at_level
from mer_bench.nn.heads import MLPHeads, level_of
from mer_bench.nn.masking import zeroed
from mer_bench.nn.pooling import masked_mean
from mer_bench.types import Batch, Features, Level, Masked, Outputs, Tasks

Fusion = Literal["single", "cascade", "pooled"]


class MMTransMT(TwoStage):
    """Represent each modality, fuse with a transformer, answer all tasks from the fused vector.

    Source: doi 10.1109/ICACI52617.2021.9435906, of which only the abstract could be read. It states: three modules
    (modality representation, fusion, several outputs); words, audio and video; a simple fusion model based on the
    transformer; classes and dimensions of emotion trained jointly, on CMU-MOSEI and IEMOCAP. Everything else here is a
    reconstruction (ours). ``cascade`` follows a later paper of the laboratory (Zheng et al., IEEE TMM 2022: attention
    blocks in series). The weights of the tasks are no part of the network: see `model.task_weights` and
    `model.weighting`. It works with one task as well.

    Frame-level tasks: a frame's answer is read where the modalities of that frame are.

    Args:
        features: any number of modalities; their order is that of the cascade.
        tasks: any, of one level.
        fusion: single: one transformer over the frames of all modalities and a learned token that is read; frame-level
            tasks read the mean of a frame's tokens instead. cascade: the frames of the first modality look at their
            own sequence, the result at the second modality, and so on. pooled: a transformer over the learned token
            and one vector per modality.
        dim: width (ours).
        layers: transformer layers, or attention layers of each stage of the cascade (ours).
        heads: of attention (ours).
        hidden: width of the feed-forward networks; the cascade has none (ours).
        dropout: in the layers, on the tokens and in the heads (ours).
    """

    def __init__(
        self,
        features: Features,
        tasks: Tasks,
        *,
        fusion: Fusion = "single",
        dim: int = 128,
        layers: int = 4,
        heads: int = 4,
        hidden: int = 512,
        dropout: float = 0.1,
    ) -> None:
        super().__init__(features, tasks)
        self.level = level_of(tasks)
        self.project = nn.ModuleDict({m: nn.Linear(spec.dim, dim) for m, spec in features.items()})
        # a modality's code is the bias of its own projection

        def stack() -> TransformerStack:
            return TransformerStack(dim, layers, heads=heads, hidden=hidden, dropout=dropout)

        def stage() -> CrossAttentionStack:
            return CrossAttentionStack(dim, dim, layers=layers, heads=heads, dropout=dropout)

        fusions: dict[Fusion, Callable[[], nn.Module]] = {
            "single": lambda: _Single(self.level, dim, stack(), dropout),
            "cascade": lambda: _Cascade(self.level, {m: stage() for m in features}, dropout),
            "pooled": lambda: _Pooled(self.level, dim, stack(), dropout),
        }
        self.fusion = fusions[fusion]()
        self.heads = MLPHeads(dim, tasks, [dim], dropout=dropout)

    def encode(self, batch: Batch) -> dict[str, Masked]:
        """Projected frames by modality, (batch, time, dim) with mask (batch, time)."""
        frames = {
            m: Masked(project(zeroed(batch.inputs[m])), batch.inputs[m].mask) for m, project in self.project.items()
        }
        return {m: Masked(zeroed(x), x.mask) for m, x in frames.items()}

    def fuse(self, encoded: dict[str, Masked]) -> Outputs:
        """Logits by task; hidden: ``<m>``, ``encoded/<m>``, ``fused``."""
        hidden = {m: at_level(x, self.level).values for m, x in encoded.items()}
        hidden.update({f"encoded/{m}": x.values for m, x in encoded.items()})
        hidden["fused"] = self.fusion(encoded)
        return Outputs(self.heads(hidden["fused"]), hidden)


class _Single(nn.Module):
    """One transformer over a learned token and the frames of all modalities."""

    def __init__(self, level: Level, dim: int, stack: TransformerStack, dropout: float) -> None:
        super().__init__()
        self.token, self.stack, self.dropout = _learned(dim), stack, nn.Dropout(dropout)
        self.read = _READ[level]

    def forward(self, encoded: dict[str, Masked]) -> Tensor:
        """Encoded sequences to (batch, dim) or (batch, time, dim)."""
        masks = [x.mask for x in encoded.values()]
        placed = [x.values + sinusoidal_positions(x.values.shape[1], like=x.values) for x in encoded.values()]
        first = self.token.expand(len(masks[0]), 1, -1)
        seen = torch.cat([torch.ones_like(masks[0][:, :1]), *masks], dim=1)
        return self.read(self.stack(self.dropout(torch.cat([first, *placed], dim=1)), seen), masks)


class _Pooled(nn.Module):
    """One transformer over a learned token and one vector per modality."""

    def __init__(self, level: Level, dim: int, stack: TransformerStack, dropout: float) -> None:
        super().__init__()
        self.token, self.stack, self.dropout = _learned(dim), stack, nn.Dropout(dropout)
        self.level = level

    def forward(self, encoded: dict[str, Masked]) -> Tensor:
        """Encoded sequences to (batch, dim) or (batch, time, dim)."""
        vectors = [at_level(x, self.level) for x in encoded.values()]
        leading = vectors[0].mask.shape
        token = Masked(self.token.expand(*leading, -1), torch.ones_like(vectors[0].mask))
        values = torch.stack([x.values for x in (token, *vectors)], dim=-2)  # (..., modalities + 1, dim)
        mask = torch.stack([x.mask for x in (token, *vectors)], dim=-1)
        found = self.stack(self.dropout(values.flatten(0, -3)), mask.flatten(0, -2))
        return found[:, 0].unflatten(0, leading)


class _Cascade(nn.Module):
    """The frames of the first modality look at each modality in turn, the first time at themselves.

    Where the first modality is absent, one empty frame stands in for it.
    """

    def __init__(self, level: Level, stages: dict[str, nn.Module], dropout: float) -> None:
        super().__init__()
        self.level, self.stages, self.dropout = level, nn.ModuleDict(stages), nn.Dropout(dropout)

    def forward(self, encoded: dict[str, Masked]) -> Tensor:
        """Encoded sequences to (batch, dim) or (batch, time, dim)."""
        placed = {m: self._placed(x.values) for m, x in encoded.items()}
        rows, mask = next(iter(placed.values())), next(iter(encoded.values())).mask
        for m, stage in self.stages.items():
            rows = stage(rows, placed[m], encoded[m].mask)
        start = torch.arange(mask.shape[1], device=mask.device) == 0
        mask = torch.where(mask.any(1, keepdim=True), mask, start)
        return _ROWS[self.level](Masked(rows, mask))

    def _placed(self, frames: Tensor) -> Tensor:
        return self.dropout(frames + sinusoidal_positions(frames.shape[1], like=frames))


def _learned(dim: int) -> nn.Parameter:
    return nn.Parameter(0.02 * torch.randn(dim))  # the usual scale of a class token


def _first(tokens: Tensor, masks: list[Tensor]) -> Tensor:
    """The learned token: (batch, dim)."""
    return tokens[:, 0]


def _frames(tokens: Tensor, masks: list[Tensor]) -> Tensor:
    """Mean over the modalities that a frame has: (batch, time, dim)."""
    parts = tokens[:, 1:].split([x.shape[1] for x in masks], dim=1)
    return masked_mean(Masked(torch.stack(parts, dim=-2), torch.stack(masks, dim=-1)))


def _every_row(rows: Masked) -> Tensor:
    return rows.values


_READ: dict[Level, Callable[[Tensor, list[Tensor]], Tensor]] = {"item": _first, "frame": _frames}
_ROWS: dict[Level, Callable[[Masked], Tensor]] = {"item": masked_mean, "frame": _every_row}
