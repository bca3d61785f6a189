"""CMU-MOSEI: sentiment and six emotions in video monologues (Bagher Zadeh et al., 2018)."""

from __future__ import annotations

import dataclasses

from mer_bench.protocol import Condition, Corpus, OfficialTable, Protocol
from mer_bench.types import TaskSpec

MISSING = Condition("missing", (0.1, 0.2, 0.3, 0.4, 0.5, 0.6))

#: the mean of the raters, on the scale that they used
SENTIMENT = TaskSpec("regression", ("sentiment",), labels="sentiment", range=(-3.0, 3.0))
EMOTION6 = TaskSpec(
    "multilabel",
    ("happy", "sad", "anger", "surprise", "disgust", "fear"),
    labels="emotions6",
    weighting="inverse-frequency",
)

SENTIMENT_METRICS = tuple(
    f"sentiment/{name}"
    for name in ("mae", "corr", "acc2_nonneg", "acc2_pos", "f1_nonneg", "f1_pos", "acc5", "acc7", "acc7_sdk")
)
EMOTION_METRICS = tuple(
    f"emotion/{name}" for name in ("balanced_accuracy", "f1_macro", "wf1", "f1_micro", "auprc", "jaccard")
)

MOSEI_SENTIMENT = Protocol(
    name="mosei_sentiment",
    corpus="mosei",
    tasks={"sentiment": SENTIMENT},
    primary="sentiment/mae",
    metrics=SENTIMENT_METRICS,
    split=OfficialTable("sdk"),
    folds=1,
    seeds=(0, 1, 2, 3, 4),
    cluster="dialogue",
    statistics="A",
    conditions=(Condition("full"), Condition("only"), Condition("no"), MISSING),
    note="Sentiment from -3 to 3; the official folds of videos, whose speakers may recur.",
)

MOSEI_EMOTION6 = dataclasses.replace(
    MOSEI_SENTIMENT,
    name="mosei_emotion6",
    tasks={"emotion": EMOTION6},
    primary="emotion/balanced_accuracy",
    metrics=EMOTION_METRICS,
    note="Six emotions, each present where the raters' mean intensity is above 0; threshold 0.5; folds as "
    "mosei_sentiment.",
)

MOSEI_MULTITASK = dataclasses.replace(
    MOSEI_SENTIMENT,
    name="mosei_multitask",
    tasks={"sentiment": SENTIMENT, "emotion": EMOTION6},
    metrics=(*SENTIMENT_METRICS, *EMOTION_METRICS),
    note="Sentiment and the six emotions together; sentiment is primary. Folds as mosei_sentiment.",
)

CORPUS = Corpus(
    slug="mosei",
    title="CMU-MOSEI",
    about="About 23,000 clips of 3,200 video monologues by 1,000 speakers; text, audio and vision. Labels: sentiment "
    "and the intensity of six emotions. Licence: from Carnegie Mellon University.",
    citation="Bagher Zadeh et al., ACL 2018",
    protocols=(MOSEI_SENTIMENT, MOSEI_EMOTION6, MOSEI_MULTITASK),
)
