"""A member of a population is the run alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mer_bench import recipes
from mer_bench.cli.lightning import instantiate, quiet
from mer_bench.data.blocks import EvalBlocks
from mer_bench.data.joined import join
from mer_bench.data.store import Ragged, Store
from mer_bench.errors import UserError
from mer_bench.training.flat import FlatParameters, flat_optimizer
from mer_bench.training.population import Member, Population
from tests.files import iemocap

EPOCHS = 2
#: one of each kind: plain, auxiliary losses with draws, drawn subsets, generated labels
FEW = ("concat", "foal", "concat_moddrop", "self_mm")
pytestmark = pytest.mark.filterwarnings("ignore:There is a performance drop")


def stackable():
    return [slug for slug, card in recipes.cards().items() if card["stackable"] and card.get("trainable", True)]


SETTINGS = {
    "data.modalities": "[audio, text]",
    "data.steps_per_block": "3",
    "trainer.max_epochs": str(EPOCHS),
    "trainer.accelerator": "cpu",
}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return iemocap(tmp_path_factory.mktemp("population") / "iemocap.h5", n=150).parent


def command(root, method, fold, seed, rate):
    card = recipes.cards()[method]
    chosen = SETTINGS | {"data.root": str(root), "data.fold": str(fold), "seed_everything": str(seed)}
    chosen |= {"model.optimizer.lr": str(rate)} | ({"data.modalities": "[audio]"} if card.get("per_modality") else {})
    with quiet():
        built = instantiate(recipes.resolve([f"iemocap_{method}"], chosen.items()))
    built.datamodule.setup()
    built.datamodule.share(in_double(built.datamodule.store))
    for module in built.model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    built.model.double()
    return built


def in_double(store: Store) -> Store:
    inputs = {m: Ragged(x.values.double(), x.observed, x.starts, x.lengths, x.rows) for m, x in store.inputs.items()}
    return Store(inputs, store.targets)


def member(built, name, place):
    """The run as a member that keeps its last epoch, as under a protocol without a validation part."""
    model, data = built.model, built.datamodule
    nothing = EvalBlocks(data.store, np.empty(0, np.int64), data.lengths, batch_size=8)
    return Member(
        name=name,
        objective=model.objective,
        optimizer=model.configure_optimizers(),
        schedule=model.schedule,
        train=data.train_dataloader(),
        val=nothing,
        judge=model,
        store=place,
        epochs=EPOCHS,
        patience=8,
    )


def alone(root, method, fold, seed, rate):
    built = command(root, method, fold, seed, rate)
    with quiet():
        built.trainer.fit(built.model, built.datamodule)
    return built.model


CASES = [(0, 0, 1e-3), (1, 0, 3e-3), (0, 7, 1e-4)]


def together(root, method, cases, width):
    built = [command(root, method, *case) for case in cases]
    members = [member(b, str(k), k) for k, b in enumerate(built)]
    order = []
    joined = join([b.datamodule.store for b in built])
    Population(members, joined, width=width, clip=built[0].model.clip, ended=order.append).run()
    assert {m.name for m in order} == {m.name for m in members}
    return members


def check(root, method):
    for case, one in zip(CASES, together(root, method, CASES, 3), strict=True):
        single = alone(root, method, *case)
        assert one.steps == single.steps
        for (name, x), y in zip(one.objective.named_parameters(), single.objective.parameters(), strict=True):
            assert (x - y).norm() <= 1e-10 * y.norm(), name


@pytest.mark.parametrize("method", FEW)
def test_a_member_is_the_run_alone(root, method):
    check(root, method)


@pytest.mark.slow
@pytest.mark.parametrize("method", [slug for slug in stackable() if slug not in FEW])
def test_a_member_is_the_run_alone_for_every_method(root, method):
    check(root, method)


def test_order_width_and_queue_never_matter(root):
    """Refilled places and a stack that shrinks give what a stack of all members gives."""
    wide = together(root, "concat", CASES, 3)
    narrow = together(root, "concat", CASES[::-1], 2)[::-1]
    for one, other in zip(wide, narrow, strict=True):
        for x, y in zip(one.objective.parameters(), other.objective.parameters(), strict=True):
            assert (x - y).norm() <= 1e-10 * y.norm()


def test_a_member_that_diverges_leaves_the_others_alone(root):
    wild = [CASES[0], (1, 0, float("inf")), CASES[2]]
    calm = together(root, "concat", CASES, 3)
    mixed = together(root, "concat", wild, 3)
    assert [m.diverged for m in mixed] == [False, True, False]
    for k in (0, 2):
        for x, y in zip(mixed[k].objective.parameters(), calm[k].objective.parameters(), strict=True):
            assert (x - y).norm() <= 1e-10 * y.norm()


class Hopeless:
    """Judges every epoch by a score that is not finite."""

    def keep(self, condition, rows, logits, targets):
        pass

    def judged(self):
        return {"val/selection": float("nan")}


def test_without_a_finite_score_a_run_has_diverged_and_takes_no_weights_of_another(root):
    built = [command(root, "concat", *case) for case in CASES[:2]]
    first, second = (member(b, str(k), k) for k, b in enumerate(built))
    second.val, second.judge = built[1].datamodule.eval_blocks("val"), Hopeless()
    before = [p.detach().clone() for p in second.objective.parameters()]
    joined = join([b.datamodule.store for b in built])
    Population([first, second], joined, width=1, clip=built[0].model.clip, ended=lambda m: None).run()
    assert second.diverged and second.epoch == 1 and not first.diverged
    assert all(torch.equal(x, y) for x, y in zip(before, second.objective.parameters(), strict=True))


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
