"""Helpers of the tests of synthetic corpora."""

from __future__ import annotations

import numpy as np

from mer_bench.data.synthetic import Settings, resolve
from mer_bench.data.synthetic.emission import Emission
from mer_bench.data.synthetic.timeline import Rows, rows_of
from mer_bench.data.synthetic.twin import Twin
from mer_bench.merh5 import Modality


def small(corpus: str, structure: str, **options) -> Settings:
    """Settings of a corpus that is made in a fraction of a second."""
    items = {"affwild2": 12, "biovid": 435}.get(corpus, 400)
    return resolve(corpus, **{"items": items, "structure": structure, **options})


def subspace(twin: Twin, modality: str) -> tuple[np.ndarray, np.ndarray, Rows]:
    """Codes and noise of a modality, turned back from its features: (rows, size), (rows, rest), rows."""
    emission = Emission(twin.settings, twin.who, twin.hidden, modality)
    rows = rows_of(twin.settings, twin.who, twin.line, modality)
    values = emission.features(rows)
    assert np.array_equal(values[~rows.valid], np.zeros_like(values[~rows.valid]))
    back = values[:, emission.live].astype(np.float64) @ emission.rotation.T
    return back[:, : emission.size] / twin.settings.signal, back[:, emission.size :], rows


def pooled(modality: Modality) -> np.ndarray:
    """(items, dim) mean of the valid rows of each item; zero where it has none."""
    lengths = np.asarray(modality.lengths)
    valid = np.ones(len(modality.values), bool) if modality.valid is None else modality.valid
    item = np.repeat(np.arange(len(lengths)), lengths)[valid]
    total = np.zeros((len(lengths), modality.values.shape[1]))
    np.add.at(total, item, modality.values[valid])
    return total / np.maximum(np.bincount(item, minlength=len(lengths)), 1)[:, None]
