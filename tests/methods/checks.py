"""What must hold for a method under settings that no shipped config has."""

from __future__ import annotations

import copy

import torch
from torch import nn
from torch.func import functional_call, stack_module_state, vmap

from mer_bench.contracts import FusionMethod
from mer_bench.types import Batch
from tests.cases import padded, polluted, take, without


def scalar(method: FusionMethod, batch: Batch) -> torch.Tensor:
    """One number in which every output counts with another weight."""
    outputs = method(batch)
    parts = torch.cat([x.flatten() for x in (*outputs.logits.values(), *outputs.hidden.values())])
    return (parts * torch.arange(len(parts), dtype=parts.dtype).cos()).sum()


def close(a: dict, b: dict) -> None:
    assert a.keys() == b.keys()
    for name in a:
        torch.testing.assert_close(a[name], b[name], rtol=1e-9, atol=1e-9, msg=lambda m, name=name: f"{name}: {m}")


def keeps_the_contract(method: FusionMethod, batch: Batch) -> None:
    """Finite whatever is missing; padding, masked content, batch mates and their order never matter."""
    method = method.double().eval()
    plain, names = method(batch).logits, list(batch.inputs)
    time = next(iter(plain.values())).shape[1]
    frames = next(iter(plain.values())).dim() == 3
    for gone in [*([m] for m in names), *([b for b in names if b != m] for m in names), names]:
        assert all(x.isfinite().all() for x in method(without(batch, *gone)).logits.values()), gone
    noisy = method(polluted(padded(batch, 3))).logits
    close(plain, {k: v[:, :time] if frames else v for k, v in noisy.items()})
    index = torch.tensor([3, 0, 4])
    close({k: v[index] for k, v in plain.items()}, method(take(batch, index)).logits)


def trains_everything(method: FusionMethod, *batches: Batch) -> None:
    """Over these batches together, a gradient reaches every parameter."""
    method = method.double().eval()
    method.zero_grad()
    sum(scalar(method, batch) for batch in batches).backward()
    for name, p in method.named_parameters():
        assert p.grad is not None and p.grad.abs().max() > 1e-9, name


class _Scalar(nn.Module):
    def __init__(self, method: FusionMethod) -> None:
        super().__init__()
        self.method = method

    def forward(self, batch: Batch) -> torch.Tensor:
        return scalar(self.method, batch)


def stacks(methods: list[FusionMethod], batches: list[Batch]) -> None:
    """Several members under vmap give what each gives alone."""
    members = [_Scalar(m.double().eval()) for m in methods]
    alone = [member(batch).detach() for member, batch in zip(members, batches, strict=True)]
    params, buffers = stack_module_state(members)
    skeleton = copy.deepcopy(members[0]).to("meta")
    batch = torch.utils._pytree.tree_map(lambda *x: torch.stack(x), *batches)

    def one(params, buffers, batch):
        return functional_call(skeleton, (params, buffers), (batch,))

    together = vmap(one)(params, buffers, batch).detach()
    torch.testing.assert_close(together, torch.stack(alone), rtol=1e-10, atol=1e-10)
