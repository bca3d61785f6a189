"""Many networks of one shape as one flat buffer of parameters, and optimisers that step all of them at once.

Row k of every (members, parameters) buffer belongs to member k. The stacked parameters, (members, *shape), are parts of
the buffer, so a step is a handful of elementwise operations however many tensors the networks have, and a member is put
in, taken out or kept as the best so far by copying one row.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from mer_bench.errors import UserError


class FlatParameters:
    """Stacked parameters, (members, parameters).

    Args:
        modules: of one shape; their trainable parameters are copied.

    Attributes:
        values: a leaf of the graph; its gradient has the same shape.
    """

    def __init__(self, modules: Sequence[nn.Module]) -> None:
        self.names = [name for name, p in modules[0].named_parameters() if p.requires_grad]
        self._shapes = [modules[0].get_parameter(name).shape for name in self.names]
        self.values = torch.stack([self.flatten(module) for module in modules]).requires_grad_()

    @staticmethod
    def flatten(module: nn.Module) -> Tensor:
        """The trainable parameters of one module end to end, detached."""
        return torch.cat([p.detach().reshape(-1) for p in module.parameters() if p.requires_grad])

    def stacked(self) -> dict[str, Tensor]:
        """Parameters by name, (members, *shape), in the graph of `values`."""
        parts = self.values.split([shape.numel() for shape in self._shapes], dim=1)
        return {name: part.view(-1, *shape) for name, part, shape in zip(self.names, parts, self._shapes, strict=True)}

    def reached(self, loss: Tensor, stacked: Mapping[str, Tensor]) -> Tensor | float:
        """(parameters,) 1 where the loss depends on a parameter; 1 where it depends on all of them.

        Args:
            loss: a scalar made from `stacked`; its graph is kept.
            stacked: parameters by name.
        """
        found = torch.autograd.grad(loss, list(stacked.values()), retain_graph=True, allow_unused=True)
        if all(gradient is not None for gradient in found):
            return 1.0
        counts = [shape.numel() for shape in self._shapes]
        parts = [self.values.new_full((n,), float(g is not None)) for n, g in zip(counts, found, strict=True)]
        return torch.cat(parts)

    def select(self, rows: Sequence[int]) -> None:
        """Keep only these members, in this order."""
        self.values = self.values.detach()[list(rows)].clone().requires_grad_()

    def write(self, row: Tensor, module: nn.Module) -> None:
        """Put one row of values into a module."""
        start = 0
        with torch.no_grad():
            for p in (p for p in module.parameters() if p.requires_grad):
                p.copy_(row[start : start + p.numel()].view_as(p))
                start += p.numel()


class FlatOptimizer(ABC):
    """One optimiser step for all members; rates, weight decay and step counts are their own.

    Args:
        groups: the one parameter group of each member's optimiser, which says rate, decay and the rest.
        size: parameters of a member.
        like: a tensor whose device and precision the state takes.
    """

    #: settings that all members must share
    shared: tuple[str, ...] = ()

    def __init__(self, groups: Sequence[Mapping[str, Any]], size: int, like: Tensor) -> None:
        self.fixed = {name: groups[0][name] for name in self.shared}
        self.state = {name: like.new_zeros(len(groups), size) for name in self.buffers}
        self.decay = like.new_tensor([[g["weight_decay"]] for g in groups])
        self.steps = like.new_zeros(len(groups), 1)
        #: (parameters,) 1 where a gradient arrives, or 1; torch leaves alone what has none, weight decay included
        self.reached: Tensor | float = 1.0

    @property
    @abstractmethod
    def buffers(self) -> tuple[str, ...]:
        """Names of the state tensors, (members, parameters) each."""

    @abstractmethod
    def update(self, values: Tensor, gradients: Tensor, rate: Tensor, active: Tensor) -> None:
        """Change `values` in place; `rate` (members, 1) is 0 and `active` False for members that pause."""

    @torch.no_grad()
    def step(self, flat: FlatParameters, rate: Tensor, active: Tensor, clip: float | None) -> None:
        """Clip each member's gradient by its own norm, then update the active ones; the gradient is used up.

        Args:
            flat: values and gradients.
            rate: (members, 1) learning rate of this step.
            active: (members, 1) bool; a member that pauses keeps values, state and count.
            clip: largest norm, or None.
        """
        assert flat.values.grad is not None
        gradients = torch.where(active, flat.values.grad, 0.0)
        if clip is not None:
            norm = gradients.norm(dim=1, keepdim=True)
            gradients = gradients * (clip / (norm + 1e-6)).clamp(max=1.0)
        self.steps += active
        self.update(flat.values, gradients, torch.where(active, rate, 0.0), active)
        flat.values.grad = None

    def select(self, rows: Sequence[int]) -> None:
        """Keep only these members, in this order."""
        index = list(rows)
        self.state = {name: x[index].clone() for name, x in self.state.items()}
        self.decay, self.steps = self.decay[index].clone(), self.steps[index].clone()

    def reset(self, row: int, group: Mapping[str, Any]) -> None:
        """A new member takes a row."""
        for x in self.state.values():
            x[row] = 0
        self.decay[row], self.steps[row] = group["weight_decay"], 0


class FlatAdam(FlatOptimizer):
    """Adam and AdamW as in torch (bias-corrected; decay in the gradient, or decoupled from it)."""

    shared = ("betas", "eps", "decoupled")
    buffers = ("mean", "square")

    def update(self, values: Tensor, gradients: Tensor, rate: Tensor, active: Tensor) -> None:
        """One step."""
        (b1, b2), decoupled = self.fixed["betas"], self.fixed["decoupled"]
        if decoupled:
            values.mul_(1 - rate * self.decay * self.reached)
        else:
            gradients = gradients + self.decay * self.reached * torch.where(active, values, 0.0)
        moves = active.to(values.dtype)
        self.state["mean"].lerp_(gradients, moves * (1 - b1))
        self.state["square"].lerp_(gradients.square(), moves * (1 - b2))
        count = self.steps.clamp(min=1)
        root = (self.state["square"] / (1 - b2**count)).sqrt_().add_(self.fixed["eps"])
        values.addcdiv_(self.state["mean"] * (-rate / (1 - b1**count)), root)


class FlatSGD(FlatOptimizer):
    """Stochastic gradient descent with momentum as in torch; weight decay in the gradient."""

    shared = ("momentum", "dampening", "nesterov")
    buffers = ("momentum",)

    def update(self, values: Tensor, gradients: Tensor, rate: Tensor, active: Tensor) -> None:
        """One step."""
        momentum, speed = self.fixed["momentum"], self.state["momentum"]
        gradients = gradients + self.decay * self.reached * torch.where(active, values, 0.0)
        if momentum:
            first = self.steps == 1  # torch starts the velocity with the bare gradient
            share = torch.where(first, gradients, (1 - self.fixed["dampening"]) * gradients)
            speed.copy_(torch.where(active, momentum * speed + share, speed))
            gradients = gradients + momentum * speed if self.fixed["nesterov"] else speed
        values.sub_(rate * torch.where(active, gradients, 0.0))


#: what stands in for torch's optimisers, exact classes only: a subclass may do anything
_FLAT: dict[type[Optimizer], type[FlatOptimizer]] = {
    torch.optim.AdamW: FlatAdam,
    torch.optim.Adam: FlatAdam,
    torch.optim.SGD: FlatSGD,
}
#: settings that the flat forms do not know
_OFF = ("amsgrad", "maximize")


def refusal(optimizer: Optimizer) -> str:
    """Why an optimiser has no flat form; empty when it has one."""
    if type(optimizer) not in _FLAT:
        return f"{type(optimizer).__name__} has no flat form (those that have: AdamW, Adam, SGD)"
    if len(optimizer.param_groups) > 1:
        return "parameter groups with settings of their own"
    return next((f"{name}: true has no flat form" for name in _OFF if optimizer.param_groups[0].get(name)), "")


def shared_settings(optimizer: Optimizer) -> tuple[object, ...]:
    """What the members of one stack must have in common: kind of optimiser and its settings but rate and decay."""
    kind = _FLAT[type(optimizer)]
    return (kind.__name__, *(_setting(optimizer, name) for name in kind.shared))


def flat_optimizer(optimizers: Sequence[Optimizer], flat: FlatParameters) -> FlatOptimizer:
    """The flat form of the members' optimisers.

    Raises:
        UserError: there is none, or they differ in more than rate and weight decay.
    """
    for optimizer in optimizers:
        if reason := refusal(optimizer):
            raise UserError(f"stack: {reason}; use --executor branches")
    if len({shared_settings(optimizer) for optimizer in optimizers}) > 1:
        raise UserError("stack: the members' optimisers differ in more than learning rate and weight decay")
    kind = _FLAT[type(optimizers[0])]
    groups = [{**o.param_groups[0], "decoupled": _setting(o, "decoupled")} for o in optimizers]
    return kind(groups, flat.values.shape[1], flat.values.detach())


def _setting(optimizer: Optimizer, name: str) -> Any:
    if name == "decoupled":
        return isinstance(optimizer, torch.optim.AdamW)
    return optimizer.param_groups[0][name]
