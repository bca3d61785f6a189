"""The scorer on real frame-level predictions: the fused stream of the AVEC 2019 baseline against its gold labels."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from mer_bench.metrics import by_group, cluster_statistics, score
from mer_bench.types import TaskSpec
from tests.realdata import REALDATA, needs_real

SEWA = REALDATA / "sewa" / "sewa_avec2019"
pytestmark = needs_real("sewa")


def column(path: Path, names: list[str]) -> np.ndarray:
    with path.open() as lines:
        rows = list(csv.DictReader(lines, delimiter=";"))
    return np.array([[float(row[name]) for name in names] for row in rows])


@pytest.fixture(scope="module")
def sewa():
    """Outputs and truth (frames, 2) of 28 recordings end to end, and each frame's recording.

    A prediction file and its label file may differ by some frames at the end; the common part is scored.
    """
    names, outputs, truth, recordings = ["arousal", "valence"], [], [], []
    for path in sorted((SEWA / "labels_devel").glob("*.csv")):
        gold, fused = column(path, names), column(SEWA / "baseline_predictions" / "predictions_svr" / path.name, names)
        n = min(len(gold), len(fused))
        outputs.append(fused[:n])
        truth.append(gold[:n])
        recordings += [path.stem] * n
    return np.concatenate(outputs), np.concatenate(truth), np.array(recordings)


TASKS = {"va": TaskSpec("regression", ("arousal", "valence"), level="frame", range=(-1.0, 1.0))}


def test_pooled_ccc_is_the_published_one(sewa):
    outputs, truth, recordings = sewa
    target = {"va": (truth, np.isfinite(truth))}
    values = score(TASKS, ["va/ccc"], {"va": outputs}, target)
    assert values["va/ccc/arousal"] == pytest.approx(0.614, abs=0.0005)
    assert values["va/ccc/valence"] == pytest.approx(0.615, abs=0.0005)
    sums = cluster_statistics(TASKS, "va/ccc", {"va": outputs}, target, recordings)
    assert sums.values.shape == (28, 2, 7)
    assert float(sums.pooled()) == pytest.approx(values["va/ccc"], abs=1e-12)


def test_the_mean_over_recordings_is_another_number(sewa):
    outputs, truth, recordings = sewa
    target = {"va": (truth, np.isfinite(truth))}
    each = by_group(TASKS, "va/ccc/arousal", {"va": outputs}, target, recordings)
    assert len(each) == 28
    assert np.mean(list(each.values())) < 0.614 - 0.05  # so always say which of the two it is
