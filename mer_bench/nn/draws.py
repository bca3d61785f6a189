"""Many uniform random numbers from the few that travel with a batch."""

from __future__ import annotations

import torch
from torch import Tensor

#: the lower 32 bits
_LOW = 2**32 - 1


def hashed(uniform: Tensor, first: int, last: int | None = None) -> Tensor:
    """More uniform numbers from one per item, by an integer hash of that number and an index.

    Args:
        uniform: (batch,) in [0, 1); a difference of 2^-24 makes another sequence.
        first: index of the first one.
        last: index of the last one; the first is the only one by default.

    Returns:
        (batch, numbers) in [0, 1].
    """
    index = torch.arange(first, (first if last is None else last) + 1, device=uniform.device)
    x = (uniform * 2**32).to(torch.int64).unsqueeze(1) ^ (index * 0x9E3779B9 & _LOW)
    for _ in range(3):
        x = ((x >> 16) ^ x) * 0x45D9F3B & _LOW  # 32 bits times 27: no overflow
    return ((x >> 16) ^ x).to(uniform.dtype) / 2**32
