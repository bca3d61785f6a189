"""IEMOCAP: ten actors in five dyadic sessions (Busso et al., 2008)."""

from __future__ import annotations

import dataclasses

from mer_bench.protocol import Condition, Corpus, LeaveOneGroupOut, Protocol
from mer_bench.types import TaskSpec

MISSING = Condition("missing", (0.1, 0.2, 0.3, 0.4, 0.5))

EMOTION4 = TaskSpec("multiclass", ("angry", "happy", "neutral", "sad"), labels="emo4", weighting="inverse-frequency")

VAD = TaskSpec("regression", ("valence", "arousal", "dominance"), labels="vad", range=(-1.0, 1.0))

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

IEMOCAP_VAD = dataclasses.replace(
    IEMOCAP4,
    name="iemocap_vad",
    tasks={"vad": VAD},
    primary="vad/ccc",
    metrics=("vad/ccc", "vad/corr", "vad/mae"),
    note="Valence, arousal and dominance of all 10,039 rated turns, 1 to 5 scaled to -1 to 1; folds as iemocap4.",
)

IEMOCAP4_VAD = dataclasses.replace(
    IEMOCAP4,
    name="iemocap4_vad",
    tasks={"emotion": EMOTION4, "vad": VAD},
    metrics=(*IEMOCAP4.metrics, "vad/ccc", "vad/mae"),
    note="The four classes of iemocap4 and, as a second task, valence, arousal and dominance in -1 to 1. Turns with "
    "either train, so all 10,039 do; the 5,531 with a class are the test parts, for both tasks.",
)

CORPUS = Corpus(
    slug="iemocap",
    title="IEMOCAP",
    about="About 12 hours of ten actors in five dyadic sessions, scripted and improvised; 10,039 rated turns. "
    "Licence: on request from the SAIL laboratory of the University of Southern California.",
    citation="Busso et al., Language Resources and Evaluation 42, 2008",
    protocols=(IEMOCAP4, IEMOCAP_VAD, IEMOCAP4_VAD),
)
