"""Claims against records: ours under the honest protocol, ours under the paper's procedure, and a verdict by rule.

The rule (*ours*): a score agrees where it lies inside our 95 % interval, widened by the margin of half a point: it is
not contradicted. A difference agrees where our whole interval lies within the margin of it, and fails where our whole
interval lies outside: few runs confirm nothing. A statement "A is better than B" agrees where our whole interval does,
and fails where our interval lies on the other side or within the margin. What agrees under the honest protocol is
``within``; what agrees under the paper's procedure alone is ``explained by protocol``; what fails under both is ``not
reproduced``. Everything else cannot be told.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from mer_bench.data.corpora import protocols
from mer_bench.errors import UserError
from mer_bench.metrics.definitions import direction
from mer_bench.results.claims import FULL, Claim, Side
from mer_bench.results.lacking import lacking
from mer_bench.results.measured import Group, Row, Sums, groups
from mer_bench.results.schema import Record
from mer_bench.results.statistics import MARGIN, Difference, Estimate

Verdict = Literal["within", "explained by protocol", "not reproduced", "cannot test"]
Answer = Literal["yes", "no", "open"]


@dataclass(frozen=True)
class Ours:
    """What was measured for a claim under one protocol.

    Attributes:
        protocol: its name.
        value: score, or left minus right; None where nothing complete was run.
        low: lower end of its interval.
        high: upper end.
        modalities: of the rows, left then right.
        reason: why there is nothing.
    """

    protocol: str
    value: float | None = None
    low: float = 0.0
    high: float = 0.0
    modalities: tuple[tuple[str, ...], ...] = ()
    reason: str = ""


@dataclass(frozen=True)
class Judged:
    """A claim with what was found.

    Attributes:
        claim: it.
        honest: ours under the honest protocol.
        legacy: ours under the paper's procedure; None where no protocol repeats it.
        verdict: by the rule above.
        reason: of "cannot test".
        commands: that would supply what is missing for a verdict.
    """

    claim: Claim
    honest: Ours
    legacy: Ours | None
    verdict: Verdict
    reason: str = ""
    commands: tuple[str, ...] = ()


def judge(claims: Iterable[Claim], records: Iterable[Record], sums: Sums) -> list[Judged]:
    """Every claim with its verdict; a pure function, the order of the records changes nothing."""
    kept = [record for record in records if record.protocol.legacy or record.selection.rule != "test"]
    names = sorted({name for claim in claims for name in (*claim.honest, claim.legacy) if name})
    by_protocol = {name: groups(kept, sums, name) for name in names}
    return [_judge(claim, by_protocol) for claim in claims]


def _judge(claim: Claim, by_protocol: Mapping[str, list[Group]]) -> Judged:
    tried = [_ours(claim, name, by_protocol[name]) for name in claim.honest]
    honest = next((ours for ours in tried if ours.value is not None), tried[0])
    legacy = _ours(claim, claim.legacy, by_protocol[claim.legacy]) if claim.legacy else None
    verdict, reason = _verdict(claim, honest, legacy)
    wanted: tuple[str, ...] = ()
    if verdict == "cannot test" and claim.testable:
        ours = legacy if legacy is not None and answer(claim, honest) == "no" else honest
        reason, wanted = _missing(claim, ours, by_protocol[ours.protocol], reason)
    return Judged(claim, honest, legacy, verdict, reason, wanted)


def _missing(claim: Claim, ours: Ours, found: list[Group], reason: str) -> tuple[str, tuple[str, ...]]:
    """Which runs would tell, and what makes them; where all are there, what says how many more are needed."""
    lacks, commands = lacking(claim, ours.protocol, found)
    if ours.value is None and lacks:
        apart = "the honest protocol disagrees, and the paper's procedure was not run: "
        return f"{apart if ours.protocol == claim.legacy else ''}{lacks}", commands
    if ours.value is None or claim.right is None:
        return reason, ()
    sides = " ".join(map(_spelt, (claim.left, claim.right)))
    command = f"mer-bench compare {sides} --protocol {ours.protocol}"
    primary = next((p.primary for name, p in protocols().items() if name == ours.protocol), claim.metric)
    return reason, (command + (f" --metric {claim.metric}" if claim.metric != primary else ""),)


def _spelt(side: Side) -> str:
    """As `mer-bench compare` takes it."""
    inputs = f":{'+'.join(side.modalities)}" if side.modalities else ""
    if side.condition == FULL:
        return f"{side.method}{inputs}"
    return f"{side.method}{inputs}@{side.condition}"


def _ours(claim: Claim, protocol: str, found: list[Group]) -> Ours:
    """From the first group that has all that the claim needs; the reason of the first one where none has."""
    reasons = []
    for group in found:
        try:
            left = group.find(claim.left), claim.left.condition
            if claim.right is None:
                return _measured(protocol, [left], group.score(*_with_metric(left, claim.metric)))
            right = group.find(claim.right), claim.right.condition
            return _measured(protocol, [left, right], group.difference(claim.metric, left, right))
        except UserError as error:
            reasons.append(str(error))
    return Ours(protocol, reason=reasons[0] if reasons else f"nothing was run under {protocol}")


def _with_metric(side: tuple[Row, str], metric: str) -> tuple[Row, str, str]:
    return side[0], metric, side[1]


def _measured(protocol: str, rows: list[tuple[Row, str]], found: Estimate | Difference) -> Ours:
    return Ours(protocol, found.value, found.low, found.high, tuple(row.key[1] for row, _ in rows))


def answer(claim: Claim, ours: Ours) -> Answer:
    """Whether what was measured agrees with a claim."""
    if ours.value is None:
        return "open"
    if claim.value is not None:
        near = (claim.value - MARGIN, claim.value + MARGIN)
        if ours.high < near[0] or near[1] < ours.low:
            return "no"
        return "yes" if claim.kind == "score" or (near[0] <= ours.low and ours.high <= near[1]) else "open"
    ends = sorted(direction(claim.metric) * end for end in (ours.low, ours.high))
    if ends[0] > 0:
        return "yes"
    return "no" if ends[1] < 0 or (ends[0] >= -MARGIN and ends[1] <= MARGIN) else "open"


def _verdict(claim: Claim, honest: Ours, legacy: Ours | None) -> tuple[Verdict, str]:
    if not claim.testable:
        return "cannot test", claim.why
    first = answer(claim, honest)
    second = answer(claim, legacy) if legacy is not None else "no"
    if first == "yes":
        return "within", ""
    if first == "open":
        return "cannot test", honest.reason or "the interval holds both answers"
    if second == "yes":
        return "explained by protocol", ""
    if legacy is not None and legacy.value is None:
        return "cannot test", f"the honest protocol disagrees, and the paper's procedure was not run: {legacy.reason}"
    if second == "open":
        return (
            "cannot test",
            "the honest protocol disagrees, and under the paper's procedure the interval holds both answers",
        )
    return "not reproduced", ""


def sides(claim: Claim) -> list[Side]:
    """The rows that a claim is about."""
    return [claim.left] if claim.right is None else [claim.left, claim.right]
