"""The control without a network: gradient-boosted trees on averaged features."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mer_bench.contracts import FusionMethod
from mer_bench.nn.encoders import at_level
from mer_bench.nn.heads import level_of
from mer_bench.types import Batch, Features, Kind, Outputs, Tasks, TaskSpec


class GBT(FusionMethod):
    """Histogram gradient boosting (scikit-learn) on the averages over time of all modalities, side by side.

    No paper for the use; the trees are those of Ke et al. (LightGBM, NeurIPS 2017) as scikit-learn builds them. Nothing
    is trained by an optimiser: `fit` reads the training part once. An absent modality is a missing value, which the
    trees handle by themselves. Frame-level tasks: every labelled frame is a row. Classes: one model; several labels and
    dimensions of a regression: one model each, squared error for regressions. Class weights as the task asks for them.

    The fitted trees are kept as tensors of fixed shapes and read by torch, so that they travel with the state dict;
    scikit-learn is needed for `fit` only. Before `fit` (or a state dict) every answer is zero.

    Args:
        features: any number of modalities.
        tasks: any, of one level.
        iterations: trees per class or output (100 is scikit-learn's default).
        rate: shrinkage (0.1 is scikit-learn's default).
        leaves: most leaves of a tree (31 is scikit-learn's default).
        depth: deepest tree (ours; a bound keeps reading them short).
        l2: regularisation of the leaves (ours).
    """

    def __init__(
        self,
        features: Features,
        tasks: Tasks,
        *,
        iterations: int = 100,
        rate: float = 0.1,
        leaves: int = 31,
        depth: int = 6,
        l2: float = 1.0,
    ) -> None:
        super().__init__(features, tasks)
        self.level = level_of(tasks)
        self.settings = {
            "max_iter": iterations,
            "learning_rate": rate,
            "max_leaf_nodes": leaves,
            "max_depth": depth,
            "l2_regularization": l2,
            "early_stopping": False,
            "random_state": 0,
        }
        self.forests = nn.ModuleDict(
            {name: Forest(iterations, spec.size, 2 * leaves - 1, depth) for name, spec in tasks.items()}
        )

    def fit(self, batches: Iterable[Batch]) -> None:
        """Fit the trees of every task to the rows of all batches that have its label."""
        rows: list[NDArray[Any]] = []
        labels: dict[str, list[tuple[NDArray[Any], NDArray[Any]]]] = {name: [] for name in self.tasks}
        for batch in batches:
            values, absent = self._rows(batch)
            rows.append(torch.where(absent, torch.nan, values).flatten(0, -2).cpu().numpy())
            for name, target in batch.targets.items():
                y, mask = (x.flatten(0, values.dim() - 2).cpu().numpy() for x in target)
                labels[name].append((y, mask))
        x = np.concatenate(rows)
        for name, spec in self.tasks.items():
            y, mask = (np.concatenate(part) for part in zip(*labels[name], strict=True))
            _FITS[spec.kind](self.forests[name], spec, self.settings, x, y, mask)

    def forward(self, batch: Batch) -> Outputs:
        """Logits by task: log odds up to a constant for classes, or the value itself."""
        values, absent = self._rows(batch)
        return Outputs({name: forest(values, absent) for name, forest in self.forests.items()}, {})

    def _rows(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Averages side by side, (..., features), and which of them are absent."""
        parts = [at_level(batch.inputs[m], self.level) for m in self.features]
        absent = [(~x.mask).unsqueeze(-1).expand(x.values.shape) for x in parts]
        return torch.cat([x.values for x in parts], dim=-1), torch.cat(absent, dim=-1)


class Forest(nn.Module):
    """Boosted trees for several outputs, as tensors of fixed shapes.

    Args:
        iterations: trees per output.
        outputs: number of outputs.
        nodes: most nodes of a tree.
        depth: deepest tree.
    """

    feature: Tensor
    left: Tensor
    right: Tensor
    threshold: Tensor
    value: Tensor
    missing_left: Tensor
    base: Tensor

    def __init__(self, iterations: int, outputs: int, nodes: int, depth: int) -> None:
        super().__init__()
        self.depth = depth
        shape = (iterations, outputs, nodes)
        for name in ("feature", "left", "right"):
            self.register_buffer(name, torch.zeros(shape, dtype=torch.int64))
        for name in ("threshold", "value"):
            self.register_buffer(name, torch.zeros(shape))
        self.register_buffer("missing_left", torch.zeros(shape, dtype=torch.bool))
        self.register_buffer("base", torch.zeros(outputs))

    def take(self, output: int, trees: Iterable[NDArray[Any]], base: float) -> None:
        """Keep the trees of one output, one structured array of nodes for each iteration, in scikit-learn's fields."""
        self.base[output] = base
        for t, nodes in enumerate(trees):
            leaf, own = nodes["is_leaf"].astype(bool), np.arange(len(nodes))
            split = nodes["num_threshold"].astype(np.float32)
            # the largest single that is not above the threshold: the same side for every single-precision feature
            split = np.where(split > nodes["num_threshold"], np.nextafter(split, np.float32(-np.inf)), split)
            columns = {
                "feature": np.where(leaf, 0, nodes["feature_idx"]),
                "left": np.where(leaf, own, nodes["left"].astype(np.int64)),  # a leaf leads to itself
                "right": np.where(leaf, own, nodes["right"].astype(np.int64)),
                "threshold": split,
                "value": np.ascontiguousarray(nodes["value"]),
                "missing_left": nodes["missing_go_to_left"].astype(bool),
            }
            for name, column in columns.items():
                kept = self.get_buffer(name)
                kept[t, output, : len(nodes)] = torch.as_tensor(column).to(kept)

    def forward(self, x: Tensor, absent: Tensor) -> Tensor:
        """Features (..., features) and which are absent to (..., outputs)."""
        rows, gone = x.flatten(0, -2), absent.flatten(0, -2)
        node = torch.zeros(len(rows), self.base.shape[0] * len(self.value), dtype=torch.int64, device=x.device)
        for _ in range(self.depth):
            feature = _at(self.feature, node)
            below = torch.where(
                gone.gather(1, feature),
                _at(self.missing_left, node),
                rows.gather(1, feature) <= _at(self.threshold, node),
            )
            node = torch.where(below, _at(self.left, node), _at(self.right, node))
        total = _at(self.value, node).unflatten(1, (-1, self.base.shape[0])).sum(1) + self.base
        return total.view(*x.shape[:-1], -1)


def _at(field: Tensor, node: Tensor) -> Tensor:
    """What stands at a node (rows, trees) of each tree; field (iterations, outputs, nodes)."""
    flat = field.flatten(0, 1).unsqueeze(0).expand(node.shape[0], -1, -1)
    return flat.gather(-1, node.unsqueeze(-1)).squeeze(-1)


def _fit_classes(forest: Forest, spec: TaskSpec, settings: dict, x: NDArray, y: NDArray, mask: NDArray) -> None:
    from sklearn.ensemble import HistGradientBoostingClassifier

    seen, y = np.unique(y[mask]), y[mask]
    for k in range(spec.size):
        forest.take(k, (), 0.0 if k in seen else -20.0)  # ours: a class that training never saw is all but excluded
    if len(seen) < 2:
        return
    model = HistGradientBoostingClassifier(**settings, class_weight=_balance(spec)).fit(x[mask], y)
    base = model._baseline_prediction.ravel()
    if len(seen) == 2:  # scikit-learn fits the log odds of the second
        forest.take(int(seen[1]), [trees[0].nodes for trees in model._predictors], base[0])
        return
    for k, label in enumerate(seen):
        forest.take(int(label), [trees[k].nodes for trees in model._predictors], base[k])


def _fit_labels(forest: Forest, spec: TaskSpec, settings: dict, x: NDArray, y: NDArray, mask: NDArray) -> None:
    from sklearn.ensemble import HistGradientBoostingClassifier

    for k in range(spec.size):
        kept = mask[:, k]
        truth = y[kept, k] > 0.5
        if truth.all() or not truth.any():  # ours: a label that never varies keeps finite odds
            forest.take(k, (), 20.0 if truth.all() else -20.0)
            continue
        model = HistGradientBoostingClassifier(**settings, class_weight=_balance(spec)).fit(x[kept], truth)
        forest.take(k, [trees[0].nodes for trees in model._predictors], model._baseline_prediction.item())


def _fit_values(forest: Forest, spec: TaskSpec, settings: dict, x: NDArray, y: NDArray, mask: NDArray) -> None:
    from sklearn.ensemble import HistGradientBoostingRegressor

    for k in range(spec.size):
        model = HistGradientBoostingRegressor(**settings).fit(x[mask[:, k]], y[mask[:, k], k])
        forest.take(k, [trees[0].nodes for trees in model._predictors], model._baseline_prediction.item())


def _balance(spec: TaskSpec) -> str | None:
    """Weights by inverse frequency, as in `mer_bench.losses.task`, where the task asks for them."""
    return "balanced" if spec.weighting == "inverse-frequency" else None


_FITS: dict[Kind, Callable[[Any, TaskSpec, dict, NDArray, NDArray, NDArray], None]] = {
    "multiclass": _fit_classes,
    "multilabel": _fit_labels,
    "regression": _fit_values,
}
