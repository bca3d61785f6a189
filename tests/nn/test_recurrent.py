"""Recurrent layers against packed sequences, one row at a time."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mer_bench.nn.recurrent import Recurrent
from mer_bench.types import Masked


def ragged(gaps: bool) -> Masked:
    g = torch.Generator().manual_seed(0)
    values = torch.randn(5, 7, 3, generator=g, dtype=torch.float64)
    lengths = torch.tensor([7, 0, 1, 4, 5])
    mask = torch.arange(7) < lengths.unsqueeze(1)
    if gaps:
        mask[0, [0, 3]] = False
        mask[3, 1] = False
    return Masked(torch.where(mask.unsqueeze(-1), values, torch.nan), mask)


@pytest.mark.parametrize("cell", [nn.GRU, nn.LSTM])
@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("gaps", [False, True])
def test_equal_to_reading_each_row_alone(cell, both, gaps):
    layer = Recurrent(3, 6, cell=cell, both=both).double()
    x = ragged(gaps)
    states, last = layer(x)
    for i in range(5):
        seen = x.values[i : i + 1, x.mask[i]]
        assert torch.equal(states.values[i, ~x.mask[i]], torch.zeros_like(states.values[i, ~x.mask[i]]))
        if not seen.shape[1]:
            assert torch.equal(last[i], torch.zeros_like(last[i]))
            continue
        expected = [layer.onward(seen)[0][0]]
        ends = [expected[0][-1]]
        if both:
            reverse = layer.reverse(seen.flip(1))[0][0]
            expected.append(reverse.flip(0))
            ends.append(reverse[-1])
        torch.testing.assert_close(states.values[i, x.mask[i]], torch.cat(expected, -1))
        torch.testing.assert_close(last[i], torch.cat(ends, -1))


def test_padding_changes_nothing_and_gradients_are_finite():
    layer = Recurrent(3, 6).double()
    x = ragged(gaps=True)
    more = Masked(
        torch.cat([x.values, torch.full((5, 2, 3), torch.inf).double()], 1),
        torch.cat([x.mask, torch.zeros(5, 2, dtype=torch.bool)], 1),
    )
    (states, last), (padded, end) = layer(x), layer(more)
    torch.testing.assert_close(padded.values[:, :7], states.values)
    torch.testing.assert_close(end, last)
    (padded.values.sum() + end.sum()).backward()
    assert all(p.grad.isfinite().all() and p.grad.abs().sum() > 0 for p in layer.parameters())
