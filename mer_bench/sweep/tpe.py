"""Draws by Optuna's tree-structured Parzen estimator: ask and tell, rebuilt from the trials that are on disk.

There is no storage: a study is made anew for every batch, told what the earlier batches gave, and asked once. So the
same outcomes give the same draws, on whatever machine and however often it was interrupted.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mer_bench.errors import UserError
from mer_bench.sweep.space import Axis, Draw, Search, readable


def propose(search: Search, axes: Sequence[Axis], told: Sequence[tuple[Draw, float | None]], count: int) -> list[Draw]:
    """The next draws.

    Args:
        search: the space and its seed.
        axes: those that mean something for the method.
        told: earlier draws with their scores, higher is better; None for one that has none.
        count: how many.

    Raises:
        UserError: optuna is not installed.
    """
    try:
        import optuna
    except ImportError:
        raise UserError("search.sampler: tpe needs optuna; pip install 'mer-bench[hpo]', or use random") from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    distributions = {axis.name: _distribution(optuna, axis) for axis in axes}
    sampler = optuna.samplers.TPESampler(seed=search.seed + len(told), n_startup_trials=1)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    for draw, score in told:
        params = {axis.name: draw[axis.name] for axis in axes}
        state = optuna.trial.TrialState.FAIL if score is None else optuna.trial.TrialState.COMPLETE
        trial = optuna.trial.create_trial(state=state, params=params, distributions=distributions, value=score)
        study.add_trial(trial)
    draws: list[Draw] = []
    for i in range(count):
        asked = study.ask(distributions)
        others = search.draw(len(told) + i)  # axes that the method lacks, for the books
        found = {a.name: asked.params[a.name] for a in axes}
        bounded = {a.name: readable(found[a.name], a.values) for a in axes if a.kind in ("log", "uniform")}
        draws.append({**others, **found, **bounded})
    return draws


def _distribution(optuna: Any, axis: Axis) -> Any:
    if axis.kind in ("log", "uniform"):
        return optuna.distributions.FloatDistribution(*axis.values, log=axis.kind == "log")
    return optuna.distributions.CategoricalDistribution(axis.values)
