"""What a run takes, measured by itself. Torch is asked only when it is there already."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


class Meter:
    """Starts with a run; `read` says what the run has taken so far.

    The first run of a process also bears the start of the process.

    Args:
        before: seconds that the run took before, as its share of what several runs did together.
    """

    _used = False

    def __init__(self, before: float = 0.0) -> None:
        self._before = before
        self._wall, self._cpu = time.perf_counter(), time.process_time() if Meter._used else 0.0
        self._startup = 0.0 if Meter._used else process_age()
        Meter._used = True

    def read(self, device: torch.device) -> dict[str, Any]:
        """Measured fields of `Cost`, for a run on this device."""
        wall, cuda = time.perf_counter() - self._wall + self._before, device.type == "cuda"
        return {
            "wall_seconds": round(wall, 3),
            "cpu_seconds": round(time.process_time() - self._cpu + self._before, 3),
            "gpu_seconds": round(wall, 3) if cuda else None,
            "startup_seconds": None if self._startup is None else round(self._startup, 3),
            "peak_memory_bytes": peak_memory(device),
        }


def peak_memory(device: torch.device) -> int:
    """Bytes at the peak: of the device, or of the process."""
    if device.type == "cuda":
        import torch

        return torch.cuda.max_memory_allocated(device)
    import resource  # not on every system, and only training needs it

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # macOS counts bytes


def process_age() -> float | None:
    """Seconds since this process was born; None where the system does not say (only Linux does)."""
    try:
        born = int(Path("/proc/self/stat").read_text().rsplit(")", 1)[1].split()[19]) / os.sysconf("SC_CLK_TCK")
    except OSError:
        return None
    return max(0.0, time.clock_gettime(time.CLOCK_BOOTTIME) - born)
