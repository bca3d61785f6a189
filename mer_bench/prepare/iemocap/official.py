"""The release as it comes from its makers, with feature folders that lie elsewhere."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from mer_bench.errors import UserError
from mer_bench.merh5 import Contents
from mer_bench.prepare.iemocap.assemble import Known, contents
from mer_bench.prepare.iemocap.confirm import believe, confirm
from mer_bench.prepare.iemocap.conversations import conversation_files, read_conversations
from mer_bench.prepare.iemocap.counts import Expected
from mer_bench.prepare.iemocap.evaluation import FILES, SESSIONS, read_evaluation, sessions
from mer_bench.prepare.layout import Layout, Request
from mer_bench.prepare.report import Report


class OfficialTree(Layout):
    """``Session1`` to ``Session5`` with their evaluation files; features lie elsewhere.

    ``--labels FILE`` adds the labels and the split of the conversation papers.

    Args:
        expected: the counts of the whole release.
    """

    name = "IEMOCAP official tree"
    options = ("features", "labels", "rate")

    def __init__(self, expected: Expected | None = None) -> None:
        self.expected = expected or Expected()

    def missing(self, root: Path) -> list[str]:
        """The evaluation files of at least one session."""
        return [] if sessions(root) else [f"{SESSIONS[0]}/{FILES}"]

    def read(self, request: Request, report: Report) -> Contents:
        """Read the evaluation files, then features modality by modality."""
        evaluation = read_evaluation(request.source, self.expected, report)
        given = None
        if request.labels is not None:
            given = dataclasses.replace(read_conversations(request.labels), features={})  # labels were asked for
            report.verified += confirm(given, evaluation.words())
        known = Known("rated turns", evaluation.turns.ids, evaluation, given)
        return contents(request.source, known, request, report)


class ConversationPapers(Layout):
    """A pickle or label lists of the conversation papers; ``--labels IEMOCAP_full_release`` adds all official labels.

    Args:
        expected: the counts of the published files.
    """

    name = "IEMOCAP files of the conversation papers"
    options = ("features", "labels", "rate")

    def __init__(self, expected: Expected | None = None) -> None:
        self.expected = expected or Expected()

    def missing(self, root: Path) -> list[str]:
        """One pickle, or the label lists."""
        return [] if conversation_files(root) else ["one .pkl file, or label_4way.npz and label_6way.npz"]

    def read(self, request: Request, report: Report) -> Contents:
        """Read the files; their class numbers are believed only if something confirms them.

        Raises:
            UserError: ``--labels`` is no release, or nothing tells what the class numbers mean.
        """
        given = read_conversations(request.source)
        report.recognised = f"IEMOCAP {given.form}"
        report.counted["turns"] = len(given.turns)
        evaluation = None
        if request.labels is None:
            report.verified += believe(given, {4: self.expected.four(), 6: self.expected.six()})
        elif not sessions(request.labels):
            raise UserError(f"--labels: {request.labels} is no IEMOCAP release; expected {SESSIONS[0]}/{FILES} in it")
        else:
            evaluation = read_evaluation(request.labels, self.expected, report)
            report.verified += confirm(given, evaluation.words())
        known = Known("turns of the conversation papers", given.turns, evaluation, given)
        return contents(request.source, known, request, report)
