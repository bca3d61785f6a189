"""Losses of answers beside the fused one, against the task loss of the items that have the modality."""

from __future__ import annotations

import pytest
import torch

from mer_bench.data.corpora import corpora
from mer_bench.losses.answers import LOSS_OF_TASK, UnimodalAnswers
from mer_bench.losses.task import task_loss
from mer_bench.training.objective import regression_losses
from mer_bench.types import Masked
from tests.cases import without
from tests.losses.test_distillation import a_case, computed, every_kind, every_level, there


@every_level
@every_kind
@pytest.mark.parametrize("added", [False, True], ids=["mean", "sum"])
def test_is_the_task_loss_of_each_answer_of_a_modality_that_is_there(kind, level, added):
    features, tasks, batch, method, _ = a_case(level, 3, [kind])
    ((name, spec),) = tasks.items()
    for absent in ((), ("beta",)):
        seen = without(batch, *absent)
        outputs, target, expected = method(seen), seen.targets[name], []
        for m in features:
            if m not in absent:
                here = there(seen, m, level)
                part = Masked(target.values[here], target.mask[here])
                expected.append(task_loss(spec).double()(outputs.hidden[f"logits/{m}/{name}"][here], part))
        wanted = torch.stack(expected).sum() if added else torch.stack(expected).mean()
        got = computed(UnimodalAnswers(added=added), features, tasks, seen, method, outputs)
        torch.testing.assert_close(got, wanted, rtol=1e-6, atol=0)


@pytest.mark.parametrize("regression", [None, "l1"])
def test_takes_the_regression_loss_of_the_task_or_the_one_it_is_given(regression):
    features, tasks, batch, method, outputs = a_case("item", 2, ["regression"])
    hidden = {k.replace("degree", "va"): y for k, y in outputs.hidden.items()}
    batch, outputs = batch._replace(targets={"va": batch.targets["degree"]}), outputs._replace(hidden=hidden)
    expected, target = [], batch.targets["va"]
    for m in features:
        here = there(batch, m, "item")
        loss = task_loss(tasks["degree"], regression=regression or "ccc")
        expected.append(loss(hidden[f"logits/{m}/va"][here], Masked(target.values[here], target.mask[here])))
    got = computed(UnimodalAnswers(regression=regression), features, {"va": tasks["degree"]}, batch, method, outputs)
    torch.testing.assert_close(got, torch.stack(expected).mean())


def test_losses_by_task_are_those_of_every_shipped_protocol():
    """Otherwise the answers of a method would be trained on another loss than the fused one."""
    seen = set()
    for corpus in corpora().values():
        for protocol in corpus.protocols:
            for task, loss in regression_losses(protocol.tasks, protocol.metrics).items():
                assert LOSS_OF_TASK.get(task, "mse") == loss, protocol.name
                seen.add(task)
    assert seen >= set(LOSS_OF_TASK)
