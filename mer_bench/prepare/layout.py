"""A layout: one way in which a corpus lies on a disk, how to recognise it, how to read it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from mer_bench.errors import UserError
from mer_bench.prepare.report import Report

if TYPE_CHECKING:
    from mer_bench.merh5 import Contents


@dataclass(frozen=True)
class Request:
    """What the user asks for.

    Attributes:
        source: folder or file to convert.
        text: keep the transcripts in the feature file (they are licensed material).
        labels: labels that lie elsewhere.
        features: features that lie elsewhere, by the name that the modality is to have.
        align: clock of the rows, for layouts that offer a choice; empty for the layout's own.
        rate: rows per second by name of a modality, for layouts that cannot know them; as text.
        fitted_on: by name of a modality, the split on whose training part its extractor was trained with labels of this
            corpus, or `none`; over what the layout knows.
    """

    source: Path
    text: bool = False
    labels: Path | None = None
    features: Mapping[str, Path] = field(default_factory=dict)
    align: str = ""
    rate: Mapping[str, str] = field(default_factory=dict)
    fitted_on: Mapping[str, str] = field(default_factory=dict)


class Layout(ABC):
    """One way in which a corpus lies on a disk.

    Attributes:
        name: what the report calls it.
        required: paths inside the source that make up the layout.
        options: further fields of a `Request` that it makes use of: labels, features, align, rate.
    """

    name: str
    required: tuple[str, ...] = ()
    options: tuple[str, ...] = ()

    def missing(self, root: Path) -> list[str]:
        """Required paths that are not there; empty means recognised."""
        return [path for path in self.required if not (root / path).exists()]

    def refuse_unused(self, request: Request) -> None:
        """Refuse what the user asks for and this layout would not look at.

        Raises:
            UserError: naming the option.
        """
        for option in ("labels", "features", "align", "rate"):
            if getattr(request, option) and option not in self.options:
                raise UserError(
                    f"--{option}: makes no difference here ({request.source} is recognised as: {self.name})"
                )

    @abstractmethod
    def read(self, request: Request, report: Report) -> Contents:
        """Read and verify everything; fill in the report.

        Raises:
            UserError: the files disagree with each other or with what is known of the corpus.
        """


def recognise(corpus: str, layouts: Sequence[Layout], root: Path) -> Layout:
    """The layout of what lies at `root`.

    Raises:
        UserError: nothing there, or no layout of this corpus; says what the nearest one lacks.
    """
    if not root.exists():
        raise UserError(f"--from: no such folder or file: {root}")
    lacks = {layout: layout.missing(root) for layout in layouts}
    for layout, missing in lacks.items():
        if not missing:
            return layout
    near = [path for path in (root.parent, *_folders(root)) if any(not layout.missing(path) for layout in layouts)]
    hint = f" Did you mean --from {near[0]}?" if near else ""
    told = "; ".join(f"{layout.name}: lacks {', '.join(missing[:4])}" for layout, missing in lacks.items())
    raise UserError(f"{root}: not a known layout of {corpus} ({told}).{hint}")


def _folders(root: Path) -> list[Path]:
    return sorted(path for path in root.iterdir() if path.is_dir()) if root.is_dir() else []
