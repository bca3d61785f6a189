"""Checkpoints that are either whole or absent, and safe to load.

A file holds tensors and one JSON string, so `torch.load(weights_only=True)` reads it and nothing in it can run. It is
written beside its target, flushed to disk and renamed: a kill at any moment leaves the old file or the new one.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins.io import CheckpointIO
from torch import Tensor

from mer_bench.errors import UserError


class AtomicCheckpoints(CheckpointIO):
    """Lightning's door for checkpoint files."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | os.PathLike, storage_options: Any = None) -> None:
        """Write the checkpoint atomically."""
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        tensors: dict[str, Tensor] = {}
        tree = _pack(checkpoint, tensors)
        temporary = target.with_name(f".{target.name}.{os.getpid()}.part")
        try:
            with temporary.open("wb") as stream:
                torch.save({"json": json.dumps(tree), "tensors": tensors}, stream)
                stream.flush()
                os.fsync(stream.fileno())
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)
        folder = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def load_checkpoint(
        self, path: str | os.PathLike, map_location: Any = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Read a checkpoint of ours.

        Raises:
            UserError: the file is missing, damaged or not one of ours.
        """
        return load(path, map_location)

    def remove_checkpoint(self, path: str | os.PathLike) -> None:
        """Delete a checkpoint that is no longer wanted."""
        Path(path).unlink(missing_ok=True)


def load(path: str | os.PathLike, map_location: Any = "cpu") -> dict[str, Any]:
    """The checkpoint in a file, see `AtomicCheckpoints.load_checkpoint`."""
    try:
        content = torch.load(path, map_location=map_location or "cpu", weights_only=True)
        return _unpack(json.loads(content["json"]), content["tensors"])
    except FileNotFoundError:
        raise UserError(f"no checkpoint at {path}") from None
    except Exception as error:  # torch raises a dozen different ones for a damaged file
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{path}: damaged, or not a checkpoint of mer-bench ({reason})") from None


def _pack(value: Any, tensors: dict[str, Tensor]) -> Any:
    """A JSON tree with the tensors taken out; mappings become lists of pairs, so that any key survives."""
    if isinstance(value, Tensor):
        name = str(len(tensors))
        tensors[name] = value
        return {"t": name}
    if isinstance(value, dict):
        return {"d": [[_pack(k, tensors), _pack(v, tensors)] for k, v in value.items()]}
    if isinstance(value, (list, tuple)):
        return {"l" if isinstance(value, list) else "u": [_pack(v, tensors) for v in value]}
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    raise TypeError(f"a checkpoint holds tensors and plain values only, not {type(value).__name__}")


def _unpack(tree: Any, tensors: dict[str, Tensor]) -> Any:
    if not isinstance(tree, dict):
        return tree
    (kind, content), *_ = tree.items()
    if kind == "t":
        return tensors[content]
    if kind == "d":
        return {_unpack(k, tensors): _unpack(v, tensors) for k, v in content}
    items = [_unpack(v, tensors) for v in content]
    return items if kind == "l" else tuple(items)
