"""MEM: do these two modalities show the same emotion? The second auxiliary task of Foal-Net."""

from __future__ import annotations

import math
from itertools import chain

import torch
from torch import Tensor

from mer_bench.contracts import AuxLoss, FusionMethod, TwoStage
from mer_bench.errors import UserError
from mer_bench.losses.labels import label_task
from mer_bench.losses.pairs import Pair, cosine, have_both, hidden, pairs_between, present, whole_items
from mer_bench.nn.masking import at_least_single, masked_softmax
from mer_bench.types import Batch, Features, Masked, Outputs, Tasks


class LabelMatching(AuxLoss):
    """Cross-modal label matching with hard negatives (Li et al., Interspeech 2024; authors' code, commit 781849f).

    For each ordered pair of modalities (a, b) and each item i, the item's own pair (a_i, b_i) is a positive and one
    pair (a_i, b_n) a negative, n drawn among the items with another label with probability softmax(z_a[i]·z_b[n] / T),
    no gradient. Both go through the fusion to the matching head of that branch; the loss is their cross-entropy,
    averaged over 2B pairs, then over ordered pairs. B counts the items that have both modalities and a label.

    Departures: an anchor that finds no other label in the batch is left out with its positive (the authors' draw then
    returns a false negative). Positives come from the pass that also classifies; the authors fuse them a second time
    with other dropout. T keeps its initial value; the authors share the one that AVEL learns, which hardly moves.
    Several labels per item (ours): negatives share no label with the anchor. Regression (ours): their targets lie more
    than `apart` from the anchor's. Frame level (ours): partners are exchanged as whole windows, labelled with the mean
    or commonest class of their frames; projections and log probabilities are averaged over a's frames.

    Args:
        weight: factor applied by the module; 0.1 in the authors' code.
        between: pairs of modalities, each used in both directions; all that are offered by default.
        temperature: T, ln(1 / 0.07) = 2.659 in the authors' code; 0.07 makes negatives hard.
        apart: for a regression, in standard deviations of the training part (ours).
    """

    def __init__(
        self,
        weight: float = 0.1,
        *,
        between: list[Pair] | None = None,
        temperature: float = math.log(1 / 0.07),
        apart: float = 1.0,
    ) -> None:
        super().__init__(weight)
        self.between, self.temperature, self.apart = between, temperature, apart
        self.ordered: list[Pair] = []

    def bind(self, features: Features, tasks: Tasks) -> None:
        """Resolve `between` and the task whose labels count; one random number per item and ordered pair."""
        pairs = pairs_between(self.between, features, loss="LabelMatching")
        self.ordered = list(chain.from_iterable(((a, b), (b, a)) for a, b in pairs))
        self.task, self.relate = label_task(tasks, loss="LabelMatching", apart=self.apart)
        self.n_draws = len(self.ordered)

    def forward(self, outputs: Outputs, batch: Batch, method: FusionMethod) -> Tensor:
        """The loss of one batch; fuses once more per ordered pair."""
        if not isinstance(method, TwoStage):
            raise UserError(
                f"LabelMatching: {type(method).__name__} does not encode and fuse in two stages, so partners cannot be "
                f"exchanged. Choose a method whose card lists match/<a>/<b>, or remove this loss from model.auxiliary"
            )
        encoded = {
            m: Masked(hidden(outputs, f"encoded/{m}", loss="LabelMatching"), x.mask) for m, x in batch.inputs.items()
        }
        losses = [
            self._one(a, b, uniform, encoded, outputs, batch, method)
            for (a, b), uniform in zip(self.ordered, batch.draws.unbind(1), strict=True)
        ]
        return torch.stack(losses).mean()

    def _one(
        self,
        a: str,
        b: str,
        uniform: Tensor,
        encoded: dict[str, Masked],
        outputs: Outputs,
        batch: Batch,
        method: TwoStage,
    ) -> Tensor:
        z_a, z_b = (_aligned(m, outputs, batch) for m in (a, b))
        relation = self.relate(batch.targets[self.task])
        valid = have_both(batch, a, b) & relation.known
        chances = negative_chances(cosine(z_a, z_b) / self.temperature, relation.other, valid)
        partner, found = draw(chances, uniform)
        exchanged = encoded | {b: Masked(encoded[b].values[partner], encoded[b].mask[partner])}
        name = f"match/{a}/{b}"
        own = _log_p(hidden(outputs, name, loss="LabelMatching"), a, batch)[:, 1]
        other = _log_p(method.fuse(exchanged).hidden[name], a, batch)[:, 0]
        return -torch.where(found, own + other, 0.0).sum() / (2 * found.sum().clamp(min=1))


def _aligned(modality: str, outputs: Outputs, batch: Batch) -> Tensor:
    """The projection of each item, without gradient."""
    x = hidden(outputs, f"aligned/{modality}", loss="LabelMatching").detach()
    return whole_items(x, present(batch, modality, x))


def _log_p(logits: Tensor, modality: str, batch: Batch) -> Tensor:
    """Logits (batch, 2) or (batch, time, 2) of the branch of a modality to log probabilities (batch, 2)."""
    return whole_items(at_least_single(logits).log_softmax(-1), present(batch, modality, logits))


def negative_chances(scores: Tensor, other: Tensor, valid: Tensor) -> Tensor:
    """How likely each item is drawn as the negative of each anchor: softmax of the scores over other labels.

    Args:
        scores: (batch, batch), anchors by candidates.
        other: (batch, batch) True where the labels differ.
        valid: (batch,) True for items that take part.

    Returns:
        (batch, batch); rows sum to one, or to zero where nothing may be drawn.
    """
    return masked_softmax(scores, other & valid & valid.unsqueeze(1))


def draw(chances: Tensor, uniform: Tensor) -> tuple[Tensor, Tensor]:
    """One column per row by inversion of the cumulative distribution.

    Args:
        chances: (rows, columns), not negative.
        uniform: (rows,) in [0, 1).

    Returns:
        Index (rows,), and (rows,) True where it has a positive chance; elsewhere the index means nothing.
    """
    cumulative = chances.cumsum(-1)
    reached = (cumulative > uniform.unsqueeze(-1) * cumulative[:, -1:]) & (chances > 0)
    index = reached.int().argmax(-1)  # the first one reached
    return index, reached.any(-1)
