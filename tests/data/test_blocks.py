"""Blocks and the gather: equal to a plain loop, no item lost or doubled, order a function of (seed, epoch)."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mer_bench.data.blocks import EvalBlocks, TrainBlocks
from mer_bench.data.store import Flat, Ragged, Store


def make_store(rng: np.random.Generator, lengths: np.ndarray) -> tuple[Store, list[np.ndarray], list[np.ndarray]]:
    """A store of one modality and the same content as plain lists."""
    items = [rng.normal(size=(n, 3)).astype(np.float32) for n in lengths]
    seen = [rng.random(n) < 0.8 for n in lengths]
    for x, ok in zip(items, seen, strict=True):
        x[~ok] = 0
    values = np.concatenate([*items, np.zeros((1, 3), np.float32)])
    observed = np.concatenate([*seen, [False]])
    starts = np.concatenate([[0], np.cumsum(lengths)[:-1]])
    ragged = Ragged(*(torch.from_numpy(np.asarray(a)) for a in (values, observed, starts, lengths)))
    target = Flat(torch.arange(len(lengths)), torch.ones(len(lengths), dtype=torch.bool))
    return Store({"m": ragged}, {"t": target}), items, seen


@settings(max_examples=30, deadline=None)
@given(lengths=st.lists(st.integers(0, 6), min_size=1, max_size=30), batch=st.integers(1, 7), seed=st.integers(0, 9))
def test_gather_equals_a_loop(lengths, batch, seed):
    rng = np.random.default_rng(seed)
    store, items, seen = make_store(rng, np.array(lengths))
    blocks = EvalBlocks(store, np.arange(len(lengths)), {"m": np.array(lengths)}, batch_size=batch)
    met = []
    for block in blocks:
        got = block.batch(0, n_draws=2)
        assert got.draws.shape == (len(got.rows), 2)
        for row, values, mask in zip(got.rows.tolist(), *got.inputs["m"], strict=True):
            n = lengths[row]
            assert torch.equal(values[:n], torch.from_numpy(items[row]))
            assert torch.equal(mask[:n], torch.from_numpy(seen[row]))
            assert not values[n:].any() and not mask[n:].any()
            met.append(row)
        assert torch.equal(got.targets["t"].values, got.rows)
    assert sorted(met) == list(range(len(lengths)))


@pytest.mark.parametrize("bucket", [True, False])
@pytest.mark.parametrize("n", [1, 31, 32, 33, 200])
def test_an_epoch_sees_every_item_once(bucket, n):
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, 20, 300)
    store, *_ = make_store(rng, lengths)
    part = rng.choice(300, n, replace=False)
    blocks = TrainBlocks(store, part, {"m": lengths}, batch_size=32, steps=3, seed=1, bucket=bucket)
    made = list(blocks)
    assert len(made) == len(blocks)
    assert sum(len(block) for block in made) == blocks.steps_per_epoch
    rows = torch.cat([block.items.flatten() for block in made]).tolist()
    assert sorted(rows) == sorted(part.tolist())


def test_order_is_a_function_of_seed_and_epoch():
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, 20, 100)
    store, *_ = make_store(rng, lengths)

    def order(seed: int, epoch: int) -> list[int]:
        blocks = TrainBlocks(store, np.arange(100), {"m": lengths}, batch_size=8, steps=5, seed=seed)
        list(blocks)  # what was iterated before does not matter
        blocks.set_epoch(epoch)
        return torch.cat([block.items.flatten() for block in blocks]).tolist()

    assert order(0, 3) == order(0, 3)
    assert order(0, 3) != order(0, 4)
    assert order(0, 3) != order(1, 3)


def test_draws_are_repeatable_uniform_and_new_each_epoch():
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, 20, 400)
    store, *_ = make_store(rng, lengths)

    def draws(epoch: int) -> torch.Tensor:
        blocks = TrainBlocks(store, np.arange(400), {"m": lengths}, batch_size=10, steps=5, seed=0)
        blocks.set_epoch(epoch)
        return torch.stack([block.batch(s, 3).draws for block in blocks for s in range(len(block))])

    first = draws(0)
    assert torch.equal(first, draws(0))
    assert not torch.equal(first, draws(1))
    assert abs(first.mean().item() - 0.5) < 0.03 and first.min() >= 0 and first.max() < 1


def test_bucketing_saves_padding():
    rng = np.random.default_rng(0)
    lengths = rng.gamma(2, 10, 1000).astype(int) + 1
    store, *_ = make_store(rng, lengths)

    def padded(bucket: bool) -> int:
        blocks = TrainBlocks(store, np.arange(1000), {"m": lengths}, batch_size=32, steps=10, seed=0, bucket=bucket)
        return sum(int(width) * block.items.shape[-1] for block in blocks for width in block.widths["m"])

    assert padded(True) < 0.6 * padded(False)


def test_widths_are_rounded_up():
    lengths = np.array([3, 9, 17])
    store, *_ = make_store(np.random.default_rng(0), lengths)
    blocks = TrainBlocks(store, np.arange(3), {"m": lengths}, batch_size=1, steps=3, seed=0, pad_to=8)
    assert sorted(int(w) for block in blocks for w in block.widths["m"]) == [8, 16, 24]
