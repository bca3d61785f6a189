"""Ends of training before its time: on SIGTERM as a wish, or after a number of epochs; nothing but time is lost."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from lightning.pytorch import Callback, Trainer


class StopAtEpoch(Callback):
    """Raises KeyboardInterrupt at the start of the next epoch, when the checkpoint of the last one is written.

    Before the first and after the last epoch SIGTERM means what it always does. Whoever sent it may kill a process that
    takes too long; then the epoch is lost, and the run goes on from the checkpoint before.
    """

    asked = False

    def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
        """Take the signal over from Lightning, which would stop in the middle of an epoch."""
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self._note)  # Lightning puts the earlier handler back after training

    def on_train_epoch_start(self, trainer: Trainer, pl_module: Any) -> None:
        """Stop here if asked to."""
        if self.asked:
            raise KeyboardInterrupt

    def _note(self, number: int, frame: object) -> None:
        self.asked = True


class StopAfter(Callback):
    """Stops training after so many epochs of the whole run; the schedule still runs over all that were planned.

    Args:
        epochs: None means never.

    Attributes:
        cut: whether training would have gone on.
    """

    def __init__(self, epochs: int | None) -> None:
        self.epochs, self.cut = epochs, False

    def on_train_epoch_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Stop, unless early stopping or the last epoch does."""
        done = trainer.current_epoch + 1
        if self.epochs is not None and self.epochs <= done < (trainer.max_epochs or 0) and not trainer.should_stop:
            self.cut = trainer.should_stop = True


@contextmanager
def wish() -> Iterator[Callable[[], bool]]:
    """SIGTERM, and Ctrl-C where it is not ignored, become an answer to "was it asked to stop?" while inside."""
    asked: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    taken = [signal.SIGTERM]
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        taken.append(signal.SIGINT)
    before = {number: signal.signal(number, lambda number, frame: asked.append(number)) for number in taken}
    try:
        yield lambda: bool(asked)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
