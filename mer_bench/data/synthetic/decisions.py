"""The best decision about a class from a symbol, for each metric.

A subset of the modalities either learns w or nothing about y. So an item shows one of K + 1 symbols, and the joint
distribution of symbol and class, ``mass`` (symbols, classes), is all there is to know.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mer_bench.data.synthetic.blueprint import Classes, Table
from mer_bench.data.synthetic.settings import Settings

Reals = NDArray[np.float64]


def joint(settings: Settings, table: Table, label: int, rate: float) -> Reals:
    """(symbols + 1, classes) probability of each symbol w, and of none, together with each class of the table."""
    hidden = settings.profile.latents[table.latent]
    assert isinstance(hidden, Classes)
    prior, size = np.array(hidden.prior[label]), hidden.size
    channel = np.full((size, size), (1 - settings.reveal) / (size - 1))
    np.fill_diagonal(channel, settings.reveal)
    keep = list(table.keep) or list(range(size))
    prior = prior[keep] / prior[keep].sum()
    return np.concatenate([rate * channel[:, keep] * prior, (1 - rate) * prior[None]])


def decide(metric: str, mass: Reals) -> Reals:
    """(symbols, classes) the best decision: how often each class is to be given at each symbol.

    `wa`: the likeliest class. `ua`, `balanced_accuracy`: the class with the largest share of its own mass. F1 scores:
    see `_decide_f1`; of a binary label (`f1_positive`), the best threshold. `auc` needs no decision.
    """
    if metric == "wf1":
        return _decide_f1(mass, mass.sum(axis=0))
    if metric == "f1_macro":
        return _decide_f1(mass, np.full(mass.shape[1], 1 / mass.shape[1]))
    if metric == "f1_positive":
        return _decide_threshold(mass)
    scale = np.ones(mass.shape[1]) if metric == "wa" else mass.sum(axis=0)
    return np.eye(mass.shape[1])[np.round(mass / scale, 12).argmax(axis=1)]  # of equals the first one


def value_of(metric: str, mass: Reals, rule: Reals) -> float:
    """The metric of a decision rule in a large sample."""
    if metric == "auc":
        return _area(mass)
    prior, hit, given = mass.sum(axis=0), (rule * mass).sum(axis=0), (rule * mass.sum(axis=1)[:, None]).sum(axis=0)
    if metric == "wa":
        return float(hit.sum())
    if metric in ("ua", "balanced_accuracy"):
        return float((hit / prior).mean())
    f1 = 2 * hit / (given + prior)
    if metric == "f1_positive":
        return float(f1[1])
    return float(f1 @ prior) if metric == "wf1" else float(f1.mean())


def _area(mass: Reals) -> float:
    """Area under the ROC curve when items are ordered by the odds of their symbol; ties count half."""
    odds = np.round(mass[:, 1] / np.maximum(mass.sum(axis=1), 1e-300), 12)
    chance = mass / mass.sum(axis=0)
    above = (odds[:, None] > odds) + 0.5 * (odds[:, None] == odds)
    return float(chance[:, 1] @ above @ chance[:, 0])


def _decide_threshold(mass: Reals) -> Reals:
    """Call the symbols positive in the order of their odds, as far as F1 gains by it."""
    order = np.argsort(-mass[:, 1] / np.maximum(mass.sum(axis=1), 1e-300), kind="stable")
    found = []
    for count in range(1, len(order) + 1):
        rule = np.tile([1.0, 0.0], (len(mass), 1))
        rule[order[:count]] = (0.0, 1.0)
        found.append(rule)
    return max(found, key=lambda rule: value_of("f1_positive", mass, rule))


def _decide_f1(mass: Reals, weight: Reals) -> Reals:
    """Maximise Σ_k weight_k F1_k by exact steps, one symbol after the other, from several starts.

    The sum is not concave, so the best of several stationary points is taken.
    """
    size = mass.shape[1]
    flat = np.full(mass.shape, 1 / size)
    starts = [decide("wa", mass), decide("ua", mass), flat, np.tile(mass.sum(axis=0), (len(mass), 1))]
    found = [_ascend(mass, weight, start.copy()) for start in starts]
    return max(found, key=lambda rule: _weighted_f1(mass, weight, rule))


def _weighted_f1(mass: Reals, weight: Reals, rule: Reals) -> float:
    given = (rule * mass.sum(axis=1)[:, None]).sum(axis=0)
    return float(weight @ (2 * (rule * mass).sum(axis=0) / (given + mass.sum(axis=0))))


def _ascend(mass: Reals, weight: Reals, rule: Reals) -> Reals:
    prior, total = mass.sum(axis=0), mass.sum(axis=1)
    last = -1.0
    while (now := _weighted_f1(mass, weight, rule)) > last + 1e-12:
        last = now
        for symbol in np.flatnonzero(total > 1e-12):  # less is a rounding error of rates that sum to 1
            hit = (rule * mass).sum(axis=0) - rule[symbol] * mass[symbol]
            given = (rule * total[:, None]).sum(axis=0) - rule[symbol] * total[symbol] + prior
            rule[symbol] = _share_out(mass[symbol], total[symbol], hit, given, weight)
    return rule


def _share_out(mass: Reals, total: float, hit: Reals, given: Reals, weight: Reals) -> Reals:
    """Shares a (sum 1) that maximise Σ_k weight_k (hit_k + a_k mass_k) / (given_k + a_k total).

    A class gains by a larger share only where mass_k given_k > total hit_k, and is concave there: the marginal gains of
    those that get a share are equal, as in water-filling. Where none gains, the loss is convex: one class takes all.
    """
    slope = weight * (mass * given - total * hit)
    if not (slope > 0).any():
        return np.eye(len(mass))[np.argmax(weight * ((hit + mass) / (given + total) - hit / given))]
    root = np.sqrt(np.maximum(slope, 0.0))
    order = np.argsort(-root / given, kind="stable")
    level = np.cumsum(root[order]) / (total + np.cumsum(given[order]))
    last = np.flatnonzero(root[order] / given[order] >= level)[-1]
    share = np.maximum(root / level[last] - given, 0.0) / total
    return share / share.sum()
