"""From what a lab has on disk to a checked feature file: one package a corpus, one `Layout` for each form it comes in.

Nothing here imports torch, and nothing that a file asks for is executed.
"""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from mer_bench.errors import UserError, did_you_mean
from mer_bench.prepare.layout import Layout, Request, recognise
from mer_bench.prepare.report import Report

if TYPE_CHECKING:
    from mer_bench.merh5 import Contents

#: what `--fitted-on` says of an extractor that saw no label of the corpus
NOTHING = "none"
#: corpus -> the module with its `LAYOUTS`, in the order in which they are tried
CORPORA = {
    "affwild2": "mer_bench.prepare.affwild2",
    "biovid": "mer_bench.prepare.biovid",
    "iemocap": "mer_bench.prepare.iemocap",
    "mosei": "mer_bench.prepare.cmu.mosei",
    "mosi": "mer_bench.prepare.cmu.mosi",
    "table": "mer_bench.prepare.table",
}


def prepare(
    corpus: str, request: Request, out: Path | None, cost: Callable[[], tuple[float, float]] | None = None
) -> Report:
    """Convert a corpus, in this process; `child.prepare_apart` does it in another one, as the command does.

    Args:
        corpus: slug.
        request: what to convert, and how.
        out: the feature file to write (an existing one is replaced), its report beside it; None writes nothing.
        cost: tells seconds and MB so far, for the report.

    Returns:
        What was recognised, counted, verified, repaired and dropped.

    Raises:
        UserError: unknown corpus or layout, or files that fail a check; nothing is written then.
    """
    if corpus not in CORPORA:
        raise UserError(f"no converter for {corpus!r}; {did_you_mean(corpus, CORPORA)}")
    layouts: tuple[Layout, ...] = importlib.import_module(CORPORA[corpus]).LAYOUTS
    layout = recognise(corpus, layouts, request.source)
    layout.refuse_unused(request)
    report = Report(corpus, str(request.source), recognised=layout.name)
    contents = fitted(layout.read(request, report), request.fitted_on, report)
    if out is not None:
        from mer_bench.merh5 import write

        repairs = {what: tally.count for what, tally in report.repaired.items()}
        report.content_sha256 = write(out, dataclasses.replace(contents, repairs=repairs))
        report.written = str(out)
    if cost is not None:
        report.seconds, report.peak_mb = (round(value, 2) for value in cost())
    if out is not None:
        report.save(report_path(out))
    return report


def fitted(contents: Contents, stated: Mapping[str, str], report: Report) -> Contents:
    """The same, with what the user states of the labels that extractors saw (decision 0009).

    Args:
        contents: what was read.
        stated: by modality, a split of the contents with one fold, or `none`.
        report: told what it overrules.

    Raises:
        UserError: no such modality, or no such split.
    """
    modalities = dict(contents.modalities)
    folds = {name: len(split.table) for name, split in contents.splits.items()}
    for name, scheme in stated.items():
        if name not in modalities:
            raise UserError(f"--fitted-on {name}: no such modality; {did_you_mean(name, modalities)}")
        if scheme != NOTHING and folds.get(scheme) != 1:
            single = [split for split, count in folds.items() if count == 1]
            raise UserError(
                f"--fitted-on {name}={scheme}: no split {scheme!r} with one fold; expected one of "
                f"{', '.join([*single, NOTHING])}"
            )
        known = modalities[name].fitted_on or NOTHING
        if known != scheme:
            report.absent.append(f"proof of --fitted-on {name}={scheme}; taken as stated, in place of {known}")
        modalities[name] = dataclasses.replace(modalities[name], fitted_on="" if scheme == NOTHING else scheme)
    return dataclasses.replace(contents, modalities=modalities)


def report_path(out: Path) -> Path:
    """Where the report of a feature file lies: ``iemocap.h5`` -> ``iemocap.report.json``."""
    return out.with_name(f"{out.stem}.report.json")
