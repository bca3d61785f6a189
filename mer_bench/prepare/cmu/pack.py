"""The MOSI research pack: small public derivatives of CMU-MOSI in one folder, each from another repository.

They name the same 2,199 utterances; every label, part and transcript that two of them give must be the same in both.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mer_bench.errors import UserError
from mer_bench.merh5 import Contents
from mer_bench.prepare import minilm
from mer_bench.prepare.cmu import bclstm
from mer_bench.prepare.cmu.clips import Clips, settle
from mer_bench.prepare.cmu.contents import contents
from mer_bench.prepare.cmu.label_files import agree, read_labels
from mer_bench.prepare.ids import same, shown
from mer_bench.prepare.layout import Layout, Request
from mer_bench.prepare.report import Report
from mer_bench.prepare.sources import source

LABELS, INDEX = "merbench_labels/label.npz", "gcnet_index/CMUMOSI_features_raw_2way.pkl"
TABLES = "bclstm_utterance"
TOKENS, SENTENCES = "text_minilm/tokens_rp128.npz", "text_minilm/sentence_mean384.npz"


@dataclass(frozen=True)
class Expected:
    """How many clips there are, in the published corpus unless a test says otherwise."""

    clips: int = 2_199
    official: tuple[int, int, int] = (1_284, 229, 686)
    bclstm: tuple[int, int] = (1_447, 752)


class ResearchPack(Layout):
    """The folder of research files.

    Args:
        expected: the counts that the files must have.
    """

    name = "CMU-MOSI research pack"
    required = (LABELS, INDEX, *(f"{TABLES}/{name}" for name in bclstm.FILES), TOKENS, SENTENCES)

    def __init__(self, expected: Expected | None = None) -> None:
        self.expected = expected or Expected()

    def read(self, request: Request, report: Report) -> Contents:
        """Read and verify the pack."""
        root = request.source
        tables = bclstm.read_tables(root / TABLES, report)
        clips, rows = settle("mosi", root / LABELS, _labels(root, tables, report), report)
        if len(clips) != len(tables.ids):
            raise UserError(f"{root / LABELS}: clips outside the official folds; the pack has none")
        bclstm.check_polarity(root / LABELS, clips, tables, rows, report)
        modalities = {
            "text": minilm.tokens(root / TOKENS, clips.ids, report),
            "text_sentence": minilm.sentences(root / SENTENCES, clips.ids, report),
            **bclstm.modalities(tables, rows, clips.ids, report),
        }
        sources = [source(root / path) for path in self.required]
        extras = bclstm.extras(tables, rows, clips.video)
        found = contents("mosi", root, clips, modalities, request, report, sources, extras)
        self._count(root, report)
        return found

    def _count(self, root: Path, report: Report) -> None:
        counted = report.counted
        here = Expected(
            counted["clips"],
            (counted["train"], counted["validation"], counted["test"]),
            (counted["bclstm train"], counted["bclstm test"]),
        )
        if here != self.expected:
            raise UserError(f"{root}: {here}; expected {self.expected}")


def _labels(root: Path, tables: bclstm.Tables, report: Report) -> Clips:
    """Clips in lexicographic order of their ids, after comparing the three files that name them."""
    labels, index = read_labels(root / LABELS), read_labels(root / INDEX)
    agree(root / LABELS, labels, root / INDEX, index)
    same(root / LABELS, labels.ids, tables.ids)
    clips = bclstm.matched(labels, tables)
    said = dict(zip(index.ids, index.text or [], strict=True))
    wrong = [name for name, text in zip(clips.ids, clips.text or [], strict=True) if said[name] != text]
    if wrong:
        raise UserError(f"{root / INDEX}: transcript differs from {bclstm.TRANSCRIPTS} at {shown(wrong)}")
    if tables.ids != sorted(tables.ids):
        raise UserError(f"{root / TABLES / bclstm.TRANSCRIPTS}: not in lexicographic order of the ids")
    report.verified.append(f"{LABELS} and {INDEX}: same clips, sentiment and parts; transcripts as in bc-LSTM's")
    return clips
