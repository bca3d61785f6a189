"""IEMOCAP: ten actors in five dyadic sessions (Busso et al., 2008)."""

from __future__ import annotations

import dataclasses

from mer_bench.protocol import Condition, Corpus, LeaveOneGroupOut, OfficialTable, Protocol
from mer_bench.types import TaskSpec

MISSING = Condition("missing", (0.1, 0.2, 0.3, 0.4, 0.5))

EMOTION4 = TaskSpec("multiclass", ("angry", "happy", "neutral", "sad"), labels="emo4", weighting="inverse-frequency")

CLASSES6 = ("angry", "excited", "frustrated", "happy", "neutral", "sad")
EMOTION6 = TaskSpec("multiclass", CLASSES6, labels="emo6", weighting="inverse-frequency")
#: weighted F1 counts a class by its frequency, and so does a loss without weights
EMOTION6_ERC = TaskSpec("multiclass", CLASSES6, labels="emo6_erc")

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

IEMOCAP6 = dataclasses.replace(
    IEMOCAP4,
    name="iemocap6",
    tasks={"emotion": EMOTION6},
    note="Six classes, excited and happy apart, of the 7,380 turns on which a majority of the raters agrees; folds as "
    "iemocap4.",
)

IEMOCAP6_ERC = dataclasses.replace(
    IEMOCAP6,
    name="iemocap6_erc",
    tasks={"emotion": EMOTION6_ERC},
    primary="emotion/wf1",
    metrics=("emotion/wf1", "emotion/wa", "emotion/ua", "emotion/f1_macro"),
    split=OfficialTable("erc", validation_key="dialogue", validation_share=0.1),
    folds=1,
    cluster="dialogue",
    statistics="A",
    note="The 7,433 turns of the conversation papers in six classes: sessions 1 to 4 train, of which a tenth of the "
    "dialogues validates, session 5 tests. Utterance models; not comparable with conversation papers.",
)

IEMOCAP4_SPEAKER10 = dataclasses.replace(
    IEMOCAP4,
    name="iemocap4_speaker10",
    split=OfficialTable("speaker10"),
    folds=10,
    note="The four classes of iemocap4 in the ten folds of MMIN and MEmoBERT: four sessions train; of the fifth one "
    "speaker validates and the other tests, so both stand in the same dialogues.",
)

IEMOCAP4_IMPRO = dataclasses.replace(
    IEMOCAP4,
    name="iemocap4_impro",
    where={"style": ("impro",)},
    note="iemocap4 on the improvised turns alone: no script is said in two sessions, so no text recurs.",
)

IEMOCAP4_TESTSELECT_LEGACY = dataclasses.replace(
    IEMOCAP4,
    name="iemocap4_testselect_legacy",
    split=LeaveOneGroupOut("session", validation="none"),
    legacy=True,
    selection="test",
    note="iemocap4 as papers without a validation part ran it: four sessions train, and the epoch is chosen on the "
    "session that is reported. Shows what that is worth; never ranked.",
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
    protocols=(
        IEMOCAP4,
        IEMOCAP6,
        IEMOCAP6_ERC,
        IEMOCAP_VAD,
        IEMOCAP4_VAD,
        IEMOCAP4_SPEAKER10,
        IEMOCAP4_IMPRO,
        IEMOCAP4_TESTSELECT_LEGACY,
    ),
)
