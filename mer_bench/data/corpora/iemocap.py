"""IEMOCAP: ten actors in five dyadic sessions (Busso et al., 2008)."""

from __future__ import annotations

from mer_bench.protocol import Condition, Corpus, LeaveOneGroupOut, Protocol
from mer_bench.types import TaskSpec

MISSING = Condition("missing", (0.1, 0.2, 0.3, 0.4, 0.5))

EMOTION4 = TaskSpec("multiclass", ("angry", "happy", "neutral", "sad"), labels="emo4", weighting="inverse-frequency")

IEMOCAP4 = Protocol(
    name="iemocap4",
    corpus="iemocap",
    tasks={"emotion": EMOTION4},
    primary="emotion/ua",
    metrics=("emotion/ua", "emotion/wa", "emotion/wf1", "emotion/f1_macro"),
    split=LeaveOneGroupOut("session", validation="next"),
    folds=5,
    seeds=(0, 1, 2, 3, 4),
    cluster="speaker",
    statistics="B",
    conditions=(Condition("full"), Condition("only"), Condition("no"), MISSING),
    note="Four classes, excited counted as happy (5,531 turns); leave one session out, the next session validates.",
)

CORPUS = Corpus(
    slug="iemocap",
    title="IEMOCAP",
    about="About 12 hours of ten actors in five dyadic sessions, scripted and improvised; 10,039 rated turns. "
    "Licence: on request from the SAIL laboratory of the University of Southern California.",
    citation="Busso et al., Language Resources and Evaluation 42, 2008",
    protocols=(IEMOCAP4,),
)
