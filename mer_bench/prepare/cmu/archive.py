"""A label file of MERBench or GCNet, with feature folders (one `.npy` per clip) beside or elsewhere."""

from __future__ import annotations

from pathlib import Path

from mer_bench.errors import UserError
from mer_bench.merh5 import Contents, Modality
from mer_bench.prepare.cmu.clips import settle
from mer_bench.prepare.cmu.contents import contents
from mer_bench.prepare.cmu.folds import check_beside
from mer_bench.prepare.cmu.label_files import read_labels
from mer_bench.prepare.feature_folder import feature_files, read_folder
from mer_bench.prepare.layout import Layout, Request
from mer_bench.prepare.report import Report
from mer_bench.prepare.sources import folder_source, source

LABELS = "label.npz"


class LabelArchive(Layout):
    """`label.npz` (or the folder that holds it), features named by ``--features NAME=FOLDER``.

    Args:
        corpus: slug.
    """

    name = "MERBench label archive with feature folders"
    options = ("features",)

    def __init__(self, corpus: str) -> None:
        self.corpus = corpus

    def missing(self, root: Path) -> list[str]:
        """The label file, unless it is there."""
        return [] if root.name == LABELS or (root / LABELS).is_file() else [LABELS]

    def read(self, request: Request, report: Report) -> Contents:
        """Read labels and folders.

        Raises:
            UserError: no feature folder, or files that do not fit the clips.
        """
        path = request.source if request.source.is_file() else request.source / LABELS
        return read_with_folders(self.corpus, path, request, report)


def read_with_folders(corpus: str, path: Path, request: Request, report: Report) -> Contents:
    """A label file of any kind and the feature folders of the request."""
    if not request.features:
        found = sorted(str(folder) for folder in path.parent.glob("features/*") if folder.is_dir())
        hint = f"; there are {', '.join(found[:4])}" if found else ""
        raise UserError(f"{path}: labels only; name the features with --features NAME=FOLDER{hint}")
    check_beside(corpus, request.source, report)
    clips, _ = settle(corpus, path, read_labels(path), report)
    modalities: dict[str, Modality] = {}
    sources = [source(path)]
    known = set(clips.ids)
    for name, folder in request.features.items():
        files = feature_files(name, folder, known)
        modalities[name] = read_folder(name, folder, files, clips.ids, report)
        report.drop(f"files of {name} without a clip", sorted(set(files) - known))
        sources.append(folder_source([file for item, file in files.items() if item in known], folder))
    return contents(corpus, path, clips, modalities, request, report, sources)
