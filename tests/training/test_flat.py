"""Flat optimisers are those of torch, and what has no flat form is refused."""

from __future__ import annotations

import pytest
import torch

from mer_bench.errors import UserError
from mer_bench.training.flat import FlatParameters, flat_optimizer


@pytest.mark.parametrize("optimizer", ["AdamW", "Adam", "SGD"])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_flat_optimisers_are_those_of_torch(optimizer, momentum):
    torch.manual_seed(0)
    nets = [torch.nn.Linear(3, 2).double() for _ in range(4)]
    more = {"momentum": momentum, "nesterov": momentum > 0} if optimizer == "SGD" else {"betas": (momentum, 0.99)}
    rates, decays = (1e-1, 3e-2, 1e-2, 0.2), (0.0, 0.1, 0.3, 0.01)
    kind = getattr(torch.optim, optimizer)
    plain = [kind(n.parameters(), lr=r, weight_decay=d, **more) for n, r, d in zip(nets, rates, decays, strict=True)]
    flat = FlatParameters(nets)
    stack = flat_optimizer(plain, flat)
    paused = torch.tensor([[True], [True], [False], [True]])
    for step in range(5):
        active = torch.ones(4, 1, dtype=torch.bool) if step != 2 else paused
        inputs = torch.randn(4, 5, 3, dtype=torch.double)
        p = flat.stacked()
        outputs = torch.einsum("kbi,koi->kbo", inputs, p["weight"]) + p["bias"].unsqueeze(1)
        outputs.square().mean((1, 2)).sum().backward()
        stack.step(flat, torch.tensor(rates, dtype=torch.double).unsqueeze(1), active, 0.5)
        for k, (net, own) in enumerate(zip(nets, plain, strict=True)):
            if active[k]:
                own.zero_grad()
                net(inputs[k]).square().mean().backward()
                torch.nn.utils.clip_grad_norm_(net.parameters(), 0.5)
                own.step()
    for k, net in enumerate(nets):
        torch.testing.assert_close(flat.values[k].detach(), flat.flatten(net), rtol=1e-12, atol=1e-12)


def test_optimisers_without_a_flat_form_are_refused():
    net = torch.nn.Linear(2, 2)
    with pytest.raises(UserError, match="RMSprop has no flat form"):
        flat_optimizer([torch.optim.RMSprop(net.parameters(), 1e-3)], FlatParameters([net]))
    with pytest.raises(UserError, match="more than learning rate"):
        pair = [torch.optim.Adam(net.parameters(), 1e-3, betas=(b, 0.99)) for b in (0.8, 0.9)]
        flat_optimizer(pair, FlatParameters([net, net]))
