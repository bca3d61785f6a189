"""Two rows in words: difference, interval, p, probabilities, where it comes from, and what would resolve it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from mer_bench.errors import UserError, did_you_mean
from mer_bench.metrics.definitions import METRICS, direction, split
from mer_bench.results.claims import FULL, Side
from mer_bench.results.measured import Group, Row, masks_of, superseded
from mer_bench.results.needs import LARGEST, needs
from mer_bench.results.statistics import MARGIN

FEW = 12  # folds or clusters that are listed one by one


@dataclass(frozen=True)
class Pair:
    """What is compared.

    Attributes:
        group: of both rows.
        metric: ``task/metric``.
        left: a row and a condition.
        right: the other.
    """

    group: Group
    metric: str
    left: tuple[Row, str]
    right: tuple[Row, str]

    @property
    def names(self) -> tuple[str, str]:
        """The sides, as short as they can be told apart."""
        return _name(self.left, self.right), _name(self.right, self.left)


def pair(found: list[Group], metric: str, left: Side, right: Side) -> Pair:
    """Both sides from the first group that has them complete.

    Raises:
        UserError: no group has them; with the reason of the first one.
    """
    reasons = []
    for group in found:
        try:
            sides = (group.find(left), left.condition), (group.find(right), right.condition)
            for row, condition in sides:
                _condition_is_there(row, condition)
            return Pair(group, metric or group.plan.protocol.primary, *sides)
        except UserError as error:
            reasons.append(str(error))
    raise UserError(reasons[0])


def _condition_is_there(row: Row, condition: str) -> None:
    """Raise `UserError` with the nearest names where a run was not scored under a condition."""
    for entry in row.grid.values():
        if not masks_of(entry.record.metrics, condition):
            near = did_you_mean(condition, entry.record.metrics)
            raise UserError(f"{row.name}: not scored under {condition!r}; {near}")


def report(two: Pair) -> str:
    """The whole answer, line by line."""
    lines = [*_head(two), "", *_verdict(two), "", *_parts(two), *_resolve(two)]
    return "\n".join(lines)


def _name(side: tuple[Row, str], other: tuple[Row, str]) -> str:
    (slug, modalities, settings), condition = side[0].key, side[1]
    words = [slug]
    if other[0].key[1] != modalities:
        words.append(f"on {' + '.join(modalities)}")
    if other[0].key[:2] == (slug, modalities) and other[0].key[2] != settings:
        words.append(f"({settings[:8]})")
    if other[1] != condition or condition != FULL:
        words.append(f"under {condition}")
    return " ".join(words)


def _shown(metric: str, value: float, *, sign: bool = False) -> str:
    percent = METRICS[split(metric)[1]].percent
    return f"{value * (100 if percent else 1):{'+' if sign else ''}.{2 if percent else 4}f}"


def _head(two: Pair) -> Iterator[str]:
    plan, better = two.group.plan, "higher" if direction(two.metric) > 0 else "lower"
    first = next(iter(two.left[0].grid.values())).record
    unit = " in per cent" if METRICS[split(two.metric)[1]].percent else ""
    yield f"{two.names[0]} against {two.names[1]}"
    yield f"{plan.protocol.name}: {two.metric}{unit}, {better} is better; {' + '.join(two.left[0].key[1])}"
    folds = f"{plan.protocol.folds} fold{'s' if plan.protocol.folds > 1 else ''}"
    seeds = len(plan.protocol.seeds)
    runs = f"{folds} x {seeds} seed{'s' if seeds > 1 else ''}"
    yield f"rule {plan.protocol.statistics}, {runs} each; settings {two.group.variant}; data {two.group.data[:16]}"
    if plan.protocol.seeds != first.protocol.seeds:
        left, planned = (", ".join(map(str, seeds)) for seeds in (plan.protocol.seeds, first.protocol.seeds))
        yield f"A PART OF THE PROTOCOL: seeds {left} of {planned}; the leaderboard ranks complete rows only"
    if first.synthetic:
        yield "SYNTHETIC DATA: this says nothing about any corpus"
    if superseded(plan.protocol):
        yield f"OLDER DEFINITION of {plan.protocol.name} ({plan.protocol.hash}): these runs are not ranked any more"
    for name, (row, _) in zip(two.names, (two.left, two.right), strict=True):
        if any(entry.record.selection.rule == "test" for entry in row.grid.values()):
            yield f"{name}: chosen on the part that is reported, so its score is too high (TEST-SELECTED)"


def _verdict(two: Pair) -> Iterator[str]:
    width = max(map(len, (*two.names, "difference")))
    for name, side in zip(two.names, (two.left, two.right), strict=True):
        found = two.group.score(side[0], two.metric, side[1])
        ends = f"{_shown(two.metric, found.low)} to {_shown(two.metric, found.high)}"
        yield f"{name:<{width}}  {_shown(two.metric, found.value):>8}   95 % interval {ends}"
    d = two.group.difference(two.metric, two.left, two.right)
    ends = f"{_shown(two.metric, d.low, sign=True)} to {_shown(two.metric, d.high, sign=True)}"
    said = f"{'difference':<{width}}  {_shown(two.metric, d.value, sign=True):>8}   95 % interval {ends}"
    primary = two.group.plan.protocol.primary
    if two.metric != primary or any(condition != FULL for _, condition in (two.left, two.right)):
        yield said
        yield f"not adjusted, and no p: only {primary} with nothing missing is tested"
        return
    yield f"{said}, p = {d.p:.3g}"
    percent = METRICS[split(two.metric)[1]].percent
    margin = f"{MARGIN * 100:g} points" if percent else f"{MARGIN:g}"
    yield (
        f"P({two.names[0]} is better) = {d.p_better:.3f}, P(they differ by less than {margin}) = {d.p_within:.3f}, "
        f"P(better by more) = {d.p_clearly_better:.3f}"
    )
    yield "p is of this one comparison; the leaderboard adjusts its confirmatory family"


def _parts(two: Pair) -> Iterator[str]:
    """By fold, by cluster, by class or output, as far as the records have them."""
    plan = two.group.plan
    if plan.protocol.folds > 1:
        (_, a), (_, b) = (two.group.sample(side[0], two.metric, side[1]) for side in (two.left, two.right))
        yield from _listed(two, "fold", {str(i): float(x) for i, x in enumerate((a - b).mean(axis=1))})
    if two.metric == plan.protocol.primary:
        yield from _listed(two, plan.protocol.cluster, _by_cluster(two))
        yield from _by_class(two)
    outputs = _outputs(two, two.left).keys() & _outputs(two, two.right).keys()
    if outputs:
        gains = {name: _outputs(two, two.left)[name] - _outputs(two, two.right)[name] for name in sorted(outputs)}
        yield from _listed(two, "output", gains)


def _listed(two: Pair, what: str, gains: dict[str, float]) -> Iterator[str]:
    """Differences one by one where they are few, else how they lie."""
    if not gains:
        return
    values = np.array([*gains.values()]) * direction(two.metric)
    sides = f"better in {(values > 0).sum()}, worse in {(values < 0).sum()}, equal in {(values == 0).sum()}"
    yield f"by {what} ({len(gains)}): {two.names[0]} is {sides}"
    if len(gains) <= FEW:
        shown = (f"{name} {_shown(two.metric, value, sign=True)}" for name, value in gains.items())
        yield f"  {'   '.join(shown)}"
    else:
        ends = (_shown(two.metric, float(np.percentile([*gains.values()], q)), sign=True) for q in (10, 50, 90))
        yield f"  a tenth lies below {next(ends)}, half below {next(ends)}, a tenth above {next(ends)}"


def _sums(two: Pair, side: tuple[Row, str]) -> dict[str, list[np.ndarray]]:
    """Statistics by cluster name, one a run (and mask); empty where a run has none."""
    found: dict[str, list[np.ndarray]] = {}
    for place in two.group.plan.planned:
        sums = side[0].grid[place].sums
        names = masks_of(sums, side[1])
        if not names:
            return {}
        for name in names:
            for cluster, values in zip(sums[name].clusters, sums[name].values, strict=True):
                found.setdefault(cluster, []).append(values)
    return found


def _by_cluster(two: Pair) -> dict[str, float]:
    first, second = _sums(two, two.left), _sums(two, two.right)
    if not first or first.keys() != second.keys():
        return {}
    value = next(iter(next(iter(two.left[0].grid.values())).sums.values())).value
    with np.errstate(divide="ignore", invalid="ignore"):
        gains = {
            name: float(np.mean([value(x) for x in first[name]]) - np.mean([value(x) for x in second[name]]))
            for name in sorted(first)
        }
    return {name: gain for name, gain in gains.items() if np.isfinite(gain)}


def _by_class(two: Pair) -> Iterator[str]:
    """Recall of each class with nothing missing, over all test items and runs, from the records' confusions."""
    task = split(two.metric)[0]
    sides = (two.left, two.right)
    found = [[e.record.confusion.get(task) for e in row.grid.values()] for row, _ in sides]
    if any(condition != FULL for _, condition in sides) or not all(all(one) for one in found):
        return
    recalls = []
    for confusions in found:
        counts = np.sum([np.array(one.counts) for one in confusions if one], axis=0)
        recalls.append(100 * counts.diagonal() / counts.sum(axis=1))
    names = next(one.names for one in found[0] if one)
    yield "recall by class, per cent:"
    for name, first, second in zip(names, *recalls, strict=True):
        yield f"  {name:<12} {first:6.2f} {second:6.2f}   {first - second:+.2f}"


def _outputs(two: Pair, side: tuple[Row, str]) -> dict[str, float]:
    """The metric of each label or dimension, mean over runs."""
    found: dict[str, list[float]] = {}
    prefix = f"{two.metric}/"
    for entry in side[0].grid.values():
        for name in masks_of(entry.record.metrics, side[1]):
            for metric, value in entry.record.metrics[name].items():
                if metric.startswith(prefix):
                    found.setdefault(metric.removeprefix(prefix), []).append(value)
    return {name: float(np.mean(values)) for name, values in found.items()}


def _resolve(two: Pair) -> Iterator[str]:
    (rule, a), (_, b) = (two.group.sample(side[0], two.metric, side[1]) for side in (two.left, two.right))
    same = two.left[0].key == two.right[0].key
    if same and two.left[1] == two.right[1]:
        return
    wanted = abs(rule.difference(a, b).value)
    found = needs(two.group, rule, a, b, max(wanted, MARGIN), same_runs=same)
    what = "this difference" if wanted > MARGIN else f"a difference of {_shown(two.metric, MARGIN)}"
    seeds, units = found.have
    yield ""
    here = f"{seeds} seed{'s' if seeds > 1 else ''}, {units} {found.unit}s"
    yield f"as it stands ({here}), 80 % power needs {_shown(two.metric, found.detectable)}"
    if found.detectable <= max(wanted, MARGIN):
        yield f"{what} is resolved"
        return
    more = "no number of seeds resolves it" if found.seeds is None else f"{found.seeds} seeds of each"
    people = f"more than {LARGEST} {found.unit}s" if found.units is None else f"about {found.units} {found.unit}s"
    yield f"to resolve {what}: {more}; or {people} with {seeds} seed{'s' if seeds > 1 else ''}"
