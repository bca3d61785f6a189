"""The best predictor there is, drawn again from the seed; nothing per item is stored in a file.

It knows how a corpus was made and sees what the features of a subset of the modalities show. Its decision depends on
the metric: the likeliest class for accuracy, another one for F1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mer_bench.data.synthetic.blueprint import Table
from mer_bench.data.synthetic.decisions import decide, joint
from mer_bench.data.synthetic.explained import Explained, bin_chances, explained
from mer_bench.data.synthetic.latents import Code, Continuous, gains
from mer_bench.data.synthetic.optimum import BINS, SIGN_METRICS, metrics_of, reveal_chance
from mer_bench.data.synthetic.settings import Settings
from mer_bench.data.synthetic.twin import Twin
from mer_bench.errors import UserError, did_you_mean
from mer_bench.merh5 import FeatureFile
from mer_bench.types import TaskSpec

GENERATOR = "mer_bench.data.synthetic"
VERSION = 2  # raised whenever the same settings would give other bytes

Available = Mapping[str, ArrayLike]
Reals = NDArray[np.float64]


def oracle_predictions(
    source: str | Path | FeatureFile | Mapping[str, Any],
    task: str,
    metric: str = "",
    *,
    modalities: Sequence[str] | None = None,
    rows: ArrayLike | None = None,
    available: Available | None = None,
) -> Reals:
    """What the oracle says of a synthetic file's items, in the form of a method's raw outputs.

    Args:
        source: the file, or what it states as `truth`.
        task: name of a label table.
        metric: which metric the predictions are to be best for; empty: log-probabilities of classes and labels, the
            conditional mean of a regression.
        modalities: what the oracle may look at; None means all.
        rows: (n,) items, in the order wanted; None means all.
        available: by modality, (items,) False where it is taken away, as under a missing-modality condition.

    Returns:
        (n, size), or (frames of these items, size) for frame-level tasks: the class to choose has the highest value, a
        label that is present a positive one, a regression is on the scale of the labels.

    Raises:
        UserError: not a synthetic file of this generator, or a name that does not exist.
    """
    return Oracle.of(source).predict(task, metric, modalities=modalities, rows=rows, available=available)


class Oracle:
    """The oracle of one synthetic corpus; see `oracle_predictions`.

    Args:
        twin: the corpus without its features.
    """

    def __init__(self, twin: Twin) -> None:
        self.twin = twin
        self.settings: Settings = twin.settings

    @classmethod
    def of(cls, source: str | Path | FeatureFile | Mapping[str, Any]) -> Oracle:
        """From a file, or from what it states as `truth`.

        Raises:
            UserError: not a synthetic file of this generator, or one whose labels the settings do not give.
        """
        if isinstance(source, str | Path):
            source = FeatureFile(source)
        truth = source.truth if isinstance(source, FeatureFile) else source
        where = f"{source.path}: " if isinstance(source, FeatureFile) else ""
        if truth is None or truth.get("generator") != GENERATOR:
            raise UserError(f"{where}states no truth of `mer-bench data synth`; only synthetic files have an oracle")
        if truth.get("version") != VERSION:
            raise UserError(
                f"{where}was made by version {truth.get('version')} of the generator, this is version {VERSION}; "
                "make the file again with `mer-bench data synth`"
            )
        try:
            oracle = cls(Twin.of(Settings.from_plain(truth["parameters"])))
        except (LookupError, TypeError, ValueError, ArithmeticError) as exc:
            raise UserError(f"{where}its stated parameters are damaged ({exc!r}); make the file again") from exc
        if isinstance(source, FeatureFile):
            oracle._check(source)
        return oracle

    def _check(self, file: FeatureFile) -> None:
        """The file's items and labels must be those that its settings give."""
        same = list(file.ids) == self.twin.who.ids
        for name, table in self.twin.labels.items():
            same = same and name in file.labels
            if same:
                values, mask = file.label(name)
                same = np.array_equal(mask, table.mask) and np.allclose(values, table.values, atol=1e-6)
        if not same:
            raise UserError(f"{file.path}: its labels are not those that its stated settings give; make it again")

    def predict(
        self,
        task: str,
        metric: str = "",
        *,
        modalities: Sequence[str] | None = None,
        rows: ArrayLike | None = None,
        available: Available | None = None,
    ) -> Reals:
        """See `oracle_predictions`."""
        table = self._table(task)
        if metric and metric not in metrics_of(table):
            raise UserError(f"oracle: no optimum of {metric!r} for {task}; {did_you_mean(metric, metrics_of(table))}")
        subset = self._subset(modalities)
        seen = self._available(available) & np.isin(self.settings.modalities, subset)
        hidden = self.twin.hidden[table.latent]
        if isinstance(hidden, Code):
            said = self._classes(table, hidden, metric, seen)[self.twin.line.grain_unit]
        else:
            said = self._scales(table, hidden, metric, seen)
        return said[self._grains(rows)]

    def task(self, name: str) -> tuple[TaskSpec, np.ndarray, np.ndarray]:
        """A label table as a task: its spec, values and mask."""
        labels, table = self.twin.labels[name], self._table(name)
        spec = TaskSpec(table.kind, table.names, labels.level, labels=name, range=table.range)
        return spec, labels.values, labels.mask

    def _table(self, name: str) -> Table:
        tables = self.settings.profile.tables
        if name not in tables:
            raise UserError(f"{self.settings.corpus} has no labels {name!r}; {did_you_mean(name, tables)}")
        return tables[name]

    def _subset(self, modalities: Sequence[str] | None) -> tuple[str, ...]:
        known = self.settings.modalities
        chosen = known if modalities is None else tuple(modalities)
        for m in chosen:
            if m not in known:
                raise UserError(f"oracle: no modality {m!r}; {did_you_mean(m, known)}")
        return tuple(m for m in known if m in chosen)

    def _available(self, given: Available | None) -> NDArray[np.bool_]:
        """(units, modalities) what is there and not taken away."""
        seen = self.twin.line.available.copy()
        for m, keep in (given or {}).items():
            seen[:, self.settings.modalities.index(self._subset([m])[0])] &= np.asarray(keep)[self.twin.line.unit_item]
        return seen

    def _grains(self, rows: ArrayLike | None) -> Any:
        if rows is None:
            return slice(None)
        ends = np.cumsum(self.twin.line.grains_of_item)
        starts = ends - self.twin.line.grains_of_item
        return np.concatenate([np.arange(starts[i], ends[i]) for i in np.asarray(rows)] or [np.zeros(0, np.int64)])

    def _patterns(self, seen: NDArray[np.bool_]) -> tuple[list[set[str]], NDArray[np.int64]]:
        """The different sets of modalities that are seen, and which of them each row has."""
        patterns, which = np.unique(seen, axis=0, return_inverse=True)
        return [set(np.array(self.settings.modalities)[p].tolist()) for p in patterns], which.ravel()

    def _classes(self, table: Table, code: Code, metric: str, seen: NDArray[np.bool_]) -> Reals:
        """(units, size) one label table of classes or labels."""
        known = code.revealed(self.settings, seen)
        patterns, which = self._patterns(seen)
        rate = float(np.mean(np.array([reveal_chance(self.settings, p) for p in patterns])[which]))
        symbol = np.where(known[:, None], code.w, code.size)
        luck = self.settings.stream("oracle", table.latent).random(symbol.shape)
        columns = []
        for label in range(code.w.shape[1]):
            mass = joint(self.settings, table, label, rate)
            if metric in ("", "auc"):
                rule = np.log(np.maximum(_given_symbol(mass), 1e-12))
                columns.append(rule[symbol[:, label]])
            else:
                rule = decide("f1_positive" if table.kind == "multilabel" and metric == "f1_macro" else metric, mass)
                columns.append(_drawn(rule[symbol[:, label]], luck[:, label]))
        if table.kind == "multiclass":
            return columns[0]
        return np.stack([c[:, 1] - c[:, 0] for c in columns], axis=1)

    def _scales(self, table: Table, hidden: Continuous, metric: str, seen: NDArray[np.bool_]) -> Reals:
        """(grains, size) on the scale of the labels."""
        patterns, which = self._patterns(seen)
        unit = self.twin.line.grain_unit
        found, which, has = [explained(self.settings, p) for p in patterns], which[unit], seen[unit]
        share = gains(self.settings)
        both = np.array([e.both for e in found])[which]
        mean = np.sqrt(share.redundant) * hidden.r * np.array([bool(p) for p in patterns])[which][:, None]
        mean = mean + np.einsum("m,mgd,gm->gd", np.sqrt(share.unique), hidden.u, has.astype(np.float64))
        mean = mean + np.sqrt(share.synergy) * hidden.product * both[:, None]
        if metric == "ccc":
            eta = np.sqrt(np.mean(np.array([e.share for e in found])[which]))
            return table.middle + table.sd * (mean / eta if eta > 0 else mean)
        if metric in BINS:
            return _likeliest(table, metric, found, which, mean)
        if metric in SIGN_METRICS:  # where nothing is known, a coin: always the same side would lose F1
            coin = self.settings.stream("oracle", table.latent).random(mean.shape) < 0.5
            mean = np.where(mean == 0, np.where(coin, 1e-9, -1e-9), mean)
        return table.middle + table.sd * mean


def _given_symbol(mass: Reals) -> Reals:
    """Class probabilities given each symbol; the prior for a symbol that never occurs."""
    total = mass.sum(axis=1, keepdims=True)
    return np.where(total > 0, mass / np.where(total > 0, total, 1), mass.sum(axis=0))


def _drawn(chances: Reals, luck: Reals) -> Reals:
    """(n, classes) one-hot, the class drawn with the given chances; F1 may ask for a mixture."""
    edges = np.cumsum(chances, axis=1)[:, :-1]
    return np.eye(chances.shape[1])[(luck[:, None] >= edges).sum(axis=1)]


def _likeliest(table: Table, metric: str, found: list[Explained], which: NDArray[np.int64], mean: Reals) -> Reals:
    """The middle of the likeliest bin."""
    edges = np.array(BINS[metric])
    middles = np.concatenate([edges - 0.5, edges[-1:] + 0.5])
    said = np.zeros_like(mean)
    for k, e in enumerate(found):
        chances = bin_chances(e, mean[which == k], (edges - table.middle) / table.sd)
        said[which == k] = middles[chances.argmax(axis=-1)]
    return said
