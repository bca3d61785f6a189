"""What modalities share and what is each one's own: the losses of MISA, and classification of the modality.

Rows are items, or the frames of frame-level tasks; only those count in which the modality was observed.
"""

from __future__ import annotations

from itertools import chain, combinations

import torch
from torch import Tensor

from mer_bench.contracts import AuxLoss, FusionMethod
from mer_bench.losses.pairs import Pair, hidden, pairs_between, present
from mer_bench.nn.masking import at_least_single
from mer_bench.types import Batch, Features, Outputs, Tasks


class CMD(AuxLoss):
    """Central moment discrepancy between the shared parts of two modalities (Zellinger et al., ICLR 2017).

    As MISA uses it (Hazarika et al., ACM MM 2020, arXiv:2005.03545), for values in an interval of length 1::

        L = |E a - E b| + Σ_{k=2..moments} |E (a - E a)^k - E (b - E b)^k|

    E is the mean over rows, powers are taken feature by feature, |·| is the Euclidean length. Mean over pairs, as in
    MISA. Each modality's moments are over the rows that have it, paired or not (ours); a pair of which one side has
    none counts as zero. The method keeps its shared parts in the interval (MISA: a sigmoid); nothing here does.

    Args:
        weight: factor applied by the module; 1.0 in MISA.
        between: pairs of modalities; all that are offered by default.
        moments: how many; 5 in both papers.
        read: which hidden tensors, ``<m>`` standing for the modality.
    """

    def __init__(
        self, weight: float = 1.0, *, between: list[Pair] | None = None, moments: int = 5, read: str = "shared/<m>"
    ) -> None:
        super().__init__(weight)
        self.between, self.moments, self.read = between, moments, read

    def bind(self, features: Features, tasks: Tasks) -> None:
        """Resolve `between`."""
        self.pairs = pairs_between(self.between, features, loss="CMD")

    def forward(self, outputs: Outputs, batch: Batch, method: FusionMethod) -> Tensor:
        """The loss of one batch."""
        losses = []
        for a, b in self.pairs:
            (x, here), (y, there) = (rows(self.read, m, outputs, batch, loss="CMD") for m in (a, b))
            value = torch.stack(
                [_length(p - q) for p, q in zip(self._moments(x, here), self._moments(y, there), strict=True)]
            )
            losses.append(torch.where(here.any() & there.any(), value.sum(), 0.0))
        return torch.stack(losses).mean()

    def _moments(self, x: Tensor, mask: Tensor) -> list[Tensor]:
        mean = _mean(x, mask)
        return [mean, *(_mean((x - mean) ** k, mask) for k in range(2, self.moments + 1))]


class Orthogonality(AuxLoss):
    """Shared and private parts, and private parts of different modalities, are to have nothing in common (MISA).

    Hazarika et al., ACM MM 2020, arXiv:2005.03545. With H the rows of a part, minus their mean over the batch, each
    divided by its length (a constant for the gradient, as in the authors' code)::

        L = Σ_m D(shared/m, private/m) + Σ_{a < b} D(private/a, private/b),    D(H, G) = mean of the squares of HᵀG

    The paper writes the squared Frobenius norm of HᵀG; the mean over its dim² entries is the authors' code, and their
    weight goes with it. Rows that lack one of the two parts' modalities do not count.

    Args:
        weight: factor applied by the module; 0.3 in MISA.
    """

    def __init__(self, weight: float = 0.3) -> None:
        super().__init__(weight)

    def bind(self, features: Features, tasks: Tasks) -> None:
        """List the pairs of parts."""
        own = ((f"shared/{m}", m, f"private/{m}", m) for m in features)
        apart = ((f"private/{a}", a, f"private/{b}", b) for a, b in combinations(features, 2))
        self.parts = list(chain(own, apart))

    def forward(self, outputs: Outputs, batch: Batch, method: FusionMethod) -> Tensor:
        """The loss of one batch."""
        losses = []
        for first, a, second, b in self.parts:
            (x, here), (y, there) = (
                rows(k, m, outputs, batch, loss="Orthogonality") for k, m in ((first, a), (second, b))
            )
            both = here & there
            with torch.autocast(x.device.type, enabled=False):
                losses.append((_directions(x, both).T @ _directions(y, both)).square().mean())
        return torch.stack(losses).sum()


class Reconstruction(AuxLoss):
    """Each modality is to be found again in its parts: mean squared error of ``decoded/<m>`` against ``input/<m>``.

    Mean over features, then over rows that have the modality, then over modalities, as in MISA (Hazarika et al., ACM MM
    2020, arXiv:2005.03545). The gradient reaches the target too, as there; a method that wants none detaches it.

    Args:
        weight: factor applied by the module; 1.0 in MISA.
    """

    def __init__(self, weight: float = 1.0) -> None:
        super().__init__(weight)

    def bind(self, features: Features, tasks: Tasks) -> None:
        """Remember the modalities."""
        self.modalities = list(features)

    def forward(self, outputs: Outputs, batch: Batch, method: FusionMethod) -> Tensor:
        """The loss of one batch."""
        losses = []
        for m in self.modalities:
            x, mask = rows("decoded/<m>", m, outputs, batch, loss="Reconstruction")
            truth, _ = rows("input/<m>", m, outputs, batch, loss="Reconstruction")
            losses.append(_mean((x - truth).square().mean(-1), mask))
        return torch.stack(losses).mean()


class ModalityIdentity(AuxLoss):
    """The private part is to tell which modality it comes from: cross-entropy of ``identity/<m>``.

    After the specific features of ShaSpec (Wang et al., CVPR 2023). Classes are the modalities in the order offered;
    the classifier over ``private/<m>`` is part of the method. Mean over all observed rows of all modalities.

    Args:
        weight: factor applied by the module; 0.02 in the authors' script.
    """

    def __init__(self, weight: float = 0.02) -> None:
        super().__init__(weight)

    def bind(self, features: Features, tasks: Tasks) -> None:
        """Number the modalities."""
        self.modalities = list(features)

    def forward(self, outputs: Outputs, batch: Batch, method: FusionMethod) -> Tensor:
        """The loss of one batch."""
        losses, masks = [], []
        for k, m in enumerate(self.modalities):
            logits, mask = rows("identity/<m>", m, outputs, batch, loss="ModalityIdentity")
            losses.append(-logits.log_softmax(-1)[:, k])
            masks.append(mask)
        return _mean(torch.cat(losses), torch.cat(masks))


def rows(read: str, modality: str, outputs: Outputs, batch: Batch, *, loss: str) -> tuple[Tensor, Tensor]:
    """A hidden tensor as (rows, dim), zero in rows of which nothing was observed, and (rows,) where something was."""
    x = at_least_single(hidden(outputs, read.replace("<m>", modality), loss=loss))
    mask = present(batch, modality, x).flatten()
    return torch.where(mask.unsqueeze(-1), x.flatten(0, -2), 0.0), mask


def _mean(x: Tensor, mask: Tensor) -> Tensor:
    """Mean over observed rows of (rows,) or (rows, dim)."""
    counted = mask.reshape(-1, *[1] * (x.dim() - 1))
    return torch.where(counted, x, 0.0).sum(0) / mask.sum().clamp(min=1)


def _length(x: Tensor) -> Tensor:
    """Euclidean length, with the slope zero at zero (the root itself has none there)."""
    return x.square().sum().clamp(min=torch.finfo(x.dtype).tiny).sqrt()


def _directions(x: Tensor, mask: Tensor) -> Tensor:
    """(rows, dim) minus its mean, each row divided by its length; zero rows where nothing counts."""
    centred = torch.where(mask.unsqueeze(-1), x - _mean(x, mask), 0.0)
    # 1e-6 as in the authors' code
    return centred / (torch.linalg.vector_norm(centred, dim=-1, keepdim=True).detach() + 1e-6)
