"""What is particular to MulT and MFN."""

from __future__ import annotations

import pytest
import torch

from mer_bench.methods.mfn import MFN, _LSTMs
from mer_bench.methods.mult import MulT
from mer_bench.types import Masked
from tests.cases import features_of, make_batch, tasks_of
from tests.methods.checks import stacks

ITEM = tasks_of("item")


def attention_layer(d: int) -> int:
    """Of a layer in the authors' code: attention 4 d² + 4 d, feed-forward 8 d² + 5 d, two norms 4 d; ours: no biases
    of keys and values, 2 d."""
    return 12 * d * d + 13 * d - 2 * d


def test_mult_has_the_parameters_of_the_paper_s_network():
    features, dim = features_of(3), 8
    method = MulT(features, ITEM, dim=dim, heads=2, layers=4)
    wide, all_wide = 2 * dim, 6 * dim
    projections = sum(spec.dim * dim for spec in features.values())
    crossmodal = 6 * (4 * attention_layer(dim) + 2 * dim)
    memory = 3 * (4 * attention_layer(wide) + 2 * wide)
    after = 2 * (all_wide**2 + all_wide)
    answers = sum((all_wide + 1) * spec.size for spec in ITEM.values())
    assert sum(p.numel() for p in method.parameters()) == projections + crossmodal + memory + after + answers


def test_mult_reads_what_the_whole_last_layer_would_give_at_the_last_observed_step():
    features = features_of(3)
    torch.manual_seed(0)
    method = MulT(features, ITEM, dim=8, heads=2).double().eval()
    x = Masked(torch.randn(3, 5, 7, 16, dtype=torch.float64), torch.rand(3, 5, 7) > 0.4)
    read = method.look.memory(x)
    method.look.memory.frames = True
    whole = method.look.memory(x)
    for m in range(3):
        for i in range(5):
            steps = x.mask[m, i].nonzero().flatten()
            wanted = whole[m, i, steps[-1]] if len(steps) else torch.zeros(16, dtype=torch.float64)
            torch.testing.assert_close(read[m, i], wanted)


def test_mfn_lstms_are_lstms():
    """Against `nn.LSTM` over the observed steps of each item alone."""
    features = features_of(2)
    torch.manual_seed(0)
    cells = _LSTMs(features, 4).double()
    x = {
        m: Masked(torch.randn(3, 6, spec.dim, dtype=torch.float64), torch.rand(3, 6) > 0.3)
        for m, spec in features.items()
    }
    outputs, memories = cells(x)
    for k, (m, spec) in enumerate(features.items()):
        lstm = torch.nn.LSTM(spec.dim, 4, batch_first=True).double()
        order = torch.cat([torch.arange(8), torch.arange(12, 16), torch.arange(8, 12)])  # torch: take, keep, new, show
        with torch.no_grad():
            lstm.weight_ih_l0.copy_(cells.inputs[m].weight[order])
            lstm.weight_hh_l0.copy_(cells.recurrent.weight[k].T[order])
            lstm.bias_ih_l0.copy_(cells.inputs[m].bias[order])
            lstm.bias_hh_l0.zero_()
        for i in range(3):
            seen = x[m].values[i][x[m].mask[i]].unsqueeze(0)
            _, (output, cell) = lstm(seen)
            torch.testing.assert_close(outputs[k, i, -1], output[0, 0])
            torch.testing.assert_close(memories[k, i, -1], cell[0, 0])


def test_mfn_memory_waits_where_nothing_is_observed():
    features = features_of(2)
    torch.manual_seed(0)
    method = MFN(features, tasks_of("frame"), dim=8, memory=8, hidden=8).double().eval()
    batch = make_batch(features, tasks_of("frame"), gaps=False)
    gap = torch.arange(6) != 3
    inputs = {m: Masked(x.values, x.mask & gap) for m, x in batch.inputs.items()}
    logits = method(batch._replace(inputs=inputs)).logits
    cut = {m: Masked(x.values[:, gap], x.mask[:, gap]) for m, x in batch.inputs.items()}
    shorter = method(batch._replace(inputs=cut)).logits
    for task, x in logits.items():
        torch.testing.assert_close(x[:, gap], shorter[task])
        torch.testing.assert_close(x[:, 3], x[:, 2])


@pytest.mark.filterwarnings("ignore:There is a performance drop")
def test_mult_stacks_with_four_modalities_padded_to_one_length():
    features = dict(features_of(3), delta=features_of(1)["alpha"])
    members = [MulT(features, ITEM, dim=8, heads=2, layers=1) for _ in range(2)]
    stacks(members, [make_batch(features, ITEM, seed=k) for k in range(2)])
