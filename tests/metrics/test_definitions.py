from __future__ import annotations

import subprocess
import sys

import pytest

from mer_bench.errors import UserError
from mer_bench.metrics import METRICS, direction
from mer_bench.metrics.definitions import resolve, split
from mer_bench.metrics.families import ADDITIVE, WHOLE
from tests.metrics.samples import SPECS


def test_every_metric_is_computed_for_each_of_its_kinds_and_no_other():
    promised = {(metric.name, kind) for metric in METRICS.values() for kind in metric.kinds}
    assert promised == set(ADDITIVE) | set(WHOLE)


def test_the_four_metrics_where_less_is_better():
    assert {name for name in METRICS if direction(name) < 0} == {"mae", "ece", "brier"}
    assert direction("sentiment/mae") == -1
    assert direction("va/ccc/valence") == 1


def test_names_are_split_into_task_metric_and_output():
    assert split("emotion/ua") == ("emotion", "ua", "")
    assert split("va/ccc/valence") == ("va", "ccc", "valence")


@pytest.mark.parametrize(
    ("metric", "message"),
    [
        ("emotion", "expected task/metric"),
        ("classes/uar", "no metric 'uar'; did you mean"),
        ("sentimant/mae", "did you mean sentiment"),
        ("classes/ccc", "not defined for multiclass tasks; there are wa, ua"),
        ("vad/ua", "not defined for regression"),
        ("classes/auc", "two classes"),
        ("vad/acc7", "scale -3 to 3"),
        ("vad/ccc/valense", "did you mean valence"),
        ("classes/ua/sad", "no output of that name"),
    ],
)
def test_what_cannot_be_scored_is_refused_by_name(metric, message):
    with pytest.raises(UserError, match=message):
        resolve(metric, SPECS)


def test_the_registry_needs_neither_numpy_nor_torch():
    code = (
        "import sys; from mer_bench.metrics import METRICS, direction; import mer_bench.metrics.definitions;"
        "assert not {'numpy', 'torch', 'torchmetrics'} & set(sys.modules), 'heavy import';"
        "from mer_bench.metrics import score; assert 'numpy' in sys.modules and 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
