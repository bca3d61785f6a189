"""The abstract classes that methods, auxiliary losses and subset schedules fulfil.

Names in `Outputs.hidden`, the vocabulary that auxiliary losses rely on (a method's card lists what it provides;
``<m>``, ``<a>``, ``<b>`` are modalities; frame-level tasks insert a time axis after batch):

| key | shape | meaning |
| :-- | :-- | :-- |
| ``<m>`` | batch x dim | embedding of a modality before fusion |
| ``fused`` | batch x dim | what the heads see |
| ``aligned/<m>`` | batch x dim | projection made for an alignment loss, not normalised |
| ``encoded/<m>`` | batch x time x dim | encoded sequence, before fusion |
| ``shared/<m>``, ``private/<m>`` | batch x dim | invariant and specific parts |
| ``decoded/<m>``, ``input/<m>`` | batch x dim | reconstruction and its target |
| ``identity/<m>`` | batch x modalities | which one is ``private/<m>`` from: logits, in the order of the features |
| ``imagined/<m>`` | batch x dim | ``<m>`` guessed from the other modalities, without looking at it |
| ``cycled/<m>`` | batch x dim | ``<m>`` found again in what was imagined of the others |
| ``logits/<m>/<task>`` | as logits | prediction from one modality |
| ``again/<m>`` | batch x dim | the private part found again in ``decoded/<m>`` |
| ``homogeneous/<m>/<task>``, ``heterogeneous/<m>/<task>``, ``common/<task>`` | as logits | prediction from a \
modality's shared part, from what its private part saw of the others, and from all shared parts |
| ``edges/homogeneous``, ``edges/heterogeneous`` | batch x pairs | how much the second of an ordered pair of \
modalities teaches the first, from 0 to 1 |
| ``evidence/<task>``, ``evidence/<m>/<task>`` | as logits | evidence for each class, 0 or more; twice as wide for \
several labels: against each, then for each |
| ``completeness/<m>`` | batch x 1 | how much of the modality there seems to be, from 0 to 1 |
| ``judged/whole``, ``judged/corrected`` | batch x n | logits: "from whole input?", of what is and what was mended |
| ``match/<a>/<b>`` | batch x 2 | "is b's partner of the same label?", seen from a: different, same |

Where a step has several views, the training loop adds to the outputs of the first one, for each further view ``<v>``
by its name in the schedule (``only_<m>``):

| key | shape | meaning |
| :-- | :-- | :-- |
| ``view/<v>/<task>`` | as logits | prediction of the task from that view |
| ``view/<v>/seen`` | batch, bool | the view leaves this item something to predict from |
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable

from torch import Tensor, nn

from mer_bench.errors import UserError
from mer_bench.types import Batch, Features, Masked, Outputs, Tasks


class FusionMethod(nn.Module, ABC):
    """From a batch to outputs. It never sees targets, optimisers, data set names or the trainer.

    A subclass takes ``features`` and ``tasks`` first and keyword-only settings with defaults after them; it iterates
    over ``features`` and never names a modality. Masked positions, padding and batch mates never change its result.
    Parameters that only a loss will use (matching head, decoder) live in the method.
    On the training path shapes are fixed: no ``.item()``, no boolean indexing, no host sync.
    """

    def __init__(self, features: Features, tasks: Tasks) -> None:
        super().__init__()
        reason = self.supports(features, tasks)
        if reason:
            raise UserError(f"{type(self).__name__}: {reason}")
        self.features = dict(features)
        self.tasks = dict(tasks)

    @classmethod
    def supports(cls, features: Features, tasks: Tasks) -> str | None:
        """None, or the reason why this method cannot be built for such input; the constructor then refuses."""
        return None

    def fit(self, batches: Iterable[Batch]) -> None:
        """Learn from the training part without an optimiser; nothing by default.

        Called once, before validation, for methods without parameters, whose card says ``trainable: false``. What is
        learned goes into buffers of fixed shapes. Here alone a method sees targets, and may leave the device.

        Args:
            batches: every item of the training part once.
        """

    @abstractmethod
    def forward(self, batch: Batch) -> Outputs:
        """Logits by task and named intermediates."""


class TwoStage(FusionMethod):
    """A method that encodes each modality by itself and then fuses.

    A loss may call `fuse` again with partners exchanged or removed, without encoding again.
    """

    @abstractmethod
    def encode(self, batch: Batch) -> dict[str, Masked]:
        """Encoded sequence by modality, (batch, time, dim) with mask (batch, time)."""

    @abstractmethod
    def fuse(self, encoded: dict[str, Masked]) -> Outputs:
        """Logits and intermediates from encoded sequences."""

    def forward(self, batch: Batch) -> Outputs:
        """Encode, then fuse."""
        return self.fuse(self.encode(batch))


class AuxLoss(nn.Module, ABC):
    """A training loss beside the task losses: named hidden tensors in, one unweighted scalar out.

    Zero with a live graph when nothing qualifies. No parameters but a temperature and its offset. Fixed shapes:
    ``torch.where`` and masked means instead of boolean indexing. Randomness comes only from ``batch.draws``.

    Attributes:
        n_draws: how many uniform numbers per item `forward` reads; the module hands over exactly those columns.
        weight: factor applied by the module.
    """

    n_draws: int = 0

    def __init__(self, weight: float = 1.0) -> None:
        super().__init__()
        self.weight = weight

    def bind(self, features: Features, tasks: Tasks) -> None:
        """Called once at set-up: resolve defaults such as ``between`` and refuse what is not there (`UserError`)."""

    @abstractmethod
    def forward(self, outputs: Outputs, batch: Batch, method: FusionMethod) -> Tensor:
        """The loss of one batch."""


class SubsetSchedule(nn.Module, ABC):
    """Which subsets of the modalities the method sees in one training step.

    Attributes:
        n_draws: uniform numbers per item that `views` reads from ``batch.draws``.
        by_step: `views` looks at the number of the step; such runs train alone, for members of a stack do not count in
            step.
    """

    n_draws: int = 0
    by_step: bool = False

    def bind(self, features: Features, tasks: Tasks) -> None:
        """Called once at set-up."""

    @abstractmethod
    def views(self, batch: Batch, step: int) -> list[tuple[str, float, Batch]]:
        """(name, weight, batch with masks switched off) for each forward pass of this step, the fullest first.

        The number and names of the views depend on ``step`` only, never on the content of the batch.
        Auxiliary losses are computed on the first view; they find what the others gave in its hidden tensors
        (``view/<v>/<task>``, see the top of this module).
        """


class GradientHook(ABC):
    """Changes gradients between the backward pass of a step and its clipping, for instance to balance modalities.

    It works on the gradients of one method, step by step; methods trained side by side as one stack do without it.
    """

    @abstractmethod
    def bind(self, method: FusionMethod) -> None:
        """Called once at set-up: find the parameters, and refuse a method or tasks that do not fit (`UserError`)."""

    @abstractmethod
    def __call__(self, method: FusionMethod, outputs: Outputs, batch: Batch, epoch: int) -> None:
        """Change ``p.grad`` of the parameters in place.

        Args:
            method: with the gradients of this step.
            outputs: of the first view of the step.
            batch: that view.
            epoch: from 0.
        """
