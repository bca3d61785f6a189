"""Statistics of the biosignals of one sample, and the reader of its file.

Per channel, over the samples of the 5.5 s window in the units of the file:

- mean, median, max, min, std, sum, var: as named; std and var divide by n.
- skew, kurtosis: `scipy.stats`, biased, Fisher; 0 for a constant signal.
- slope: least-squares change per second (`scipy.stats.linregress`).
- peaks: how many peaks (`scipy.signal.find_peaks`) have a prominence above half a standard deviation (ours) and lie a
  shortest distance apart: 1 s for skin conductance, 0.4 s for the ECG (150 beats a minute), 0.1 s for the EMG (ours).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mer_bench.errors import UserError
from mer_bench.prepare.tables import numbers, read_table

RATE_HZ = 512.0
CHANNELS = ("gsr", "ecg", "emg_trapezius", "emg_corrugator", "emg_zygomaticus")
PACK_STATISTICS = ("mean", "median", "max", "min", "std", "sum", "var")
STATISTICS = (*PACK_STATISTICS, "skew", "kurtosis", "slope", "peaks")
APART_S = {"gsr": 1.0, "ecg": 0.4}  # the rest: EMG
EMG_APART_S = 0.1
PROMINENCE = 0.5  # standard deviations
TIME_STEP_US = 1e6 / RATE_HZ


def read_signals(path: Path) -> np.ndarray:
    """(rows, channels) of one sample, in the units of the file.

    Raises:
        UserError: another header, fewer than two rows, or a clock that is not 512 Hz.
    """
    table = read_table(path, ("time", *CHANNELS), delimiter="\t")
    time = numbers(table["time"], f"{path}: time")
    steps = np.diff(time)
    if len(time) < 2 or not (np.abs(steps - TIME_STEP_US) < 2).all():
        told = f"steps of {steps.min():g} to {steps.max():g}" if len(steps) else f"{len(time)} rows"
        raise UserError(f"{path}: time: {told}; expected microseconds at {RATE_HZ:g} Hz (steps of 1953)")
    return np.stack([numbers(table[name], f"{path}: {name}") for name in CHANNELS], axis=1)


def statistics(signal: np.ndarray, channel: str) -> np.ndarray:
    """(statistics,) of one channel, in the order of `STATISTICS`; see the table above."""
    from scipy import signal as processing
    from scipy import stats

    std = signal.std()
    constant = not std > 1e-9 * max(1.0, float(np.abs(signal).max()))
    apart = APART_S.get(channel, EMG_APART_S)
    peaks = [] if constant else processing.find_peaks(signal, prominence=PROMINENCE * std, distance=apart * RATE_HZ)[0]
    return np.array(
        [
            signal.mean(),
            np.median(signal),
            signal.max(),
            signal.min(),
            std,
            signal.sum(),
            signal.var(),
            0.0 if constant else stats.skew(signal),
            0.0 if constant else stats.kurtosis(signal),
            0.0 if constant else stats.linregress(np.arange(len(signal)) / RATE_HZ, signal).slope,
            len(peaks),
        ]
    )
