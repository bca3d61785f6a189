"""From loaded records to every file of a leaderboard, and to whether those on disk are the same."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from mer_bench.data.corpora import protocols
from mer_bench.errors import UserError
from mer_bench.recipes import cards, chain, find, merge_files
from mer_bench.results import atomic
from mer_bench.results.building import build
from mer_bench.results.html import page as offline
from mer_bench.results.loading import Loaded
from mer_bench.results.model import Board, to_json
from mer_bench.results.pages import board_page, index, method_page
from mer_bench.results.pages.figures import figures
from mer_bench.results.pages.words import MARK
from mer_bench.results.paper import published_table
from mer_bench.results.published import Published
from mer_bench.results.statistics.ranks import DRAWS

SYNTHETIC = "synthetic"
#: folders of a leaderboard in which every file is generated
GENERATED = ("methods", "figures")
#: pages that are written by hand or by other commands
BESIDE = {
    "statistics.md": "How the numbers are made",
    "paper_vs_measured.md": "What papers say, and what was measured",
    "errata.md": "Errata",
    "submit.md": "How to submit results",
}


class Rendered(NamedTuple):
    """A whole leaderboard.

    Attributes:
        files: content by path below the folder.
        alarms: controls that are out of their band.
        problems: rows without an interval and runs that do not count, with the reason.
    """

    files: dict[str, str]
    alarms: list[str]
    problems: list[str]


def render(
    loaded: Loaded,
    *,
    beside: Collection[str] = (),
    leakage: str = "",
    published: Published | None = None,
    draws: int = DRAWS,
) -> Rendered:
    """Every file, and what is wrong with the tables.

    Args:
        loaded: what to show.
        beside: pages of `BESIDE` that are there to be linked.
        leakage: section for the page on real data, see `leakage_summary`.
        published: what papers report, for the pages of methods.
        draws: bootstrap resamples for rank intervals (rule A).
    """
    files, shipped = dict[str, str](), _shipped()
    boards = [build(loaded, synthetic=synthetic, draws=draws, cards=shipped) for synthetic in (False, True)]
    for board in boards:
        prefix = f"{SYNTHETIC}/" if board.synthetic else ""
        files |= {f"{prefix}{name}": content for name, content in _files(board, shipped, beside, published).items()}
    files["datasets.md"] += f"\n{leakage}" if leakage else ""
    found = [
        (f"{page.name}, {table.variant}", table) for board in boards for page in board.pages for table in page.tables
    ]
    return Rendered(
        files,
        [f"{place}: {alarm}" for place, table in found for alarm in table.alarms],
        [f"{place}: {problem}" for place, table in found for problem in table.problems],
    )


def _files(
    board: Board, shipped: Mapping[str, Mapping[str, Any]], beside: Collection[str], published: Published | None
) -> dict[str, str]:
    up = "../" if board.synthetic else ""
    extra = {offline.NAME: "The same as one HTML file, to sort, filter and compare", "compare.md": "Every pair"}
    extra |= {"datasets.md": "Data", "board.csv": "All rows", "board.json": "All numbers"}
    extra |= {f"{up}{name}": title for name, title in BESIDE.items() if name in beside}
    extra |= {"../README.md": "Real data"} if board.synthetic else {f"{SYNTHETIC}/README.md": "Synthetic data"}
    files = {
        "README.md": index.index(board, extra, _unrun(board)),
        "board.json": to_json(board),
        "board.csv": index.comma_separated(board),
        "compare.md": index.compare(board),
        "datasets.md": index.datasets(board),
        offline.NAME: offline.render(board, f"{up or f'{SYNTHETIC}/'}{offline.NAME}"),
    }
    for page in board.pages:
        files[f"{page.name}.md"] = board_page.render(page, synthetic=board.synthetic)
        files |= {f"figures/{name}": content for name, content in figures(page).items()}
    slugs = {row.slug for page in board.pages for table in page.tables for row in table.rows}
    for slug in sorted(slugs):
        reported = "" if published is None or board.synthetic else published_table(published, slug)
        files[f"methods/{slug}.md"] = method_page.render(slug, board, shipped.get(slug), reported)
    return files


def _unrun(board: Board) -> list[str]:
    """Ranking protocols that no board is of."""
    there = {page.protocol.name for page in board.pages if not page.superseded}
    return [name for name, protocol in protocols().items() if not protocol.legacy and name not in there]


def _shipped() -> dict[str, dict[str, Any]]:
    """Cards of the methods, with the settings of their own file under ``settings``."""
    found = {}
    for slug, card in cards().items():
        path = find(slug, "method")
        settings = merge_files(chain(path)) if path is not None else {}
        found[slug] = {**card, "settings": settings.get("model", {})}
    return found


def write_files(folder: Path, files: Mapping[str, str]) -> None:
    """Write the files, the index last, and remove generated ones that no record makes any more.

    Raises:
        UserError: a page would replace a file that was not generated.
    """
    for name in files:
        if not _may_replace(folder / name):
            raise UserError(
                f"{folder / name} was not made by `mer-bench leaderboard`; move it away or choose another --out"
            )
    for name in sorted(files, key=lambda name: (name == "README.md", name)):
        path, content = folder / name, files[name].encode()
        atomic.make_folder(path.parent)
        if not path.exists() or path.read_bytes() != content:
            atomic.write(path, content)
    for path in surplus(folder, files):
        path.unlink()


def differences(folder: Path, files: Mapping[str, str]) -> list[str]:
    """Files that are not as they would be written, with what is wrong."""
    found = []
    for name, content in sorted(files.items()):
        path = folder / name
        if not path.is_file():
            found.append(f"{name} is missing")
        elif path.read_bytes() != content.encode():
            found.append(f"{name} differs")
    return found + [f"{path.relative_to(folder).as_posix()} has no records" for path in surplus(folder, files)]


def surplus(folder: Path, files: Mapping[str, str]) -> list[Path]:
    """Generated files that no record makes any more."""
    places = [base / sub for base in (folder, folder / SYNTHETIC) for sub in ("", *GENERATED)]
    there = [path for place in places if place.is_dir() for path in sorted(place.iterdir())]
    return [
        path
        for path in there
        if path.suffix in (".md", ".svg") and path.relative_to(folder).as_posix() not in files and _generated(path)
    ]


def _generated(path: Path) -> bool:
    """Whether a file carries the mark of this generator, or is a picture in its folder."""
    if not path.is_file():
        return False
    if path.suffix == ".svg":
        return path.parent.name == "figures"
    with path.open("rb") as stream:
        return stream.read(len(MARK.encode())) == MARK.encode()


def _may_replace(path: Path) -> bool:
    return not path.exists() or path.suffix not in (".md", ".html") or _generated(path)
