"""The additive projection, against its definition item by item; and the test part under every condition, bit by bit."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch import nn

import mer_bench
from mer_bench.data import partners
from mer_bench.data.blocks import EvalBlocks
from mer_bench.data.conditions import available
from mer_bench.results.predictions import Predictions
from mer_bench.results.scores import _conditions
from mer_bench.training.projection import additive_projection
from mer_bench.types import Outputs
from tests.files import iemocap


def built(method, tmp_path, modalities=("audio", "text", "vision"), **settings):
    if not (tmp_path / "iemocap.h5").exists():
        iemocap(tmp_path / "iemocap.h5", n=150, absent=0.2)
    torch.manual_seed(0)
    overrides = {"data.root": str(tmp_path), "data.modalities": list(modalities), **settings}
    model, data = mer_bench.build(f"iemocap_{method}", **overrides)
    data.setup()
    return model.eval(), data


class Sums(nn.Module):
    """Sums of the frames of each modality, weighted; their product where it is not additive."""

    device = torch.device("cpu")

    def __init__(self, tasks, *, additive):
        super().__init__()
        self.tasks, self.additive = tasks, additive

    def forward(self, batch):
        assert not batch.targets
        parts = [torch.tanh(x.values.sum(dim=1))[:, :4] for x in batch.inputs.values()]
        mixed = sum(parts) if self.additive else parts[0] * parts[1] + parts[2] - parts[1] * parts[2]
        return Outputs({"emotion": mixed}, {})


@pytest.mark.parametrize("additive", [True, False])
def test_the_projection_is_what_the_formula_says(tmp_path, monkeypatch, additive):
    monkeypatch.setattr(partners, "CHOSEN", 9)
    monkeypatch.setattr(partners, "PARTNERS", 8)
    _, data = built("concat", tmp_path)
    network = Sums(data.tasks, additive=additive)
    rows = data.split.test
    ids = [data.file.ids[i] for i in rows]
    complete = np.all([data.file.modalities[m].present[rows] for m in data.modalities], axis=0)
    lent, chosen = rows[partners.choose_partners(ids, complete)], partners.choose_items(ids)
    frames = {}
    for m in data.modalities:
        ragged = data.store.inputs[m]
        frames[m] = [ragged.values[s : s + n] for s, n in zip(ragged.starts, ragged.lengths, strict=True)]

    def f(*rows):
        parts = [torch.tanh(frames[m][row].sum(dim=0))[:4] for m, row in zip(data.modalities, rows, strict=True)]
        mixed = sum(parts) if additive else parts[0] * parts[1] + parts[2] - parts[1] * parts[2]
        return mixed.double().numpy()

    found = additive_projection(network, data)["emotion"]
    assert len(chosen) == 9 and len(lent) == 8 and not found[np.setdiff1d(np.arange(len(rows)), chosen)].any()
    for place in chosen:
        x = rows[place]
        mixed = [np.mean([f(*(x if k == own else c for k in range(3))) for c in lent], axis=0) for own in range(3)]
        expected = sum(mixed) - 2 * np.mean([f(c, c, c) for c in lent], axis=0)
        assert found[place] == pytest.approx(expected, abs=1e-5)
        assert (found[place] == pytest.approx(f(x, x, x), abs=1e-5)) == additive


def test_late_fusion_of_logits_has_no_interaction_and_attention_has(tmp_path, monkeypatch):
    monkeypatch.setattr(partners, "PARTNERS", 12)
    for method, additive in (("late", True), ("vanilla_xattn", False)):
        model, data = built(method, tmp_path, ("audio", "text"))
        projected = additive_projection(model, data)["emotion"]
        with torch.no_grad():
            rows = torch.from_numpy(data.split.test)
            batch = data.store.gather(rows, {"audio": 1, "text": 12}, torch.zeros(len(rows), 0))
            whole = model(batch).logits["emotion"].numpy()
        # where one is absent, the others count for more: that is an interaction too
        complete = data.file.modalities["audio"].present[data.split.test]
        assert complete.sum() > 20
        assert np.allclose(projected[complete], whole[complete], atol=1e-4) == additive
    assert additive_projection(*built("concat", tmp_path, ("audio",))) is None


@pytest.mark.parametrize("method", ["concat", "transformer", "mult", "late"])
def test_conditions_are_bit_equal_to_a_pass_of_their_own(method, tmp_path):
    """Every condition, once by subsets and once by a pass over the test part cut as the condition says."""
    model, data = built(method, tmp_path)
    rows = data.split.test
    ids = [data.file.ids[i] for i in rows]

    def run(blocks):
        said = np.zeros((data.file.n, 4), np.float32)
        with torch.no_grad():
            for block, step in itertools.product(blocks, range(1)):
                said[block.frames(step, "emotion").numpy()] = model(block.batch(step)).logits["emotion"].numpy()
        return said[rows]

    answers = {f"{blocks.condition}/emotion": run(blocks) for blocks in data.test_dataloader()}
    assert len(answers) <= 2**3
    present = {m: data.file.modalities[m].present for m in data.modalities}
    places = np.arange(len(rows))
    found = _conditions(data.protocol, data.file, data.modalities, Predictions(ids, answers, None), rows, places)
    names = []
    for condition, outputs in found:
        now = available(condition, ids, {m: has[rows] for m, has in present.items()})
        keep = {m: has.copy() for m, has in present.items()}
        for m in keep:
            keep[m][rows] = now[m]
        own = EvalBlocks(data.store, rows, data.lengths, batch_size=data.eval_batch_size, condition="x", keep=keep)
        assert np.array_equal(outputs["emotion"], run(own)), condition
        names.append(condition)
    assert names == data.condition_names and len(names) == 1 + 6 + 50
