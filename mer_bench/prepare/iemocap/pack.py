"""The research pack: small public derivatives of IEMOCAP in one folder, each from another repository.

They share no row numbers, formats or label codes, and some do not say which row is which turn. So nothing is taken on
trust: each file is joined by id or shown to be in the order it is read in, and every label that two files give must
be the same in both.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from mer_bench.errors import UserError
from mer_bench.merh5 import Contents, Modality, Source
from mer_bench.prepare import minilm
from mer_bench.prepare.arrays import load_npy
from mer_bench.prepare.ids import shown
from mer_bench.prepare.iemocap import pack_features, pack_labels
from mer_bench.prepare.iemocap.counts import Expected
from mer_bench.prepare.iemocap.labels import WORDS, count_classes, emotion_tables, vad_table
from mer_bench.prepare.iemocap.turns import Turns, erc, parse, speaker10
from mer_bench.prepare.layout import Layout, Request
from mer_bench.prepare.report import Report
from mer_bench.prepare.sources import folder_source, source
from mer_bench.prepare.tables import numbers, read_table

CATEGORIES = "prosody_10039/val_aro.csv"
RATINGS = "gemaps_hsf_10039/y_egemaps.npy"
AUDIO = ("gemaps_hsf_10039/feat_ws_3.npy", "prosody_10039/prosody_mean.csv")
LISTS = ("merbench_labels_text/label_4way.npz", "merbench_labels_text/label_6way.npz")
TRANSCRIPTS = "merbench_labels_text/transcription-engchi-polish.csv"
INDEXES = tuple(f"gcnet_dialogue_index/IEMOCAP_features_raw_{ways}way.pkl" for ways in (4, 6))
TOKENS, SENTENCES = "text_minilm/tokens_rp128.npz", "text_minilm/sentence_mean384.npz"
FACES = "openface_au_129/au"
OPTIONAL = {TOKENS: "text", SENTENCES: "text_sentence", FACES: "vision"}


class ResearchPack(Layout):
    """The folder of research files.

    Args:
        expected: the counts that the files must have.
    """

    name = "IEMOCAP research pack"
    required = (CATEGORIES, RATINGS, *AUDIO, *LISTS, TRANSCRIPTS, *INDEXES)

    def __init__(self, expected: Expected | None = None) -> None:
        self.expected = expected or Expected()

    def read(self, request: Request, report: Report) -> Contents:
        """Read and verify the pack; `text` and `vision` only where their files are there."""
        root = request.source
        turns, codes, ratings = self._turns(root, report)
        words = {name: WORDS[code] for name, code in codes.items()}
        erc_words, index = self._conversation_files(root, words, report)
        order, text = pack_labels.transcripts(root / TRANSCRIPTS, turns, index.orders, report)
        labels = emotion_tables(list(words.values()), [erc_words.get(name, "") for name in turns.ids])
        labels["vad"] = vad_table(root / RATINGS, turns.ids, ratings, report)
        count_classes(labels, report)
        return Contents(
            corpus="iemocap",
            ids=turns.ids,
            modalities=_modalities(root, turns, report),
            labels=labels,
            speaker=turns.speaker,
            session=turns.session,
            dialogue=turns.dialogue,
            order=order,
            text=text if request.text else None,
            attrs={"gender": turns.gender, "style": turns.style, "category": list(codes.values())},
            splits={"erc": erc(turns, index.test), "speaker10": speaker10(turns)},
            sources=self._sources(root),
            corpus_part="all rated turns",
            licence="IEMOCAP release licence (University of Southern California, SAIL); for local use only",
            notes="order: position among the rated turns of the dialogue. vision: the whole frame was tracked, so the "
            "face may be the listener's; 129 turns of one session, a fixture for missing data, never to be scored.",
        )

    def _turns(self, root: Path, report: Report) -> tuple[Turns, dict[str, str], np.ndarray]:
        """The turns, their category codes by id, and their ratings (turns, 3)."""
        path = root / CATEGORIES
        table = read_table(path, ("filename", "emotion", "valence", "arousal"))
        turns = parse(path, table["filename"])
        codes = dict(zip(table["filename"], table["emotion"], strict=True))
        unknown = [name for name in turns.ids if codes[name] not in WORDS]
        if unknown:
            raise UserError(f"{path}: unknown category code at {shown(unknown)}; expected {', '.join(WORDS)}")
        self._count(path, turns, codes)
        pairs = np.stack([numbers(table[column], f"{path}: {column}") for column in ("valence", "arousal")], axis=1)
        rows = np.array([row for _, row in sorted(zip(table["filename"], range(len(pairs)), strict=True))])
        ratings = pack_labels.ratings(root / RATINGS, load_npy(root / RATINGS), pairs[rows], path, turns.ids)
        report.counted |= {
            "turns": len(turns.ids),
            "dialogues": len(set(turns.dialogue)),
            "speakers": len(set(turns.speaker)),
            "sessions": len(set(turns.session)),
        }
        report.verified.append(f"number of turns in each of {len(self.expected.codes)} categories")
        report.verified.append(f"rows of {RATINGS}: valence and arousal equal those of {CATEGORIES} in every turn")
        return turns, {name: codes[name] for name in turns.ids}, ratings

    def _count(self, path: Path, turns: Turns, codes: Mapping[str, str]) -> None:
        if len(turns.ids) != self.expected.turns:
            raise UserError(f"{path}: {len(turns.ids):,} turns; IEMOCAP has {self.expected.turns:,} rated turns")
        found = Counter(codes.values())
        wrong = [code for code in WORDS if found[code] != self.expected.codes.get(code, 0)]
        if wrong:
            told = ", ".join(
                f"{code} {found[code]:,} instead of {self.expected.codes.get(code, 0):,}" for code in wrong
            )
            raise UserError(f"{path}: category counts differ from the corpus's: {told}")

    def _conversation_files(
        self, root: Path, words: Mapping[str, str], report: Report
    ) -> tuple[dict[str, str], pack_labels.Index]:
        """Six-class labels of the conversation papers by turn, and their dialogues."""
        four = pack_labels.label_list(root / LISTS[0], pack_labels.ERC4)
        six = pack_labels.label_list(root / LISTS[1], pack_labels.ERC6)
        pack_labels.check_four(root / LISTS[0], four, words)
        extra = pack_labels.check_six(root / LISTS[1], six, words)
        if len(extra) != self.expected.erc_only:
            raise UserError(
                f"{root / LISTS[1]}: {len(extra)} turns without majority are called happy ({shown(extra)}); "
                f"expected {self.expected.erc_only}"
            )
        report.counted["of emo6_erc without majority"] = len(extra)
        report.verified.append(f"labels in {LISTS[0]} and {LISTS[1]}: those of {CATEGORIES}")
        part = pack_labels.dialogue_index(root / INDEXES[0], pack_labels.ERC4, four)
        index = pack_labels.dialogue_index(root / INDEXES[1], pack_labels.ERC6, six)
        pack_labels.check_indexes(root / INDEXES[0], part, index)
        if (len(index.train), len(index.test)) != self.expected.dialogues:
            raise UserError(
                f"{root / INDEXES[1]}: {len(index.train)} training and {len(index.test)} test dialogues; expected "
                f"{self.expected.dialogues[0]} and {self.expected.dialogues[1]}"
            )
        report.verified.append(f"labels in {INDEXES[0]} and {INDEXES[1]}: those of the label lists; speakers: the ids'")
        return six, index

    def _sources(self, root: Path) -> list[Source]:
        files = [*self.required, *(path for path in (TOKENS, SENTENCES) if (root / path).exists())]
        folders = [folder_source(sorted((root / FACES).glob("*.csv")))] if (root / FACES).exists() else []
        return [source(root / path) for path in files] + folders


def _modalities(root: Path, turns: Turns, report: Report) -> dict[str, Modality]:
    found = {"audio": pack_features.audio(root / AUDIO[0], root / AUDIO[1], turns.ids, report)}
    readers = {TOKENS: minilm.tokens, SENTENCES: minilm.sentences, FACES: pack_features.faces}
    for path, name in OPTIONAL.items():
        if (root / path).exists():
            found[name] = readers[path](root / path, turns.ids, report)
        else:
            report.absent.append(f"{path}: no modality '{name}'")
    for name, modality in found.items():
        report.counted[f"with {name}"] = int((np.asarray(modality.lengths) > 0).sum())
    return found
