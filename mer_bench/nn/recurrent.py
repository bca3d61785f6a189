"""Recurrent layers over what was observed. Not stackable: torch has no vmap rule for GRU and LSTM."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mer_bench.nn.masking import zeroed
from mer_bench.types import Masked


class Recurrent(nn.Module):
    """GRU or LSTM, one or both directions, walking over the observed frames only.

    Observed frames are moved to the front, in their order, and back afterwards, so gaps are skipped. The backward
    direction reads each row reversed over its own length. The result is that of packed sequences, but without the copy
    of the lengths to the host that packing forces on every step, and rows of length zero are allowed.

    Args:
        in_dim: features of the input.
        dim: width of the result; with two directions each has half of it.
        cell: `nn.GRU` or `nn.LSTM`.
        both: read in both directions.
    """

    def __init__(
        self, in_dim: int, dim: int, *, cell: type[nn.GRU] | type[nn.LSTM] = nn.GRU, both: bool = True
    ) -> None:
        super().__init__()
        size = dim // 2 if both else dim
        self.onward = cell(in_dim, size, batch_first=True)
        self.reverse = cell(in_dim, size, batch_first=True) if both else None

    def forward(self, x: Masked) -> tuple[Masked, Tensor]:
        """Read the sequence.

        Args:
            x: values (batch, time, in_dim) with mask (batch, time).

        Returns:
            All states, values (batch, time, dim), zero where masked; and the state after the last frame that each
            direction reads, (batch, dim), zero for a row without frames.
        """
        order = x.mask.int().argsort(dim=1, descending=True, stable=True)
        length = x.mask.sum(1)
        packed = _take(zeroed(x), order)
        states = [self.onward(packed)[0]]
        last = [_take(states[0], (length - 1).clamp(min=0).unsqueeze(-1))]
        if self.reverse is not None:
            time = torch.arange(x.mask.shape[1], device=x.mask.device)
            turned = torch.where(time < length.unsqueeze(-1), length.unsqueeze(-1) - 1 - time, time)
            reverse = self.reverse(_take(packed, turned))[0]
            states.append(_take(reverse, turned))
            last.append(_take(reverse, (length - 1).clamp(min=0).unsqueeze(-1)))
        back = _take(torch.cat(states, -1), order.argsort(dim=1))
        final = torch.cat(last, -1).squeeze(1)
        some = x.mask.any(-1)
        return Masked(zeroed(Masked(back, x.mask)), x.mask), zeroed(Masked(final, some))


def _take(x: Tensor, index: Tensor) -> Tensor:
    """Rows of (batch, time, dim) by index (batch, n)."""
    return x.gather(1, index.unsqueeze(-1).expand(-1, -1, x.shape[-1]))
