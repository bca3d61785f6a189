"""From what the official files and those of the conversation papers say to the contents of a feature file."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mer_bench.errors import UserError
from mer_bench.merh5 import Contents, Labels, Modality, Source, SplitTable
from mer_bench.prepare.feature_folder import feature_files, read_folder
from mer_bench.prepare.iemocap.conversations import Conversations
from mer_bench.prepare.iemocap.evaluation import Evaluation, read_transcripts
from mer_bench.prepare.iemocap.labels import count_classes, emo4, emo6_erc, emotion_tables, vad_table
from mer_bench.prepare.iemocap.layers import read_layers
from mer_bench.prepare.iemocap.turns import Turns, erc, parse, speaker10
from mer_bench.prepare.layout import Request
from mer_bench.prepare.rates import positive
from mer_bench.prepare.report import Report
from mer_bench.prepare.rows import Faults
from mer_bench.prepare.sources import folder_source, source

#: modalities of the pickles whose extractor was trained on the classes of the training dialogues: the text network of
#: DialogueRNN and what came after it
LABEL_TRAINED = {"text"}
#: name of the split on which the extractor of a modality was trained
FIT = "{}_fit"
LICENCE = "IEMOCAP release licence (University of Southern California, SAIL); for local use only"


@dataclass(frozen=True)
class Known:
    """What is known of the turns: by the official files, by those of the conversation papers, or by both.

    Attributes:
        part: which turns they are.
        wanted: the turns to convert.
        evaluation: of the official files.
        given: of the conversation papers.
    """

    part: str
    wanted: list[str]
    evaluation: Evaluation | None
    given: Conversations | None


def contents(where: object, known: Known, request: Request, report: Report) -> Contents:
    """The contents of the feature file; turns without any feature are left out.

    Args:
        where: what is converted, for messages.
        known: what is known of the turns.
        request: with the feature folders.
        report: told everything.

    Raises:
        UserError: no features, or files that do not fit the turns.
    """
    turns, modalities, trained = _modalities(where, known, request, report)
    labels = _labels(where, known, turns, report)
    count_classes(labels, report)
    for name, modality in modalities.items():
        report.counted[f"with {name}"] = int((np.asarray(modality.lengths) > 0).sum())
    splits = _splits(known.given, turns, trained, report)
    fitted = {name: FIT.format(name) for name in trained} | {name: "erc" for name in LABEL_TRAINED & _brought(known)}
    start, end = _times(known.evaluation, turns)
    return Contents(
        corpus="iemocap",
        ids=turns.ids,
        modalities={
            name: dataclasses.replace(one, fitted_on=scheme if (scheme := fitted.get(name, "")) in splits else "")
            for name, one in modalities.items()
        },
        labels=labels,
        speaker=turns.speaker,
        session=turns.session,
        dialogue=turns.dialogue,
        order=_order(known, turns, start, report),
        start_s=start,
        end_s=end,
        text=_text(known, turns, report) if request.text else None,
        attrs={"gender": turns.gender, "style": turns.style, **_categories(known.evaluation, turns)},
        splits=splits,
        sources=_sources(known, request),
        corpus_part=known.part,
        licence=LICENCE,
        notes="order: position among the converted turns of the dialogue.",
    )


def _brought(known: Known) -> set[str]:
    """Names of the modalities that the files themselves bring."""
    return set(known.given.features) if known.given is not None else set()


def _modalities(
    where: object, known: Known, request: Request, report: Report
) -> tuple[Turns, dict[str, Modality], dict[str, dict[str, int]]]:
    """The turns that have any feature, and their modalities: those that the files bring, and the folders.

    Also, by modality, the parts of the dialogues where a pickle tells on which its extractor was trained.
    """
    wanted = set(known.wanted)
    brought = dict(known.given.features) if known.given is not None else {}
    twice = sorted(set(brought) & set(request.features))
    if twice:
        raise UserError(f"--features {twice[0]}: {where} brings a modality of that name; choose another")
    unknown = [name for name in request.rate if name not in request.features]
    if unknown:
        raise UserError(f"--rate {unknown[0]}: no --features of that name")
    pickles = {name: path for name, path in request.features.items() if path.is_file()}
    layers = {name: read_layers(path, known.given, report) for name, path in pickles.items()}
    brought |= {name: one.vectors for name, one in layers.items()}
    folders = {
        name: feature_files(name, path, wanted) for name, path in request.features.items() if name not in pickles
    }
    have = set().union(*folders.values(), *brought.values())
    turns = parse(where, sorted(wanted & have))
    if not turns.ids:
        raise UserError(f"{where}: no features of any of {len(wanted):,} turns; name them with --features NAME=PATH")
    report.drop("turns without any feature", sorted(wanted - have))
    found = {name: _vectors(name, vectors, turns.ids, report) for name, vectors in brought.items()}
    for name, files in folders.items():
        report.drop(f"files of {name} without a turn", sorted(set(files) - wanted))
        rate = positive(request.rate[name], f"--rate {name}") if name in request.rate else 0.0
        found[name] = read_folder(name, request.features[name], files, turns.ids, report, rate)
    return turns, found, {name: one.parts for name, one in layers.items()}


def _vectors(name: str, vectors: dict[str, np.ndarray], ids: Sequence[str], report: Report) -> Modality:
    """One row per turn; a row of zeros is no measurement."""
    there = [turn for turn in ids if turn in vectors]
    values = np.stack([vectors[turn] for turn in there])
    faults = Faults(name)
    valid = np.array([faults.judge(turn, vectors[turn][None])[0] for turn in there])
    faults.tell(report.repair)
    lengths = np.array([turn in vectors for turn in ids], np.int64)
    note = "as the pickle of the conversation papers holds them; what computed them differs from file to file"
    return Modality(values, lengths, kind="utterance", valid=valid, note=note)


def _labels(where: object, known: Known, turns: Turns, report: Report) -> dict[str, Labels]:
    tables = known.given.tables if known.given is not None else {}
    erc_words = [tables[6].get(turn, "") for turn in turns.ids] if 6 in tables else None
    if known.evaluation is None:
        found = {"emo4": emo4([tables[4].get(turn, "") for turn in turns.ids])} if 4 in tables else {}
        return found | ({"emo6_erc": emo6_erc(erc_words)} if erc_words else {})
    words, rows = known.evaluation.words(), known.evaluation.turns.row()
    found = emotion_tables([words[turn] for turn in turns.ids], erc_words or [])
    if erc_words is None:
        del found["emo6_erc"]
        report.absent.append("emo6_erc, the labels of the conversation papers: --labels FILE names a file of theirs")
    ratings = known.evaluation.ratings[[rows[turn] for turn in turns.ids]]
    return found | {"vad": vad_table(where, turns.ids, ratings, report)}


def _categories(evaluation: Evaluation | None, turns: Turns) -> dict[str, list[str]]:
    if evaluation is None:
        return {}
    codes = dict(zip(evaluation.turns.ids, evaluation.codes, strict=True))
    return {"category": [codes[turn] for turn in turns.ids]}


def _times(evaluation: Evaluation | None, turns: Turns) -> tuple[np.ndarray | None, np.ndarray | None]:
    if evaluation is None:
        return None, None
    row = evaluation.turns.row()
    rows = [row[turn] for turn in turns.ids]
    return evaluation.start_s[rows], evaluation.end_s[rows]


def _order(known: Known, turns: Turns, start: np.ndarray | None, report: Report) -> np.ndarray | None:
    """Position of each turn in its dialogue, by its start, else as the conversation papers order them."""
    orders = known.given.orders if known.given is not None else {}
    listed = {turn: place for block in orders.values() for place, turn in enumerate(block)}
    key = {turn: float(start[row]) for row, turn in enumerate(turns.ids)} if start is not None else listed
    if not key:
        report.absent.append("order of the turns in their dialogues: label lists do not tell")
        return None
    place: dict[str, int] = {}
    seen: dict[str, int] = {}
    for turn in sorted(turns.ids, key=lambda turn: (key[turn], turn)):
        dialogue = turn.rpartition("_")[0]
        place[turn] = seen[dialogue] = seen.get(dialogue, -1) + 1
    other = [name for name, block in orders.items() if sorted(block, key=lambda turn: place.get(turn, 0)) != block]
    if other and start is not None:
        report.counted["dialogues that the conversation papers order otherwise"] = len(other)
    return np.array([place[turn] for turn in turns.ids], np.int64)


def _text(known: Known, turns: Turns, report: Report) -> list[str] | None:
    if known.evaluation is not None:
        spoken = read_transcripts(known.evaluation, report)
        if spoken is not None:
            by = dict(zip(known.evaluation.turns.ids, spoken, strict=True))
            return [by[turn] for turn in turns.ids]
    text = known.given.text if known.given is not None else {}
    if not text:
        raise UserError("--text: no transcripts here; expected dialog/transcriptions, or a pickle with sentences")
    return [text.get(turn, "") for turn in turns.ids]


def _splits(
    given: Conversations | None, turns: Turns, trained: Mapping[str, Mapping[str, int]], report: Report
) -> dict[str, SplitTable]:
    """The fold of the conversation papers, from their file where it tells; ten by speaker; what extractors saw."""
    train, test = (given.train, given.test) if given is not None else (frozenset(), frozenset())
    if train:
        report.counted |= {"dialogues that train in erc": len(train), "dialogues that test in erc": len(test)}
    tables = {
        "erc": erc(turns, set(test), set(train)) if train else erc(turns, _fifth(turns)),
        "speaker10": speaker10(turns),
    }
    needed = {"erc": {1}} if given is not None and LABEL_TRAINED & set(given.features) else {}  # says what text saw
    whole = {
        name: all(needed.get(name, {1, 3}) <= set(fold) for fold in split.table.tolist())
        for name, split in tables.items()
    }
    report.absent += [f"split {name}: a part without a turn" for name, there in whole.items() if not there]
    found = {name: split for name, split in tables.items() if whole[name]}
    fits = {FIT.format(name): _fit(turns, parts) for name, parts in trained.items()}
    return found | {name: split for name, split in fits.items() if (split.table == 1).any()}


def _fit(turns: Turns, parts: Mapping[str, int]) -> SplitTable:
    """Which turns an extractor was trained on."""
    return SplitTable(
        np.array([[parts.get(dialogue, 0) for dialogue in turns.dialogue]], np.uint8),
        disjoint_by=("dialogue",),
        source="the training, validation and test dialogues named in the pickle of the features",
        note="On the training part the extractor was fine-tuned with labels; no protocol compares on it.",
    )


def _fifth(turns: Turns) -> set[str]:
    return {name for name, session in zip(turns.dialogue, turns.session, strict=True) if session == "Ses05"}


def _sources(known: Known, request: Request) -> list[Source]:
    found = [source(path) for path in known.given.files] if known.given is not None else []
    if known.evaluation is not None:
        found.append(folder_source(known.evaluation.files, known.evaluation.root))
    wanted = set(known.wanted)
    for name, folder in request.features.items():
        if folder.is_file():
            found.append(source(folder))
            continue
        files = [path for item, path in feature_files(name, folder, wanted).items() if item in wanted]
        found.append(folder_source(files, folder))
    return found
