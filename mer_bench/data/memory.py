"""How features are held in memory, and whether they are. No torch: plans ask for it too."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from mer_bench.errors import UserError
from mer_bench.merh5 import FeatureFile

When = Literal["auto", "always", "never"]


@dataclass(frozen=True)
class Memory:
    """How features are held.

    Attributes:
        stream: shelf by shelf when they take more than `memory_gb` (``auto``), always, or never.
        memory_gb: in units of 10^9 bytes.
        shelf_mb: values on a shelf, in units of 10^6 bytes.
        storage: bits of a value.
    """

    stream: When = "auto"
    memory_gb: float = 8.0
    shelf_mb: float = 128.0
    storage: Literal[32, 16] = 32

    def __post_init__(self) -> None:
        for name, size in {"memory_gb": self.memory_gb, "shelf_mb": self.shelf_mb}.items():
            if not size > 0:
                raise UserError(f"--data.{name} must be above 0, got {size}")

    @property
    def dtype(self) -> np.dtype:
        """Of a value."""
        return np.dtype(f"float{self.storage}")

    def streams(self, file: FeatureFile, modalities: Sequence[str]) -> bool:
        """Whether these modalities are read again and again."""
        used = sum(file.modalities[m].rows * file.modalities[m].dim for m in modalities) * self.dtype.itemsize
        return self.stream == "always" or (self.stream == "auto" and used > self.memory_gb * 1e9)
