"""What is hidden behind the labels, and the symbols by which the modalities show it.

`w` is the label y with probability q, else another class. A regime says how w is shown:

    redundant  every modality shows w
    unique     one owner shows w
    synergy    a shows c, uniform; b shows (w - c) mod K. As a look-up, b shows K segments (key j, value σ(j)), σ(c) = w
    none       nobody shows anything

A pure structure is one regime; `mixed` draws the regime of each unit and shows it to everybody by a tag.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mer_bench.data.synthetic.blueprint import Classes, Scales
from mer_bench.data.synthetic.people import People
from mer_bench.data.synthetic.settings import Settings
from mer_bench.data.synthetic.timeline import Ints, Timeline

REDUNDANT, UNIQUE, SYNERGY, NONE = range(4)
NULL = -1
_PERSISTENCE = 0.95  # ours: correlation of neighbouring frames of a continuous component
_FLIP = 0.05  # ours: chance that a sign changes from one frame to the next


@dataclass(frozen=True)
class Code:
    """Classes in n places (units or grains), L independent labels of K classes each.

    Attributes:
        y: (n, L) the true class.
        w: (n, L) what the code says.
        c: (n, L) what modality a shows under synergy.
        regime: (n,) how w is shown.
        owner: (n,) index of the modality that shows w under the regime unique.
        size: K.
        keys: (n, L, K) which key stands in each segment of a look-up; None without.
        table: (n, L, K) σ, the value of each key.
    """

    y: Ints
    w: Ints
    c: Ints
    regime: Ints
    owner: Ints
    size: int
    keys: Ints | None = None
    table: Ints | None = None

    def symbols(self, settings: Settings, modality: str) -> Ints:
        """(n, L) the symbol that a modality shows, `NULL` for none; not for modality b of a look-up."""
        a, b = settings.pair
        regime = self.regime[:, None]
        shown = (regime == REDUNDANT) | (
            (regime == UNIQUE) & (self.owner[:, None] == settings.modalities.index(modality))
        )
        symbol = np.where(shown, self.w, NULL)
        if modality == a:
            symbol = np.where(regime == SYNERGY, self.c, symbol)
        if modality == b:
            symbol = np.where(regime == SYNERGY, (self.w - self.c) % self.size, symbol)
        return symbol

    def revealed(self, settings: Settings, seen: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """(n,) whether the modalities that are seen, (n, modalities), name w."""
        both = seen[:, [settings.modalities.index(m) for m in settings.pair]].all(axis=1)
        owner = np.take_along_axis(seen, self.owner[:, None], axis=1)[:, 0]
        return np.select(
            [self.regime == REDUNDANT, self.regime == UNIQUE, self.regime == SYNERGY], [seen.any(axis=1), owner, both]
        ).astype(bool)


@dataclass(frozen=True)
class Gains:
    """Shares of the variance of a scale, α in the formulas. They sum to 1.

    Attributes:
        redundant: of the component r that all modalities show.
        unique: (modalities,) of the component that one modality shows.
        synergy: of the product of two signs.
        noise: of what nobody shows.
    """

    redundant: float
    unique: NDArray[np.float64]
    synergy: float
    noise: float


@dataclass(frozen=True)
class Continuous:
    """Scales in g grains, D independent dimensions of unit variance.

    Attributes:
        y: (g, D) the true value.
        r: (g, D) the component that everybody shows.
        u: (modalities, g, D) the component of each modality.
        signs: the synergy: a code of two classes, w = 0 where the product of the two signs is +1.
    """

    y: NDArray[np.float64]
    r: NDArray[np.float64]
    u: NDArray[np.float64]
    signs: Code

    @property
    def product(self) -> NDArray[np.float64]:
        """(g, D) the product of the two signs, +1 or -1."""
        return (1 - 2 * self.signs.w).astype(np.float64)


def gains(settings: Settings) -> Gains:
    """The shares of variance that a structure means for a scale: each regime's share times `reveal`, the rest noise."""
    shares = settings.reveal * np.array(settings.mixture, dtype=np.float64)
    unique: NDArray[np.float64] = shares[UNIQUE] * np.array(list(settings.weights.values()))
    noise = 1.0 - float(shares[[REDUNDANT, UNIQUE, SYNERGY]].sum())
    return Gains(float(shares[REDUNDANT]), unique, float(shares[SYNERGY]), max(noise, 0.0))


def draw(settings: Settings, who: People, line: Timeline) -> dict[str, Code | Continuous]:
    """Everything hidden, by name. Classes live in units, scales in grains."""
    found: dict[str, Code | Continuous] = {}
    for name, hidden in settings.profile.latents.items():
        if isinstance(hidden, Scales):
            found[name] = draw_scales(settings, name, hidden, line.unit_size)
        else:
            found[name] = draw_classes(settings, name, hidden, len(line.unit_item), who.design.get(name))
    return found


def draw_classes(settings: Settings, name: str, hidden: Classes, n: int, design: Ints | None = None) -> Code:
    """Draw classes and their codes.

    Args:
        settings: of the corpus.
        name: of the hidden thing; its random streams carry it.
        hidden: its class frequencies.
        n: how many.
        design: (n, labels) the classes where they are fixed by design.
    """
    shape, size = (n, hidden.labels), hidden.size
    if design is None:
        edges = np.cumsum(np.array(hidden.prior), axis=1)[:, :-1]
        y = (settings.stream(name, "y").random(shape)[..., None] >= edges).sum(axis=-1)
    else:
        y = design
    rng = settings.stream(name, "w")
    other = (y + 1 + np.floor(rng.random(shape) * (size - 1)).astype(np.int64)) % size
    w = np.where(rng.random(shape) < settings.reveal, y, other)
    c = np.floor(settings.stream(name, "c").random(shape) * size).astype(np.int64)
    regime = _choice(settings.stream(name, "regime"), settings.mixture, n)
    owner = _choice(settings.stream(name, "owner"), tuple(settings.weights.values()), n)
    keys, table = _tables(settings, name, w, c, size) if settings.lookup else (None, None)
    return Code(y, w, c, regime, owner, size, keys, table)


def _choice(rng: np.random.Generator, shares: tuple[float, ...], n: int) -> Ints:
    return np.minimum(np.searchsorted(np.cumsum(shares), rng.random(n), side="right"), len(shares) - 1)


def _tables(settings: Settings, name: str, w: Ints, c: Ints, size: int) -> tuple[Ints, Ints]:
    """Order of the keys, and σ uniform among the permutations with σ(c) = w.

    A uniform permutation whose values w and σ(c) are exchanged is uniform among those wanted.
    """
    keys = settings.stream(name, "keys").random((*w.shape, size)).argsort(axis=-1)
    table = settings.stream(name, "table").random((*w.shape, size)).argsort(axis=-1)
    instead = np.take_along_axis(table, c[..., None], axis=-1)
    table = np.where(table == w[..., None], instead, table)
    np.put_along_axis(table, c[..., None], w[..., None], axis=-1)
    return keys, table


def draw_scales(settings: Settings, name: str, hidden: Scales, unit_size: Ints) -> Continuous:
    """Draw y = √α_R r + Σ √α_m u_m + √α_S s_a s_b + √α_0 ε; inside a unit each part is a stationary chain."""
    share = gains(settings)
    shape = (int(unit_size.sum()), hidden.labels)
    r = ar1(settings.stream(name, "r"), unit_size, hidden.labels)
    u = np.stack([ar1(settings.stream(name, "u", m), unit_size, hidden.labels) for m in settings.modalities])
    flip = 0.0 if settings.lookup else _FLIP
    first, second = (sign_chain(settings.stream(name, "s", k), unit_size, hidden.labels, flip) for k in "ab")
    w = first ^ second
    keys = table = None
    if settings.lookup:  # constant inside a unit: drawn per unit, repeated for its grains
        start = np.cumsum(unit_size) - unit_size
        keys, table = (np.repeat(t, unit_size, axis=0) for t in _tables(settings, name, w[start], first[start], 2))
    everywhere = np.full(shape[0], SYNERGY)
    signs = Code(w, w, first, everywhere, np.zeros_like(everywhere), 2, keys, table)
    noise = ar1(settings.stream(name, "noise"), unit_size, hidden.labels)
    y = np.sqrt(share.redundant) * r + np.sqrt(share.noise) * noise + np.sqrt(share.synergy) * (1.0 - 2.0 * w)
    y = y + np.einsum("m,mgd->gd", np.sqrt(share.unique), u)
    return Continuous(y, r, u, signs)


def ar1(rng: np.random.Generator, unit_size: Ints, columns: int) -> NDArray[np.float64]:
    """(grains, columns) stationary AR(1) chains of unit variance, independent between units."""
    chain = rng.standard_normal((int(unit_size.sum()), columns))
    start = np.cumsum(unit_size) - unit_size
    for step in range(1, int(unit_size.max())):
        at = start[unit_size > step] + step
        chain[at] = _PERSISTENCE * chain[at - 1] + np.sqrt(1 - _PERSISTENCE**2) * chain[at]
    return chain


def sign_chain(rng: np.random.Generator, unit_size: Ints, columns: int, flip: float) -> Ints:
    """(grains, columns) of 0 and 1: symmetric two-state chains, independent between units."""
    turn = (rng.random((int(unit_size.sum()), columns)) < flip).astype(np.int64)
    start = np.cumsum(unit_size) - unit_size
    turn[start] = rng.random((len(start), columns)) < 0.5
    total = np.cumsum(turn, axis=0)
    before = total[start] - turn[start]
    return (total - np.repeat(before, unit_size, axis=0)) % 2
