"""No method launches more operations in a training step than its budget: slower on a GPU would show here, on a CPU."""

from __future__ import annotations

import json

import pytest

from benchmarks.launches import BUDGET, CEILING, alone, methods
from tests.files import iemocap


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> str:
    return str(iemocap(tmp_path_factory.mktemp("launches") / "iemocap.h5", n=150).parent)


@pytest.mark.parametrize("method", methods())
def test_a_step_stays_within_its_budget(root, method):
    """A method that nobody has counted yet has the common ceiling, so that no list has to be extended for it."""
    budget = json.loads(BUDGET.read_text()).get(method, CEILING)
    assert alone(method, root) <= budget, "if it has to be: python benchmarks/launches.py --write, and say why"


def test_the_ceiling_is_above_every_budget_and_every_budget_has_its_method():
    budgets = json.loads(BUDGET.read_text())
    assert max(budgets.values()) < CEILING <= 1.25 * max(budgets.values()), "no method would be held to anything"
    assert set(budgets) <= set(methods())
