"""What the field claims: `leaderboards/claims.yaml`, read strictly. No numpy, no torch; verdicts are made elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from mer_bench.errors import UserError, did_you_mean
from mer_bench.metrics.definitions import split
from mer_bench.recipes import load_yaml
from mer_bench.results.decode import decode
from mer_bench.results.facts import NAME, SLUG, readable, require

FULL = "full"
_ADDED = {"added": True}


@dataclass(frozen=True)
class Side:
    """One row of a table.

    Attributes:
        method: its slug.
        modalities: that it uses; the widest set that was run where empty.
        condition: what is missing at test.
    """

    method: str
    modalities: tuple[str, ...] = field(default=(), metadata=_ADDED)
    condition: str = field(default=FULL, metadata=_ADDED)

    def __post_init__(self) -> None:
        """Refuse what cannot be a row."""
        require(SLUG, self.method, "a method")
        require(NAME, self.condition, "a condition")
        for modality in self.modalities:
            require(SLUG, modality, "a modality")


@dataclass(frozen=True)
class Claim:
    """One statement.

    Attributes:
        id: slug, unique.
        source: which one.
        place: table or section.
        says: the statement, for people.
        kind: ``score`` (left reaches value), ``difference`` (left minus right is value), ``direction`` (left is better
            than right).
        metric: ``task/metric`` or ``task/metric/output``.
        protocol: of the source, as far as stated.
        left: whose score it is about.
        right: against what; of `difference` and `direction`.
        value: as a record would hold it; of `score` and `difference`.
        honest: protocols of this suite that ask the same question, the nearest first.
        legacy: protocol that repeats the source's procedure; empty where there is none.
        testable: False where no run of this suite can speak to it.
        why: it is not testable.
        differs: in what our runs are not the source's.
    """

    id: str
    source: str
    place: str
    says: str
    kind: Literal["score", "difference", "direction"]
    metric: str
    protocol: str
    left: Side
    honest: tuple[str, ...]
    right: Side | None = field(default=None, metadata=_ADDED)
    value: float | None = field(default=None, metadata=_ADDED)
    legacy: str = field(default="", metadata=_ADDED)
    testable: bool = field(default=True, metadata=_ADDED)
    why: str = field(default="", metadata=_ADDED)
    differs: str = field(default="", metadata=_ADDED)

    def __post_init__(self) -> None:
        """Refuse a kind without what it needs, and a silence without a reason."""
        require(SLUG, self.id, "claims.id")
        if not self.honest:
            raise UserError(f"claim {self.id}: no honest protocol; expected at least one")
        for protocol in (*self.honest, *([self.legacy] if self.legacy else [])):
            require(SLUG, protocol, f"claim {self.id}: a protocol")
        split(self.metric)
        for name in ("place", "says", "protocol", "why", "differs"):
            readable(getattr(self, name), f"claim {self.id}: {name}", 300)
        if (self.right is None) != (self.kind == "score"):
            raise UserError(f"claim {self.id}: a {self.kind} has {'no' if self.kind == 'score' else 'a'} right side")
        if (self.value is None) != (self.kind == "direction"):
            raise UserError(f"claim {self.id}: a {self.kind} has {'no' if self.kind == 'direction' else 'a'} value")
        if self.testable == bool(self.why):
            raise UserError(f"claim {self.id}: `why` says why a claim is not testable; expected one with the other")


@dataclass(frozen=True)
class Claims:
    """All of them.

    Attributes:
        sources: by slug, for people.
        claims: in the order of the file.
    """

    sources: Mapping[str, str]
    claims: tuple[Claim, ...]

    def __post_init__(self) -> None:
        """Refuse dangling sources, and two claims of one name."""
        for slug, title in self.sources.items():
            readable(title, f"sources.{slug}", 200)
        seen = set()
        for claim in self.claims:
            if claim.source not in self.sources:
                raise UserError(
                    f"claim {claim.id}: source {claim.source!r}; {did_you_mean(claim.source, self.sources)}"
                )
            if claim.id in seen:
                raise UserError(f"claim {claim.id}: there are two of this name; expected each once")
            seen.add(claim.id)


def read_claims(path: Path) -> Claims:
    """Read and check claims.

    Raises:
        UserError: the file cannot be read, or does not fit; with the place.
    """
    content = load_yaml(path)
    try:
        found: Claims = decode(Claims, content, "claims")
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    return found
