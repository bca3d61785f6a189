"""From what is hidden to features: noise-free codes in a signal subspace, noise in its complement, one rotation.

A row is (A z, n) R: z the codes of all hidden things side by side, A the size of a code, n noise plus the offsets of
session, speaker, recording and item, R a fixed random rotation per modality. So z can be read off without loss, and
nothing else in a row says anything about it. Values are rounded to a fixed grid, far below the noise, so that the last
bits of a matrix product, which differ between machines, do not change the file.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from mer_bench.data.synthetic.blueprint import Classes
from mer_bench.data.synthetic.latents import NULL, Code, Continuous, gains
from mer_bench.data.synthetic.people import People
from mer_bench.data.synthetic.settings import REGIMES, Settings
from mer_bench.data.synthetic.timeline import Ints, Rows
from mer_bench.errors import UserError

_GRID = 4096.0  # values are multiples of 1/4096
_LEAST_NOISE = 4  # ours: smallest complement, in dimensions
_SIGNAL_NOISE = 8  # ours: complement of a raw signal's template coefficients
_CHUNK = 1 << 20  # values per pass

Reals = NDArray[np.float64]


def block_size(settings: Settings, latent: str, modality: str) -> int:
    """Code dimensions of one hidden thing in one modality."""
    hidden = settings.profile.latents[latent]
    in_pair = modality in settings.pair
    width = 2 if settings.lookup and modality == settings.pair[1] else 1
    if isinstance(hidden, Classes):
        if settings.mixture[2] == 1 and not in_pair:
            return 0
        return width * hidden.labels * hidden.size + (len(REGIMES) if settings.mixed else 0)
    share = gains(settings)
    shown = int(share.redundant > 0) + int(share.unique[settings.modalities.index(modality)] > 0)
    return hidden.labels * (shown + (2 * width if share.synergy > 0 and in_pair else 0))


class Emission:
    """The features of one modality.

    Args:
        settings: of the corpus.
        who: the items.
        hidden: everything hidden, by name.
        modality: its name.

    Raises:
        UserError: too few dimensions for the codes.
    """

    def __init__(self, settings: Settings, who: People, hidden: dict[str, Code | Continuous], modality: str) -> None:
        self.settings, self.who, self.hidden, self.modality = settings, who, hidden, modality
        self.profile = settings.profile.modalities[modality]
        self.size = sum(block_size(settings, name, modality) for name in hidden)
        dim = settings.dims[modality]
        columns = np.setdiff1d(np.arange(dim), self.profile.dead)
        self.live = columns if self.profile.kind != "signal" else np.arange(self.size + _SIGNAL_NOISE)
        if len(self.live) < self.size + _LEAST_NOISE:
            raise UserError(
                f"dims: {modality} has {len(self.live)} live dimensions; {settings.structure} on {settings.corpus} "
                f"needs at least {self.size + _LEAST_NOISE} ({self.size} for codes, {_LEAST_NOISE} for noise)"
            )

    @cached_property
    def rotation(self) -> Reals:
        """(live, live) the orthogonal matrix that a row of codes and noise is multiplied with."""
        q, r = np.linalg.qr(self.settings.stream("rotation", self.modality).standard_normal((len(self.live),) * 2))
        return q * np.sign(np.diag(r))

    def codes(self, rows: Rows, part: slice = slice(None)) -> Reals:
        """(rows, size) z of the given rows."""
        blocks = [
            self._block(name, rows, part) for name in self.hidden if block_size(self.settings, name, self.modality)
        ]
        return np.concatenate([np.zeros((len(rows.unit[part]), 0)), *blocks], axis=1)

    def features(self, rows: Rows) -> NDArray[np.float32]:
        """(rows, dim) the features; zero in dead columns and where a row is invalid."""
        if self.profile.kind == "signal":
            return self._waveforms(rows)
        values = np.zeros((len(rows.item), self.settings.dims[self.modality]), dtype=np.float32)
        step = max(1, _CHUNK // len(self.live))
        rng = self.settings.stream("noise", self.modality)
        for first in range(0, len(values), step):
            part = slice(first, min(first + step, len(values)))
            values[part, self.live] = self._rotated(rows, part, rng)
        values[~rows.valid] = 0.0
        return values

    def _rotated(self, rows: Rows, part: slice, rng: np.random.Generator) -> Reals:
        codes = self.codes(rows, part)
        noise = rng.standard_normal((len(codes), len(self.live) - self.size)) + self._offsets[rows.item[part]]
        return _on_grid(np.concatenate([self.settings.signal * codes, noise], axis=1) @ self.rotation)

    @cached_property
    def _offsets(self) -> Reals:
        """(items, complement) the offset of each item: its session's, its speaker's and its own."""
        n, width = len(self.who.ids), len(self.live) - self.size
        total = self.settings.stream("offset", "item", self.modality).standard_normal((n, width))
        for key in ("session", "speaker", "dialogue"):
            groups = self.who.groups(key)
            if groups is not None:
                names, of_item = np.unique(groups, return_inverse=True)
                drawn = self.settings.stream("offset", key, self.modality).standard_normal((len(names), width))
                total += drawn[of_item]
        return self.settings.offset * total

    def _block(self, name: str, rows: Rows, part: slice) -> Reals:
        """(rows, block) the codes of one hidden thing."""
        hidden = self.hidden[name]
        if isinstance(hidden, Code):
            tag = [_one_hot(hidden.regime[rows.unit[part]], len(REGIMES))] if self.settings.mixed else []
            return np.concatenate([self._symbols(hidden, rows.unit[part], rows, part), *tag], axis=1)
        grain = rows.grain[part]
        share, column = gains(self.settings), self.settings.modalities.index(self.modality)
        shown = [hidden.r[grain]] if share.redundant > 0 else []
        if share.unique[column] > 0:
            shown.append(hidden.u[column][grain])
        if share.synergy > 0 and self.modality in self.settings.pair:
            shown.append(self._symbols(hidden.signs, grain, rows, part))
        return np.concatenate(shown, axis=1)

    def _symbols(self, code: Code, at: Ints, rows: Rows, part: slice) -> Reals:
        """(rows, labels x classes) one-hot symbols; of modality b of a look-up, keys and values side by side."""
        if code.keys is None or code.table is None or self.modality != self.settings.pair[1]:
            return _one_hot(code.symbols(self.settings, self.modality)[at], code.size)
        segment = rows.place[part] * code.size // rows.size[part]
        key = np.take_along_axis(code.keys[at], segment[:, None, None], axis=2)
        value = np.take_along_axis(code.table[at], key, axis=2)
        return np.concatenate([_one_hot(key[..., 0], code.size), _one_hot(value[..., 0], code.size)], axis=1)

    @property
    def samples(self) -> int:
        """Samples that a row becomes: 1 but for raw signals, which all have the same length."""
        signal = self.profile.kind == "signal"
        return max(1, round(self.settings.seconds * self.profile.rate_hz)) if signal else 1

    def _waveforms(self, rows: Rows) -> NDArray[np.float32]:
        """(rows x samples, 1) signals: coefficients of slow cosines, and white noise from which these are taken out."""
        rng = self.settings.stream("noise", self.modality)
        coefficients = self._rotated(rows, slice(None), rng)
        cosines = templates(len(self.live), self.samples)
        values = np.empty((len(coefficients), self.samples), dtype=np.float32)
        step = max(1, _CHUNK // self.samples)
        for first in range(0, len(values), step):
            part = slice(first, first + step)
            noise = rng.standard_normal(values[part].shape)
            noise -= (noise @ cosines.T / self.samples) @ cosines
            values[part] = _on_grid(coefficients[part] @ cosines + noise)
        return values.reshape(-1, 1)


def templates(count: int, length: int) -> Reals:
    """(count, length) cosines of 1/2, 2/2, ... periods; orthogonal, each of mean square 1."""
    time = (np.arange(length) + 0.5) / length
    return np.sqrt(2.0) * np.cos(np.pi * np.arange(1, count + 1)[:, None] * time)


def _one_hot(symbols: Ints, size: int) -> Reals:
    """(rows, labels x size) of (rows, labels) or (rows,) symbols; all zero for `NULL`."""
    symbols = symbols.reshape(len(symbols), -1, 1)
    return ((symbols == np.arange(size)) & (symbols != NULL)).reshape(len(symbols), -1).astype(np.float64)


def _on_grid(values: Reals) -> Reals:
    return np.round(values * _GRID) / _GRID
