"""BioVid Heat Pain (Walter et al., 2013)."""

from __future__ import annotations

from mer_bench.protocol import Condition, Corpus, LeaveOneGroupOut, Protocol
from mer_bench.types import TaskSpec

BINARY = TaskSpec("multiclass", ("BL1", "PA4"), labels="pain_binary")

BIOVID_A_BINARY = Protocol(
    name="biovid_a_binary",
    corpus="biovid",
    tasks={"pain": BINARY},
    primary="pain/wa",
    metrics=("pain/wa", "pain/f1_macro"),
    split=LeaveOneGroupOut("speaker", validation="hashed", count=8),
    folds=87,
    seeds=(0, 1, 2),
    cluster="speaker",
    statistics="C",
    conditions=(Condition("full"), Condition("only"), Condition("no")),
    note="Part A, baseline against the strongest heat; leave one of 87 subjects out, eight others validate.",
)

CORPUS = Corpus(
    slug="biovid",
    title="BioVid Heat Pain",
    about="87 people (part A) under four individually calibrated heat levels and none; video and biosignals, 100 "
    "windows of 5.5 s each. Licence: on request from the University of Magdeburg.",
    citation="Walter et al., IEEE CYBCO 2013",
    protocols=(BIOVID_A_BINARY,),
)
