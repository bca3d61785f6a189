"""Shipped auxiliary losses do what they are for: they move the encoders that the answer comes from."""

from __future__ import annotations

import pytest
import torch

from mer_bench import recipes
from mer_bench.cli.lightning import instantiate, quiet
from tests.cases import recipes as shipped
from tests.files import iemocap

PAIRS = [(slug, name) for slug, recipe in shipped().items() for name in recipe["model"].get("auxiliary") or {}]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return iemocap(tmp_path_factory.mktemp("auxiliary") / "iemocap.h5", n=150).parent


@pytest.mark.parametrize(("slug", "name"), PAIRS)
def test_reaches_the_encoder_of_every_modality(root, slug, name):
    chosen = {"data.modalities": "[audio, text]", "data.root": str(root), "trainer.accelerator": "cpu"}
    with quiet():
        built = instantiate(recipes.resolve([f"iemocap_{slug}"], chosen.items()))
    objective, block = built.model.objective, next(iter(built.datamodule.train_dataloader()))
    # the loss alone: without task losses and without the others
    objective.task_weights = dict.fromkeys(objective.task_weights, 0.0)
    for other, loss in objective.auxiliary.items():
        loss.weight = float(other == name)
    for seed in range(5):  # a schedule may leave a modality out of a single step
        torch.manual_seed(seed)
        batch = block.batch(0, objective.n_draws)
        objective(batch._replace(draws=torch.rand_like(batch.draws)), 0)[0].backward()
    for modality in built.model.features:
        own = [p for n, p in built.model.method.named_parameters() if f"encoders.{modality}." in n]
        assert own, "the encoder of a modality goes by the name encoders.<m>"
        assert any(p.grad is not None and p.grad.abs().max() > 0 for p in own), modality
