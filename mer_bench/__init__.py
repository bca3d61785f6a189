"""mer-bench: train, compare and rank fusion methods for multimodal emotion recognition."""

from __future__ import annotations

__version__ = "0.1.0"
