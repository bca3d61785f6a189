"""TMC: trusted multi-view classification (Han et al., ICLR 2021, arXiv:2102.02051)."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mer_bench.contracts import FusionMethod
from mer_bench.nn.encoders import ModalityEncoder
from mer_bench.nn.heads import MLP, level_of
from mer_bench.nn.masking import at_least_single, zeroed
from mer_bench.types import Batch, Features, Kind, Masked, Outputs, Tasks


class TMC(FusionMethod):
    """Each modality gives evidence for each class; Dempster's rule joins the opinions, the unsure count for less.

    Sources: the paper and the authors' code, github.com/hanmenghan/TMC. Evidence e ≥ 0 over K classes, by a softplus,
    is an opinion with belief e_k / S and uncertainty K / S, where S = K + Σ e. Dempster's rule for two of them, written
    in evidence, is e_k = e_k¹ + e_k² + e_k¹ e_k² / K. So 1 + e_k / K is the product over the modalities, in any order,
    and a modality that is absent, which knows nothing (e = 0), changes nothing.

    The logits are log(1 + e): their softmax is the mean of the Dirichlet distribution with α = e + 1, by which TMC
    predicts. What TMC minimises is `Evidential`, on the evidence, with `AuxiliaryOnly` in place of the cross-entropy of
    the logits, which is the logarithm of that mean in place of the mean of the logarithm.

    Departures:
    - Each view has the encoder and hidden layer of `Late` before the one linear layer of the code (ours).
    - Several labels (ours): each is a choice of two, and its logit log(1 + e_yes) - log(1 + e_no).
    - Frame-level tasks: opinions of the same frame are joined (ours).

    Args:
        features: any number of modalities.
        tasks: classes or several labels, of one level.
        dim: width of encoders and hidden layers (ours).
        layers: transformer layers of each encoder, before the average (ours).
        dropout: in encoders and hidden layers (ours).
    """

    def __init__(
        self, features: Features, tasks: Tasks, *, dim: int = 128, layers: int = 0, dropout: float = 0.3
    ) -> None:
        super().__init__(features, tasks)
        level = level_of(tasks)
        self.encoders = nn.ModuleDict(
            {m: ModalityEncoder(spec, dim, level=level, layers=layers, dropout=dropout) for m, spec in features.items()}
        )
        self.mixes = nn.ModuleDict({m: MLP(dim, dim, dropout=dropout) for m in features})
        self.kinds = {name: _KINDS[spec.kind] for name, spec in tasks.items()}
        self.classes = {name: kind.classes(tasks[name].size) for name, kind in self.kinds.items()}
        widths = {name: kind.width * tasks[name].size for name, kind in self.kinds.items()}
        self.evidence = nn.ModuleDict(
            {f"{m}/{name}": nn.Linear(dim, width) for m in features for name, width in widths.items()}
        )

    @classmethod
    def supports(cls, features: Features, tasks: Tasks) -> str | None:
        """None, or the reason why this method cannot be built for such input."""
        values = [name for name, spec in tasks.items() if spec.kind not in _KINDS]
        return f"holds evidence for classes, and {values[0]} is a regression" if values else None

    def forward(self, batch: Batch) -> Outputs:
        """Logits by task; hidden: ``<m>``, ``evidence/<m>/<task>``, ``evidence/<task>``."""
        found: dict[str, Masked] = {}
        for m, encoder in self.encoders.items():
            x = encoder(batch.inputs[m])
            found[m] = Masked(self.mixes[m](x.values), x.mask)
        hidden = {m: x.values for m, x in found.items()}
        logits: dict[str, Tensor] = {}
        for task, kind in self.kinds.items():
            surplus = []
            for m, x in found.items():
                evidence = F.softplus(at_least_single(self.evidence[f"{m}/{task}"](x.values)))
                hidden[f"evidence/{m}/{task}"] = own = zeroed(Masked(evidence, x.mask))
                surplus.append((own / self.classes[task]).log1p())
            joined = self.classes[task] * torch.stack(surplus).sum(0).expm1()
            hidden[f"evidence/{task}"] = joined
            logits[task] = kind.logits(joined)
        return Outputs(logits, hidden)


class _Kind(NamedTuple):
    """How a kind of task is a choice between classes.

    Attributes:
        width: evidence for each class or label.
        classes: between how many there is a choice, of a task of that size.
        logits: from evidence.
    """

    width: int
    classes: Callable[[int], int]
    logits: Callable[[Tensor], Tensor]


def _odds(evidence: Tensor) -> Tensor:
    """Evidence (..., 2 size), against each label and then for it, to (..., size)."""
    no, yes = evidence.log1p().chunk(2, dim=-1)
    return yes - no


_KINDS: dict[Kind, _Kind] = {
    "multiclass": _Kind(1, lambda size: size, torch.log1p),
    "multilabel": _Kind(2, lambda size: 2, _odds),
}
