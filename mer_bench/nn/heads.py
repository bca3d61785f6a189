"""From the fused vector to the answers."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, pairwise

import torch
from torch import Tensor, nn

from mer_bench.errors import UserError
from mer_bench.types import Level, Tasks


class Heads(nn.Module):
    """One linear layer per task, on the last axis; so for (batch, dim) and for (batch, time, dim).

    Args:
        dim: width of the input.
        tasks: by name.
    """

    def __init__(self, dim: int, tasks: Tasks) -> None:
        super().__init__()
        self.linear = nn.ModuleDict({name: nn.Linear(dim, spec.size) for name, spec in tasks.items()})

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """(..., dim) to (..., size) by task."""
        return {name: linear(x) for name, linear in self.linear.items()}


class MLPHeads(nn.Module):
    """One network of several layers per task, on the last axis.

    Args:
        dim: width of the input.
        tasks: by name.
        hidden: widths of the hidden layers.
        activation: after each hidden layer.
        dropout: after each activation.
        per_dimension: a network of its own for each dimension of a regression.
    """

    def __init__(
        self,
        dim: int,
        tasks: Tasks,
        hidden: Sequence[int],
        *,
        activation: type[nn.Module] = nn.GELU,
        dropout: float = 0.0,
        per_dimension: bool = False,
    ) -> None:
        super().__init__()

        def network(size: int) -> nn.Sequential:
            widths = [dim, *hidden]
            steps = [(nn.Linear(a, b), activation(), nn.Dropout(dropout)) for a, b in pairwise(widths)]
            return nn.Sequential(*chain.from_iterable(steps), nn.Linear(widths[-1], size))

        split = {"regression"} if per_dimension else set()
        sizes = {name: (1,) * spec.size if spec.kind in split else (spec.size,) for name, spec in tasks.items()}
        self.networks = nn.ModuleDict({name: _SideBySide(map(network, parts)) for name, parts in sizes.items()})

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """(..., dim) to (..., size) by task."""
        return {name: networks(x) for name, networks in self.networks.items()}


class _SideBySide(nn.ModuleList):
    """Several networks on the same input, results concatenated."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([network(x) for network in self], dim=-1)


class MLP(nn.Sequential):
    """Linear, GELU, dropout: the one hidden layer between fusion and heads.

    Args:
        in_dim: width of the input.
        dim: width of the result.
        dropout: on the result.
    """

    def __init__(self, in_dim: int, dim: int, *, dropout: float = 0.1) -> None:
        super().__init__(nn.Linear(in_dim, dim), nn.GELU(), nn.Dropout(dropout))


def level_of(tasks: Tasks) -> Level:
    """The level that all tasks share.

    Raises:
        UserError: no task, or tasks per item beside tasks per frame.
    """
    levels = {spec.level for spec in tasks.values()}
    if len(levels) != 1:
        found = ", ".join(f"{name} ({spec.level})" for name, spec in tasks.items()) or "none"
        raise UserError(f"tasks: all tasks of a run must be of one level, item or frame; found {found}")
    return levels.pop()
