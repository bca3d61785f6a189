"""Conditions at test: the asked rate is met, the last modality of an item stays, draws are the item's own."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mer_bench.data.conditions import (
    MASKS,
    assemble,
    available,
    condition_names,
    smooth,
    subset_name,
    subsets_left,
)
from mer_bench.protocol import Condition

ALL = (Condition("full"), Condition("only"), Condition("no"), Condition("missing", (0.1, 0.5, 0.6)))


def test_names():
    names = condition_names(ALL, ("a", "b"))
    assert names[:5] == ["full", "only_a", "only_b", "no_a", "no_b"]
    assert [n for n in names if n.startswith("missing")] == [
        f"missing_{r}_{k}" for r in (0.1, 0.5) for k in range(MASKS)
    ]
    assert "missing_0.6_0" in condition_names(ALL, ("a", "b", "c"))
    assert condition_names(ALL, ("a",)) == ["full"]


@settings(max_examples=40, deadline=None)
@given(
    n=st.integers(1, 60),
    m=st.integers(2, 4),
    rate=st.sampled_from((0.1, 0.3, 0.5)),
    seed=st.integers(0, 99),
)
def test_rate_and_last_modality(n, m, rate, seed):
    rng = np.random.default_rng(seed)
    names = [f"m{k}" for k in range(m)]
    native = rng.random((n, m)) < 0.8
    native[~native.any(axis=1), 0] = True
    kept = available(f"missing_{rate}_3", [f"id{i}" for i in range(n)], {k: native[:, j] for j, k in enumerate(names)})
    after = np.stack([kept[k] for k in names], axis=1)
    assert not (after & ~native).any()
    assert after.any(axis=1).all()
    removable = int(native.sum() - n)
    assert native.sum() - after.sum() == min(round(rate * native.sum()), removable)


def test_masks_differ_and_are_stable():
    ids = [f"turn{i}" for i in range(200)]
    present = {"a": np.ones(200, bool), "b": np.ones(200, bool)}
    first, second = (available(f"missing_0.3_{k}", ids, present) for k in (0, 1))
    assert not np.array_equal(first["a"], second["a"])
    again = available("missing_0.3_0", ids, present)
    assert all(np.array_equal(first[m], again[m]) for m in first)
    # higher rates remove a superset: the same draws decide
    more = available("missing_0.4_0", ids, present)
    assert all((more[m] <= first[m]).all() for m in first)


def test_modalities_are_removed_about_equally():
    ids = [f"turn{i}" for i in range(3000)]
    present = {m: np.ones(3000, bool) for m in ("a", "b", "c")}
    kept = available("missing_0.5_0", ids, present)
    shares = [kept[m].mean() for m in kept]
    assert max(shares) - min(shares) < 0.05


def test_only_and_no():
    present = {"a": np.array([True, False]), "b": np.array([True, True])}
    assert available("only_a", ["x", "y"], present)["a"].tolist() == [True, False]
    assert available("only_a", ["x", "y"], present)["b"].tolist() == [False, False]
    assert available("no_a", ["x", "y"], present)["b"].tolist() == [True, True]
    with pytest.raises(ValueError, match="not enough values"):
        available("missing_half", ["x", "y"], present)


@settings(max_examples=40, deadline=None)
@given(n=st.integers(1, 40), m=st.integers(2, 5), seed=st.integers(0, 99))
def test_every_condition_is_put_together_from_subsets(n, m, seed):
    """Whatever a method says of an item, as long as it depends on what the item is left with."""
    rng = np.random.default_rng(seed)
    names = [f"m{k}" for k in range(m)]
    present = {name: rng.random(n) < 0.8 for name in names}
    ids = [f"id{i}" for i in range(n)]
    items = rng.normal(size=n)

    def method(available):
        weights = items[:, None] ** np.arange(1, m + 1)
        return (np.stack([available[name] for name in names], axis=1) * weights).sum(axis=1)[:, None]

    answers = {
        subset_name(subset, names): method({x: present[x] & bool(subset >> k & 1) for k, x in enumerate(names)})
        for subset in range(2**m)
    }
    assert len(answers) == 2**m
    conditions = condition_names(ALL, names)
    for condition, left in subsets_left(conditions, ids, present).items():
        assert np.array_equal(assemble(answers, left, names), method(available(condition, ids, present))), condition


@given(lengths=st.lists(st.integers(0, 12), min_size=1, max_size=4), half=st.integers(0, 6), seed=st.integers(0, 99))
def test_smoothing_is_a_symmetric_mean_inside_a_recording(lengths: list[int], half: int, seed: int) -> None:
    values = np.random.default_rng(seed).normal(size=(sum(lengths), 2))
    expected, first = [], 0
    for n in lengths:
        for t in range(n):
            reach = min(half, t, n - 1 - t)
            expected.append(values[first + t - reach : first + t + reach + 1].mean(axis=0))
        first += n
    found = smooth(values, np.array(lengths), 2 * half + 1)
    np.testing.assert_allclose(found, np.array(expected).reshape(-1, 2), atol=1e-12)
