"""Computational sequences as the SDK downloads them: a folder of `.csd` files, one per feature, one with the labels."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from mer_bench.errors import UserError
from mer_bench.merh5 import Contents, Modality
from mer_bench.prepare.cmu import sequence
from mer_bench.prepare.cmu.clips import Clips, settle
from mer_bench.prepare.cmu.contents import Extras, contents
from mer_bench.prepare.cmu.cut import Words, average, cut, transcripts
from mer_bench.prepare.cmu.folds import check_beside
from mer_bench.prepare.ids import shown
from mer_bench.prepare.layout import Layout, Request
from mer_bench.prepare.report import Report
from mer_bench.prepare.sources import source

LABELS, WORDS = "labels", "words"
#: what is in a file's name (letters and digits only), what it then is, and what computed it; the first of a kind counts
KINDS = (
    ("label", LABELS, ""),
    ("wordvectors", "text", "GloVe 300 of the SDK's words"),
    ("glovevectors", "text", "GloVe 300 of the SDK's words"),
    ("timestampedwords", WORDS, ""),
    ("covarep", "audio", "COVAREP"),
    ("opensmileis09", "audio", "openSMILE IS09"),
    ("opensmileeb10", "audio", "openSMILE emobase2010"),
    ("facet42", "vision", "FACET 4.2"),
    ("facet41", "vision", "FACET 4.1"),
    ("facet", "vision", "FACET"),
    ("openface2", "vision", "OpenFace 2"),
    ("openface", "vision", "OpenFace"),
)
EMOTION_COLUMNS = 7  # sentiment and the six emotions of `labels.EMOTIONS`, in that order


@dataclass(frozen=True)
class Plan:
    """Which file is what.

    Attributes:
        labels: the segments and their labels.
        words: text of the words, or None.
        features: by modality.
        extractors: by modality.
    """

    labels: Path
    words: Path | None
    features: Mapping[str, Path]
    extractors: Mapping[str, str]


class ComputationalSequences(Layout):
    """A folder with `.csd` files, also one level below.

    Args:
        corpus: slug.
    """

    name = "computational sequences of the SDK"
    options = ("labels", "features", "align")

    def __init__(self, corpus: str) -> None:
        self.corpus = corpus

    def missing(self, root: Path) -> list[str]:
        """Any `.csd` file, unless there is one."""
        return [] if _files(root) else ["*.csd"]

    def read(self, request: Request, report: Report) -> Contents:
        """Cut the sequences at the labelled segments, word by word unless asked otherwise.

        Raises:
            UserError: no labels, no features, no words to align to, or files that do not fit each other.
        """
        plan = assign(request, report)
        check_beside(self.corpus, request.source, report)
        clips, _ = settle(self.corpus, plan.labels, read_segments(plan.labels, report), report)
        if plan.words is not None and request.text:
            with sequence.opened(plan.words) as words:
                clips = replace(clips, text=transcripts(words, clips))
        by_word = request.align != "none"
        modalities = _by_word(plan, clips, report) if by_word else _own_clocks(plan, clips, report)
        files = [plan.labels, *([plan.words] if plan.words else []), *plan.features.values()]
        extras = Extras(
            part="labelled segments",
            notes=f"{'One row per word' if by_word else 'Rows on their own clocks'}. ids: video and row in the label "
            "sequence, which is not the number of the clip in other files. dialogue: the video. order: by time.",
        )
        sources = [source(path) for path in dict.fromkeys(files)]
        return contents(self.corpus, plan.labels, clips, modalities, request, report, sources, extras)


def _files(root: Path) -> list[Path]:
    return sorted([*root.glob("*.csd"), *root.glob("*/*.csd")]) if root.is_dir() else []


def assign(request: Request, report: Report) -> Plan:
    """Tell from the names which file is what; files of the request come first.

    Raises:
        UserError: no labels or no features.
    """
    found: dict[str, Path] = {}
    extractors: dict[str, str] = {}
    rest = _files(request.source)
    for sign, kind, extractor in KINDS:
        for path in [path for path in rest if sign in re.sub("[^a-z0-9]", "", path.stem.lower())]:
            rest.remove(path)
            if kind not in found:
                found[kind], extractors[kind] = path, extractor
            else:
                report.absent.append(f"{path.name}: not read, {kind} is {found[kind].name}")
    report.absent += [f"{path.name}: not read, its name says nothing; --features NAME={path} does" for path in rest]
    if request.labels is not None and LABELS in found:
        report.absent.append(f"{found[LABELS].name}: not read, --labels names another")
    labels = request.labels or found.get(LABELS)
    found.pop(LABELS, None)
    if labels is None:
        raise UserError(f"{request.source}: no sequence of labels (a .csd with 'label' in its name); use --labels PATH")
    words = found.pop(WORDS, None)
    wrong = [name for name, path in request.features.items() if path.suffix != ".csd"]
    if wrong:
        raise UserError(f"--features {wrong[0]}={request.features[wrong[0]]}: expected a .csd file here")
    extractors |= {name: path.stem for name, path in request.features.items()}
    features = found | dict(request.features)
    if not features:
        raise UserError(f"{request.source}: no sequence of features; name one with --features NAME=PATH")
    return Plan(labels, words, features, extractors)


def read_segments(path: Path, report: Report) -> Clips:
    """The labelled segments: one column (sentiment) or seven.

    Raises:
        UserError: another number of columns, or text.
    """
    names, videos, times, values = [], [], [], []
    with sequence.opened(path) as labels:
        for key in labels.keys:
            video, _, row = key.removesuffix("]").partition("[")
            here = labels.values(key).astype(np.float64)
            if here.shape[1] not in (1, EMOTION_COLUMNS):
                raise UserError(f"{path}: {key} has {here.shape[1]} labels; expected 1 or {EMOTION_COLUMNS}")
            names += [f"{video}.{int(row) + k if row else k}" for k in range(len(here))]
            videos += [video] * len(here)
            times.append(labels.times(key))
            values.append(here)
    widths = {array.shape[1] for array in values}
    if len(widths) != 1:
        raise UserError(f"{path}: one label in some videos, {EMOTION_COLUMNS} in others")
    table, ends = np.concatenate(values), np.concatenate(times)
    clips = Clips(
        names, videos, ends[:, 0], table[:, 0], table[:, 1:] if widths != {1} else None, ends[:, 0], ends[:, 1]
    )
    return _possible(clips, report)


def _possible(clips: Clips, report: Report) -> Clips:
    """Clips with a duration; of those that cover the same time only the first."""
    assert clips.start_s is not None and clips.end_s is not None
    with np.errstate(invalid="ignore"):
        empty = ~(np.isfinite(clips.start_s) & np.isfinite(clips.end_s) & (clips.end_s > clips.start_s))
    report.drop("segments without a duration", [clips.ids[row] for row in np.flatnonzero(empty)])
    first: dict[tuple[str, float, float], int] = {}
    for row in np.flatnonzero(~empty).tolist():
        first.setdefault((clips.video[row], float(clips.start_s[row]), float(clips.end_s[row])), row)
    kept = sorted(first.values())
    again = sorted(set(np.flatnonzero(~empty).tolist()) - set(kept))
    report.drop("segments that cover the same time as an earlier one", [clips.ids[row] for row in again])
    order = sorted(kept, key=lambda row: (clips.video[row], clips.start_s[row]))  # type: ignore[index]
    return clips.take(np.array(order, np.int64))


def _own_clocks(plan: Plan, clips: Clips, report: Report) -> dict[str, Modality]:
    found = {}
    for name, path in plan.features.items():
        with sequence.opened(path) as opened:
            found[name], _ = cut(name, opened, clips, report, plan.extractors[name])
    return found


def _by_word(plan: Plan, clips: Clips, report: Report) -> dict[str, Modality]:
    """Every modality on the clock of the words: those of the text features, else those of the transcript."""
    reference = plan.features.get("text") or plan.words
    if reference is None:
        raise UserError(
            f"{shown(path.name for path in plan.features.values())}: no sequence of words to align to; add the word "
            "vectors or the timestamped words, or use --align none"
        )
    found: dict[str, Modality] = {}
    with ExitStack() as stack:
        opened = stack.enter_context(sequence.opened(reference))
        if "text" in plan.features:
            text, words = cut("text", opened, clips, report, plan.extractors["text"])
            found["text"] = replace(text, aligned_to="word")
        else:
            words = Words.of(opened, clips, report)
        for name, path in plan.features.items():
            if name != "text":
                other = stack.enter_context(sequence.opened(path))
                found[name] = average(name, other, clips, words, report, plan.extractors[name])
    report.counted["words"] = len(words.times)
    return found
