"""From raw outputs to the record: predictions are written, read back and scored by the one scorer."""

from __future__ import annotations

import datetime
import io
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from mer_bench.data.corpora import corpora
from mer_bench.data.views import frame_offsets
from mer_bench.merh5 import FeatureFile
from mer_bench.results import atomic, record
from mer_bench.results.predictions import Predictions
from mer_bench.results.provenance import is_stale, processor
from mer_bench.results.scores import PROJECTION, Scores, score_run
from mer_bench.runs import Run, row_hash
from mer_bench.training.projection import additive_projection

if TYPE_CHECKING:
    from mer_bench.cli.lightning import Command
    from mer_bench.cli.meter import Meter


def write_results(run: Run, command: Command, chosen: Mapping[str, Any], meter: Meter) -> Path:
    """Test once, write predictions and cluster statistics, score what was written, write the record.

    Args:
        run: what it is.
        command: with the chosen weights in its module.
        chosen: what training says of the chosen epoch.
        meter: started with the run.

    Returns:
        Path of the record.
    """
    ids, outputs, lengths = predict_test(command)
    with record.place_for(run.folder) as place:
        path = place / "predictions.npz"
        files = {path.name: record.write_predictions(path, ids, outputs, lengths)}
        scores = score_run(run.protocol, run.file, run.modalities, record.read_predictions(path))
        if scores.clusters:
            files["clusters.npz"] = write_clusters(place / "clusters.npz", scores.clusters)
        record.write_record(run.folder, make_record(run, command, chosen, meter, scores, files))
    return run.folder / record.NAME


def predict_test(command: Command) -> Predictions:
    """What the module says of the test part, cut to each subset of the modalities, and its additive projection."""
    model, data = command.model, command.datamodule
    command.trainer.test(model, data, verbose=False)
    _, ids, lengths = layout(command)
    answers = {**model.predictions}
    if data.level == "item":
        model.to(command.trainer.strategy.root_device)
        projected = additive_projection(model, data)
        if projected is not None:
            answers[PROJECTION] = projected
    outputs = {f"{subset}/{task}": kept[task] for subset, kept in answers.items() for task in model.tasks}
    return Predictions(ids, outputs, lengths)


def write_diverged(run: Run, command: Command, meter: Meter, executor: str = "eager") -> None:
    """Leave a record that says so: a failure counts, it is not dropped in silence."""
    model = command.model
    chosen: dict[str, Any] = {"val": {}, "epoch": None, "epochs": command.trainer.current_epoch}
    chosen |= {"train_seconds": model.train_seconds, "steps": model.steps, "executor": executor}
    record.write_record(
        run.folder, make_record(run, command, chosen, meter, Scores({}, {}, {}, {}), {}, status="diverged")
    )


def layout(command: Command) -> tuple[NDArray[np.int64], list[str], NDArray[np.int64] | None]:
    """Rows of the predictions in the label tables, ids of their items, and frames per item for frame-level tasks."""
    file, data = command.datamodule.file, command.datamodule
    rows = next(iter(command.model.predictions.values()))["rows"]
    if data.level == "item":
        return rows, [file.ids[i] for i in rows], None
    spec_name, spec = next(iter(data.tasks.items()))
    offsets = frame_offsets(file, spec.labels or spec_name)
    items, lengths = np.unique(np.searchsorted(offsets, rows, side="right") - 1, return_counts=True)
    if not np.array_equal(lengths, np.diff(offsets)[items]):
        raise RuntimeError("some frames of a recording were not predicted")  # windows cover every frame
    return rows, [file.ids[i] for i in items], lengths


def score_all(command: Command) -> dict[str, dict[str, float]]:
    """Metrics by condition of the test part."""
    data = command.datamodule
    return score_run(data.protocol, data.file, data.modalities, predict_test(command)).metrics


def write_clusters(path: Path, arrays: Mapping[str, NDArray[Any]]) -> str:
    """Write cluster statistics beside the predictions; returns the file's sha256."""
    import hashlib

    buffer = io.BytesIO()
    ordered: dict[str, Any] = {name: arrays[name] for name in sorted(arrays)}
    np.savez(buffer, **ordered)  # zip entries carry a fixed date
    atomic.write(path, buffer.getvalue())
    return hashlib.sha256(buffer.getvalue()).hexdigest()


def make_record(
    run: Run,
    command: Command,
    chosen: Mapping[str, Any],
    meter: Meter,
    scores: Scores,
    files: Mapping[str, str],
    status: record.Status = "ok",
) -> record.Record:
    """The record of a run."""
    primary, trained = run.protocol.primary, command.model.trainable
    executor = chosen.get("executor", "eager")
    parts = {name: getattr(command.datamodule.split, name) for name in ("train", "val", "test")}
    return record.Record(
        run_key=run.key,
        settings_hash=row_hash(run.recipe),
        data_fingerprint=run.file.content_sha256,
        protocol=record.ProtocolFacts.of(run.protocol, corpora()[run.protocol.corpus].title),
        method=record.MethodFacts(
            run.recipe.method,
            run.recipe.card.get("title") or run.recipe.method,
            run.recipe.card.get("status") or "own",
            run.recipe.card.get("year"),
        ),
        variant=run.recipe.card.get("variant") or "default",
        fold=run.fold,
        seed=run.seed,
        features=tuple(_feature(run.file, m) for m in run.modalities),
        modalities=tuple(run.modalities),
        synthetic=run.file.synthetic,
        status=status,
        metrics=scores.metrics,
        groups=scores.groups,
        confusion=scores.confusion,
        items={"train": len(parts["train"]), "validation": len(parts["val"]), "test": len(parts["test"])},
        selection=record.Selection(
            rule=run.protocol.selection if trained else "none",
            metric=primary,
            val_score=chosen["val"].get(primary),
            chosen_epoch=chosen["epoch"] if trained else None,
            epochs=chosen["epochs"],
            ledger=run.recipe.tuned.ledger if run.recipe.tuned else "",
        ),
        cost=record.Cost(
            train_seconds=round(chosen["train_seconds"], 3),
            steps=chosen["steps"],
            parameters=sum(p.numel() for p in command.model.parameters() if p.requires_grad),
            **meter.read(command.trainer.strategy.root_device),
        ),
        code=record.code(run.recipe.settings, executor),
        environment=record.environment(**machine(command)),
        executor=executor,
        files=files,
        finished_utc=datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    )


def _feature(file: FeatureFile, modality: str) -> record.Feature:
    info = file.modalities[modality]
    return record.Feature(modality, " ".join(filter(None, (info.extractor, info.extractor_version))), info.dim)


def machine(command: Command) -> dict[str, str]:
    """Kind of machine, as far as a record may say."""
    root = command.trainer.strategy.root_device
    found = {"precision": command.model.precision, "cpu_threads": str(torch.get_num_threads())}
    found["processor"] = f"{processor()}, {torch.backends.cpu.get_cpu_capability()}"
    if root.type == "cuda":
        found |= {"accelerator": torch.cuda.get_device_name(root), "cuda": torch.version.cuda or ""}
        found["tf32"] = str(torch.backends.cuda.matmul.allow_tf32).lower()
    return found


def summary_lines(path: Path) -> str:
    """A record in a few lines."""
    found = record.read_record(path)
    if found.status != "ok":
        return f"status {found.status}\nrecord {path}"
    chosen = found.selection
    lines = []
    if chosen.val_score is not None:
        epoch = f"  (epoch {chosen.chosen_epoch + 1} of {chosen.epochs})" if chosen.chosen_epoch is not None else ""
        part = "test, chosen" if chosen.rule == "test" else "validation"
        lines.append(f"{part:<11} {chosen.metric} {chosen.val_score:.4f}{epoch}")
    scores = "  ".join(f"{m} {found.metrics['full'][m]:.4f}" for m in found.protocol.metrics)
    lines.append(f"test        {scores}")
    others = {c: v for c, v in found.metrics.items() if c != "full" and not c.startswith(("missing_", "emap"))}
    for condition, values in others.items():
        lines.append(f"  {condition:<14} {found.protocol.primary} {values[found.protocol.primary]:.4f}")
    lines.append(f"record      {path}")
    if is_stale(found.code):
        lines.append("stale       the code of this run has changed since; name another --runs folder to run it again")
    return "\n".join(lines)
