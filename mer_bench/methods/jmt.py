"""JMT: joint multimodal transformer (Waligora et al., CVPR workshop ABAW 2024, arXiv:2403.10488)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain, permutations
from typing import Literal

import torch
from torch import Tensor, nn

from mer_bench.contracts import FusionMethod
from mer_bench.nn.attention import MultiHeadAttention, PostNormLayer
from mer_bench.nn.cross import CrossAttention, KeyBasedAttention
from mer_bench.nn.heads import MLPHeads, level_of
from mer_bench.nn.masking import zeroed
from mer_bench.nn.pooling import last_observed, masked_mean
from mer_bench.nn.streams import Pool, Streams
from mer_bench.types import Batch, Features, Masked, Outputs, Tasks

Readout = Literal["self_attn_last", "self_attn_mean", "concat_encoder", "fc"]
Attention = Literal["standard", "key_based"]
#: the stream made of all modalities; no modality has this name
JOINT = "+"


class JMT(FusionMethod):
    """Streams of each modality and a joint one; every stream looks at every other; the views are combined.

    Sources: the paper and the authors' code (github.com/PoloWlg/Joint-Multimodal-Transformer-6th-ABAW for Aff-Wild2,
    PoloWlg/Transformer_fusion_biovid). From there: tokens scaled to length 1; the joint stream one linear layer on
    their concatenation; one post-norm layer per stream, 1 head, width and feed-forward width 512, ReLU, no dropout, no
    positions; six cross-attentions without residual, norm or feed-forward network, by three modules, one per querying
    stream; the read-outs; MLP heads with ReLU, one for each dimension of a regression.

    Departures:
    - Self-attention runs along time. In the BioVid code and in the Aff-Wild2 baseline it runs across the batch.
    - Masks (ours; the code has none). A view whose querying stream is absent is not read; `self_attn_last` takes the
      last one that is there, so the paper's sixth (second modality looking at the joint stream) where both are.
    - A linear layer where features are not as wide as the streams, and tokens scaled after it (the one file of the code
      that has such a layer scales first); keys and values without bias (both ours).
    - Item-level tasks (ours): modalities of unlike lengths are averaged over `tokens` equal stretches of time. For 20
      frames and 4 tokens that is the BioVid code, which likewise repeats what has one vector per item.
    - Where only the last step is read, only that step looks at the others: less work, the same answer.
    - More than two modalities (ours, an extension): one joint stream, all ordered pairs.
    - ``attention="key_based"`` follows the equation as printed; the code has ordinary attention.

    Args:
        features: two or more modalities; the order decides which view is last.
        tasks: any, of one level.
        dim: width of the streams.
        heads: of all attention.
        hidden: width of the feed-forward networks.
        attention: standard (the code), or key_based: rows follow the stream that is looked at.
        readout: how the views of a step are combined. self_attn_last (paper, Aff-Wild2 code): a transformer layer and
            a self-attention over them, the last one kept; self_attn_mean (ours): their mean; concat_encoder (BioVid
            code): concatenated, a transformer layer along time; fc (Aff-Wild2 code): concatenated, a linear layer.
        fc_dim: width after the linear layer of `fc`.
        tokens: item-level tasks: length of the streams; 16 in the Aff-Wild2 code, 4 for BioVid.
        every: frame-level tasks: frames between tokens; 32 in the Aff-Wild2 code, where features are of clips.
        pool: item-level tasks: the last step (the code) or the mean.
        normalise: scale tokens to length 1; not in the BioVid code.
        head_hidden: hidden widths of the heads; 1024, 512, 256, 64 in the BioVid code.
        head_dropout: in the heads.
    """

    def __init__(
        self,
        features: Features,
        tasks: Tasks,
        *,
        dim: int = 512,
        heads: int = 1,
        hidden: int = 512,
        attention: Attention = "standard",
        readout: Readout = "self_attn_last",
        fc_dim: int = 1024,
        tokens: int = 16,
        every: int = 1,
        pool: Pool = "last",
        normalise: bool = True,
        head_hidden: Sequence[int] = (128,),
        head_dropout: float = 0.0,
    ) -> None:
        super().__init__(features, tasks)
        self.streams = Streams(
            features, dim, level=level_of(tasks), tokens=tokens, every=every, pool=pool, normalise=normalise
        )
        self.joint = nn.Linear(dim * len(features), dim)
        names = [*features, JOINT]
        self.encoders = nn.ModuleDict({s: PostNormLayer(dim, heads, hidden=hidden) for s in names})
        self.attentions = nn.ModuleDict({s: _ATTENTIONS[attention](dim, heads) for s in names})
        with_joint = chain.from_iterable(((JOINT, m), (m, JOINT)) for m in features)
        self.pairs = [*permutations(features, 2), *with_joint]
        width = dim * len(self.pairs)
        readouts: dict[Readout, Callable[[], _OverViews | _SideBySide]] = {
            "self_attn_last": lambda: _OverViews(dim, heads, hidden, last_observed),
            "self_attn_mean": lambda: _OverViews(dim, heads, hidden, masked_mean),
            "concat_encoder": lambda: _SideBySide(PostNormLayer(width, heads, hidden=hidden), width),
            "fc": lambda: _SideBySide(_StepByStep(width, fc_dim), fc_dim),
        }
        self.readout = readouts[readout]()
        # only the last step is read, and nothing after the encoders mixes steps: no other step need ask
        alone = attention == "standard" and readout != "concat_encoder"
        self.asks_once = level_of(tasks) == "item" and pool == "last" and alone
        self.heads = MLPHeads(
            self.readout.width, tasks, head_hidden, activation=nn.ReLU, dropout=head_dropout, per_dimension=True
        )

    @classmethod
    def supports(cls, features: Features, tasks: Tasks) -> str | None:
        """None, or the reason why this method cannot be built for such input."""
        return None if len(features) > 1 else "fuses pairs of modalities, so it needs two or more; use unimodal for one"

    def forward(self, batch: Batch) -> Outputs:
        """Logits by task; hidden: ``<m>`` (encoded, read like the answer), ``fused``."""
        streams = self.streams(batch.inputs)
        some = torch.stack([x.mask for x in streams.values()]).any(0)
        joint = self.joint(torch.cat([x.values for x in streams.values()], dim=-1))
        streams[JOINT] = Masked(zeroed(Masked(joint, some)), some)
        encoded = {s: self._encode(s, x) for s, x in streams.items()}
        asking = _at_last(encoded, some) if self.asks_once else encoded
        views = [self.attentions[a](asking[a], encoded[b]) for a, b in self.pairs]
        stacked = Masked(torch.stack([x.values for x in views], -2), torch.stack([x.mask for x in views], -1))
        fused = Masked(self.readout(stacked), stacked.mask.any(-1))
        hidden = {m: self.streams.answer(encoded[m], batch.inputs) for m in self.features}
        hidden["fused"] = self.streams.answer(fused, batch.inputs)
        return Outputs(self.heads(hidden["fused"]), hidden)

    def _encode(self, name: str, x: Masked) -> Masked:
        return Masked(zeroed(Masked(self.encoders[name](x.values, x.mask), x.mask)), x.mask)


def _at_last(streams: dict[str, Masked], some: Tensor) -> dict[str, Masked]:
    """Of each item the step that is its last one in `some`, (batch, time), as sequences of one step."""
    last = torch.where(some, torch.arange(some.shape[1], device=some.device), 0).amax(1, keepdim=True)  # (batch, 1)
    chosen = last.unsqueeze(-1)
    return {s: Masked(x.values.take_along_dim(chosen, 1), x.mask.gather(1, last)) for s, x in streams.items()}


class _OverViews(nn.Module):
    """A transformer layer and a self-attention over the views of one step, of which `pick` makes one."""

    def __init__(self, dim: int, heads: int, hidden: int, pick: Callable[[Masked], Tensor]) -> None:
        super().__init__()
        self.layer, self.attention = PostNormLayer(dim, heads, hidden=hidden), MultiHeadAttention(dim, heads)
        self.pick, self.width = pick, dim

    def forward(self, views: Masked) -> Tensor:
        """Values (batch, time, pairs, dim) to (batch, time, dim)."""
        x, mask = views.values.flatten(0, 1), views.mask.flatten(0, 1)
        x = zeroed(Masked(self.layer(x, mask), mask))
        return self.pick(Masked(self.attention(x, x, mask), mask)).unflatten(0, views.mask.shape[:2])


class _SideBySide(nn.Module):
    """The views of each step concatenated, then a layer that sees the steps and which of them are observed."""

    def __init__(self, layer: nn.Module, width: int) -> None:
        super().__init__()
        self.layer, self.width = layer, width

    def forward(self, views: Masked) -> Tensor:
        """Values (batch, time, pairs, dim) to (batch, time, width)."""
        return self.layer(views.values.flatten(-2), views.mask.any(-1))


class _StepByStep(nn.Module):
    """One linear layer on every step by itself."""

    def __init__(self, in_dim: int, dim: int) -> None:
        super().__init__()
        self.linear = nn.Linear(in_dim, dim)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        return self.linear(x)


_ATTENTIONS: dict[Attention, type[nn.Module]] = {"standard": CrossAttention, "key_based": KeyBasedAttention}
