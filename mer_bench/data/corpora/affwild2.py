"""Aff-Wild2: faces in the wild, annotated frame by frame (Kollias and Zafeiriou, 2019; the ABAW challenges)."""

from __future__ import annotations

import dataclasses

from mer_bench.protocol import Condition, Corpus, OfficialTable, Protocol
from mer_bench.types import TaskSpec

NOTE = (
    "The official validation videos are the test part, as labels of the official test part are private; 15 % of the "
    "training videos validate. All labelled frames count, pooled over videos."
)
VA = TaskSpec("regression", ("valence", "arousal"), level="frame", range=(-1.0, 1.0))
EXPRESSION = TaskSpec(
    "multiclass",
    ("neutral", "anger", "disgust", "fear", "happiness", "sadness", "surprise", "other"),
    level="frame",
    labels="expr",
    weighting="inverse-frequency",
)
AU = TaskSpec("multilabel", tuple(f"AU{n}" for n in (1, 2, 4, 6, 7, 10, 12, 15, 23, 24, 25, 26)), level="frame")


#: frames of the column of smoothed answers, a second of video (ours)
SMOOTHED = 31


def _split(task: str) -> OfficialTable:
    """The parts of one task: each has its own list of videos."""
    return OfficialTable(f"abaw_{task}", validation_key="dialogue", validation_share=0.15)


AFFWILD2_VA = Protocol(
    name="affwild2_va",
    corpus="affwild2",
    tasks={"va": VA},
    primary="va/ccc",
    metrics=("va/ccc", "va/ccc/valence", "va/ccc/arousal", "va/corr", "va/mae"),
    split=_split("va"),
    folds=1,
    seeds=(0, 1, 2, 3, 4),
    cluster="dialogue",
    statistics="A",
    conditions=(Condition("full"), Condition("only"), Condition("no"), Condition("smoothed", frames=SMOOTHED)),
    note=f"Valence and arousal per frame, mean of the two CCC. {NOTE}",
)

AFFWILD2_EXPR = dataclasses.replace(
    AFFWILD2_VA,
    name="affwild2_expr",
    tasks={"expression": EXPRESSION},
    primary="expression/f1_macro",
    metrics=("expression/f1_macro", "expression/ua", "expression/wa"),
    split=_split("expr"),
    note=f"Eight expressions per frame. {NOTE}",
)

AFFWILD2_AU = dataclasses.replace(
    AFFWILD2_VA,
    name="affwild2_au",
    tasks={"au": AU},
    primary="au/f1_macro",
    metrics=("au/f1_macro", "au/balanced_accuracy", "au/auprc"),
    split=_split("au"),
    note=f"Twelve action units per frame, mean of their F1 at threshold 0.5. {NOTE}",
)

CORPUS = Corpus(
    slug="affwild2",
    title="Aff-Wild2",
    about="About 590 videos from the web with nearly 3 million annotated frames: valence and arousal, eight "
    "expressions, twelve action units. Licence: on request from the organisers of the ABAW challenges.",
    citation="Kollias and Zafeiriou, arXiv 1811.07770, 2018",
    protocols=(AFFWILD2_VA, AFFWILD2_EXPR, AFFWILD2_AU),
)
