"""Smoothed answers are a column of their own; the others do not change by it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mer_bench.data.corpora import find_protocol
from mer_bench.data.splits import make_split, targets
from mer_bench.data.synthetic import generate
from mer_bench.merh5 import FeatureFile, write
from mer_bench.metrics import score
from mer_bench.protocol import Condition
from mer_bench.results.predictions import Predictions
from mer_bench.results.scores import score_run

PROTOCOL = find_protocol("affwild2_va")


def test_smoothed_is_scored_from_the_answers_of_full(tmp_path: Path) -> None:
    write(tmp_path / "affwild2.h5", generate("affwild2", items=40, seconds=3.0))
    file = FeatureFile(tmp_path / "affwild2.h5")
    offsets = file.labels["va"].offsets
    assert offsets is not None
    items = make_split(PROTOCOL, file, 0).test
    values, mask = targets(file, "va", PROTOCOL.tasks["va"])
    rows = np.concatenate([np.arange(offsets[i], offsets[i + 1]) for i in items])
    noisy = values[rows] + np.random.default_rng(0).normal(0, 0.5, (len(rows), 2))
    said = Predictions([file.ids[i] for i in items], {"full/va": noisy}, np.diff(offsets)[items])
    found = score_run(PROTOCOL, file, ["vision"], said).metrics
    assert set(found) == {"full", "smoothed_31"}
    calm = np.empty_like(noisy)
    first = 0
    for n in said.lengths:
        for t in range(n):
            reach = min(15, t, n - 1 - t)
            calm[first + t] = noisy[first + t - reach : first + t + reach + 1].mean(axis=0)
        first += n
    direct = score(PROTOCOL.tasks, ["va/ccc"], {"va": calm}, {"va": (values[rows], mask[rows])})["va/ccc"]
    assert found["smoothed_31"]["va/ccc"] == pytest.approx(direct, abs=1e-9)
    assert found["smoothed_31"]["va/mae"] < found["full"]["va/mae"]
    plain = replace(PROTOCOL, conditions=(Condition("full"),))
    assert score_run(plain, file, ["vision"], said).metrics == {"full": found["full"]}
