"""Records for the tests of this folder."""

from __future__ import annotations

from typing import Any

from mer_bench.results.record import (
    Code,
    Cost,
    Feature,
    MethodFacts,
    ProtocolFacts,
    Record,
    Selection,
    run_key,
    settings_hash,
)

AUDIO, TEXT, VISION = (
    Feature("audio", "GeMAPS functionals", 47),
    Feature("text", "MiniLM-L6", 384),
    Feature("vision", "", 40),
)
PROTOCOL = ProtocolFacts(
    name="iemocap4",
    hash="5e3cc67105c6c555",
    title="IEMOCAP",
    corpus="iemocap",
    folds=3,
    seeds=(0, 1),
    primary="emotion/ua",
    metrics=("emotion/ua", "emotion/wa"),
    statistics="B",
    cluster="speaker",
    note="Four classes; one session is left out.",
)
CODE = Code("0.1.0", "c" * 64, "d" * 40, False)


def make(
    method: str = "concat",
    fold: int = 0,
    seed: int = 0,
    value: float = 0.5,
    *,
    protocol: ProtocolFacts = PROTOCOL,
    features: tuple[Feature, ...] = (AUDIO, TEXT),
    settings: dict | None = None,
    title: str = "",
    card: str = "control",
    year: int | None = 2024,
    rule: Any = "validation",
    seconds: float = 10.0,
    parameters: int = 1000,
    **changes: Any,
) -> Record:
    """A finished run whose every metric has the same value."""
    settings = {"lr": 0.001, "method": method, "modalities": [f.modality for f in features]} | (settings or {})
    data = changes.pop("data_fingerprint", "a" * 64)
    content: dict[str, Any] = {
        "run_key": run_key(settings, protocol.hash, data, fold, seed),
        "settings_hash": settings_hash(settings),
        "data_fingerprint": data,
        "protocol": protocol,
        "method": MethodFacts(method, title or method.title(), card, year),
        "variant": "default",
        "fold": fold,
        "seed": seed,
        "features": features,
        "modalities": tuple(f.modality for f in features),
        "synthetic": False,
        "status": "ok",
        "metrics": {"full": dict.fromkeys(protocol.metrics, value)},
        "selection": Selection(rule, protocol.primary, 0.6, 3, 10),
        "cost": Cost(train_seconds=seconds, steps=100, parameters=parameters, cpu_seconds=seconds),
        "code": CODE,
        "environment": {"python": "3.11.7"},
        "files": {"predictions.npz": "e" * 64},
    }
    return Record(**(content | changes))


def runs(method: str, values: list[list[float]], **more: Any) -> list[Record]:
    """One run for each fold (outer) and seed (inner)."""
    seeds = more.get("protocol", PROTOCOL).seeds
    return [
        make(method, fold, seed, value, **more)
        for fold, row in enumerate(values)
        for seed, value in zip(seeds, row, strict=False)
    ]
