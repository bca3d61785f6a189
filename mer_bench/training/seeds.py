"""The determinism kit: every random stream is a function of what identifies it.

Sample order and draws are made by the blocks from (seed, epoch); this callback re-seeds the global generators at each
epoch from the same pair, so a run resumed after any epoch repeats the uninterrupted one bit for bit without anything
more in its checkpoint.
"""

from __future__ import annotations

import random

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from mer_bench.data.blocks import derive


class EpochSeeds(Callback):
    """Re-seed torch, numpy and random at the start of each epoch.

    Args:
        seed: of the run.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Seed everything from (seed, epoch)."""
        seed = derive(self.seed, trainer.current_epoch, "global") % 2**32
        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)
