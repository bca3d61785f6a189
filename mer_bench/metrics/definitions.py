"""Every metric by name: what it is, for which kind of task, which way is better. No numpy here.

A metric is addressed as ``task/metric`` (``emotion/ua``), and one output of it as ``task/metric/name``
(``va/ccc/valence``). Regression with several dimensions and several labels: ``task/metric`` is the mean over those.

The functions stand beside this file, with formula, source and edge cases: `counts` (classes and labels), `moments`
(regression), `sentiment`, `probability`. What holds for all of them:

- masked values take no part, whatever they hold;
- with nothing observed, and wherever a definition divides zero by zero for good reason, the result is NaN, which means
  undefined: it is left out of means over labels or dimensions, and the scorer refuses it as a score;
- results are fractions (0.564, not 56.4).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mer_bench.errors import UserError, did_you_mean
from mer_bench.types import Kind, TaskSpec


@dataclass(frozen=True)
class Metric:
    """What is known of a metric without computing it.

    Attributes:
        name: how protocols, records and tables write it.
        title: column header.
        kinds: the kinds of task that it is defined for.
        doc: one line; the functions say more.
        higher_is_better: its direction; tables, selection and ranks read it from here only.
        bounds: lowest and highest possible value.
        percent: shown times 100 in tables, as is usual in the field.
        per_class: averages over classes, so that a small group without one of them cannot be scored by it.
    """

    name: str
    title: str
    kinds: tuple[Kind, ...]
    doc: str
    higher_is_better: bool = True
    bounds: tuple[float, float] = (0.0, 1.0)
    percent: bool = True
    per_class: bool = False


_CLASSES: tuple[Kind, ...] = ("multiclass",)
_LABELS: tuple[Kind, ...] = ("multilabel",)
_BOTH: tuple[Kind, ...] = ("multiclass", "multilabel")
_VALUES: tuple[Kind, ...] = ("regression",)

_ALL = (
    Metric("wa", "WA", _BOTH, "accuracy: share of items (labels) that are right; no second name"),
    Metric("ua", "UA", _CLASSES, "recall averaged over the classes present in the reference", per_class=True),
    Metric("wf1", "WF1", _BOTH, "F1 averaged over classes, weighted by their support in the reference"),
    Metric("f1_macro", "macro F1", _BOTH, "F1 averaged over all classes, or of the positive side over labels",
           per_class=True),
    Metric("f1_micro", "micro F1", _LABELS, "F1 of the positive side, counts pooled over labels"),
    Metric("balanced_accuracy", "balanced acc.", _LABELS,
           "mean of recall and specificity of each label ('weighted accuracy' of Tong et al., 2017)", per_class=True),
    Metric("jaccard", "Jaccard", _LABELS, "right labels over right, missed and invented ones, item by item",
           percent=False),
    Metric("auc", "AUC", _BOTH, "area under the ROC curve; multiclass only with two classes", percent=False,
           per_class=True),
    Metric("auprc", "AUPRC", _LABELS, "average precision of each label", percent=False, per_class=True),
    Metric("ece", "ECE", _BOTH, "expected calibration error, 15 bins of equal mass", False, percent=False),
    Metric("brier", "Brier", _BOTH, "squared error of the probabilities (sum over classes; per label)", False,
           (0.0, 2.0), percent=False),
    Metric("ccc", "CCC", _VALUES, "concordance correlation, moments over n", True, (-1.0, 1.0), percent=False),
    Metric("corr", "r", _VALUES, "Pearson correlation", True, (-1.0, 1.0), percent=False),
    Metric("mae", "MAE", _VALUES, "mean absolute error", False, (0.0, float("inf")), percent=False),
    Metric("acc2_nonneg", "Acc-2 (neg/non-neg)", _VALUES, "negative v. non-negative, all items"),
    Metric("acc2_pos", "Acc-2 (neg/pos)", _VALUES, "negative v. positive, items whose truth is not 0"),
    Metric("f1_nonneg", "F1 (neg/non-neg)", _VALUES, "support-weighted F1 of negative v. non-negative, truth first"),
    Metric("f1_pos", "F1 (neg/pos)", _VALUES, "support-weighted F1 of negative v. positive, truth first"),
    Metric("acc5", "Acc-5", _VALUES, "clipped to [-2, 2] and rounded half to even"),
    Metric("acc7", "Acc-7", _VALUES, "clipped to [-3, 3] and rounded half to even"),
    Metric("acc7_sdk", "Acc-7 (SDK bins)", _VALUES, "seven bins of the CMU SDK, where 0 alone is neutral"),
)  # fmt: skip

METRICS: dict[str, Metric] = {metric.name: metric for metric in _ALL}


def lookup(name: str) -> Metric:
    """The metric of that name.

    Raises:
        UserError: there is none.
    """
    if name not in METRICS:
        raise UserError(f"no metric {name!r}; {did_you_mean(name, METRICS)}")
    return METRICS[name]


def split(metric: str) -> tuple[str, str, str]:
    """Task, metric and output name of ``task/metric`` or ``task/metric/name`` (the last one empty if not given).

    Raises:
        UserError: it has another form, or the metric is not known.
    """
    task, _, rest = metric.partition("/")
    name, _, output = rest.partition("/")
    if not task or not name:
        raise UserError(f"{metric!r} does not name a metric; expected task/metric, for instance emotion/ua")
    return task, lookup(name).name, output


def direction(name: str) -> int:
    """1 if higher is better, -1 if lower is. Takes ``metric`` or ``task/metric``."""
    metric = split(name)[1] if "/" in name else name
    return 1 if lookup(metric).higher_is_better else -1


def resolve(metric: str, tasks: Mapping[str, TaskSpec]) -> tuple[str, str, str]:
    """As `split`, checked against the tasks.

    Raises:
        UserError: no such task, output name, or the metric is not defined for the task's kind.
    """
    task, name, output = split(metric)
    if task not in tasks:
        raise UserError(f"{metric}: no task {task!r}; {did_you_mean(task, tasks)}")
    spec = tasks[task]
    if spec.kind not in METRICS[name].kinds:
        able = [other.name for other in _ALL if spec.kind in other.kinds]
        raise UserError(f"{metric}: {name} is not defined for {spec.kind} tasks; there are {', '.join(able)}")
    if name == "auc" and spec.kind == "multiclass" and spec.size != 2:
        raise UserError(f"{metric}: auc is defined for two classes; task {task!r} has {spec.size}")
    scale = {"acc5", "acc7", "acc7_sdk"}
    if name in scale and spec.range is not None and tuple(spec.range) != (-3.0, 3.0):
        raise UserError(f"{metric}: {name} is defined on the scale -3 to 3; task {task!r} has {spec.range}")
    if output and (spec.kind == "multiclass" or output not in spec.names):
        raise UserError(f"{metric}: task {task!r} has no output of that name; {did_you_mean(output, spec.names)}")
    return task, name, output
