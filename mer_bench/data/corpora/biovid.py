"""BioVid Heat Pain (Walter et al., 2013)."""

from __future__ import annotations

import dataclasses

from mer_bench.protocol import Condition, Corpus, GroupKFold, ItemKFold, LeaveOneGroupOut, OfficialTable, Protocol
from mer_bench.types import TaskSpec

MISSING = Condition("missing", (0.1, 0.2, 0.3, 0.4, 0.5))
BINARY = TaskSpec("multiclass", ("BL1", "PA4"), labels="pain_binary")

BIOVID_A_BINARY = Protocol(
    name="biovid_a_binary",
    corpus="biovid",
    tasks={"pain": BINARY},
    primary="pain/wa",
    metrics=("pain/wa", "pain/f1_macro", "pain/auc"),
    split=LeaveOneGroupOut("speaker", validation="hashed", count=8),
    folds=87,
    seeds=(0, 1, 2),
    cluster="speaker",
    statistics="C",
    conditions=(Condition("full"), Condition("only"), Condition("no"), MISSING),
    note="Part A, baseline against the strongest heat; leave one of 87 subjects out, eight others validate.",
)

FIVE = TaskSpec("multiclass", ("BL1", "PA1", "PA2", "PA3", "PA4"), labels="pain5")

BIOVID_A_5CLASS = dataclasses.replace(
    BIOVID_A_BINARY,
    name="biovid_a_5class",
    tasks={"pain": FIVE},
    primary="pain/ua",
    metrics=("pain/ua", "pain/wa", "pain/f1_macro"),
    note="Part A, no pain and four levels of heat, 20 samples each; leave one of 87 subjects out, eight others "
    "validate.",
)

BIOVID_A67_BINARY = dataclasses.replace(
    BIOVID_A_BINARY,
    name="biovid_a67_binary",
    folds=67,
    where={"reactive": ("yes",)},
    note="biovid_a_binary without the 20 subjects who show no visible reaction. They were chosen by looking at the "
    "data, so its numbers are higher, and not comparable with those on 87 subjects.",
)

BIOVID_A_HOLDOUT = dataclasses.replace(
    BIOVID_A_BINARY,
    name="biovid_a_holdout",
    split=OfficialTable("holdout", validation_key="speaker", validation_share=0.15),
    folds=1,
    seeds=(0, 1, 2, 3, 4),
    statistics="A",
    note="Part A, BL1 against PA4, on the 26 subjects that the organisers propose to hold out; 9 of the 61 others "
    "validate.",
)

BIOVID_A_KFOLD5 = dataclasses.replace(
    BIOVID_A_BINARY,
    name="biovid_a_kfold5",
    split=GroupKFold("speaker", 5),
    folds=5,
    seeds=(0, 1, 2, 3, 4),
    statistics="B",
    note="Part A, BL1 against PA4; the 87 subjects dealt to five folds, the next fold validates.",
)

BIOVID_A_CLIP5FOLD_LEGACY = dataclasses.replace(
    BIOVID_A_KFOLD5,
    name="biovid_a_clip5fold_legacy",
    split=ItemKFold(5),
    legacy=True,
    note="Part A, BL1 against PA4; single samples dealt to five folds, so every subject is in the training and the "
    "test part. Shows what such folds are worth; never ranked.",
)

CORPUS = Corpus(
    slug="biovid",
    title="BioVid Heat Pain",
    about="87 people (part A) under four individually calibrated heat levels and none; video and biosignals, 100 "
    "windows of 5.5 s each. Licence: on request from the University of Magdeburg.",
    citation="Walter et al., IEEE CYBCO 2013",
    protocols=(
        BIOVID_A_BINARY,
        BIOVID_A_5CLASS,
        BIOVID_A67_BINARY,
        BIOVID_A_HOLDOUT,
        BIOVID_A_KFOLD5,
        BIOVID_A_CLIP5FOLD_LEGACY,
    ),
)
