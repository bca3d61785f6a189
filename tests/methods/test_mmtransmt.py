"""MMTrans-MT: what each fusion reads, one task or several."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from mer_bench.methods.mmtransmt import MMTransMT
from mer_bench.types import Masked
from tests.cases import features_of, make_batch, tasks_of, without

FUSIONS = ["single", "cascade", "pooled"]
every_fusion = pytest.mark.parametrize("fusion", FUSIONS)
every_level = pytest.mark.parametrize("level", ["item", "frame"])


def tiny(n: int, level: str = "item", kinds=("multiclass", "regression"), **settings) -> MMTransMT:
    torch.manual_seed(0)
    settings = {"dim": 8, "heads": 2, "hidden": 8, "layers": 2, **settings}
    return MMTransMT(features_of(n), tasks_of(level, kinds), **settings).double().eval()


def moved(batch, m: str, index: torch.Tensor):
    """The batch with the frames of one modality in another order."""
    x = batch.inputs[m]
    return batch._replace(inputs={**batch.inputs, m: Masked(x.values[:, index], x.mask[:, index])})


@every_level
@every_fusion
@pytest.mark.parametrize("kinds", [("multiclass",), ("regression",), ("multiclass", "regression")])
def test_answers_exactly_the_tasks_there_are(fusion, level, kinds):
    method = tiny(2, level, kinds, fusion=fusion)
    assert set(method(make_batch(method.features, method.tasks)).logits) == set(method.tasks)


@every_level
@every_fusion
def test_tasks_share_all_but_their_heads(fusion, level):
    """The gradient of either task reaches representation and fusion, and no other task's head."""
    method = tiny(2, level, fusion=fusion)
    outputs = method(make_batch(method.features, method.tasks, gaps=False))
    for task, logits in outputs.logits.items():
        method.zero_grad()
        logits.square().sum().backward(retain_graph=True)
        for name, p in method.named_parameters():
            foreign = name.startswith("heads.") and f".{task}." not in name
            assert (p.grad is None) == foreign, (task, name)


def test_pooled_forgets_the_order_of_frames_and_the_others_do_not():
    order = torch.tensor([2, 0, 1, 4, 3])
    for fusion in FUSIONS:
        method = tiny(2, fusion=fusion)
        batch = make_batch(method.features, method.tasks, gaps=False)
        change = (method(moved(batch, "beta", order)).logits["mood"] - method(batch).logits["mood"]).abs().amax()
        assert (change < 1e-12) == (fusion == "pooled"), fusion


def test_cascade_by_hand():
    """Item by item and stage by stage from the weights; absent later stages only normalise."""
    method = tiny(3, fusion="cascade", layers=1)
    batch = make_batch(method.features, method.tasks)
    encoded, fused = method.encode(batch), method(batch).hidden["fused"]
    time = {m: x.mask.shape[1] for m, x in encoded.items()}
    angle = {m: torch.arange(t).unsqueeze(1) * 10_000.0 ** (-torch.arange(4) / 4) for m, t in time.items()}
    code = {m: torch.stack([a.sin(), a.cos()], -1).flatten(1).double() for m, a in angle.items()}
    for i in range(len(fused)):
        kept = encoded["alpha"].mask[i]
        rows = encoded["alpha"].values[i] + code["alpha"]
        rows = rows[kept] if kept.any() else code["alpha"][:1]
        for m in encoded:
            (attention,), (norm,) = method.fusion.stages[m].attentions, method.fusion.stages[m].norms
            source = (encoded[m].values[i] + code[m])[encoded[m].mask[i]]
            if len(source):
                k, v = (source @ attention.key_value.weight.T).chunk(2, -1)
                q = attention.query(rows)
                split = [slice(0, 4), slice(4, 8)]
                seen = [(q[:, s] @ k[:, s].T / 2).softmax(-1) @ v[:, s] for s in split]
                rows = rows + attention.out(torch.cat(seen, -1))
            rows = F.layer_norm(rows, (8,), norm.weight, norm.bias)
        torch.testing.assert_close(fused[i], rows.mean(0), rtol=1e-6, atol=1e-6)


def test_cascade_goes_in_the_order_of_the_modalities():
    """With the modalities turned round, the same weights give another answer; in one transformer they do not."""
    for fusion in FUSIONS:
        method = tiny(2, fusion=fusion)
        turned = MMTransMT(
            dict(reversed(method.features.items())), method.tasks, dim=8, heads=2, hidden=8, layers=2, fusion=fusion
        )
        turned.double().eval().load_state_dict(method.state_dict())
        batch = make_batch(method.features, method.tasks, gaps=False)
        same = torch.allclose(turned(batch).logits["mood"], method(batch).logits["mood"])
        assert same == (fusion != "cascade"), fusion


@every_fusion
def test_frames_are_read_where_they_are(fusion):
    """A frame that only one modality has is answered from it; its own content reaches its own answer."""
    method = tiny(2, "frame", fusion=fusion)
    batch = make_batch(method.features, method.tasks, gaps=False)
    plain = method(batch).logits["mood"]
    x = batch.inputs["beta"]
    values = x.values.clone()
    values[:, 2] += 1.0
    changed = method(batch._replace(inputs={**batch.inputs, "beta": Masked(values, x.mask)})).logits["mood"]
    assert (changed - plain)[:, 2].abs().amax(-1).min() > 1e-6
    if fusion == "pooled":  # frame by frame, without neighbours
        others = [0, 1, 3, 4, 5]
        torch.testing.assert_close(changed[:, others], plain[:, others], rtol=0, atol=0)


@every_fusion
def test_any_one_modality_is_enough(fusion):
    """Alone, each modality still decides the answer."""
    method = tiny(3, fusion=fusion)
    batch = make_batch(method.features, method.tasks, gaps=False)
    for m in batch.inputs:
        alone = method(without(batch, *(b for b in batch.inputs if b != m))).logits["mood"]
        assert alone.std(0).min() > 1e-6, m
