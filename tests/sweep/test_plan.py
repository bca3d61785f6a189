"""From a sweep file to runs."""

from __future__ import annotations

import pytest

from mer_bench.errors import UserError
from mer_bench.sweep.plan import make_plan, read
from tests.sweep.cases import SWEEP


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("protocols: [iemocap4]\nmethods: [foul]\n", "no method or group named 'foul'; did you mean foal"),
        ("protocols: [iemocap5]\nmethods: [foal]\n", "no protocol named 'iemocap5'"),
        ("protocols: [iemocap4]\nmethods: [foal]\nmodalities: {iemocap: [audio]}\n", "s.yaml: modalities: no protocol"),
        ("protocols: [iemocap4]\nmethods: [foal]\nfeatures: {iemocap44: {file: a}}\n", "did you mean iemocap4"),
        ("protocols: [iemocap4]\nmethods: [foal]\nfiles: {iemocap4: a.h5}\n", "no corpus named 'iemocap4'"),
        ("protocol: [iemocap4]\nmethods: [foal]\n", "unknown key 'protocol'; did you mean protocols"),
        ("protocols: [iemocap4]\nmethods: [foal]\nseeds: [one]\n", "seeds must be a list of whole numbers"),
        ("protocols: []\nmethods: [foal]\n", "protocols must be a list of names"),
    ],
)
def test_bad_sweep_files(home, text, message):
    (home / "s.yaml").write_text(text)
    with pytest.raises(UserError) as error:
        make_plan(read("s.yaml"), "runs")
    assert message in str(error.value)


def test_plan_leaves_out_what_a_card_rules_out(home):
    (home / "s.yaml").write_text(
        "protocols: [iemocap4]\nmethods: [foal, unimodal]\nmodalities: {iemocap4: [audio]}\nfolds: [0]\nseeds: [0]\n"
    )
    plan = make_plan(read("s.yaml"), "runs")
    assert [run.recipe.method for run in plan.runs.values()] == ["unimodal"]
    assert plan.left_out == {("iemocap4", "foal"): "1 modality is offered; the method needs 2 or more"}


def test_grid_multiplies(home):
    (home / "s.yaml").write_text(
        SWEEP.format(methods="majority, concat", seeds="0")
        + "folds: [0]\nset: {model.optimizer.lr: [1.0e-3, 1.0e-4]}\n"
    )
    plan = make_plan(read("s.yaml"), "runs").runs
    assert len(plan) == 4
    rates = {run.recipe.settings["model"]["optimizer"]["init_args"]["lr"] for run in plan.values()}
    assert rates == {1e-3, 1e-4}
