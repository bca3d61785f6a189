"""CMU-MOSI: sentiment in video reviews (Zadeh et al., 2016)."""

from __future__ import annotations

import dataclasses

from mer_bench.data.corpora.mosei import MOSEI_SENTIMENT
from mer_bench.protocol import Condition, Corpus, OfficialTable, Protocol
from mer_bench.types import TaskSpec

#: computed by bc-LSTM's tables: sentiment below 0, or not
POLARITY = TaskSpec("multiclass", ("negative", "nonnegative"), labels="polarity")

MOSI_SENTIMENT = dataclasses.replace(
    MOSEI_SENTIMENT,
    name="mosi_sentiment",
    corpus="mosi",
    note="Sentiment from -3 to 3; the official folds of videos, 1,284/229/686 clips.",
)

MOSI_BCLSTM = Protocol(
    name="mosi_bclstm",
    corpus="mosi",
    tasks={"sentiment": POLARITY},
    primary="sentiment/wa",
    metrics=("sentiment/wa", "sentiment/wf1", "sentiment/ua"),
    split=OfficialTable("bclstm"),
    folds=1,
    seeds=(0, 1, 2, 3, 4),
    cluster="dialogue",
    statistics="A",
    conditions=(Condition("full"), Condition("only"), Condition("no")),
    legacy=True,
    selection="fixed",
    note="Negative or not, the split of bc-LSTM (1,447 clips train, 752 test), on which alone its text and video "
    "networks can be judged. They saw every clip that could validate, so a fixed number of epochs is trained. An "
    "anchor for loaders; never ranked.",
)

CORPUS = Corpus(
    slug="mosi",
    title="CMU-MOSI",
    about="2,199 opinion segments of 93 video reviews of films by 89 speakers; text, audio and vision. Label: "
    "sentiment. Licence: from Carnegie Mellon University.",
    citation="Zadeh et al., IEEE Intelligent Systems 31, 2016",
    protocols=(MOSI_SENTIMENT, MOSI_BCLSTM),
)
