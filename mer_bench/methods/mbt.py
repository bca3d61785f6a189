"""MBT: multimodal bottleneck transformer (Nagrani et al., NeurIPS 2021, arXiv:2107.00135), on features from a file."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mer_bench.contracts import FusionMethod
from mer_bench.errors import UserError
from mer_bench.nn.attention import sinusoidal_positions
from mer_bench.nn.heads import Heads, level_of
from mer_bench.nn.masking import zeroed
from mer_bench.nn.pooling import masked_mean
from mer_bench.nn.stacks import StackedCrossLayer, padded_stack
from mer_bench.types import Batch, Features, Masked, Outputs, Tasks


class MBT(FusionMethod):
    """A transformer per modality; in the upper layers they exchange what fits into a few tokens.

    Source: the authors' code, github.com/google-research/scenic, projects/mbt/model.py at 03c3032 (the paper was not
    read): pre-LN layers with GELU and weights of their own for each modality; from the fusion layer on, each modality
    attends to its own tokens and the bottleneck, whose copies are then averaged over the modalities; a class token per
    modality, one normalisation and one linear answer for all. Training is on the mean of the losses of the modalities'
    answers (`UnimodalAnswers`, with `AuxiliaryOnly` in place of a loss of the fused answer), prediction by the mean of
    the answers. Four bottleneck tokens and the one that the code adds where it has class tokens, drawn with deviation
    0.02; class tokens start at zero.

    All modalities have layers of one shape, so each layer is one stack (`nn.stacks`).

    Departures (feature-level form):
    - Projected features stand in place of patches of spectrogram and image, sinusoidal positions in place of learned
      ones, and nothing is pre-trained; four layers of width 128, half of them fused, in place of twelve of width 768
      with a third fused, from the ninth on (ours). With one fused layer nobody reads what another modality wrote, so
      two are the least. Six layers with two fused keep the third, but cost half as much again, and 32 wide, without
      pre-training, they stayed at chance on the synthetic `synergy` for two of three seeds and rates in eight epochs;
      four layers learned it each time.
    - The config for AudioSet asks for the mean of all tokens in place of class tokens, a path on which the published
      code leaves the bottleneck without a width.
    - The mean of the answers is taken before the answer, which being linear does not change it.
    - The answer's weights start as torch starts them (at zero in the code).
    - Dropout in place of stochastic depth, mixup and label smoothing (ours); keys and values have no bias.
    - More than two modalities, or one, are ours; so are frame-level tasks, which read each frame's own token and have
      no class token, and keep the five tokens of the bottleneck.
    - An absent modality neither feeds the bottleneck nor answers, and its answer is not trained (ours).

    Args:
        features: any number of modalities.
        tasks: any, of one level.
        dim: width of the tokens (ours).
        layers: of each transformer (ours).
        fusion_layer: layers before the bottleneck is seen; below `layers` (8 of 12 in the code).
        bottlenecks: tokens of the bottleneck (4 in the config of the code, 5 in effect with class tokens).
        heads: of attention; divides `dim` (ours).
        dropout: in the layers (ours).

    Raises:
        UserError: no layer is left for fusion, or no bottleneck.
    """

    def __init__(
        self,
        features: Features,
        tasks: Tasks,
        *,
        dim: int = 128,
        layers: int = 4,
        fusion_layer: int = 2,
        bottlenecks: int = 5,
        heads: int = 4,
        dropout: float = 0.1,
    ) -> None:
        super().__init__(features, tasks)
        if not 0 <= fusion_layer < layers or bottlenecks < 1:
            raise UserError(
                f"model.method: got {layers} layers, fusion_layer {fusion_layer}, {bottlenecks} bottlenecks; expected "
                "0 <= fusion_layer < layers and at least one bottleneck"
            )
        n = len(features)
        self.encoders = nn.ModuleDict({m: nn.Linear(spec.dim, dim) for m, spec in features.items()})
        self.classes = nn.Parameter(torch.zeros(n, 1, 1, dim)) if level_of(tasks) == "item" else None
        self.bottleneck = nn.Parameter(0.02 * torch.randn(bottlenecks, dim))
        self.layers = nn.ModuleList(
            StackedCrossLayer(n, dim, heads, hidden=4 * dim, dropout=dropout, activation=nn.GELU) for _ in range(layers)
        )
        self.fusion_layer = fusion_layer
        self.norm = nn.LayerNorm(dim)
        self.heads = Heads(dim, tasks)

    def forward(self, batch: Batch) -> Outputs:
        """Logits by task; hidden: ``<m>`` (what it says in the end), ``logits/<m>/<task>``, ``fused`` (mean of <m>)."""
        x = self._tokens(batch)
        present = x.mask.any(-1)
        values = x.values
        for layer in self.layers[: self.fusion_layer]:
            values = layer(values, values, x.mask)
        values = self._exchange(values, x.mask, present)
        read = Masked(values, x.mask) if self.classes is None else Masked(values[:, :, 0], present)
        read = Masked(zeroed(Masked(self.norm(read.values), read.mask)), read.mask)
        hidden = self._by_modality(read.values, batch)
        for task, answers in self.heads(read.values).items():
            hidden |= {f"logits/{m}/{task}": y for m, y in self._by_modality(answers, batch).items()}
        hidden["fused"] = masked_mean(Masked(read.values.movedim(0, -2), read.mask.movedim(0, -1)))
        return Outputs(self.heads(hidden["fused"]), hidden)

    def _by_modality(self, x: Tensor, batch: Batch) -> dict[str, Tensor]:
        """(modalities, batch[, time], dim) by name, without the frames that padded the shorter ones."""
        return {
            m: said[:, : batch.inputs[m].mask.shape[1]] if self.classes is None else said
            for m, said in zip(self.encoders, x.unbind(0), strict=True)
        }

    def _tokens(self, batch: Batch) -> Masked:
        """All modalities padded to one length, (modalities, batch, time, dim), the class token first."""
        x = padded_stack(
            [Masked(project(zeroed(batch.inputs[m])), batch.inputs[m].mask) for m, project in self.encoders.items()]
        )
        values, mask = x.values + sinusoidal_positions(x.values.shape[-2], like=x.values), x.mask
        if self.classes is None:
            return Masked(values, mask)
        first = self.classes.expand(-1, values.shape[1], -1, -1).to(values.dtype)
        return Masked(torch.cat((first, values), dim=2), torch.cat((mask.any(-1, keepdim=True), mask), dim=2))

    def _exchange(self, values: Tensor, mask: Tensor, present: Tensor) -> Tensor:
        """The layers of fusion: tokens (modalities, batch, time, dim) beside the bottleneck."""
        n, size, time, _ = values.shape
        shared = self.bottleneck.expand(n, size, -1, -1).to(values.dtype)
        wide = torch.cat((mask, torch.ones_like(mask[..., :1]).expand(-1, -1, shared.shape[2])), dim=-1)
        for layer in self.layers[self.fusion_layer :]:
            joined = torch.cat((values, shared), dim=2)
            joined = layer(joined, joined, wide)
            values, copies = joined[:, :, :time], joined[:, :, time:]  # copies: (modalities, batch, bottlenecks, dim)
            by_token = Masked(copies.permute(1, 2, 0, 3), present.T.unsqueeze(1).expand(-1, copies.shape[2], -1))
            shared = masked_mean(by_token).expand(n, -1, -1, -1)
        return values
