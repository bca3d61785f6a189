"""No method launches more operations in a training step than its budget: slower on a GPU would show here, on a CPU."""

from __future__ import annotations

import json

import pytest

from benchmarks.launches import BUDGET, alone, methods
from tests.files import iemocap


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> str:
    return str(iemocap(tmp_path_factory.mktemp("launches") / "iemocap.h5", n=150).parent)


@pytest.mark.parametrize("method", methods())
def test_a_step_stays_within_its_budget(root, method):
    budget = json.loads(BUDGET.read_text())
    assert method in budget, "a new method: python benchmarks/launches.py --write"
    assert alone(method, root) <= budget[method], "if it has to be: python benchmarks/launches.py --write, and say why"
