"""What the numbers mean: `definitions` names every metric, `scorer` computes them. numpy is loaded on first use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mer_bench.metrics.definitions import METRICS, Metric, direction

if TYPE_CHECKING:
    from mer_bench.metrics.clusters import cluster_statistics
    from mer_bench.metrics.groups import by_group, group_summary
    from mer_bench.metrics.reporting import report
    from mer_bench.metrics.scorer import align_items, score

__all__ = [
    "METRICS",
    "Metric",
    "align_items",
    "by_group",
    "cluster_statistics",
    "direction",
    "group_summary",
    "report",
    "score",
]

_HOME = {
    "align_items": "scorer",
    "by_group": "groups",
    "cluster_statistics": "clusters",
    "group_summary": "groups",
    "report": "reporting",
    "score": "scorer",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
