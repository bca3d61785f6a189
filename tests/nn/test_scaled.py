"""Scaled layers, against plain ones with the same weights."""

from __future__ import annotations

import pytest
import torch

from mer_bench.nn.scaled import StackedScaledLayer
from mer_bench.nn.stacks import StackedCrossLayer


@pytest.mark.parametrize("silent", ["out", "feed"])
def test_both_steps_keep_alpha_of_the_input_and_take_the_rest_of_the_update(silent):
    """With the one step silenced, the plain layer adds to its input what the other one found."""
    torch.manual_seed(0)
    scaled = StackedScaledLayer(3, 8, 2, hidden=16, dropout=0.5).double().eval()
    for name, p in scaled.named_parameters():
        if "norm" in name or "bias" in name:
            torch.nn.init.normal_(p)
    last = scaled.out if silent == "out" else scaled.feed[3]
    for p in last.parameters():
        torch.nn.init.zeros_(p)
    plain = StackedCrossLayer(3, 8, 2, hidden=16, dropout=0.5).double().eval()
    plain.load_state_dict({name: p for name, p in scaled.state_dict().items() if name != "alpha"})
    x, mask = torch.randn(3, 4, 5, 8, dtype=torch.float64), torch.rand(3, 4, 5) > 0.4
    mask[:, 0] = False  # nothing to attend to
    a = torch.linspace(-0.5, 1.2, 3, dtype=torch.float64).view(3, 1, 1, 1)
    scaled.alpha.data.copy_(a)
    before = a * x if silent == "out" else x
    update = plain(before, before, mask) - before
    mixed = a * before + (1 - a) * update
    torch.testing.assert_close(scaled(x, mask), mixed if silent == "out" else a * mixed)


def test_scales_start_between_nothing_and_all():
    torch.manual_seed(0)
    alpha = StackedScaledLayer(1000, 2, 1, hidden=1, dropout=0.0).alpha.flatten()
    assert 0 <= alpha.min() < 0.05 and 0.95 < alpha.max() <= 1 and abs(alpha.mean() - 0.5) < 0.05
