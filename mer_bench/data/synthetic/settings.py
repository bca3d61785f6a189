"""What determines a synthetic corpus, resolved and checked; random streams by name."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Literal, get_args

import numpy as np

from mer_bench.data.synthetic.blueprint import Profile
from mer_bench.data.synthetic.profiles import PROFILES
from mer_bench.errors import UserError, did_you_mean

Structure = Literal["redundant", "unique", "synergy", "synergy_lookup", "mixed"]
STRUCTURES: tuple[str, ...] = get_args(Structure)
REGIMES = ("redundant", "unique", "synergy", "none")
MIXTURE = (0.4, 0.3, 0.2, 0.1)  # ours: shares of the regimes in `mixed`
_PURE = {"redundant": 0, "unique": 1, "synergy": 2, "synergy_lookup": 2}


@dataclass(frozen=True)
class Settings:
    """Everything that determines a synthetic corpus, bit by bit; it stands in the file as `truth["parameters"]`.

    Attributes:
        corpus: which twin.
        structure: how label information is spread over the modalities.
        seed: of every random stream.
        items: how many items (biovid: a multiple of 435; affwild2: tracks).
        reveal: q, the probability that the hidden code names the true class; for regressions the share of variance
            that all modalities together explain.
        mixture: shares of the regimes redundant, unique, synergy, none; one of them is 1 unless the structure is mixed.
        weights: π by modality, who owns unique information; sums to 1. Its keys are the modalities, in order.
        pair: the modalities a and b of the synergy.
        missing: share of items without the modality.
        invalid: share of invalid frames.
        dims: features per frame.
        seconds: mean duration of an item.
        signal: size of a code; the noise of one frame has standard deviation 1.
        offset: standard deviation of the offset of each session, speaker, recording and item.
    """

    corpus: str
    structure: str
    seed: int
    items: int
    reveal: float
    mixture: tuple[float, float, float, float]
    weights: Mapping[str, float]
    pair: tuple[str, str]
    missing: Mapping[str, float]
    invalid: Mapping[str, float]
    dims: Mapping[str, int]
    seconds: float
    signal: float
    offset: float

    @property
    def modalities(self) -> tuple[str, ...]:
        """Names in the order of the file."""
        return tuple(self.weights)

    @property
    def profile(self) -> Profile:
        """The twin's profile."""
        return PROFILES[self.corpus]

    @property
    def lookup(self) -> bool:
        """Whether the synergy is a table that modality b shows segment by segment."""
        return self.structure == "synergy_lookup"

    @property
    def mixed(self) -> bool:
        """Whether regimes are drawn and shown by a tag."""
        return self.structure == "mixed"

    def stream(self, *names: object) -> np.random.Generator:
        """A random stream of its own for each name; the same in every process and on every machine."""
        key = "/".join(map(str, (self.corpus, self.seed, *names)))
        return np.random.Generator(np.random.PCG64(int.from_bytes(hashlib.sha256(key.encode()).digest(), "little")))

    def subsets(self) -> list[tuple[str, ...]]:
        """Every non-empty subset of the modalities, small ones first."""
        names = self.modalities
        return [s for size in range(1, len(names) + 1) for s in combinations(names, size)]

    def plain(self) -> dict[str, Any]:
        """The settings as JSON can hold them."""
        return dataclasses.asdict(self)

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Settings:
        """The settings that `plain` wrote."""
        return cls(**{**plain, "mixture": tuple(plain["mixture"]), "pair": tuple(plain["pair"])})


def resolve(
    corpus: str,
    *,
    structure: str = "mixed",
    seed: int = 0,
    items: int | Literal["full"] | None = None,
    reveal: float = 0.9,
    mixture: Sequence[float] | None = None,
    weights: Mapping[str, float] | None = None,
    pair: Sequence[str] | None = None,
    missing: float | Mapping[str, float] | None = None,
    invalid: float | Mapping[str, float] | None = None,
    dims: Mapping[str, int] | None = None,
    seconds: float | None = None,
    signal: float = 4.0,
    offset: float = 0.25,
    signals: bool = False,
) -> Settings:
    """Fill in what the profile decides and check everything.

    Args:
        corpus: slug of a corpus.
        structure: one of `STRUCTURES`.
        seed: any integer from 0.
        items: how many, ``"full"`` for the size of the corpus, None for a small default.
        reveal: in (0.5, 1].
        mixture: for the structure `mixed`, shares of redundant, unique, synergy, none.
        weights: who owns unique information, by modality; scaled to sum 1; default all alike.
        pair: the two modalities that hold the synergy.
        missing: share of items without a modality, for all or by name; default from the profile.
        invalid: share of invalid frames, likewise.
        dims: features per frame, by modality.
        seconds: mean duration of an item.
        signal: size of a code; the noise of one frame has standard deviation 1. The default (ours) lets a small network
            come near the optimum of `synergy` with a thousand items; the optimum does not depend on it.
        offset: standard deviation of the offset of each session, speaker, recording and item (ours).
        signals: make the optional raw signals as well (biovid).

    Raises:
        UserError: a name that does not exist or a number outside its range.
    """
    if corpus not in PROFILES:
        raise UserError(f"no synthetic twin of {corpus!r}; {did_you_mean(corpus, PROFILES)}")
    if structure not in STRUCTURES:
        raise UserError(f"no structure {structure!r}; {did_you_mean(structure, STRUCTURES)}")
    profile = PROFILES[corpus]
    if signals and not any(m.optional for m in profile.modalities.values()):
        raise UserError(f"{corpus} has no raw signals (biovid has)")
    made = {name: m for name, m in profile.modalities.items() if signals or not m.optional}
    invalid_of = {n: 0.0 if m.kind != "sequence" else m.invalid for n, m in made.items()}
    sequences = [n for n, m in made.items() if m.kind == "sequence"]
    if isinstance(invalid, int | float):
        invalid = dict.fromkeys(sequences, float(invalid))
    elif invalid and (odd := [n for n in invalid if n in made and n not in sequences and invalid[n]]):
        raise UserError(f"invalid: {odd[0]} of {corpus} has no frames that could be invalid")
    chosen = Settings(
        corpus=corpus,
        structure=structure,
        seed=_within("seed", seed, 0, 2**63 - 1, whole=True),
        items=_items(profile, items),
        reveal=_within("reveal", reveal, 0.5, 1.0, open_low=True),
        mixture=_mixture(structure, mixture),
        weights=_weights(made, weights),
        pair=_pair(made, profile.pair if pair is None else pair, structure),
        missing=_by_name("missing", {n: m.missing for n, m in made.items()}, missing, 0.0, 0.9),
        invalid=_by_name("invalid", invalid_of, invalid, 0.0, 0.5),
        dims=_by_name("dims", {n: m.dim for n, m in made.items()}, dims, 1, 65536, whole=True),
        seconds=_within("seconds", profile.seconds[0] if seconds is None else float(seconds), 0.5, 3600.0),
        signal=_within("signal", float(signal), 0.0, 100.0, open_low=True),
        offset=_within("offset", float(offset), 0.0, 100.0),
    )
    fixed = [n for n, m in made.items() if (m.names or m.kind == "signal") and chosen.dims[n] != m.dim]
    if fixed:
        raise UserError(f"dims: {fixed[0]} of {corpus} has {made[fixed[0]].dim} named columns, which is fixed")
    return chosen


def _within(name: str, value: Any, low: float, high: float, *, open_low: bool = False, whole: bool = False) -> Any:
    kinds = int if whole else int | float
    number = isinstance(value, kinds) and not isinstance(value, bool) and np.isfinite(value)
    if not number or not low <= value <= high or (open_low and value == low):
        kind = "a whole number" if whole else "a number"
        raise UserError(f"{name} must be {kind} in {'(' if open_low else '['}{low:g}, {high:g}], got {value!r}")
    return value


def _items(profile: Profile, items: int | str | None) -> int:
    if items is None:
        return profile.items[0]
    if items == "full":
        return profile.items[1]
    if not isinstance(items, int) or isinstance(items, bool) or items < 1:
        raise UserError(f"items must be a whole number or 'full', got {items!r}")
    return items


def _mixture(structure: str, mixture: Sequence[float] | None) -> tuple[float, float, float, float]:
    if structure in _PURE:
        if mixture is not None:
            raise UserError(f"mixture belongs to the structure mixed, not to {structure}")
        one_hot = [float(k == _PURE[structure]) for k in range(4)]
        return one_hot[0], one_hot[1], one_hot[2], one_hot[3]
    shares = MIXTURE if mixture is None else tuple(float(v) for v in mixture)
    if len(shares) != 4 or min(shares) < 0 or abs(sum(shares) - 1) > 1e-9:
        raise UserError(f"mixture needs four shares ({', '.join(REGIMES)}) that sum to 1, got {mixture!r}")
    return shares[0], shares[1], shares[2], shares[3]


def _weights(made: Iterable[str], weights: Mapping[str, float] | None) -> dict[str, float]:
    shares = (
        {m: 1.0 for m in made} if weights is None else _by_name("weights", dict.fromkeys(made, 0.0), weights, 0, 1e9)
    )
    total = sum(shares.values())
    if total <= 0:
        raise UserError("weights: at least one modality needs a weight above 0")
    return {m: share / total for m, share in shares.items()}


def _pair(made: Mapping[str, Any], pair: Sequence[str], structure: str) -> tuple[str, str]:
    for name in pair:
        if name not in made:
            raise UserError(f"pair: no modality {name!r}; {did_you_mean(name, made)}")
    if len(pair) != 2 or pair[0] == pair[1]:
        raise UserError(f"pair needs two different modalities, got {', '.join(pair)}")
    if structure == "synergy_lookup" and made[pair[1]].kind != "sequence":
        raise UserError(f"pair: the second modality of synergy_lookup must be a sequence, {pair[1]} is not")
    return pair[0], pair[1]


def _by_name(
    name: str, default: Mapping[str, Any], given: Any, low: float, high: float, *, whole: bool = False
) -> dict[str, Any]:
    """The defaults, changed for all modalities by a number or for some by a mapping."""
    if given is None:
        return dict(default)
    if not isinstance(given, Mapping):
        given = dict.fromkeys(default, given)
    for m in given:
        if m not in default:
            raise UserError(f"{name}: no modality {m!r}; {did_you_mean(m, default)}")
    return {m: _within(f"{name} of {m}", given.get(m, value), low, high, whole=whole) for m, value in default.items()}
