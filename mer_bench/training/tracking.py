"""Trackers that a user asks for: Weights & Biases, TensorBoard. `metrics.csv` is always written and needs neither.

A tracker only watches. It changes no number, a run's key does not know of it, and no leaderboard reads it. It never
asks anything and never waits long: without a key or a connection, wandb writes a folder that can be uploaded later.
"""

from __future__ import annotations

import netrc
import os
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

from lightning.pytorch import Callback, Trainer

from mer_bench.errors import UserError

#: seconds that wandb has to reach its server, and to upload what is left at the end; ours
PATIENCE = 20


@dataclass(frozen=True)
class About:
    """What a tracker is told of a run.

    Attributes:
        name: of the run.
        group: parts of the name of the group: sweep, protocol, method.
        folder: of the run.
        settings: that decide its numbers.
        facts: fold, seed and the like.
    """

    name: str
    group: tuple[str, ...]
    folder: Path
    settings: Mapping[str, Any] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)


class Tracker(ABC):
    """Takes the figures of one run."""

    @abstractmethod
    def log(self, epoch: int, values: Mapping[str, float]) -> None:
        """Losses and validation scores of an epoch."""

    @abstractmethod
    def end(self, values: Mapping[str, float]) -> None:
        """The scores of the record, or none, and that is all."""


class Files(Tracker):
    """Nothing beside `metrics.csv`, which the run writes itself."""

    def log(self, epoch: int, values: Mapping[str, float]) -> None:
        """Nothing."""

    def end(self, values: Mapping[str, float]) -> None:
        """Nothing."""


class TensorBoard(Tracker):
    """Event files in the run's folder, for `tensorboard --logdir runs`.

    Args:
        about: the run.

    Raises:
        UserError: tensorboard is not installed.
    """

    def __init__(self, about: About) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise UserError("--track tensorboard needs it: pip install 'mer-bench[tensorboard]'") from None
        self.writer = SummaryWriter(str(about.folder / "tensorboard"))

    def log(self, epoch: int, values: Mapping[str, float]) -> None:
        """One point for each value."""
        for name, value in values.items():
            self.writer.add_scalar(name, value, epoch)

    def end(self, values: Mapping[str, float]) -> None:
        """The scores as points at the end."""
        self.log(0, values)
        self.writer.close()


class WandB(Tracker):
    """One run of wandb, online if a key is there and the server answers in time, else offline.

    `WANDB_MODE` (online, offline, disabled) is respected, but online without a key is offline: it would ask for one.
    Nothing is sent or kept but the figures, the settings and the name of the run: no code, git state, package list,
    machine, console or command line.

    Args:
        about: the run.
    """

    def __init__(self, about: About) -> None:
        import wandb

        self.wandb, self.about = wandb, about
        mode = os.environ.get("WANDB_MODE") or "online"
        if mode not in ("offline", "disabled") and not has_key():
            mode = "offline"
        try:
            self.run = self._init(mode)
        except Exception as error:  # whatever it is, training does not depend on it
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            print(f"wandb: {reason}; the run is tracked offline", file=sys.stderr)
            self.run = self._init("offline")

    def _init(self, mode: Any) -> Any:
        settings = self.wandb.Settings(
            host="unnamed",
            init_timeout=PATIENCE,
            login_timeout=PATIENCE,
            finish_timeout=PATIENCE,
            x_save_requirements=False,
            disable_job_creation=True,
            disable_git=True,
            disable_code=True,
            x_disable_meta=True,
            x_disable_stats=True,
            x_disable_machine_info=True,
            silent=True,
            console="off",
        )
        return self.wandb.init(
            project=os.environ.get("WANDB_PROJECT", "mer-bench"),
            dir=str(self.about.folder),
            mode=mode,
            name=self.about.name,
            group="/".join(self.about.group),
            tags=list(self.about.group),
            config={**self.about.settings, **self.about.facts},
            settings=settings,
            reinit="finish_previous",
        )

    def log(self, epoch: int, values: Mapping[str, float]) -> None:
        """One step for each epoch."""
        self.run.log(dict(values), step=epoch)

    def end(self, values: Mapping[str, float]) -> None:
        """Scores into the summary; how to upload what was kept here."""
        self.run.summary.update(dict(values))
        folder = Path(self.run.dir).parent  # its files lie below the folder that `wandb sync` takes
        offline = self.run.settings.mode == "offline"
        self.run.finish()
        self.wandb.teardown()  # its service is a process; it must not outlive a run that a launcher ends
        if offline:
            print(f"tracked offline; to upload: wandb sync {folder}", file=sys.stderr)


def has_key() -> bool:
    """Whether wandb would find a key without asking: in its variable, or in the netrc file."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    import wandb

    host = urlparse(os.environ.get("WANDB_BASE_URL") or wandb.Settings().base_url).hostname or ""
    try:
        return netrc.netrc(os.environ.get("NETRC")).authenticators(host) is not None
    except (OSError, netrc.NetrcParseError):
        return False


#: by the value of `--track`
TRACKERS: Mapping[str, Callable[[About], Tracker]] = {
    "csv": lambda about: Files(),
    "wandb": WandB,
    "tensorboard": TensorBoard,
}


class Tracked(Callback):
    """Hands the figures of every epoch to a tracker.

    Args:
        tracker: of the run.
    """

    def __init__(self, tracker: Tracker) -> None:
        self.tracker = tracker

    def on_train_epoch_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Mean losses and validation scores, as in `metrics.csv`."""
        scores = {name: float(x) for name, x in trainer.callback_metrics.items() if not name.startswith("train/")}
        self.tracker.log(trainer.current_epoch, {**pl_module.epoch_means(), **scores})
