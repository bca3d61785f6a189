"""What is particular to the methods for streams of audio and video: JCA, RJCMA, DCA, LFAN, MBT, AuxFormer."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mer_bench.errors import UserError
from mer_bench.methods.auxformer import AuxFormer
from mer_bench.methods.dca import DCA, _CrossCorrelation
from mer_bench.methods.jca import JCA
from mer_bench.methods.lfan import LFAN
from mer_bench.methods.mbt import MBT
from mer_bench.methods.rjcma import RJCMA, _JointAttention
from mer_bench.nn.temporal import StackedTCN
from mer_bench.types import FeatureSpec, Masked, TaskSpec
from tests.cases import features_of, make_batch, tasks_of, without

ITEM, FRAME = tasks_of("item"), tasks_of("frame")
VA = {"va": TaskSpec("regression", ("valence", "arousal"), level="frame", range=(-1, 1))}


def size(*modules: nn.Module) -> int:
    return sum(p.numel() for module in modules for p in module.parameters())


def test_tcn_is_a_stack_of_causal_convolutions():
    """Against `nn.Conv1d` with padding cut off, network by network."""
    torch.manual_seed(0)
    tcn = StackedTCN(2, 4, longest=11, levels=3, kernel=3).double().eval()
    x = torch.randn(2, 5, 11, 4, dtype=torch.float64)
    got = tcn(x, torch.ones(2, 5, 11, dtype=torch.bool))
    for n in range(2):
        y = x[n].transpose(1, 2)
        for level in range(3):
            inner = y
            for layer in tcn.convolutions[2 * level : 2 * level + 2]:
                # ours: the blocks of the weight go back in time; torch's go forward
                weight = layer.weight[n].unflatten(0, (3, 4)).flip(0).permute(2, 1, 0)
                wide = F.conv1d(inner, weight, layer.bias[n], padding=2 * 2**level, dilation=2**level)
                inner = F.leaky_relu(wide[..., :11])
            y = F.leaky_relu(y + inner)
        torch.testing.assert_close(got[n], y.transpose(1, 2))


def test_jca_follows_its_equations_and_has_the_sizes_of_the_code():
    features = {"audio": FeatureSpec(512), "vision": FeatureSpec(512)}
    torch.manual_seed(0)
    method = JCA(features, VA).double()
    encoders, affine = 2 * (512 * 128 + 128), 2 * 16 * 16
    maps, back = 2 * (16 * 32 + 256 * 32), 2 * 32 * 16
    # the code's regressors read 640 numbers, the paper's 256: both modalities as attended
    assert size(method) == encoders + affine + maps + back + 2 * (256 * 128 + 128 + 128 + 1)
    x = torch.randn(2, 3, 16, 128, dtype=torch.float64)
    got = method.attend(x)
    for i in range(3):
        joint = torch.cat((x[0, i], x[1, i]), dim=1).T  # d x L
        for m in range(2):
            w, w_own, w_c, w_h = (
                layer.weight[m] for layer in (method.over_time, method.own, method.correlated, method.back)
            )
            c = torch.tanh(x[m, i].T @ w @ joint.T / 16)  # sqrt(256)
            h = torch.relu(x[m, i].T @ w_own + c @ w_c)
            torch.testing.assert_close(got[m, i], x[m, i] + (h @ w_h).T)


def test_jca_answers_every_frame_from_its_own_sequence():
    """Frames `every` apart share a sequence of L; nothing crosses over to another one."""
    features = features_of(2)
    torch.manual_seed(0)
    method = JCA(features, FRAME, dim=8, tokens=2, every=2).double().eval()
    batch = make_batch(features, FRAME, gaps=False)
    before = method(batch).logits["degree"]
    changed = {m: x._replace(values=x.values.clone()) for m, x in batch.inputs.items()}
    for x in changed.values():
        x.values[:, 1] += 1.0
    moved = (method(batch._replace(inputs=changed)).logits["degree"] - before).abs().amax((0, 2)) > 1e-9
    assert moved.tolist() == [False, True, False, True, False, False]  # sequences (0, 2), (1, 3), (4,), (5,)


def test_rjcma_attention_is_that_of_its_equation_at_any_length():
    torch.manual_seed(0)
    block = _JointAttention(2, 4, dropout=0.0).double()
    x = torch.randn(2, 3, 6, 4, dtype=torch.float64)
    mask = torch.ones(2, 3, 6, dtype=torch.bool)
    got = block(x, mask)
    joint = block.joint(torch.cat((x[0, 1], x[1, 1]), dim=1))
    for m in range(2):
        c = torch.tanh(x[m, 1] @ block.correlate.weight[m] @ joint.T / 8**0.5)
        h = torch.stack([sum(c[i, j] * x[m, 1, i] for i in range(6)) / 6 for j in range(6)])
        wanted = x[m, 1] + torch.relu(h @ block.value.weight[m]) @ block.back.weight[m] + block.back.bias[m]
        torch.testing.assert_close(got[m, 1], wanted)
    twice = block(x.repeat(1, 1, 2, 1), mask.repeat(1, 1, 2))
    torch.testing.assert_close(twice, got.repeat(1, 1, 2, 1))


def test_rjcma_recurs_with_weights_of_their_own():
    features = features_of(2)
    one, three = (RJCMA(features, ITEM, dim=4, recursions=k) for k in (1, 3))
    assert size(three) - size(one) == 2 * size(_JointAttention(2, 4, dropout=0.0))


def test_dca_attention_and_gate_are_those_of_the_paper():
    torch.manual_seed(0)
    attention = _CrossCorrelation(2, 4).double()
    x = torch.randn(2, 3, 5, 4, dtype=torch.float64)
    found = attention(Masked(x, torch.ones(2, 3, 5, dtype=torch.bool)))
    assert found.mask.all()
    for i in range(3):
        a, b = x[0, i].T, x[1, i].T  # dim x L
        z = a.T @ attention.weight[0] @ b / 2  # sqrt(4)
        torch.testing.assert_close(found.values[0, i], (a @ z.softmax(0)).T)
        torch.testing.assert_close(found.values[1, i], (b @ z.T.softmax(0)).T)
    method = DCA(features_of(2), ITEM, dim=4).double()
    chosen = method._choose(x, found)
    attended = torch.tanh(x + found.values)
    g = ((attended[1] @ method.gate.weight[1] + method.gate.bias[1]) / 0.1).softmax(-1)
    torch.testing.assert_close(chosen[1], torch.relu(g[..., :1] * x[1] + g[..., 1:] * attended[1]))


def test_dca_leaves_a_modality_without_partners_as_it_is():
    features = features_of(3)
    torch.manual_seed(0)
    method = DCA(features, ITEM, dim=4).double().eval()
    alone = without(make_batch(features, ITEM, gaps=False), "beta", "gamma")
    outputs = method(alone)
    torch.testing.assert_close(outputs.hidden["fused"][:, 4:], torch.zeros(6, 8, dtype=torch.float64))
    before = method.streams(alone.inputs).values[0]
    torch.testing.assert_close(outputs.hidden["fused"][:, :4], torch.relu(before).mean(1))


def test_lfan_attention_is_that_of_each_step_alone():
    """Against softmax and sums for each step, head and modality that is there."""
    torch.manual_seed(0)
    method = LFAN(features_of(3), FRAME, dim=4, modal_dim=4, heads=2).double().eval()
    mask = torch.rand(3, 2, 5) > 0.4
    x = Masked(torch.where(mask[..., None], torch.randn(3, 2, 5, 4, dtype=torch.float64), 0.0), mask)
    got = method._follow(x)
    layer = method.query_key_value
    for i in range(2):
        for t in range(5):
            there = [m for m in range(3) if mask[m, i, t]]
            q, k, v = ({m: (x.values[m, i, t] @ layer.weight[m] + layer.bias[m])[s] for m in there} for s in _thirds(4))
            row = torch.zeros(12, dtype=torch.float64)
            for m in there:
                for s in (slice(0, 2), slice(2, 4)):
                    weights = torch.stack([q[m][s] @ k[b][s] / 2**0.5 for b in there]).softmax(0)
                    mixed = sum(w * v[b][s] for w, b in zip(weights, there, strict=True))
                    row[4 * m + s.start : 4 * m + s.stop] = mixed + v[m][s]
            torch.testing.assert_close(got[i, t], method.norm_out(method.out(row)))


def _thirds(width: int) -> list[slice]:
    return [slice(k * width, (k + 1) * width) for k in range(3)]


def test_lfan_puts_the_leader_in_front():
    features = features_of(3)
    torch.manual_seed(0)
    method = LFAN(features, ITEM, leader="gamma", dim=8).double().eval()
    hidden = method(make_batch(features, ITEM, gaps=False)).hidden
    torch.testing.assert_close(hidden["fused"][:, :8], hidden["gamma"])
    with pytest.raises(UserError, match="leader: no modality 'delta'"):
        LFAN(features, ITEM, leader="delta")


@pytest.mark.parametrize("tasks", [ITEM, FRAME], ids=["item", "frame"])
def test_mbt_modalities_meet_in_the_bottleneck_only(tasks):
    """One layer of fusion: what the other wrote into the bottleneck is read by nobody; two layers: it is."""
    features = features_of(2)
    batch = make_batch(features, tasks, gaps=False)
    other = batch._replace(inputs={**batch.inputs, "beta": make_batch(features, tasks, seed=1).inputs["beta"]})
    for layers, meet in ((2, False), (3, True)):
        torch.manual_seed(0)
        method = MBT(features, tasks, dim=8, layers=layers, fusion_layer=1, heads=2).double().eval()
        a, b = (method(x).hidden["alpha"] for x in (batch, other))
        assert torch.allclose(a, b) != meet


def test_mbt_refuses_a_transformer_without_fusion():
    with pytest.raises(UserError, match="fusion_layer 2"):
        MBT(features_of(2), ITEM, layers=2, fusion_layer=2)


@pytest.mark.parametrize("tasks", [ITEM, FRAME], ids=["item", "frame"])
def test_mbt_answers_with_the_mean_of_the_answers_that_are_there(tasks):
    features = features_of(3)
    torch.manual_seed(0)
    method = MBT(features, tasks, dim=8, heads=2).double()
    whole = make_batch(features, tasks, gaps=False)
    for seen in (whole, without(whole, "beta")):
        outputs = method.eval()(seen)
        there = [m for m in features if seen.inputs[m].mask.any()]
        for task, logits in outputs.logits.items():
            answers = torch.stack([outputs.hidden[f"logits/{m}/{task}"] for m in there])
            torch.testing.assert_close(logits, answers.mean(0))


def test_auxformer_main_and_auxiliary_answers_share_the_projections_only():
    features = features_of(2)
    torch.manual_seed(0)
    method = AuxFormer(features, ITEM, dim=8, heads=2, layers=2).double()
    outputs = method(make_batch(features, ITEM, gaps=False))
    main = _reached(method, sum(y.sum() for y in outputs.logits.values()))
    auxiliary = _reached(method, sum(y.sum() for k, y in outputs.hidden.items() if k.startswith("logits/")))
    assert {"memory_main", "norm_main"} < main and {"memory", "norm_memory"} < auxiliary
    assert main & auxiliary == {"encoders"}


def _reached(method: nn.Module, value: torch.Tensor) -> set[str]:
    names, parameters = zip(*method.named_parameters(), strict=True)
    gradients = torch.autograd.grad(value, parameters, retain_graph=True, allow_unused=True)
    return {name.split(".")[0] for name, g in zip(names, gradients, strict=True) if g is not None}


def test_auxformer_is_evaluated_with_the_mean_of_all_answers_that_are_there():
    features = features_of(2)
    torch.manual_seed(0)
    method = AuxFormer(features, ITEM, dim=8, heads=2, layers=1, dropout=0, embed_dropout=0, out_dropout=0).double()
    batch = make_batch(features, ITEM, gaps=False)
    for seen in (batch, without(batch, "beta")):
        main = method.train()(seen).logits
        outputs = method.eval()(seen)
        there = [m for m in features if seen.inputs[m].mask.any()]
        for task, logits in outputs.logits.items():
            answers = [main[task], *(outputs.hidden[f"logits/{m}/{task}"] for m in there)]
            torch.testing.assert_close(logits, torch.stack(answers).mean(0))
