"""Gradient-boosted trees: what torch reads is what scikit-learn fitted."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

from mer_bench.methods.gbt import GBT
from mer_bench.types import TaskSpec
from tests.cases import TASKS, features_of, make_batch, tasks_of, without

SMALL = {"iterations": 7, "leaves": 6, "depth": 3}


def pooled(batch) -> np.ndarray:
    """Averages over observed frames, NaN where a modality is absent."""
    rows = []
    for i in range(len(batch.rows)):
        parts = []
        for x in batch.inputs.values():
            seen = x.values[i][x.mask[i]]
            parts.append(seen.mean(0) if len(seen) else torch.full(x.values.shape[-1:], torch.nan))
        rows.append(torch.cat(parts).numpy())
    return np.stack(rows)


def fitted(features, tasks, seed: int = 0, n: int = 90):
    batch = make_batch(features, tasks, n=n, seed=seed, dtype=torch.float32)
    method = GBT(features, tasks, **SMALL)
    method.fit([batch])
    return method, batch


@pytest.mark.parametrize("n", [1, 2, 3])
def test_answers_are_those_of_scikit_learn(n):
    features, tasks = features_of(n), tasks_of("item")
    method, batch = fitted(features, tasks)
    other = make_batch(features, tasks, n=40, seed=5, dtype=torch.float32)
    logits = method(other).logits
    x, new = pooled(batch), pooled(other)
    assert np.isnan(new).any() and (n == 1 or np.isnan(new).all(1).sum() < len(new))
    y, mask = (t.numpy() for t in batch.targets["mood"])
    classes = HistGradientBoostingClassifier(**method.settings, class_weight="balanced").fit(x[mask], y[mask])
    np.testing.assert_allclose(logits["mood"], classes.decision_function(new), rtol=1e-4, atol=1e-5)
    for name, make, answer in (
        ("tags", HistGradientBoostingClassifier, "decision_function"),
        ("degree", HistGradientBoostingRegressor, "predict"),
    ):
        y, mask = (t.numpy() for t in batch.targets[name])
        for k in range(tasks[name].size):
            model = make(**method.settings).fit(x[mask[:, k]], y[mask[:, k], k])
            np.testing.assert_allclose(logits[name][:, k], getattr(model, answer)(new), rtol=1e-4, atol=1e-5)


def test_frames_are_rows():
    features, tasks = features_of(2), {"degree": replace(TASKS["degree"], level="frame")}
    method, batch = fitted(features, tasks, n=20)
    x = torch.cat(
        [torch.where(x.mask.unsqueeze(-1), x.values, torch.nan).flatten(0, 1) for x in batch.inputs.values()], -1
    ).numpy()
    y, mask = (t.flatten(0, 1).numpy() for t in batch.targets["degree"])
    model = HistGradientBoostingRegressor(**method.settings).fit(x[mask[:, 0]], y[mask[:, 0], 0])
    np.testing.assert_allclose(method(batch).logits["degree"][..., 0].flatten(), model.predict(x), rtol=1e-4, atol=1e-5)


def test_two_classes_and_a_class_or_label_that_training_never_saw():
    two = {"mood": TaskSpec("multiclass", ("a", "b"))}
    method, batch = fitted(features_of(2), two)
    y, mask = (t.numpy() for t in batch.targets["mood"])
    x = pooled(batch)
    model = HistGradientBoostingClassifier(**method.settings).fit(x[mask], y[mask])
    chance = method(batch).logits["mood"].softmax(-1)
    np.testing.assert_allclose(chance, model.predict_proba(x), rtol=1e-4, atol=1e-5)
    tasks = {"mood": TaskSpec("multiclass", ("a", "b", "never")), "tags": TaskSpec("multilabel", ("no", "yes"))}
    batch = make_batch(features_of(2), {"tags": tasks["tags"]}, n=90, gaps=False, dtype=torch.float32)
    tags = batch.targets["tags"]._replace(values=torch.tensor([0.0, 1.0]).expand(90, 2))
    mood = make_batch(features_of(2), two, n=90, gaps=False).targets["mood"]
    method = GBT(features_of(2), tasks, **SMALL)
    method.fit([batch._replace(targets={"mood": mood, "tags": tags})])
    logits = method(batch).logits
    assert (logits["mood"].argmax(-1) < 2).all()
    assert (logits["tags"][:, 0] < 0).all() and (logits["tags"][:, 1] > 0).all()


def test_fitted_trees_travel_with_the_state_dict_and_batches_may_be_cut_anywhere():
    features, tasks = features_of(2), tasks_of("item")
    method, batch = fitted(features, tasks)
    stream = io.BytesIO()
    torch.save(method.state_dict(), stream)
    stream.seek(0)
    other = GBT(features, tasks, **SMALL)
    other.load_state_dict(torch.load(stream, weights_only=True))
    parts = [torch.utils._pytree.tree_map(lambda t, s=s: t[s], batch) for s in (slice(0, 31), slice(31, 90))]
    cut = GBT(features, tasks, **SMALL)
    cut.fit(parts)
    for name, x in method(batch).logits.items():
        assert x.std(0).min() > 0.01, "the trees do something"
        assert torch.equal(x, other(batch).logits[name]) and torch.equal(x, cut(batch).logits[name])
        assert method(without(batch, *features)).logits[name].isfinite().all()
