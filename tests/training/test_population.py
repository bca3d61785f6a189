"""A member of a population is the run alone, by every executor."""

from __future__ import annotations

import pytest
import torch

from mer_bench import recipes
from mer_bench.training.population import Population
from tests.files import iemocap
from tests.training.populations import CASES, alone, close, command, equal, maker, member, together

#: one of each kind: plain, auxiliary losses with draws, drawn subsets, generated labels
FEW = ("concat", "foal", "concat_moddrop", "self_mm")
#: what only branches can do: a gradient hook, a schedule that counts steps
APART = ("concat_ogm", "iccl_alternate")
pytestmark = pytest.mark.filterwarnings("ignore:There is a performance drop")


def trainable() -> list[str]:
    return [slug for slug, card in recipes.cards().items() if card.get("trainable", True)]


def pairs() -> list:
    """Every method and executor that computes it; all but a few are slow."""
    found = []
    for slug in trainable():
        marks = () if slug in (*FEW, *APART) else pytest.mark.slow
        kinds = ("stack", "branches") if recipes.cards()[slug]["stackable"] else ("branches",)
        found += [pytest.param(slug, kind, marks=marks) for kind in kinds]
    return found


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return iemocap(tmp_path_factory.mktemp("population") / "iemocap.h5", n=150).parent


@pytest.fixture(scope="module")
def single(root):
    """Runs that `fit` has trained, each once."""
    known = {}

    def trained(method, case):
        if (method, case) not in known:
            known[method, case] = alone(root, method, case)
        return known[method, case]

    return trained


@pytest.mark.parametrize(("method", "kind"), pairs())
def test_a_member_is_the_run_alone(root, single, method, kind):
    """Folds, seeds and learning rates of their own; as one of three, and by itself."""
    for cases in (CASES, CASES[1:2]):
        for case, one in zip(cases, together(root, method, cases, len(cases), kind), strict=True):
            assert one.steps == single(method, case).steps
            close(one.objective, single(method, case).objective)


@pytest.mark.parametrize("kind", ["stack", "branches"])
def test_order_width_and_queue_never_matter(root, kind):
    """Refilled places and a stack that shrinks give what a stack of all members gives."""
    wide = together(root, "concat", CASES, 3, kind)
    narrow = together(root, "concat", CASES[::-1], 2, kind)[::-1]
    for one, other in zip(wide, narrow, strict=True):
        close(one.objective, other.objective)


@pytest.mark.parametrize("method", ["foal", "concat_ogm"])
def test_branches_on_a_cpu_give_the_bits_of_the_run_alone(root, method):
    """In single precision, with dropout and the noise of a hook: losses, scores, weights where both hold the last."""
    plain, compared = {"double": False, "data.batch_size": "16"}, 0
    for case, one in zip(CASES, together(root, method, CASES, 2, "branches", validated=True, **plain), strict=True):
        model = alone(root, method, case, **plain)
        assert one.epoch == 2 and one.log[-1]["val/selection"] == float(model.trainer.callback_metrics["val/selection"])
        if one.best[0] == 1:  # the other holds its last weights, not its best
            compared += 1
            assert equal(one.objective, model.objective)
        assert one.log[-1]["train/loss"] == model.epoch_means()["train/loss"]
    assert compared, "no case had its best epoch last; choose others"


@pytest.mark.parametrize("kind", ["stack", "branches"])
def test_a_member_that_diverges_leaves_the_others_alone(root, kind):
    wild = [CASES[0], (1, 0, float("inf")), CASES[2]]
    calm = together(root, "concat", CASES, 3, kind)
    mixed = together(root, "concat", wild, 3, kind)
    assert [m.diverged for m in mixed] == [False, True, False]
    for k in (0, 2):
        close(mixed[k].objective, calm[k].objective)


class Hopeless:
    """Judges every epoch by a score that is not finite."""

    def keep(self, condition, rows, logits, targets):
        pass

    def judged(self):
        return {"val/selection": float("nan")}


@pytest.mark.parametrize("kind", ["stack", "branches"])
def test_without_a_finite_score_a_run_has_diverged_and_takes_no_weights_of_another(root, kind):
    built = [command(root, "concat", case) for case in CASES[:2]]
    first, second = (member(b, str(k), k) for k, b in enumerate(built))
    second.val, second.judge = built[1].datamodule.eval_blocks("val"), Hopeless()
    before = [p.detach().clone() for p in second.objective.parameters()]
    Population([first, second], maker(kind, built), width=1, ended=lambda m: None).run()
    assert second.diverged and second.epoch == 1 and not first.diverged
    if kind == "stack":  # branches train the member's own network
        assert all(torch.equal(x, y) for x, y in zip(before, second.objective.parameters(), strict=True))


@pytest.mark.parametrize("kind", ["stack", "branches"])
def test_half_precision_reaches_every_forward_pass(root, kind):
    """Runs that ask for bf16 are under autocast, in training and validation."""
    losses, outputs = [], []
    for bf16 in (False, True):
        built = command(root, "concat", CASES[0], double=False)
        one = member(built, "0", 0, validated=True)
        one.bf16 = bf16
        executor = maker(kind, [built])([one])
        executor.validate(lambda k, rows, logits, targets: outputs.append(logits["emotion"].float()))
        executor.begin()
        while executor.step():
            pass
        executor.end()
        losses.append(one.log[0]["train/loss"])
    assert losses[0] != losses[1] and losses[0] == pytest.approx(losses[1], rel=0.05)
    half = len(outputs) // 2
    assert not torch.equal(outputs[0], outputs[half])
    torch.testing.assert_close(outputs[0], outputs[half], atol=0.05, rtol=0.05)
