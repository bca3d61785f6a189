"""No published sum is over a few items, none is lost, and nobody can narrow an interval unseen."""

from __future__ import annotations

import dataclasses
import io
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mer_bench.errors import UserError
from mer_bench.metrics import families
from mer_bench.metrics.clusters import ClusterStatistics
from mer_bench.results.cluster_counts import MINIMUM, items, publishable
from mer_bench.results.cluster_files import checked_sums, public_bytes
from mer_bench.results.record import read_record
from mer_bench.results.sums import PUBLIC
from mer_bench.results.verify import verify
from tests.source import ROOT

MAE = families.ADDITIVE["mae", "regression"]
#: items of a video, and how many of them the projection is scored on
VIDEOS = st.lists(st.integers(0, 12).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n))), min_size=1)


def statistics(counts: list[int], rng: np.random.Generator) -> ClusterStatistics:
    values = rng.normal(size=(len(counts), 1, 7)) * (np.array(counts) > 0)[:, None, None]
    values[:, 0, 0] = counts
    return ClusterStatistics("sentiment/mae", tuple(map(str, range(len(counts)))), values, MAE)


@given(VIDEOS)
def test_no_sum_and_no_difference_of_two_is_of_a_few_items(videos):
    whole, part = zip(*videos, strict=True)
    rng = np.random.default_rng(0)
    sums = {"full": statistics(whole, rng), "emap": statistics(part, rng)}
    if 0 < sum(whole) < MINIMUM:
        with pytest.raises(UserError, match="fewer than 5 items"):
            publishable(sums)
        return
    found = publishable(sums)
    dropped = "emap" not in found
    assert dropped == (0 < sum(part) < MINIMUM or 0 < sum(whole) - sum(part) < MINIMUM)
    for condition, values in found.items():
        assert np.allclose(values.sum(axis=0), sums[condition].values.sum(axis=0))
        assert all(n == 0 or n >= MINIMUM for n in values[:, 0, 0])
        other = publishable({name: statistics(counts, rng) for name, counts in (("full", whole), ("emap", part))})
        assert (other[condition][:, 0, 0] == values[:, 0, 0]).all(), "runs on the same items pair"


def test_what_is_left_out_of_a_cluster_is_no_few_items_either():
    rng = np.random.default_rng(0)
    sums = {"full": statistics([9, 20, 20], rng), "emap": statistics([8, 10, 10], rng)}
    assert publishable(sums)["emap"][:, 0, 0].tolist() == [18, 0, 10]


def test_every_family_says_how_many_items_it_has():
    """Against the number of observed items that were put in."""
    from mer_bench.metrics.clusters import cluster_statistics
    from mer_bench.types import TaskSpec

    rng, people = np.random.default_rng(0), np.repeat(["a", "b"], [4, 9])
    tasks = {
        "multiclass": TaskSpec("multiclass", ("x", "y", "z")),
        "multilabel": TaskSpec("multilabel", ("x", "y", "z")),
        "regression": TaskSpec("regression", ("x", "y", "z"), range=(-3, 3)),
    }
    values = {k: rng.integers(0, 2, (13, 3) if k != "multiclass" else 13) for k in tasks}
    truth = {k: (v.astype(float) if k == "regression" else v, np.arange(13) != 2) for k, v in values.items()}
    truth = {k: (v, m if k == "multiclass" else np.repeat(m[:, None], 3, 1)) for k, (v, m) in truth.items()}
    outputs = {k: rng.normal(size=(13, 3)) for k in tasks}
    for name, kind in families.ADDITIVE:
        found = items(cluster_statistics({kind: tasks[kind]}, f"{kind}/{name}", outputs, truth, people))
        assert (found == np.array([[3.0], [9.0]])).all(), name


@pytest.fixture
def committed(tmp_path) -> Path:
    """A published record on an official split."""
    source = next(ROOT.glob(f"leaderboards/records/mosi_sentiment/concat/*/{PUBLIC}")).parent
    return Path(shutil.copytree(source, tmp_path / source.name))


def test_smoothed_clusters_are_not_those_of_the_record(committed):
    record = read_record(committed / "record.json")
    sums = checked_sums(committed, record)
    assert not verify(committed, record, {}).problems
    values = sums["full"].values.copy()
    values[..., 6] = values[..., 0] * values[..., 6].sum() / values[..., 0].sum()  # the same error in every video
    calm = sums | {"full": dataclasses.replace(sums["full"], values=values)}
    assert np.isclose(calm["full"].pooled(), sums["full"].pooled(), atol=1e-12)
    (committed / PUBLIC).write_bytes(public_bytes(calm))
    with pytest.raises(UserError, match=r"gives another groups\.sentiment/mae\.\w+ than the record"):
        checked_sums(committed, record)
    assert any("groups.sentiment/mae.sd" in text for text in verify(committed, record, {}).problems)


def test_a_small_cluster_in_public_is_a_failure(committed):
    record = read_record(committed / "record.json")
    with np.load(committed / PUBLIC) as arrays:
        content = dict(arrays)
    content["emap"][0, 0, 0] = 1.0
    buffer = io.BytesIO()
    np.savez(buffer, **content)
    (committed / PUBLIC).write_bytes(buffer.getvalue())
    assert any("fewer than 5 items under emap" in text for text in verify(committed, record, {}).problems)
