"""Encoders at both levels, and heads."""

from __future__ import annotations

import pytest
import torch

from mer_bench.errors import UserError
from mer_bench.nn.encoders import ModalityEncoder
from mer_bench.nn.heads import Heads, level_of
from mer_bench.types import FeatureSpec, Masked, TaskSpec

SPEC = FeatureSpec(3)
ITEM = TaskSpec("multiclass", ("a", "b"))
FRAME = TaskSpec("regression", ("v",), level="frame")


def sequence() -> Masked:
    g = torch.Generator().manual_seed(0)
    mask = torch.rand(4, 5, generator=g) > 0.4
    mask[1] = False
    return Masked(torch.where(mask.unsqueeze(-1), torch.randn(4, 5, 3, generator=g).double(), torch.nan), mask)


@pytest.mark.parametrize("layers", [0, 1])
def test_item_level_against_frame_level(layers):
    """With layers the mean of the encoded frames; without, the mean frame encoded as if it were the only one."""
    torch.manual_seed(0)
    frame = ModalityEncoder(SPEC, 8, level="frame", layers=layers).double().eval()
    item = ModalityEncoder(SPEC, 8, level="item", layers=layers).double().eval()
    item.load_state_dict(frame.state_dict())
    x = sequence()
    frames, pooled = frame(x), item(x)
    assert torch.equal(frames.mask, x.mask) and torch.equal(pooled.mask, x.mask.any(1))
    assert torch.equal(frames.values[~x.mask], torch.zeros_like(frames.values[~x.mask]))
    for i in range(4):
        seen = x.values[i, x.mask[i]]
        expected = torch.zeros(8).double()
        if len(seen) and layers:
            expected = frames.values[i, x.mask[i]].mean(0)
        elif len(seen):
            only = Masked(seen.mean(0)[None, None], torch.ones(1, 1, dtype=torch.bool))
            expected = frame(only).values[0, 0]
        torch.testing.assert_close(pooled.values[i], expected)


def test_without_layers_an_item_is_its_mean_frame():
    """Two items with the same mean are one and the same: what `concat` cannot see (synergy_lookup)."""
    encoder = ModalityEncoder(SPEC, 8, level="item").double().eval()
    a = torch.tensor([[[1.0, 0, 0], [0, 1, 0]], [[1, 1, 0], [0, 0, 0]]]).double()
    out = encoder(Masked(a, torch.ones(2, 2, dtype=torch.bool))).values
    torch.testing.assert_close(out[0], out[1])


def test_only_transformer_layers_see_the_order_of_frames():
    x = Masked(torch.randn(2, 5, 3).double(), torch.ones(2, 5, dtype=torch.bool))
    turned = Masked(x.values.flip(1), x.mask)
    for layers, same in ((0, True), (1, False)):
        encoder = ModalityEncoder(SPEC, 8, level="item", layers=layers).double().eval()
        assert torch.allclose(encoder(x).values, encoder(turned).values) == same


def test_heads_work_on_the_last_axis():
    heads = Heads(8, {"a": ITEM, "b": TaskSpec("regression", ("v", "w", "u"))})
    x = torch.randn(2, 5, 8)
    out = heads(x)
    assert out["a"].shape == (2, 5, 2) and out["b"].shape == (2, 5, 3)
    torch.testing.assert_close(heads(x[:, 3])["b"], out["b"][:, 3])


def test_level_of():
    assert level_of({"a": ITEM, "b": ITEM}) == "item" and level_of({"a": FRAME}) == "frame"
    with pytest.raises(UserError, match=r"a \(item\), b \(frame\)"):
        level_of({"a": ITEM, "b": FRAME})
    with pytest.raises(UserError, match="none"):
        level_of({})
