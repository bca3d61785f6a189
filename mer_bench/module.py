"""The one LightningModule: a method, its auxiliary losses, a subset schedule and an optimiser."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Literal, Protocol

import numpy as np
import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.core.optimizer import LightningOptimizer
from torch import Tensor, nn
from torch.optim import Optimizer

from mer_bench.contracts import AuxLoss, FusionMethod, GradientHook, SubsetSchedule
from mer_bench.data.blocks import Block
from mer_bench.errors import Diverged, UserError
from mer_bench.losses.task import RegressionLoss
from mer_bench.metrics import direction, score
from mer_bench.training.objective import Objective, regression_losses
from mer_bench.training.schedules import Constant, Schedule
from mer_bench.training.subsets import AllModalities
from mer_bench.training.weighting import TaskWeighting
from mer_bench.types import Batch, Features, Masked, Outputs, Tasks

OptimizerFactory = Callable[[list[nn.Parameter]], Optimizer]


class MethodFactory(Protocol):
    """Makes a method for what the data offers; in YAML a class path and its settings without features and tasks."""

    def __call__(self, features: Features, tasks: Tasks) -> FusionMethod:
        """The method."""
        ...


class FusionModule(LightningModule):
    """Trains any method on blocks of batches, and scores it by the protocol's metrics.

    Training makes all steps of a block in one `training_step` by manual optimisation, with no log, metric or host sync
    inside. Lightning's `global_step` therefore counts blocks; `steps` counts optimiser steps.

    Args:
        features: offered by the datamodule.
        tasks: offered by the datamodule.
        metrics: the protocol's metrics, the primary one first.
        method: class and settings of the method.
        auxiliary: auxiliary losses by name.
        subsets: which modalities each step sees; all of them by default.
        optimizer: class and settings of the optimiser.
        schedule: learning rate over the run; constant by default.
        clip: largest norm of the gradient of a step; none by default.
        precision: bf16 runs each forward pass under autocast.
        task_weights: factor on the loss of each task.
        weighting: how the losses of several tasks become one; by default they are added.
        regression_loss: for every regression task. By default the one that goes with the first metric that the
            protocol reports of a task: 1 - CCC for CCC, absolute error for MAE, squared error for any other.
        gradient_hook: changes the gradients of each step before they are clipped; none by default.
    """

    def __init__(
        self,
        features: dict,
        tasks: dict,
        metrics: tuple,
        method: MethodFactory,
        auxiliary: dict[str, AuxLoss] | None = None,
        subsets: SubsetSchedule | None = None,
        optimizer: OptimizerFactory = torch.optim.AdamW,
        schedule: Schedule | None = None,
        clip: float | None = None,
        precision: Literal["32", "bf16"] = "32",
        task_weights: dict[str, float] | None = None,
        weighting: TaskWeighting | None = None,
        regression_loss: RegressionLoss | None = None,
        gradient_hook: GradientHook | None = None,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.features, self.tasks, self.metrics = features, tasks, tuple(metrics)
        self.objective = Objective(
            method(features, tasks),
            features,
            tasks,
            auxiliary or {},
            subsets or AllModalities(),
            task_weights or {},
            weighting=weighting,
            regression=regression_losses(tasks, self.metrics, regression_loss),
        )
        self.gradient_hook = gradient_hook
        if gradient_hook is not None:
            gradient_hook.bind(self.method)
        self.make_optimizer, self.schedule, self.clip = optimizer, schedule or Constant(), clip
        self.precision = precision
        self.steps = 0
        self.train_seconds = 0.0
        self.predictions: dict[str, dict[str, np.ndarray]] = {}
        self._kept: dict[str, list[dict[str, tuple[Tensor, Tensor, Tensor, Tensor]]]] = {}
        self._sums: Tensor | None = None
        self._epoch_steps = 0

    @property
    def method(self) -> FusionMethod:
        """The network alone."""
        return self.objective.method

    @property
    def trainable(self) -> bool:
        """Whether there is anything to train."""
        return any(p.requires_grad for p in self.objective.parameters())

    def forward(self, batch: Batch) -> Outputs:
        """The method's outputs."""
        with self._autocast():
            return self.method(batch)

    def _autocast(self) -> AbstractContextManager:
        """Around one forward pass, never around a block: its cache of weights would stop the training."""
        if self.precision == "bf16":
            return torch.autocast(self.device.type, torch.bfloat16)
        return nullcontext()

    def fit_method(self, blocks: Iterable[Block]) -> None:
        """Let a method without parameters learn from the training part by itself; `train_seconds` says how long."""
        start = time.perf_counter()
        self.method.fit(block.batch(s) for block in blocks for s in range(len(block)))
        self.train_seconds = time.perf_counter() - start

    # training --------------------------------------------------------------------------------------------------

    def configure_optimizers(self) -> Optimizer:
        """The optimiser over every parameter of the objective; its base rates are kept for the schedule."""
        optimizer = self.make_optimizer([p for p in self.objective.parameters() if p.requires_grad])
        for group in optimizer.param_groups:
            group.setdefault("base_lr", group["lr"])
        return optimizer

    def on_train_epoch_start(self) -> None:
        """Start the sums and the clock of the epoch."""
        self._sums = torch.zeros(len(self.objective.names) + 1, device=self.device)
        self._epoch_steps = 0

    def training_step(self, block: Block, batch_idx: int) -> None:
        """All optimiser steps of a block.

        Raises:
            Diverged: the loss is not finite.
        """
        start = time.perf_counter()
        wrapped = self.optimizers()
        assert isinstance(wrapped, LightningOptimizer)
        optimizer = wrapped.optimizer
        for s in range(len(block)):
            loss = self._backward(block.batch(s, self.objective.n_draws), optimizer)
            # Lightning counts steps through its wrapper: once per block
            (wrapped if s == len(block) - 1 else optimizer).step()
            self.steps += 1
        self._epoch_steps += len(block)
        if not torch.isfinite(loss):  # one sync per block
            raise Diverged(
                f"the loss is {loss.item()} at step {self.steps} (epoch {self.current_epoch}); the run stops and is "
                f"recorded as diverged. Try a lower --model.optimizer.lr or --model.clip 1.0"
            )
        self.train_seconds += time.perf_counter() - start

    def _backward(self, batch: Batch, optimizer: Optimizer) -> Tensor:
        factor = self.schedule.factor(self.steps, self.total_steps)
        for group in optimizer.param_groups:
            group["lr"] = group["base_lr"] * factor
        optimizer.zero_grad(set_to_none=True)
        with self._autocast():
            loss, parts, outputs, view = self.objective.evaluate(batch, self.steps)
        loss.backward()
        if self.gradient_hook is not None:
            self.gradient_hook(self.method, outputs, view, self.current_epoch)
        if self.clip is not None:
            torch.nn.utils.clip_grad_norm_(self.objective.parameters(), self.clip)
        assert self._sums is not None
        self._sums += torch.cat((loss.detach().view(1), parts))
        return loss.detach()

    @property
    def total_steps(self) -> int:
        """Optimiser steps of the whole run, as the schedule sees it."""
        return self._total_steps

    def on_train_start(self) -> None:
        """Learn the length of the run from the loader."""
        blocks = self.trainer.train_dataloader
        assert blocks is not None
        self._total_steps = blocks.steps_per_epoch * max(1, self.trainer.max_epochs or 1)

    def on_train_epoch_end(self) -> None:
        """Log the mean losses of the epoch."""
        self.log_dict(self.epoch_means())

    def epoch_means(self) -> dict[str, float]:
        """Mean of the total loss and of each part over the steps of the epoch so far; one host sync."""
        assert self._sums is not None
        means = (self._sums / max(1, self._epoch_steps)).tolist()
        names = ("train/loss", *(f"train/{name}" for name in self.objective.names))
        return dict(zip(names, means, strict=True))

    # scoring ---------------------------------------------------------------------------------------------------

    def validation_step(self, block: Block, batch_idx: int) -> None:
        """Keep the outputs of one block of the validation part."""
        self._keep(block)

    def on_validation_epoch_end(self) -> None:
        """Log the scores of the validation part."""
        self.log_dict(self.judged())

    def judged(self) -> dict[str, float]:
        """The kept outputs scored by the protocol's metrics; `val/selection` is higher for a better epoch."""
        outputs, targets, _ = self._collect("full")
        # a small validation part may lack a class: averages run over those it has; the test part must have them all
        values = score(self.tasks, self.metrics, outputs, targets, absent_classes=True)
        primary = self.metrics[0]
        selection = direction(primary.rpartition("/")[2]) * values[primary]
        self._kept.clear()
        return {**{f"val/{name}": value for name, value in values.items()}, "val/selection": selection}

    def test_step(self, block: Block, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Keep the outputs of one block of the test part, cut to one subset of its modalities."""
        self._keep(block)

    def on_test_epoch_end(self) -> None:
        """Hand over the predictions by subset of the modalities: row numbers, and raw outputs by task."""
        self.predictions = {}
        for condition in list(self._kept):
            outputs, _, rows = self._collect(condition)
            self.predictions[condition] = {"rows": rows, **outputs}
        self._kept.clear()

    def predict_step(self, block: Block, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Keep the outputs of one block of all items."""
        self._keep(block)

    def on_predict_epoch_end(self) -> None:
        """Hand over the outputs, like after a test."""
        self.on_test_epoch_end()

    def _keep(self, block: Block) -> None:
        """Outputs and targets of a block."""
        for s in range(len(block)):
            batch = block.batch(s)
            rows = {name: block.frames(s, name) for name in self.tasks}
            self.keep(block.condition, rows, self(batch).logits, batch.targets)

    def keep(
        self, condition: str, rows: dict[str, Tensor], logits: dict[str, Tensor], targets: dict[str, Masked]
    ) -> None:
        """Keep the outputs of a batch and what they are judged by, one row per item, or per frame."""
        kept = {
            name: (
                rows[name].reshape(-1),
                logits[name].float().flatten(0, rows[name].dim() - 1),
                target.values.flatten(0, rows[name].dim() - 1),
                target.mask.flatten(0, rows[name].dim() - 1),
            )
            for name, target in targets.items()
        }
        self._kept.setdefault(condition, []).append(kept)

    def _collect(self, condition: str) -> tuple[dict[str, np.ndarray], dict[str, tuple], np.ndarray]:
        """Outputs and targets by task in row order, and the row numbers; overlapping windows are averaged."""
        kept = self._kept[condition]
        outputs, targets = {}, {}
        for name, spec in self.tasks.items():
            columns = zip(*(part[name] for part in kept), strict=True)
            frames, logits, values, mask = (torch.cat(column).cpu().numpy() for column in columns)
            if spec.level == "frame":  # padding of a window is no frame
                inside = frames >= 0
                frames, logits, values, mask = (x[inside] for x in (frames, logits, values, mask))
            rows, first, inverse, counts = np.unique(frames, return_index=True, return_inverse=True, return_counts=True)
            sums = np.zeros((len(rows), logits.shape[1]))
            np.add.at(sums, inverse, logits)
            outputs[name] = sums / counts[:, None]
            targets[name] = (values[first], mask[first])
        return outputs, targets, rows

    # checkpoints -----------------------------------------------------------------------------------------------

    def on_save_checkpoint(self, checkpoint: dict) -> None:
        """Keep our own counters."""
        checkpoint["mer_bench"] = {"steps": self.steps, "train_seconds": self.train_seconds}

    def on_load_checkpoint(self, checkpoint: dict) -> None:
        """Restore our own counters."""
        own = checkpoint.get("mer_bench")
        if own is None:
            raise UserError("the checkpoint was not written by mer-bench")
        self.steps, self.train_seconds = own["steps"], own["train_seconds"]
