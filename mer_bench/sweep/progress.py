"""How a sweep shows itself: a bar with time left in a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time

from tqdm import tqdm

from mer_bench.runs import Run


class Progress:
    """Counts runs.

    Args:
        total: planned runs.
        done: recorded before.
        bar: show a bar instead of lines.
    """

    def __init__(self, total: int, done: int, *, bar: bool) -> None:
        self.total, self.before, self.finished, self.failures = total, done, 0, 0
        self.start = time.monotonic()
        self.bar = tqdm(total=total, initial=done, unit="run", file=sys.stderr) if bar else None

    def done(self, run: Run, status: str, seconds: float) -> None:
        """A run has its record."""
        self.finished += 1
        word = "" if status == "ok" else f"  {status.upper()}"
        self._line(f"{run.label}  {seconds:.1f} s{word}", advance=True)

    def failed(self, run: Run, status: str, reason: str) -> None:
        """A run is given up."""
        self.failures += 1
        self._line(f"{run.label}  {status.upper()}: {see_log(run, reason)}", advance=False)

    def note(self, text: str) -> None:
        """Something to know."""
        self._line(text, advance=False)

    def tick(self, running: int) -> None:
        """Called every second or so."""
        if self.bar is not None:
            self.bar.set_postfix_str(f"{running} running, {self.failures} failed", refresh=True)

    def close(self) -> None:
        """Close the bar."""
        if self.bar is not None:
            self.bar.close()

    def _line(self, text: str, *, advance: bool) -> None:
        if self.bar is not None:
            self.bar.write(text, file=sys.stderr)
            if advance:
                self.bar.update()
            return
        count = self.before + self.finished
        left = (time.monotonic() - self.start) / max(1, self.finished) * max(0, self.total - count - self.failures)
        print(f"[{count}/{self.total}, {clock(left)} left] {text}", file=sys.stderr, flush=True)


def see_log(run: Run, reason: str) -> str:
    """A reason, and where the run has said more, unless the reason says so; of several together, the first has it."""
    path = run.folder / "log.txt"
    return f"{reason}; see {path}" if path.is_file() and path.name not in reason else reason


def clock(seconds: float) -> str:
    """Seconds as 42 s, 3:05 min or 1:02 h."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}:{rest:02d} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d} h"
