"""How the members of a population are computed: one interface, several ways.

| executor | members | for |
| :-- | :-- | :-- |
| ``eager`` | one, under Lightning (`fit`) | the reference; processes on CPUs |
| ``stack`` | K as one, by `torch.func.vmap` (`stack`) | methods whose card says `stackable`, on a GPU |
| ``branches`` | K side by side, each with its own step (`branches`) | whatever cannot be stacked |
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, ClassVar

import torch
from torch import Tensor

from mer_bench.training.member import Member
from mer_bench.types import Masked

#: (place, rows, logits, targets): what `Member.judge` is to keep of a batch
Keep = Callable[[int, dict[str, Tensor], dict[str, Tensor], dict[str, Masked]], None]


class Executor(ABC):
    """Weights and optimisers of the active members, one place each, and the steps of an epoch.

    Attributes:
        name: in `--executor`.
        members: the active ones by place.
        device: where they are.
    """

    name: ClassVar[str]

    def __init__(self, members: Sequence[Member]) -> None:
        self.members = list(members)
        self.device = next(members[0].objective.parameters()).device

    @property
    def told(self) -> str:
        """As records say it: the name, and after hyphens what made it faster."""
        return self.name

    @abstractmethod
    def begin(self) -> None:
        """Make ready for the next epoch of every member."""

    @abstractmethod
    def step(self) -> bool:
        """Make one more step of the epoch, of all members or of one; False when all of them are through."""

    @abstractmethod
    def end(self) -> None:
        """Write the epoch down in the members' logs; the only host sync of an epoch."""

    @abstractmethod
    def validate(self, keep: Keep) -> None:
        """Hand over every member's outputs on its validation part."""

    @abstractmethod
    def snapshot(self, places: Sequence[int]) -> None:
        """Keep the present weights of these members as their best."""

    @abstractmethod
    def write_best(self, place: int) -> None:
        """Put the best weights into the member's objective."""

    @abstractmethod
    def place(self, place: int, member: Member) -> None:
        """Give a place to a new member."""

    @abstractmethod
    def select(self, places: Sequence[int]) -> None:
        """Keep only these places, in this order."""

    @abstractmethod
    def state(self, inside: bool) -> dict[str, Any]:
        """Everything that the members' next steps depend on; with `inside` also how far the epoch is."""

    @abstractmethod
    def load(self, state: dict[str, Any], places: Sequence[int], inside: bool) -> None:
        """Take up a state.

        Args:
            state: what `state` gave.
            places: for every member here its place there.
            inside: go on inside the epoch, in place of `begin`.
        """


def autocast(on: bool, device: torch.device) -> AbstractContextManager[Any]:
    """Around one forward pass, as `FusionModule` has it."""
    return torch.autocast(device.type, torch.bfloat16) if on else nullcontext()


def random_state(device: torch.device) -> dict[str, Tensor]:
    """Where the global generators stand."""
    found = {"cpu": torch.get_rng_state()}
    return found | ({"cuda": torch.cuda.get_rng_state(device)} if device.type == "cuda" else {})


def set_random_state(state: dict[str, Tensor], device: torch.device) -> None:
    """Put the global generators where they stood."""
    torch.set_rng_state(state["cpu"])
    if device.type == "cuda":
        torch.cuda.set_rng_state(state["cuda"], device)
